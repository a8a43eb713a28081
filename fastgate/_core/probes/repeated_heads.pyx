"""Heads that are not read again, for tests. The gateway never loads it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.causes cimport OK
from fastgate._core.exchange.head cimport Head
from fastgate._core.wire.h1.repeats cimport Known, Repeats


cdef Head read(bytes text, int field_names):
    """None: it is refused, or more stands behind it."""
    cdef Head head = Head.__new__(Head)
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = head.scan(p, PyBytes_GET_SIZE(text), True, 1 << 20)
    if size <= 0 or size != PyBytes_GET_SIZE(text):
        return None
    head.data = text
    if head.index(True, field_names) != OK:
        return None
    return head


cdef dict shown(Head head):
    return {
        "method": (head.method.start, head.method.length),
        "target": (head.target.start, head.target.length),
        "version": (head.major, head.minor, head.minor_sent),
        "length": head.length,
        "framing": (head.content_length, head.chunked),
        "connection": (head.close, head.keep_alive, head.connection, head.upgrade, head.upgrade_named, head.expect),
        "host": head.host,
        "has_forwarded": head.has_forwarded,
        "seen": head.seen,
        "fields": [
            (
                head.fields[i].name, head.fields[i].name_length, head.fields[i].value, head.fields[i].value_length,
                head.fields[i].id, head.fields[i].flags,
            )
            for i in range(head.count)
        ],
    }


def read_and_repeated(bytes first not None, bytes second not None, int field_names, Py_ssize_t most):
    cdef Repeats repeats = Repeats()
    cdef Head kept = read(first, field_names)
    cdef Head head = read(second, field_names)
    cdef Head again = Head.__new__(Head)
    cdef int place
    cdef Py_ssize_t size
    if kept is None:
        return None
    place = repeats.keep(kept)
    if place < 0:
        return None
    size = (<Known>repeats.known[place]).read(
        again, <const unsigned char*>PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second), most
    )
    return shown(head) if head is not None else None, shown(again) if size else None
