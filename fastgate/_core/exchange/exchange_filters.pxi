"""Filters: what policies do to bodies while they stream past.

Theory of operation
-------------------
**Requests.** The filters of a route are the same for every exchange. What has come of a body when the policies are
through passes them before the first try, every later piece when it comes; what they make of it is what is kept for
another try, and what mirrors get. So a filter sees each byte once. Before that, bodies are kept as they came: a
policy that reads one reads what the client sent.

**Responses.** A route has `BodyRule`s, in the order of the built-in policies. When the head is there and all hooks are
through, a `Chain` is made: the first rule looks at the head, edits it and may give a `BodyFilter`. The next one looks
when the first has let something through, so that it sees what the one before made of head and body; the head goes out
when the last has looked. A filter that withholds a piece (None) so withholds the head, and can still change all of it,
or refuse. From then on each piece passes the chain in the call that brought it, and is written at once.

A filter that is slow (compression) stands last. It takes `SLICE` bytes; the rest of a large piece waits for the next
turns of the loop (`Chain.go_on`), with the upstream held. So no piece, however large, keeps the loop for longer than
one slice takes, and no more than one piece and what one read brings is in memory beside it.

The length of a body that is changed is not known: unless it is there at once, it is sent in chunks, or until close
(`Exchange.reframed`). What goes wrong in a filter ends the exchange: with 500 while nothing was sent, else with a cut.

A route without filters has no chain, and its exchanges are in another phase (SENDING, not FILTERING).
"""

# -- requests

cdef bint begin_request(Exchange x) except -1:
    """What is there of the body passes the filters. False: that ended the exchange."""
    cdef Head head = x.request
    cdef OpenFilters opened
    cdef bytes piece
    if not head.chunked and head.content_length <= 0:
        return True
    x.filtering = True
    opened = OpenFilters.__new__(OpenFilters)
    opened.filters = list(x.route.request_filters)
    x.owe(opened)
    if x.body is not None or x.request_complete:
        piece = b"".join(x.body) if x.body is not None else b""
        x.body = None
        x.body_kept = 0
        # `keep` counts it again.
        x.body_bytes -= PyBytes_GET_SIZE(piece)
        piece = filter_request(x, piece, x.request_complete)
        if piece is None:
            return False
        if piece:
            x.keep(piece)
    if x.request_complete:
        # Sent with the length that it has now.
        x.buffering = True
    else:
        head.chunked = True
    return True


cdef bytes filter_request(Exchange x, bytes piece, bint last):
    """What goes on of a piece, maybe nothing. None: a filter failed, and the exchange must not be touched.

    The difference in length goes to ``body_bytes``, which counts what the client sent.
    """
    cdef BodyFilter filter = None
    cdef bytes made = piece if piece is not None else b""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(made)
    try:
        for filter in x.route.request_filters:
            made = filter.feed(x, made, last, False)
    except BaseException as error:
        # Nothing more of it is of use, to nobody.
        x.sending_stopped = True
        filter_failed(x, filter.name, error)
        return None
    x.body_bytes += length - PyBytes_GET_SIZE(made)
    return made


# -- responses

@cython.final
cdef class Chain:
    def go_on(self):
        """The next slice of a large piece."""
        cdef Exchange x = self.exchange
        self.exchange = None
        if alive(x, self):
            take_slice(x, self)


cdef bint alive(Exchange x, Chain chain) noexcept:
    """Whether the exchange still sends this body: it may be over, or serve another request already."""
    return x.filters is chain and x.phase == PHASE_FILTERING and not x.over


cdef int begin_response(Exchange x, bytes piece, bint last, int cause) except -1:
    """The head is final: from here on the rules have it. ``cause`` is how the exchange ends with the body."""
    cdef Chain chain = Chain.__new__(Chain)
    chain.rules = x.route.response_filters
    chain.filters = []
    chain.cause = cause
    chain.open = OpenFilters.__new__(OpenFilters)
    chain.open.filters = []
    x.owe(chain.open)
    x.filters = chain
    x.phase = PHASE_FILTERING
    if last:
        x.response_complete = True
    pass_piece(x, chain, piece if piece is not None else b"", last)
    if alive(x, chain) and chain.rest is None and x.source is not None:
        # Policies may have held it while they looked at the head.
        x.source.release(HOLD_WAIT)
    return 0


cdef int begin_answer(Exchange x, Answer answer, int cause) except -1:
    """The same for an answer that comes from a policy or the route, which is this exchange's own."""
    x.answer = answer
    x.status = answer.code
    x.cause = cause
    x.reframed = FRAMED_AS_SENT
    return begin_response(x, answer.content, True, cause)


cdef int filter_response(Exchange x, bytes piece, bint last) except -1:
    """More of the body, perhaps its end."""
    cdef Chain chain = <Chain>x.filters
    if last:
        x.response_complete = True
    if piece is None:
        piece = b""
    if chain.rest is None:
        return pass_piece(x, chain, piece, last)
    if chain.waiting is None:
        chain.waiting = []
    chain.waiting.append((piece, last))
    return 0


cdef int pass_piece(Exchange x, Chain chain, bytes piece, bint last) except -1:
    try:
        piece = through(x, chain, piece, last)
    except BaseException as error:
        return filter_failed(x, chain.working, error)
    if piece is None or not alive(x, chain):
        return 0
    if chain.slow is None:
        return send(x, chain, piece, last)
    chain.rest = piece
    chain.offset = 0
    chain.rest_last = last
    return take_slice(x, chain)


cdef bytes through(Exchange x, Chain chain, bytes piece, bint last):
    """A piece through all filters but the slow one. None: it is withheld, or the exchange was refused."""
    cdef BodyFilter filter
    cdef BodyRule rule
    for filter in chain.filters:
        chain.working = filter.name
        piece = filter.feed(x, piece, last, False)
        if piece is None:
            return None
    while chain.opened < len(chain.rules):
        rule = chain.rules[chain.opened]
        chain.opened += 1
        chain.working = rule.name
        filter = rule.open(x, piece, last)
        if not alive(x, chain):
            return None
        if filter is None:
            continue
        chain.open.filters.append(filter)
        if filter.slow:
            chain.slow = filter
            continue
        chain.filters.append(filter)
        piece = filter.feed(x, piece, last, False)
        if piece is None:
            return None
    return piece


cdef int take_slice(Exchange x, Chain chain) except -1:
    """One slice through the slow filter; the next in another turn, so that others get theirs."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(chain.rest)
    cdef bytes piece = chain.rest
    cdef bint done = length - chain.offset <= SLICE
    cdef bint last = chain.rest_last and done
    if chain.offset or not done:
        piece = piece[chain.offset:chain.offset + SLICE]
    chain.offset += SLICE
    chain.working = chain.slow.name
    try:
        piece = chain.slow.feed(x, piece, last, not done)
    except Exception as error:
        return filter_failed(x, chain.working, error)
    send(x, chain, piece, last)
    if not alive(x, chain):
        return 0
    if done:
        chain.rest = None
        if chain.waiting is None:
            if x.source is not None:
                x.source.release(HOLD_WAIT)
            return 0
        piece, last = chain.waiting.pop(0)
        if not chain.waiting:
            chain.waiting = None
        return pass_piece(x, chain, piece, last)
    if x.source is not None:
        x.source.hold(HOLD_WAIT)
    chain.exchange = x
    x.engine.loop.call_soon(chain.go_on)
    return 0


cdef int send(Exchange x, Chain chain, bytes piece, bint last) except -1:
    """To the client, the head before the first piece."""
    if not x.response_started:
        if last and x.reframed == FRAMED_ANEW and not bodiless(x):
            x.reframed = FRAMED_WHOLE
        x.response_started = True
        x.client.send_response(x, piece, last)
    elif last or piece:
        x.client.send_body(x, piece, last)
    if last and alive(x, chain):
        return x.finish(chain.cause)
    return 0


cdef int filter_failed(Exchange x, str name, object error) except -1:
    """A filter raised: logged here, once, and the exchange ends."""
    if isinstance(error, Refusal):
        return refuse_for(x, error)
    x.engine.slab.policy_errors += 1
    text = f"policy {name} on route {x.route.name!r} raised {type(error).__name__}: {error}"
    x.engine.log("error", text, exception=error)
    x.error = error
    return x.refuse(POLICY_FAILED)


cdef bint bodiless(Exchange x) noexcept:
    return x.is_head or x.status == 204 or x.status == 304
