"""A growable block of bytes that heads are assembled in: reserve once, then put without checks."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport realloc
from libc.string cimport memcpy


cdef struct Buffer:
    char* data
    Py_ssize_t length
    Py_ssize_t capacity


cdef inline int reserve(Buffer* buffer, Py_ssize_t more) except -1:
    """Makes room for ``more`` bytes behind what is there."""
    cdef Py_ssize_t capacity = buffer.length + more
    cdef char* data
    if capacity <= buffer.capacity:
        return 0
    capacity += capacity >> 1
    data = <char*>realloc(buffer.data, capacity)
    if data == NULL:
        raise MemoryError
    buffer.data = data
    buffer.capacity = capacity
    return 0


cdef inline void put(Buffer* buffer, const void* source, Py_ssize_t length) noexcept nogil:
    memcpy(buffer.data + buffer.length, source, length)
    buffer.length += length


cdef inline void put_bytes(Buffer* buffer, bytes source) noexcept:
    put(buffer, PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))


cdef inline void put_number(Buffer* buffer, unsigned long long number) noexcept nogil:
    """Decimal digits; at most 20."""
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    put(buffer, digits + at, 20 - at)


cdef inline void put_length(Buffer* buffer, unsigned long long length) noexcept nogil:
    """The one spelling of Content-Length that is passed on; 38 bytes at most."""
    put(buffer, b"Content-Length: ", 16)
    put_number(buffer, length)
    put(buffer, b"\r\n", 2)


cdef inline void put_hex(Buffer* buffer, unsigned long long number) noexcept nogil:
    """Lower-case hexadecimal digits without leading zeros; at most 16."""
    cdef char digits[16]
    cdef int at = 16
    cdef int digit
    while True:
        at -= 1
        digit = number & 15
        digits[at] = <char>(48 + digit if digit < 10 else 87 + digit)
        number >>= 4
        if number == 0:
            break
    put(buffer, digits + at, 16 - at)
