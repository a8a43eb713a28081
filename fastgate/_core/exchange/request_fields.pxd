from fastgate._core.memory.buffer cimport Buffer, put, put_bytes
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.field_values cimport edited_host
from fastgate._core.exchange.route cimport HOST_CLIENT, HOST_LITERAL, OWN_HOST


cdef int put_request_fields(Exchange x, Buffer* buffer) except -1
cdef bytes port_of(bytes host, bytes scheme)


cdef inline int put_target(Exchange x, Buffer* buffer) except -1:
    """Path and query of the request that goes out."""
    if x.forward_path is not None:
        put_bytes(buffer, x.forward_path)
    else:
        put(buffer, x.path, x.path_length)
    if x.has_query:
        put(buffer, b"?", 1)
        put(buffer, x.query, x.query_length)
    return 0


cdef inline int put_authority(Exchange x, bytes authority, Buffer* buffer) except -1:
    """The host that the upstream is asked for; ``authority`` is its own."""
    if x.request_withheld & OWN_HOST:
        return put_bytes(buffer, edited_host(x))
    if x.route.host_mode == HOST_CLIENT and x.host_length:
        return put(buffer, x.host, x.host_length)
    return put_bytes(buffer, x.route.host if x.route.host_mode == HOST_LITERAL else authority)
