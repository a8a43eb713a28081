"""The index of heads for tests. The gateway never loads it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.causes cimport OK
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.head_index cimport index_of, open_head


cdef Head read(bytes text):
    cdef Head head = Head.__new__(Head)
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(text)
    if head.scan(p, PyBytes_GET_SIZE(text), False, 1 << 20) != PyBytes_GET_SIZE(text):
        raise ValueError("no head, or not only one")
    head.data = text
    head.p = p
    if head.index(False, 1) != OK:
        raise ValueError("the head is refused")
    return head


cdef dict shown(Head head):
    return {
        "status": head.status,
        "reason": head.p[head.reason.start:head.reason.start + head.reason.length],
        "major": head.major,
        "minor": head.minor,
        "length": head.length,
        "content_length": head.content_length,
        "seen": head.seen,
        "fields": [
            (
                head.p[head.fields[i].name:head.fields[i].name + head.fields[i].name_length],
                head.p[head.fields[i].value:head.fields[i].value + head.fields[i].value_length],
                head.fields[i].id, head.fields[i].flags,
            )
            for i in range(head.count)
        ],
    }


def read_answer(bytes head not None):
    return shown(read(head))


def index_of_answer(bytes head not None):
    return index_of(read(head))


def open_answer(bytes text not None, bytes index not None):
    cdef Head head = Head.__new__(Head)
    if not open_head(head, text, PyBytes_AS_STRING(index), PyBytes_GET_SIZE(index)):
        if head.count or head.data is not None or head.p != NULL:
            raise AssertionError("something is left of a head that was not opened")
        return None
    return shown(head)
