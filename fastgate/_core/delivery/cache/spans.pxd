"""Texts of heads as pointer and length: what all modules of this room compare and skip with.

Nothing here writes, allocates or makes a Python object.
"""

from libc.string cimport memcmp

from fastgate._core.exchange.head cimport Head, same


cdef inline bint is_tchar(unsigned char c) noexcept nogil:
    """A byte of a token (RFC 9110 section 5.6.2)."""
    if b"a" <= c <= b"z" or b"A" <= c <= b"Z" or b"0" <= c <= b"9":
        return True
    return c in (b"!", b"#", b"$", b"%", b"&", b"'", b"*", b"+", b"-", b".", b"^", b"_", b"`", b"|", b"~")


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


cdef inline int next_line(Head head, const char* name, Py_ssize_t length, int start) noexcept:
    """The next field of this lower-case name, from ``start`` on; -1: none.

    Fields that Connection names are found as well: they end here, so they are meant for this gateway. An answer whose
    Connection names Cache-Control does not become one that may be stored.
    """
    cdef int i
    for i in range(start, head.count):
        if head.fields[i].name_length == length and same(head.p + head.fields[i].name, length, name, length):
            return i
    return -1
