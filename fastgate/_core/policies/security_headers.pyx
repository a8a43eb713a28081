"""Security headers of a route, on every answer, whoever gave it.

Theory of operation. A stamp: it looks once at the names that are there; what the answer says itself stays or goes, as
configured, and the lines, assembled when the route was compiled, are copied in one piece where none of them is there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport DROPPED, Field, Head, same
from fastgate._core.exchange.hops cimport Hops
from fastgate._core.memory.buffer cimport Buffer, put_bytes

cdef bytes _HSTS = b"strict-transport-security"


cdef class SecurityFields:
    def __init__(self, fields, *, override=False):
        cdef bytes name
        cdef list kept = [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]
        self.names = tuple(name.lower() for name, _ in kept)
        self.lines = tuple(b"%b: %b\r\n" % pair for pair in kept)
        self.override = override
        self.block = b"".join(self.lines)
        for name in self.names:
            self.lengths |= <uint64_t>1 << PyBytes_GET_SIZE(name)
        # Never over http (RFC 6797, section 7.2).
        self.hsts = self.bit_of(_HSTS, PyBytes_GET_SIZE(_HSTS))
        self.plain_block = b"".join([line for line in self.lines if not line.lower().startswith(_HSTS)])

    cdef unsigned int bit_of(self, const unsigned char* name, Py_ssize_t length) noexcept:
        """The bit of one of these fields; 0: another field."""
        cdef bytes own
        cdef unsigned int bit = 1
        if length >= 64 or not self.lengths >> length & 1:
            return 0
        for own in self.names:
            if same(name, length, PyBytes_AS_STRING(own), PyBytes_GET_SIZE(own)):
                return bit
            bit <<= 1
        return 0

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        cdef Head head = x.response
        cdef unsigned int present = 0
        cdef unsigned int bit
        cdef bint secure
        cdef Field* field
        cdef bytes name, line
        cdef tuple pair
        cdef list left
        cdef int i
        if x.answer is None:
            for i in range(head.count):
                field = &head.fields[i]
                if field.name_length < 64 and self.lengths >> field.name_length & 1 and not field.flags & DROPPED:
                    bit = self.bit_of(head.p + field.name, field.name_length)
                    if bit and self.override:
                        field.flags |= DROPPED
                    else:
                        present |= bit
        if extra:
            left = []
            for pair in extra:
                name = pair[0]
                bit = self.bit_of(<const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
                if not (bit and self.override):
                    present |= bit
                    left.append(pair)
            extra = left
        secure = not self.hsts or came_by_https(x)
        if not present:
            put_bytes(buffer, self.block if secure else self.plain_block)
            return extra
        bit = 1
        for line in self.lines:
            if not present & bit and (secure or bit != self.hsts):
                put_bytes(buffer, line)
            bit <<= 1
        return extra

cdef bint came_by_https(Exchange x) noexcept:
    """Whether the client's own connection is secure: this one, or as a trusted proxy says, the one before it."""
    cdef bytes scheme = x.client.peer.scheme
    if x.hops is not None and (<Hops>x.hops).scheme is not None:
        scheme = (<Hops>x.hops).scheme
    return same(<const unsigned char*>PyBytes_AS_STRING(scheme), PyBytes_GET_SIZE(scheme), b"https", 5)
