"""The answers that the gateway gives by itself: declared in exchange.pxd, part of exchange.pyx."""

cdef Answer answer_of(int code, list fields, bytes content):
    cdef Answer answer = Answer.__new__(Answer)
    answer.code = code
    answer.fields = fields
    answer.content = content
    return answer


cdef Answer copy_of_answer(Answer answer):
    """The same answer; its fields can be changed without the other's."""
    cdef Answer copy = answer_of(answer.code, list(answer.fields), answer.content)
    copy.removed = answer.removed
    return copy


cdef Answer final_answer(Exchange x, Answer answer, bint given):
    """An answer with what this exchange carries and what the route's edits make of it; None: as `AnswerEdits.arrived`.

    ``given``: by the route or its policies.
    """
    cdef AnswerEdits edits = <AnswerEdits>x.route.edits if x.route is not None else None
    if edits is None and x.carried is None:
        return answer
    answer = copy_of_answer(answer)
    if x.carried is not None:
        answer.fields.extend(x.carried)
    return answer if edits is None else edits.own(x, answer, given)


cdef Answer with_refusal(Exchange x, int cause, Answer answer):
    """An answer to a refusal, with the fields that tell the client what to do about it, unless it says them itself."""
    cdef list fields = []
    cdef bytes name
    cdef tuple pair
    if answer.code < 400:
        # No refusal any more, but a redirect to where credentials are given, for one.
        return answer
    if cause == NO_METHOD and x.path_length:
        fields.append((b"Allow", allowed(x)))
    if outcomes[cause].retry_after:
        fields.append((b"Retry-After", b"%d" % (x.refused_for or outcomes[cause].retry_after)))
    if x.refusal_of == cause and x.refusal_fields is not None:
        fields.extend(x.refusal_fields)
    if not fields:
        return answer
    answer = copy_of_answer(answer)
    said = {(<bytes>pair[0]).lower() for pair in answer.fields}
    said.update(answer.removed or ())
    for pair in fields:
        name = pair[0]
        if name.lower() not in said:
            answer.fields.append(pair)
    return answer


cdef int answer_options(Exchange x) except -1:
    """OPTIONS * (RFC 9110 section 9.3.7)."""
    x.respond(answer_of(204, [(b"Allow", x.runtime.methods)], b""), GATEWAY_ANSWERED)
    return -2


cdef int answer_allowed(Exchange x) except -1:
    """OPTIONS that is not to go any further (RFC 9110 section 7.6.2)."""
    x.respond(answer_of(204, [(b"Allow", allowed(x))], b""), GATEWAY_ANSWERED)
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
    """What the client is told of a cause, in the shape of the first `Problems` that has an answer for it.

    ``status`` in the place of the cause's own.
    """
    cdef Runtime runtime = x.runtime
    cdef list shapes = [x.route.problems] if x.route is not None and x.route.problems is not None else []
    cdef Answer answer = None
    cdef bytes prefix
    status = status or outcomes[cause].status
    if runtime.problems_below is not None:
        for prefix, shape in runtime.problems_below:
            if is_below(x, prefix):
                shapes.append(shape)
    shapes.extend(runtime.problems)
    for shape in shapes:
        try:
            answer = (<Problems?>shape).answer(x, cause, status)
        except Exception as error:
            text = f"{type(shape).__name__} could not answer {reason_of(cause)}: {error}"
            x.engine.log("error", text, exception=error)
        if answer is not None:
            return with_refusal(x, cause, answer)
    return with_refusal(x, cause, answer_of(status, [(b"Cache-Control", b"no-store")], b""))


cdef bint is_below(Exchange x, bytes prefix) noexcept:
    """Whether the path that was asked for is this one, which has no slash at its end, or below it; not: none was read.
    """
    cdef Py_ssize_t length = PyBytes_GET_SIZE(prefix)
    return x.path_length >= max(length, 1) and memcmp(x.path, PyBytes_AS_STRING(prefix), length) == 0 \
        and (x.path_length == length or x.path[length] == c"/")


cdef str refusal_sentence(Exchange x, int cause):
    """What the client is told of a cause, in one sentence."""
    return (x.refusal_detail if x.refusal_of == cause else None) or detail_of(cause)
