"""Parameters of a query, found by their names: where credentials stand, and what no log may have.

Theory of operation. A query is read as it was sent, parameter by parameter; names are compared percent-decoded, because
whoever is behind the gateway decodes them too. Nothing is copied but by `without_parameter`. Cost: O(length).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr


cdef bint find_parameter(
    const unsigned char* query, Py_ssize_t length, bytes name, Py_ssize_t at, Parameter* found
) noexcept:
    """The first parameter of this name that begins at ``at`` or later, however its name is spelled."""
    cdef const unsigned char* wanted = <const unsigned char*>PyBytes_AS_STRING(name)
    cdef Py_ssize_t wanted_length = PyBytes_GET_SIZE(name)
    cdef const unsigned char* stop
    cdef Py_ssize_t i, matched, end
    while at < length:
        stop = <const unsigned char*>memchr(query + at, b"&", length - at)
        end = stop - query if stop != NULL else length
        i = at
        matched = 0
        while i < end and query[i] != b"=" and matched < wanted_length and decoded(query, end, &i) == wanted[matched]:
            matched += 1
        if matched == wanted_length and (i == end or query[i] == b"="):
            found.start = at
            found.value = i + 1 if i < end else end
            found.end = end
            return True
        at = end + 1
    return False


cdef int decoded(const unsigned char* text, Py_ssize_t length, Py_ssize_t* at) noexcept nogil:
    """The byte at ``at``, percent-decoded; ``at`` moves behind it. A "%" without two digits stands for itself.

    "+" does too: no credential has spaces, but many have a plus.
    """
    cdef Py_ssize_t i = at[0]
    cdef int high, low
    if text[i] == b"%" and length - i >= 3:
        high = digit(text[i + 1])
        low = digit(text[i + 2])
        if high >= 0 and low >= 0:
            at[0] = i + 3
            return high << 4 | low
    at[0] = i + 1
    return text[i]


cdef inline int digit(unsigned char byte) noexcept nogil:
    if 0x30 <= byte <= 0x39:
        return byte - 0x30
    byte |= 0x20
    return byte - 0x57 if 0x61 <= byte <= 0x66 else -1


cdef bytes without_parameter(const unsigned char* query, Py_ssize_t length, bytes name):
    """A query without the parameters of this name; the rest is as it was. None: it has none of them."""
    cdef Parameter parameter
    cdef Py_ssize_t at = 0
    cdef list kept = []
    cdef bytes left
    while find_parameter(query, length, name, at, &parameter):
        kept.append(query[at:parameter.start])
        at = parameter.end + 1
    if not kept:
        return None
    if at < length:
        kept.append(query[at:length])
        return b"".join(kept)
    left = b"".join(kept)
    # It ends with the "&" that led to the last of them.
    return left[:len(left) - 1] if left else left
