from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer

cdef enum:
    MOST_TAGS = 64                     # of an answer; what has more is not stored
    TOO_MANY_TAGS = -1


cdef struct Tag:
    const unsigned char* p
    Py_ssize_t length
    bint group                         # of Cache-Groups: it belongs to an origin, and has escapes


cdef struct Tags:
    int count
    Tag tag[64]


cdef int read_tags(Head answer, Tags* tags) noexcept
cdef int read_groups(Head answer, const char* name, Py_ssize_t length, Tags* tags) noexcept
cdef int put_tag(Buffer* buffer, const Tag* tag) except -1
