from libc.stdint cimport int64_t

from fastgate._core.exchange.head cimport Head


cdef enum Wish:
    """What a request asks for beside the whole, as bits."""
    HAS_CONDITION = 1                  # If-None-Match, If-Modified-Since
    HAS_ORIGIN_CONDITION = 2           # If-Match, If-Unmodified-Since, and conditions of other methods
    HAS_RANGE = 4


cdef enum Answered:
    """What a client gets of a stored answer."""
    THE_WHOLE = 0
    NOT_MODIFIED = 1                   # 304
    A_PART = 2                         # 206
    NOT_SATISFIABLE = 3                # 416
    NOT_HERE = 4                       # the request passes by: only the origin may evaluate its conditions


cdef struct Selection:
    int answered                       # Answered
    int64_t first                      # of A_PART: its first and last byte
    int64_t last


# A validator: an entity tag without its quotes.
cdef struct EntityTag:
    const unsigned char* p
    Py_ssize_t length
    bint weak


cdef int wishes(Head request) noexcept
cdef void select(
    Head request, Head stored, int64_t length, int64_t received, int64_t now, Selection* selection
) noexcept
cdef bint in_not_modified(Head stored, int field) noexcept
cdef bint read_entity_tag(Head head, EntityTag* tag) noexcept
cdef bint same_tag(const EntityTag* one, const EntityTag* other, bint strong) noexcept nogil
cdef bint same_representation(Head stored, Head update) noexcept
cdef bint agrees(Head stored, Head answer, int64_t length) noexcept
