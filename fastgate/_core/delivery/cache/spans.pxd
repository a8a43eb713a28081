"""Texts of heads as pointer and length: what all modules of this room compare and skip with.

Nothing here writes, allocates or makes a Python object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from fastgate._core.exchange.head cimport Field, Head, same

cdef extern from *:
    """
    /* The bytes of a token, a bit each (RFC 9110 section 5.6.2). */
    static const unsigned long long fg_tchar[4] = {0x03ff6cfa00000000ull, 0x57ffffffc7fffffeull, 0, 0};
    """
    const unsigned long long fg_tchar[4]


cdef inline bint is_tchar(unsigned char c) noexcept nogil:
    """A byte of a token (RFC 9110 section 5.6.2)."""
    return fg_tchar[c >> 6] >> (c & 63) & 1


cdef inline unsigned char lower(unsigned char c) noexcept nogil:
    return c + 32 if b"A" <= c <= b"Z" else c


cdef inline bint blank(unsigned char c) noexcept nogil:
    """Optional white space (RFC 9110 section 5.6.3)."""
    return c == b" " or c == b"\t"


cdef inline Py_ssize_t skip_blank(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    while i < length and blank(p[i]):
        i += 1
    return i


cdef inline Py_ssize_t skip_token(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    while i < length and is_tchar(p[i]):
        i += 1
    return i


cdef inline Py_ssize_t end_of_quoted(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """The closing quote of the quoted-string whose opening quote is at ``i``; -1: it is not closed."""
    i += 1
    while i < length:
        if p[i] == b'"':
            return i
        i += 2 if p[i] == b"\\" else 1
    return -1


cdef inline bint exactly(
    const unsigned char* text, Py_ssize_t length, const char* other, Py_ssize_t other_length
) noexcept nogil:
    return length == other_length and memcmp(text, other, length) == 0


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
    cdef const unsigned char* field
    cdef int i
    if not (head.names_again if start else names_in(head)) & name_bit(<const unsigned char*>name, length):
        return -1
    for i in range(start, head.count):
        if head.fields[i].name_length == length:
            field = head.p + head.fields[i].name
            if (field[length - 1] ^ name[length - 1]) & 31 == 0 and same(field, length, name, length):
                return i
    return -1


cdef inline int next_known(Head head, int id, int start) noexcept:
    """The next field of a name that the head knows, from ``start`` on; -1: none."""
    cdef int i
    if head.seen >> id & 1:
        for i in range(start, head.count):
            if head.fields[i].id == id:
                return i
    return -1
