"""What the answers of a route say of its end: Deprecation (RFC 9745), Sunset (RFC 8594), and a link to read about it.

Theory of operation. A stamp, so every answer has the fields, refusals and the gateway's own errors among them. The
lines are made when the route is compiled. An upstream that gives a date itself knows better: that one stays. A link is
added, beside those that the answer has.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from fastgate._core.exchange.exchange cimport Exchange, Stamp
from fastgate._core.exchange.head cimport DROPPED, Field, Head, same
from fastgate._core.memory.buffer cimport Buffer, put_bytes


cdef class DeprecationFields(Stamp):
    cdef tuple dated                   # (lower-case name, line): an answer that has the field keeps its own
    cdef bytes link                    # its line; empty: there is none

    def __init__(self, dated, *, link=""):
        self.dated = tuple((name.lower().encode("ascii"), f"{name}: {value}\r\n".encode()) for name, value in dated)
        self.link = f"Link: {link}\r\n".encode("ascii") if link else b""

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        cdef bytes name, line
        for name, line in self.dated:
            if not says(x, extra, name):
                put_bytes(buffer, line)
        put_bytes(buffer, self.link)
        return extra

    cdef int name(self, Exchange x, dict names) except -1:
        names.update(self.dated)
        if self.link:
            names[b"link"] = None
        return 0


cdef bint says(Exchange x, list extra, bytes name) except -1:
    """Whether the answer has the field already."""
    cdef Head head = x.response
    cdef Field* field
    cdef int i
    if x.answer is None:
        for i in range(head.count):
            field = &head.fields[i]
            if not field.flags & DROPPED and same(
                head.p + field.name, field.name_length, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)
            ):
                return True
    if extra is not None:
        for pair in extra:
            if (<bytes>pair[0]).lower() == name:
                return True
    return False
