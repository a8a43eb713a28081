"""The two sides of an exchange and what else it talks to: declared in exchange.pxd, driven by exchange.pyx."""

cdef int places_taken = 0


cdef int new_place() except -1:
    """A number below `PLACES` for a feature, asked for once, when its module is loaded: in ``places`` of an exchange
    lies what it knows of that exchange. That is `Facts`, which stay there, or a `Debt`, which takes itself away from
    there when it is settled; the exchange holds both.
    """
    global places_taken
    if places_taken == PLACES:
        raise RuntimeError(f"more than {PLACES} features want a place in an exchange")
    places_taken += 1
    return places_taken - 1


cdef Exchange take_exchange(Engine engine):
    """An exchange whose request has begun to arrive."""
    cdef Exchange x
    if engine.spare is not None:
        x = <Exchange>engine.spare
        engine.spare = x.next_spare
        engine.spares -= 1
        x.next_spare = None
    else:
        x = Exchange.__new__(Exchange, engine)
    x.runtime = engine.runtime
    x.over = False
    x.started = clock_us()
    live.exchanges += 1
    return x


cdef class Source(Timed):
    cdef int hold(self, int reason) except -1:
        return 0

    cdef int release(self, int reason) except -1:
        return 0

    cdef Py_ssize_t ready(self, const char** at) noexcept:
        """How many bytes lie at ``at``; 0: it has none in memory."""
        return 0

    cdef int took(self, Py_ssize_t count) except -1:
        """So many of them are on their way, or are kept elsewhere."""
        return 0


cdef class Peer:
    cdef int identify(self, object transport, object listener, object trusted) except -1:
        """Addresses and TLS facts of the connection; asked for when the first request begins, and again after a reload:
        whether the peer is believed, and whether its certificate is still good, may have changed.
        """
        cdef object address
        self.scheme = b"http"
        if listener.scheme == "https":
            self.scheme = b"https"
            self.tls = transport.get_extra_info("ssl_object")
            name = getattr(self.tls, "sni_name", None)
            self.server_name = name.lower().encode("ascii", "replace") if name else None
            self.withdrawn = transport.get_extra_info("withdrawn", False)
        if self.address is None:
            address = transport.get_extra_info("peername")
            if isinstance(address, tuple):
                self.address = normal_address(address[0].encode("utf-8", "surrogateescape"))
            if self.address is None:
                self.address = b"unix:"
            self.local_port = listener.port or 0
        self.trusted_by = trusted
        if trusted is None:
            self.trusted = False
        elif self.address == b"unix:":
            self.trusted = trusted(f"unix:{listener.address}")
        else:
            self.trusted = trusted(self.address.decode("ascii"))
        return 0

    cdef int leave(self) except -1:
        """The connection is lost: those that its client has authenticated are nobody's any more."""
        cdef UpstreamSide connection
        cdef list reserved = self.reserved
        self.gone = True
        self.reserved = None
        if reserved is not None:
            for connection in reserved:
                connection.disown()
        return 0


cdef class Side(Source):
    """What both ends have in common.

    It alone pauses and resumes reading: reading goes on while no reason is set in ``held``.
    """

    cdef int attach(self, object transport) except -1:
        self.transport = transport
        self.connected = True
        self.fd = -1
        self.known = False
        self.outbox = None
        return 0

    cdef int hold(self, int reason) except -1:
        if self.held == 0 and self.connected:
            self.transport.pause_reading()
        self.held |= reason
        # A transport that does not read does not tell that the peer has left: somebody has to ask.
        self.engine.wheel.arm(self, ASK_EVERY)
        return 0

    cdef int release(self, int reason) except -1:
        if not self.held & reason:
            return 0
        self.held &= ~reason
        if self.held == 0:
            if self.connected:
                self.transport.resume_reading()
            self.restart()
        return 0

    cdef int rearm(self) except -1:
        """Sets the deadline that belongs to what is going on."""
        return 0

    cdef int restart(self) except -1:
        """`rearm`, after a time in which the peer was not to blame."""
        self.due = 0
        if self.exchange is not None:
            self.rearm()
        return 0

    cdef int write(self, bytes data) except -1:
        cdef bytes unsent = self.unsent
        cdef bint later
        if not self.connected:
            return 0
        later = self.outbox_takes(PyBytes_GET_SIZE(data))
        self.written += PyBytes_GET_SIZE(data)
        if self.outbox is None:
            self.transport.write(data)
        elif unsent is not None:
            self.unsent = None
            self.send(unsent, data)
        elif later:
            self.unsent = data
            self.outbox.put(self)
        else:
            self.send(data, None)
        return 0

    cdef bint outbox_takes(self, Py_ssize_t size) except -1:
        """Whether so many bytes can wait for the end of the turn. Not the first ones of a connection: one that carries
        no more than an answer is not asked for its socket.
        """
        if not self.known and self.written:
            self.known = self.behind = True
            if is_plain(self.transport):
                self.descriptor()
                self.outbox = outbox_of(self.engine)
        return self.outbox is not None and size <= DEFERRED

    cdef int send(self, bytes first, bytes second) except -1:
        """Gives both to the socket, as far as it takes them at once, and the rest to the transport."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(first)
        cdef Py_ssize_t sent = 0
        if not self.behind or self.transport.get_write_buffer_size() == 0:
            self.behind = False
            if second is None:
                sent = send_one(self.fd, PyBytes_AS_STRING(first), length)
            else:
                sent = send_now(
                    self.fd, PyBytes_AS_STRING(first), length, PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second)
                )
        if sent < length:
            self.hand_over(memoryview(first)[sent:] if sent else first)
            sent = length
        if second is not None and sent - length < PyBytes_GET_SIZE(second):
            sent -= length
            self.hand_over(memoryview(second)[sent:] if sent else second)
        return 0

    cdef int send_unsent(self) except -1:
        """What waits for the end of the turn is sent now: the connection is closed next, or written to past `write`."""
        cdef bytes unsent = self.unsent
        if unsent is not None:
            self.unsent = None
            if self.connected:
                self.send(unsent, None)
        return 0

    cdef int hand_over(self, object data) except -1:
        """Gives bytes, which are counted already, to the transport: behind what it holds, or because it is to say when
        the socket takes more.
        """
        self.behind = True
        self.transport.write(data)
        return 0

    cdef Py_ssize_t backlog(self) except -1:
        """Bytes that were written, and that the socket has not been given or has not taken."""
        cdef Py_ssize_t size = self.transport.get_write_buffer_size()
        return size + PyBytes_GET_SIZE(self.unsent) if self.unsent is not None else size

    cdef int abort_transport(self) except -1:
        """Ends the connection; what the transport holds is lost."""
        self.send_unsent()
        if self.connected and self.transport is not None:
            self.transport.abort()
        return 0

    cdef int64_t taken_so_far(self) except -1:
        """How many of the bytes that were written the peer has taken.

        Taken is what it has acknowledged: what lies in the socket's own buffer, megabytes at times, has not arrived.
        """
        return self.written - self.backlog() - unacknowledged(self.descriptor())

    cdef bint stalled(self, uint64_t limit) except -1:
        """Whether the peer has taken no byte for ``limit`` milliseconds; to be asked about once a second while
        writing is paused.
        """
        cdef int64_t taken = self.taken_so_far()
        cdef uint64_t now = self.engine.wheel.now
        if taken != self.taken or self.progress_at == 0:
            self.taken = taken
            self.progress_at = now
            return False
        return limit > 0 and now - self.progress_at >= limit

    cdef bint too_slow(self, int64_t rate) except -1:
        """Whether the peer took less than ``rate`` bytes a second over the last `RATE_SPAN`; to be asked after
        `stalled`, as often.
        """
        cdef uint64_t now = self.engine.wheel.now
        cdef bint slow = False
        if self.span_until:
            if now < self.span_until:
                return False
            slow = (self.taken - self.span_from) * 1000 < rate * RATE_SPAN
        self.span_until = now + RATE_SPAN
        self.span_from = self.taken
        return slow

    cdef int descriptor(self) except -2:
        if self.fd < 0:
            self.fd = self.transport.get_extra_info("socket").fileno()
        return self.fd

    cdef bint peer_gone(self) except -1:
        """Whether the peer has closed or reset: a transport that does not read reports neither."""
        return is_closing(self.descriptor())

    cdef bint quiet(self) except -1:
        """Whether the connection is open and nothing unread lies in it."""
        return is_quiet(self.descriptor())

    cdef int flush_and_close(self) except -1:
        """Closes behind what is still unsent; a peer that takes none of it is not waited for."""
        self.due = 0
        self.send_unsent()
        if self.connected and self.transport is not None:
            self.transport.close()
            if self.connected and self.transport.get_write_buffer_size():
                self.progress_at = self.span_until = 0
                self.engine.wheel.arm(self, ASK_EVERY)
        return 0

    cdef int abort_if_stalled(self) except -1:
        """After `flush_and_close`: once a second until it is flushed or given up."""
        if self.stalled(FLUSH_TIME) or self.too_slow(self.engine.runtime.min_rate):
            self.abort_transport()
        else:
            self.engine.wheel.arm(self, ASK_EVERY)
        return 0

    cdef int reset(self) except -1:
        """Ends the connection so that the peer cannot take what it got for complete."""
        if self.connected:
            reset_on_close(self.transport)
            self.abort_transport()
        return 0

    def pause_writing(self):
        self.write_paused = True
        self.progress_at = self.span_until = 0
        self.engine.wheel.arm(self, ASK_EVERY)
        self.sink_changed(HOLD_SINK)

    def resume_writing(self):
        self.write_paused = False
        self.sink_changed(0)
        self.restart()

    cdef int sink_changed(self, int hold) except -1:
        """Passes back-pressure on to whoever feeds this side."""
        return 0


cdef class ClientSide(Side):
    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1:
        """Head of ``x.response`` or ``x.answer``, and the first body bytes with it."""
        return 0

    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1:
        return 0

    cdef int draw(self, Exchange x) except -1:
        """Takes what it can now of the body that ``x.source`` has in memory. None of it: the source will be released
        when there is room. Here it is copied, piece by piece.
        """
        cdef const char* at
        cdef Py_ssize_t size = min(x.source.ready(&at), <Py_ssize_t>SLICE)
        cdef bytes piece = PyBytes_FromStringAndSize(at, size)
        x.source.took(size)
        return self.send_body(x, piece, False)

    cdef int send_interim(self, Exchange x) except -1:
        """The 1xx response that lies in ``x.response``."""
        return 0

    cdef int send_continue(self, Exchange x) except -1:
        return 0

    cdef int cut(self, Exchange x) except -1:
        """Ends a response that has begun so that it cannot be taken for complete."""
        return 0

    cdef int open_tunnel(self, Exchange x) except -1:
        """The 101 of ``x.response``; from now on bytes."""
        return 0

    cdef int send_raw(self, Exchange x, bytes data) except -1:
        """Tunnel bytes."""
        return 0

    cdef int await_body(self, Exchange x, Py_ssize_t more) except -1:
        """``more`` bytes of the body came, and the rest is due: the next byte within ``body_timeout``, and not too
        slowly.
        """
        cdef uint64_t now = self.engine.wheel.now
        self.read_at = now
        if self.upload_until == 0:
            self.upload_until = now + RATE_SPAN
            self.uploaded = 0
        self.uploaded += more
        self.engine.wheel.arm(self, self.body_due(x, now))
        return 0

    cdef uint64_t body_due(self, Exchange x, uint64_t now) noexcept:
        """Milliseconds until the body has to be looked at."""
        cdef uint64_t due = min(self.read_at + x.runtime.body_timeout, self.upload_until)
        return due - now if due > now else 1

    cdef int body_late(self, Exchange x) except -1:
        """Why the body is not waited for any longer. OK: it is, and will be looked at again."""
        cdef uint64_t now = self.engine.wheel.now
        cdef int64_t rate = x.route.min_rate if x.route is not None else x.runtime.min_rate
        if now >= self.read_at + x.runtime.body_timeout:
            return BODY_TIMEOUT
        if now >= self.upload_until:
            if self.uploaded * 1000 < rate * RATE_SPAN:
                return BODY_TOO_SLOW
            self.upload_until = now + RATE_SPAN
            self.uploaded = 0
        self.engine.wheel.arm(self, self.body_due(x, now))
        return OK

    cdef int answer_late(self, Exchange x) except -1:
        """Why the client is not waited for that takes its answer slowly. OK: it is. To be asked once a second while
        writing is paused. ``x`` is None between two exchanges.
        """
        cdef Route route = x.route if x is not None else None
        if self.stalled(route.write_timeout if route is not None else WRITE_TIME):
            return CLIENT_STALLED
        if self.too_slow(route.min_rate if route is not None else self.engine.runtime.min_rate) \
                and not (x is not None and (x.phase == PHASE_TUNNEL or is_event_stream(x))):
            return CLIENT_TOO_SLOW
        return OK

    cdef int settled(self, Exchange x) except -1:
        """The exchange is over and must not be touched."""
        return 0

    # What is in `Engine.connections` is asked these; a wire whose connections carry many exchanges puts them there, not
    # the sides that they carry.

    cdef int waits_for(self) noexcept:
        """What is awaited of the client's next request: `Waiting`."""
        return WAITS_FOR_NOTHING

    cdef uint64_t waits_since(self) noexcept:
        """Milliseconds: since when; 0: not for long enough to give way."""
        return 0

    cdef bint give_way(self) except -1:
        """Ends the connection for the sake of a new one. False: it has just become busy."""
        return False

    cdef int sink_changed(self, int hold) except -1:
        cdef Exchange x = self.exchange
        if x is None or x.source is None:
            return 0
        return x.source.hold(HOLD_SINK) if hold else x.source.release(HOLD_SINK)


cdef bint is_event_stream(Exchange x) noexcept:
    """Whether the answer is one whose client may take its time: events (WHATWG HTML section 9.2)."""
    cdef Head head = x.response
    cdef Field* field
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == CONTENT_TYPE and field.value_length >= 17 \
                and same(head.p + field.value, 17, "text/event-stream", 17):
            return True
    return False


cdef class UpstreamSide(Side):
    cdef int start(self, Exchange x) except -1:
        """Sends the request head and what is kept of the body."""
        return 0

    cdef int send_body(self, bytes piece, bint last) except -1:
        return 0

    cdef int send_raw(self, bytes data) except -1:
        return 0

    cdef int stop_sending(self) except -1:
        """The rest of the request will not come: the connection cannot be used again."""
        return 0

    cdef int abandon(self) except -1:
        """The exchange no longer wants the answer."""
        return 0

    cdef int disown(self) except -1:
        """The client whose connection this is has left."""
        return 0

    cdef int sink_changed(self, int hold) except -1:
        cdef Exchange x = self.exchange
        if x is None or x.client is None:
            return 0
        return x.client.hold(HOLD_SINK) if hold else x.client.release(HOLD_SINK)


cdef class Observer:
    cdef int finished(self, Exchange x) except -1:
        return 0


cdef int tell_observers(Exchange x) except -1:
    """All of its runtime, whatever one of them raises."""
    cdef object observer
    for observer in x.runtime.told:
        try:
            (<Observer?>observer).finished(x)
        except Exception as error:
            x.engine.log("error", f"{type(observer).__name__} failed at the end of a request: {error}", exception=error)
    return 0


cdef class Problems:
    cdef Answer answer(self, Exchange x, int cause, int status):
        return None


cdef class Gate:
    """A built-in policy on the request side."""

    cdef int enter(self, Exchange x) except -1:
        raise NotImplementedError

    cdef int leave(self, Exchange x) except -1:
        return 0

    cdef int late(self, Exchange x) except -1:
        raise NotImplementedError

    cdef bint owns(self, bytes folded) except -1:
        return False


cdef class Facts:
    cdef void reset(self) noexcept:
        """As if nothing was known."""

    cdef int copy_to(self, Exchange copy) except -1:
        return 0


cdef class Delivery:
    cdef int begin(self, Exchange x) except -1:
        raise NotImplementedError

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        """A piece of the request body that has been kept, perhaps its end."""
        return 0

    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1:
        """From the client, behind a 101."""
        return 0

    cdef int late(self, Exchange x) except -1:
        """The deadline that it set has passed."""
        return 0

    cdef int leave(self, Exchange x) except -1:
        """Nothing of it is wanted any more."""
        return 0

    cdef int move(self, Exchange x, Exchange to) except -1:
        """What it does for ``x`` goes on for ``to``."""
        return 0

    cdef Head arriving(self, Exchange x):
        return x.response

    cdef int enclose(self, Delivery outer) except -1:
        """Puts another one around it, before it is used."""
        self.outer = outer
        return 0

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        """The one within has an answer: its head lies in ``x.response``."""
        return self.tell_answered(x, piece, last)

    cdef int piece(self, Exchange x, bytes piece, bint last) except -1:
        """More of the body that the one within gives, perhaps its end."""
        return self.tell_piece(x, piece, last)

    cdef int failed(self, Exchange x, int cause) except -1:
        """The one within has no answer, or the rest of it does not come."""
        return self.tell_failed(x, cause)

    cdef int tell_answered(self, Exchange x, bytes piece, bint last) except -1:
        return x.answered(piece, last) if self.outer is None else self.outer.answered(x, piece, last)

    cdef int tell_piece(self, Exchange x, bytes piece, bint last) except -1:
        return x.piece(piece, last) if self.outer is None else self.outer.piece(x, piece, last)

    cdef int tell_failed(self, Exchange x, int cause) except -1:
        return x.failed(cause) if self.outer is None else self.outer.failed(x, cause)


cdef class Around(Delivery):
    cdef int begin(self, Exchange x) except -1:
        return self.inner.begin(x)

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        return self.inner.more(x, piece, complete)

    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1:
        return self.inner.tunnel_bytes(x, data)

    cdef int late(self, Exchange x) except -1:
        return self.inner.late(x)

    cdef int leave(self, Exchange x) except -1:
        return self.inner.leave(x)

    cdef int move(self, Exchange x, Exchange to) except -1:
        return self.inner.move(x, to)


cdef class AnswerEdits:
    cdef int interim(self, Exchange x) except -1:
        """A 1xx lies in ``x.response``."""
        return 0

    cdef bint arrived(self, Exchange x) except -1:
        """The head in ``x.response``. False: a value that the client chose cannot stand in a field."""
        return True

    cdef Answer own(self, Exchange x, Answer answer, bint given):
        """An answer that can be changed, ``given`` by the route or a policy, or one of the gateway in its own trouble.
        None: as `arrived`.
        """
        return answer

    cdef bint owns(self, bytes folded) except -1:
        return False


cdef class Debt:
    cdef int settle(self, Exchange x, int cause) except -1:
        raise NotImplementedError


cdef class OpenFilters(Debt):
    cdef int settle(self, Exchange x, int cause) except -1:
        cdef BodyFilter filter
        for filter in self.filters:
            try:
                filter.close(x, cause)
            except Exception as error:
                x.engine.log("error", f"policy {filter.name} could not be closed: {error}", exception=error)
        return 0


cdef class Spares:
    cdef Debt take(self):
        """One of them; None: a new one has to be made."""
        cdef Debt debt = self.first
        if debt is not None:
            self.first = debt.owed_before
            self.count -= 1
        return debt

    cdef int give(self, Debt debt) except -1:
        if self.count < SPARE:
            debt.owed_before = self.first
            self.first = debt
            self.count += 1
        return 0


cdef class Stamp:
    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        return extra

    cdef int name(self, Exchange x, dict names) except -1:
        return 0


cdef class BodyFilter:
    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        """What becomes of a piece; ``b""``: nothing of it goes on. None: it is withheld, and with it the head.

        ``last`` is the end of the body, where nothing can be withheld; ``more``: the next piece lies ready.
        """
        raise NotImplementedError

    cdef int close(self, Exchange x, int cause) except -1:
        """The exchange is over, whether the end of the body has come or not: once for each body that it was given."""
        return 0


cdef class BodyRule:
    cdef BodyFilter open(self, Exchange x, bytes piece, bint last):
        """The filter for a body that begins with ``piece``, after edits of the head that go with it. None: the body
        stays as it is, or has no bytes here (HEAD, 204, 304).
        """
        raise NotImplementedError


cdef class Answer:
    def __cinit__(self):
        self.code = 200
        self.fields = []
        self.content = b""
