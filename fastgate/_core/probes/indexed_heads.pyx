"""The index of heads for tests. The gateway never loads it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastgate._core.exchange.causes cimport OK
from fastgate._core.exchange.head cimport Head, same
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


def same_name(bytes text not None, bytes lower not None):
    """Whether a text is a name that is given in lower case. Both lie in blocks of just their size."""
    cdef Py_ssize_t length = len(text)
    cdef Py_ssize_t lower_length = len(lower)
    cdef unsigned char* one = <unsigned char*>malloc(length or 1)
    cdef char* other = <char*>malloc(lower_length or 1)
    try:
        if one == NULL or other == NULL:
            raise MemoryError
        memcpy(one, PyBytes_AS_STRING(text), length)
        memcpy(other, PyBytes_AS_STRING(lower), lower_length)
        return same(one, length, other, lower_length)
    finally:
        free(one)
        free(other)
