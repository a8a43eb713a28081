"""Addresses in the one form in which stored answers are purged by them: ``scheme://host[:port]path[?query]``.

Theory of operation. Whoever stores and whoever purges must write the same bytes. The scheme is in lower case; the host
is in the form that `write_host` makes; the port is there unless it is the scheme's own; the path is in the normal form
in which routes are matched; a query is there only when the request has one. A route that leaves parameters out asks for
another query than its clients name: both addresses lead to the answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastgate._core.delivery.cache.key cimport put_query
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.exchange.head cimport is_host, normal_host
from fastgate._core.memory.buffer cimport Buffer, free_buffer


cpdef bytes origin_of(bytes scheme, bytes host):
    """The beginning of an address, as far as its path; None: the host is not one.

    ``scheme`` is in lower case, ``host`` may have a port.
    """
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(host)
    if not is_host(p, PyBytes_GET_SIZE(host)):
        return None
    return scheme + b"://" + normal_host(p, PyBytes_GET_SIZE(host), scheme)


cpdef bytes query_of(CacheRules rules, bytes query):
    """A query as a route with these rules forwards it; None: nothing is left of it."""
    cdef Buffer buffer
    buffer.data = NULL
    buffer.length = buffer.capacity = buffer.promised = 0
    try:
        if not put_query(&buffer, rules, <const unsigned char*>PyBytes_AS_STRING(query), PyBytes_GET_SIZE(query)):
            return None
        return PyBytes_FromStringAndSize(buffer.data, buffer.length)
    finally:
        free_buffer(&buffer)
