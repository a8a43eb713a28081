"""Lines of fields of a head by their name, also of names that it does not know.

Nothing here writes beyond the head, allocates or makes a Python object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from fastgate._core.exchange.head cimport Field, Head, same


cdef inline uint64_t name_bit(const unsigned char* name, Py_ssize_t length) noexcept nogil:
    """One of 64 for each name, by its length and its first and last letter, in any case. Names that are looked for here
    hardly ever have that of another one that heads often have.
    """
    return <uint64_t>1 << ((5 * length + 2 * name[0] + 16 * name[length - 1]) & 63)


cdef inline uint64_t bits_of(names) except? 0:
    """Those of names in lower case, as bytes."""
    cdef uint64_t bits = 0
    cdef bytes name
    for name in names:
        bits |= name_bit(<const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    return bits


cdef inline uint64_t names_in(Head head) noexcept:
    """The bits of all names of a head; ``head.names_again`` has those that several fields have.

    Who looks for a dozen names that are not there looks at the fields once.
    """
    cdef uint64_t names = head.names
    cdef uint64_t again = 0
    cdef uint64_t bit
    cdef const unsigned char* p = head.p
    cdef const Field* field = head.fields
    cdef const Field* end = field + head.count
    if names == 0:
        while field < end:
            bit = name_bit(p + field.name, field.name_length)
            again |= names & bit
            names |= bit
            field += 1
        head.names = names
        head.names_again = again
    return names


cdef inline int next_line(Head head, const char* name, Py_ssize_t length, int start) noexcept:
    """The next field of this lower-case name, from ``start`` on, which is 0 or behind another one of it; -1: none.

    Fields that Connection names are found as well: they end here, so they are meant for this gateway. An answer whose
    Connection names Cache-Control does not become one that may be stored.
    """
    cdef const unsigned char* name_at
    cdef const Field* field = head.fields + start
    cdef const Field* end = head.fields + head.count
    cdef uint64_t names = names_in(head)
    if not (head.names_again if start else names) & name_bit(<const unsigned char*>name, length):
        return -1
    while field < end:
        if field.name_length == length:
            name_at = head.p + field.name
            if (name_at[length - 1] ^ name[length - 1]) & 31 == 0 and same(name_at, length, name, length):
                return <int>(field - head.fields)
        field += 1
    return -1


cdef inline int next_known(Head head, int id, int start) noexcept:
    """The next field of a name that the head knows, from ``start`` on; -1: none."""
    cdef const Field* field = head.fields + start
    cdef const Field* end = head.fields + head.count
    if head.seen >> id & 1:
        while field < end:
            if field.id == id:
                return <int>(field - head.fields)
            field += 1
    return -1
