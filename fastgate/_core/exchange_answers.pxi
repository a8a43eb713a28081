"""The answers that the gateway gives by itself: declared in exchange.pxd, part of exchange.pyx."""

cdef Answer answer_of(int code, list fields, bytes content):
    cdef Answer answer = Answer.__new__(Answer)
    answer.code = code
    answer.fields = fields
    answer.content = content
    return answer


cdef int answer_options(Exchange x) except -1:
    """OPTIONS * (RFC 9110 section 9.3.7)."""
    x.respond(answer_of(204, [(b"Allow", x.runtime.methods)], b""), GATEWAY_ANSWERED)
    return -2


cdef int answer_health(Exchange x) except -1:
    """The health path: 200 while requests are welcome, 503 from the beginning of a drain on."""
    cdef list fields = [(b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store")]
    if x.engine.ready:
        x.respond(answer_of(200, fields, b"ok\n"), GATEWAY_ANSWERED)
    else:
        x.respond(answer_of(503, fields, b"draining\n"), GATEWAY_ANSWERED)
    return -2


cdef Answer problem_answer(Exchange x, int cause, int status=0):
    """What the client is told of a cause: a problem of RFC 9457, or a page for a browser where that is configured.

    ``status`` in the place of the cause's own.
    """
    cdef Head head = x.request
    cdef bint html = False
    cdef str path = x.path[:x.path_length].decode("ascii", "replace") if x.path_length else ""
    cdef str request_id = x.id[:x.id_length].decode("ascii") if x.id_length else ""
    cdef int i
    status = status or outcomes[cause].status
    if x.runtime.html_errors:
        for i in range(head.count):
            if head.fields[i].id == ACCEPT and b"text/html" in head.value_of(i):
                html = True
    kind, content = problem(status, x.refusal_detail or detail_of(cause), path, request_id, html)
    fields = [(b"Content-Type", kind), (b"Cache-Control", b"no-store")]
    if cause == NO_METHOD and x.path_length:
        fields.append((b"Allow", allowed(x)))
    if outcomes[cause].retry_after:
        fields.append((b"Retry-After", b"%d" % (x.refused_for or outcomes[cause].retry_after)))
    if x.refusal_fields is not None:
        fields.extend(x.refusal_fields)
    return answer_of(status, fields, content)
