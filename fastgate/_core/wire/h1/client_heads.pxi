# Heads of requests: how one is read, and refused. Part of client.pyx.


cdef int index_head(Engine engine, Exchange x) except -1:
    """Reads the fields of a complete head, which httptools has to take as well; OK, or the cause to refuse it for."""
    cdef Head head = x.request
    cdef int cause = head.index(True, x.runtime.field_names)
    if cause != OK:
        return cause
    if engine.accept_request(head, head.data, head.p - <const unsigned char*>PyBytes_AS_STRING(head.data)):
        return OK
    # Where one of our own rules is broken too, that is the one to name.
    cause = split_target(x)
    return cause if cause == BAD_TARGET or cause == BAD_HOST or cause == NO_HOST else BAD_REQUEST


cdef int refuse_start(Exchange x, bytes data, Py_ssize_t offset, int cause) except -1:
    """What begins at ``offset`` is no head."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data) + offset
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data) - offset
    # What was read of the request line can still be logged.
    x.request.data = data if x.request.target.length else None
    x.is_head = length > 5 and memcmp(p, b"HEAD ", 5) == 0
    identify_client(x)
    return x.refuse(other_protocol(p, length, cause))


cdef int refuse_head(Exchange x, int cause) except -1:
    """A complete head that cannot be taken."""
    cdef Head head = x.request
    if head.host >= 0 and is_host(head.p + head.fields[head.host].value, head.fields[head.host].value_length):
        # For the log.
        x.host = head.p + head.fields[head.host].value
        x.host_length = head.fields[head.host].value_length
    x.is_head = memcmp(head.p, b"HEAD ", 5) == 0
    identify_client(x)
    return x.refuse(cause)
