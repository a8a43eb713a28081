"""TLS of a client's connection, between the transport of its socket and `ClientConnection`.

Theory of operation
-------------------
`TLSConnection` is the protocol of the socket's transport and, once the handshake is complete, the transport of a
`ClientConnection`. OpenSSL works on two memory BIOs: what comes from the socket is put into one, decrypted and handed
on in the same call; what is written is encrypted and handed to the socket's transport in the same call. So nothing
waits here, in either direction, and all back-pressure is the socket's own: `pause_reading`, the size of its write
buffer, `pause_writing` and `resume_writing` pass through. Large pieces pass in slices, because a BIO keeps the memory
of the largest.

The loops' own TLS hides why a handshake failed, loses the alert that OpenSSL has made for the client, and knows a
connection only after its handshake. Here

* a connection counts, and its time runs, from the moment it was accepted: the handshake and the first request together
  have `header_timeout`;
* what OpenSSL has to say is always sent, also after a failed handshake; then the sending side is shut and the rest is
  read and dropped, because a plain close would lose the alert to a reset (RFC 8446 section 6.2);
* a client that speaks plain HTTP is answered in plain HTTP;
* every failure is counted by its reason, and the log tells of it;
* the context is asked for at each handshake, so that a reload replaces it with the sessions that were made under it.

close_notify goes out with every close (section 6.1). The client's own is the end of what it sends; it is not awaited.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from ssl import MemoryBIO, SSLError, SSLWantReadError

from fastgate._core.exchange.worker cimport Engine, Part, live, new_part
from fastgate._core.wire.h1.client cimport ClientConnection
from fastgate._core.wire.room cimport admitted, leave_share, share_of
from fastgate._core.memory.counters cimport TLS_FAILURES
from fastgate._core.exchange.timers cimport Timed

from fastgate._core.wire.tls_failures import REASONS, TLSFailures, explain

cdef enum:
    RECORD = 16384             # the most plain bytes of one record (RFC 8446 section 5.1)
    SLICE = 65536              # bytes that pass at once
    REFUSED_TIME = 5000        # milliseconds that a refused client may take to read why, and leave

assert len(REASONS) == TLS_FAILURES

cdef bytes _PLAIN_TEXT = b"This port speaks TLS, and the request came in plain HTTP. Use https:// instead of http://.\n"


cdef int FAILURES = new_part()


cdef class Failures(Part):
    """What a worker tells of failed handshakes."""
    cdef object told


cdef Failures part_of(Engine engine):
    cdef Failures part
    if engine.parts[FAILURES] is None:
        part = Failures.__new__(Failures)
        part.told = TLSFailures(engine.log)
        engine.parts[FAILURES] = part
    return <Failures>engine.parts[FAILURES]


cdef class TLSConnection(Timed):
    """The protocol of a socket on which a client is to speak TLS.

    ``server`` has the ``context`` for the handshake, ``verified(connection)`` and ``withdrawn(what that returned)``;
    the others are those of `ClientConnection`.
    """

    def __cinit__(self, Engine engine, server, listener, peer=None, local=None):
        self.engine = engine
        self.server = server
        self.listener = listener
        self.peer = peer
        self.local = local
        live.connections += 1

    def __dealloc__(self):
        live.connections -= 1

    # -- the protocol of the socket

    def connection_made(self, transport):
        cdef Engine engine = self.engine
        cdef object share = share_of(engine, transport, self.peer)
        cdef uint64_t due
        self.transport = transport
        engine.slab.accepted += 1
        if not admitted(engine, share):
            self.stage = ENDED
            transport.abort()
            return
        self.share = share
        if self.accepted_at == 0:
            self.accepted_at = engine.wheel.now
        engine.arrivals[self] = self.accepted_at
        due = self.accepted_at + engine.runtime.header_timeout
        engine.wheel.arm(self, due - engine.wheel.now if due > engine.wheel.now else 1)
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.feed = self.incoming.write
        self.take = self.outgoing.read
        self.secure = self.server.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        # What SSLObject adds is a Python frame for each call.
        inner = getattr(self.secure, "_sslobj", self.secure)
        self.decrypt = inner.read
        self.encrypt = inner.write

    def data_received(self, bytes data):
        if self.stage == OPEN:
            self.deliver(data)
        elif self.stage == SHAKING_HANDS:
            if not self.heard:
                self.heard = True
                if begins_text(PyBytes_AS_STRING(data)[0]):
                    self.answer_plain()
                    return
            self.feed(data)
            self.shake_hands()
            if self.stage == OPEN and self.incoming.pending:
                self.deliver(b"")
        elif self.stage == SHUT:
            self.client.data_received(data)

    def eof_received(self):
        if self.stage == SHAKING_HANDS:
            if self.heard:
                self.failed("cut", "")
        elif self.stage == OPEN or self.stage == SHUT:
            self.client.eof_received()
        return False

    def connection_lost(self, error):
        cdef ClientConnection client = self.client
        self.stage = ENDED
        self.unlink()
        self.engine.arrivals.pop(self, None)
        leave_share(self.engine, self.share)
        self.share = self.client = self.transport = None
        if client is not None:
            client.connection_lost(error)
        else:
            self.engine.slab.closed += 1

    def pause_writing(self):
        if self.client is not None:
            self.client.pause_writing()

    def resume_writing(self):
        if self.client is not None:
            self.client.resume_writing()

    # -- the handshake

    cdef int shake_hands(self) except -1:
        try:
            self.secure.do_handshake()
        except SSLWantReadError:
            return self.flush()
        except SSLError as error:
            word, said = explain(error)
            self.failed(word, said)
            return self.refuse()
        self.flush()
        return self.established()

    cdef int established(self) except -1:
        self.verified = self.server.verified(self.secure)
        self.stage = OPEN
        self.due = 0
        self.engine.arrivals.pop(self, None)
        self.client = ClientConnection(self.engine, self.listener, self.peer, self.local)
        return self.client.begin(self, self.accepted_at)

    cdef int failed(self, str word, str said) except -1:
        """Counts a handshake that did not succeed, and tells the log."""
        address = self.peer if self.peer is not None else self.transport.get_extra_info("peername")
        self.engine.slab.tls_failed[<int>REASONS.index(word)] += 1
        told = (<Failures>part_of(self.engine)).told
        told.tell(word, address[0] if isinstance(address, tuple) else "unix:", said, self.engine.wheel.now)
        return 0

    cdef int refuse(self) except -1:
        """Sends what there is to say, and closes behind it when the client has left, or soon."""
        self.stage = REFUSED
        self.broken = True
        self.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.engine.wheel.arm(self, REFUSED_TIME)
        return 0

    cdef int answer_plain(self) except -1:
        """The client speaks plain HTTP: it gets an answer that it can read."""
        self.failed("plain_http", "")
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (self.engine.date(), len(_PLAIN_TEXT), _PLAIN_TEXT)
        )
        return self.refuse()

    cdef int expired(self) except -1:
        if self.stage == SHAKING_HANDS:
            self.failed("timeout", "")
        if self.client is None and self.transport is not None:
            self.transport.abort()
        return 0

    # -- bytes

    cdef int deliver(self, bytes encrypted) except -1:
        """Decrypts what there is, ``encrypted`` last, and hands it on in one piece, and the end behind it."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(encrypted)
        cdef Py_ssize_t start = 0
        cdef bytes data = None
        cdef bytes piece
        cdef object view = None
        cdef list pieces = None
        cdef bint ended = False
        cdef object failure = None
        if 0 < length <= SLICE:
            self.feed(encrypted)
            start = length
        elif length:
            view = memoryview(encrypted)
            self.feed(view[:SLICE])
            start = SLICE
        while True:
            try:
                piece = self.decrypt(RECORD)
            except SSLWantReadError:
                if start >= length:
                    break
                self.feed(view[start:start + SLICE])
                start += SLICE
                continue
            except SSLError as error:
                failure = error
                break
            if PyBytes_GET_SIZE(piece) == 0:
                ended = True
                break
            if data is None:
                data = piece
            elif pieces is None:
                pieces = [data, piece]
            else:
                pieces.append(piece)
            if PyBytes_GET_SIZE(piece) < RECORD and start >= length and not self.incoming.pending:
                # A record is read whole, so nothing lies in OpenSSL.
                break
        if self.outgoing.pending:
            self.flush()
        if data is not None:
            self.client.data_received(b"".join(pieces) if pieces is not None else data)
        if self.stage != OPEN:
            return 0
        if failure is not None:
            return self.break_off(failure)
        if ended:
            self.client.eof_received()
            self.close()
        return 0

    cdef int break_off(self, object error) except -1:
        """What came cannot be decrypted: the client is told, and the connection ends."""
        self.broken = True
        word, said = explain(error)
        self.failed(word, said)
        self.client.eof_received()
        self.close()
        return 0

    cdef int encrypt_piece(self, object piece) except -1:
        cdef Py_ssize_t length = len(piece)
        cdef Py_ssize_t done
        try:
            done = self.encrypt(piece)
            while done < length:
                done += self.encrypt(memoryview(piece)[done:])
        except SSLError:
            self.broken = True
            self.abort()
            return 0
        return self.flush()

    cdef int flush(self) except -1:
        cdef bytes data = self.take()
        if PyBytes_GET_SIZE(data) and self.transport is not None:
            self.transport.write(data)
        return 0

    cdef int say_goodbye(self) except -1:
        """close_notify. The client's own is not awaited."""
        if not self.broken:
            self.broken = True
            try:
                self.secure.unwrap()
            except SSLError:
                pass
        return self.flush()

    # -- the transport of the client's side

    def write(self, bytes data):
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t start = 0
        if self.stage != OPEN or length == 0:
            return
        if length <= SLICE:
            self.encrypt_piece(data)
            return
        whole = memoryview(data)
        while start < length and self.stage == OPEN:
            self.encrypt_piece(whole[start:start + SLICE])
            start += SLICE

    def write_eof(self):
        """Closes for writing; of what still comes nothing is decrypted."""
        if self.stage == OPEN:
            self.stage = SHUT
            self.say_goodbye()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def can_write_eof(self):
        return True

    def close(self):
        if self.stage == OPEN or self.stage == SHUT:
            if self.stage == OPEN:
                self.say_goodbye()
            self.stage = ENDED
            self.transport.close()

    def abort(self):
        self.stage = ENDED
        if self.transport is not None:
            self.transport.abort()

    def is_closing(self):
        return self.stage == ENDED

    def pause_reading(self):
        self.transport.pause_reading()

    def resume_reading(self):
        self.transport.resume_reading()

    def get_write_buffer_size(self):
        return self.transport.get_write_buffer_size()

    def get_extra_info(self, name, default=None):
        """As of the loops' own TLS; ``withdrawn`` is True when the client's certificate would not be taken any more."""
        if name == "ssl_object":
            return self.secure
        if name == "withdrawn":
            return self.verified is not None and self.server.withdrawn(self.verified)
        if name == "peercert":
            return self.secure.getpeercert()
        if name == "cipher":
            return self.secure.cipher()
        return self.transport.get_extra_info(name, default)


cdef inline bint begins_text(char byte) noexcept:
    """TLS never begins with a letter; HTTP always does, or with the empty line that is forgiven."""
    return b"A" <= byte <= b"Z" or b"a" <= byte <= b"z" or byte == b"\r" or byte == b"\n"
