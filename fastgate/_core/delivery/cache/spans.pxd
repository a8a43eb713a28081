"""Texts of heads as pointer and length: what all modules of this room compare and skip with.

Nothing here writes, allocates or makes a Python object.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

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


cdef inline bint equal_bytes(const void* one, const void* other, Py_ssize_t length) noexcept nogil:
    """As memcmp, for what mostly is short and equal. A length below 0 is none."""
    cdef uint64_t a, b, c, d
    cdef uint32_t e, f, g, h
    if length > 16:
        return memcmp(one, other, length) == 0
    if length >= 8:
        memcpy(&a, one, 8)
        memcpy(&b, other, 8)
        memcpy(&c, <const char*>one + length - 8, 8)
        memcpy(&d, <const char*>other + length - 8, 8)
        return (a ^ b | c ^ d) == 0
    if length >= 4:
        memcpy(&e, one, 4)
        memcpy(&f, other, 4)
        memcpy(&g, <const char*>one + length - 4, 4)
        memcpy(&h, <const char*>other + length - 4, 4)
        return (e ^ f | g ^ h) == 0
    while length > 0:
        length -= 1
        if (<const char*>one)[length] != (<const char*>other)[length]:
            return False
    return True


cdef inline bint exactly(
    const unsigned char* text, Py_ssize_t length, const char* other, Py_ssize_t other_length
) noexcept nogil:
    return length == other_length and memcmp(text, other, length) == 0
