"""A growable block of bytes that heads, keys and log lines are assembled in.

Theory of operation
-------------------
`put` and its kin look themselves whether their bytes fit and make room where they do not: no caller has to count, and a
wrong count cannot write beyond the block. Text that is made byte by byte asks once, for the most that it can need, with
`room`, writes there, and says with `filled` where it ended; who asks and who writes are one function, and the length
that is asked for comes from the spans that are written. `filled` ends the process where that was not kept. Debug and
sanitizer builds guard every byte behind the room. See `buffer.h` for how, and docs/memory-writes.md for all users.

A `put` costs a comparison beside the copy. The memory is kept for the next use; who owns a buffer frees it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t


cdef extern from "memory/buffer.h":
    ctypedef struct Buffer:
        char* data
        Py_ssize_t length
        Py_ssize_t capacity
        Py_ssize_t promised

    int reserve "buffer_reserve" (Buffer* buffer, Py_ssize_t more) except -1
    int put "buffer_put" (Buffer* buffer, const void* source, Py_ssize_t length) except -1
    char* room "buffer_room" (Buffer* buffer, Py_ssize_t most) except NULL
    void filled "buffer_filled" (Buffer* buffer, const char* end)
    void free_buffer "buffer_free" (Buffer* buffer)

    # Decimal digits, at most 20.
    char* write_number(char* at, uint64_t number)
    int put_number "buffer_put_number" (Buffer* buffer, uint64_t number) except -1
    # Lower-case hexadecimal digits without leading zeros, at most 16.
    int put_hex "buffer_put_hex" (Buffer* buffer, uint64_t number) except -1


cdef inline int put_bytes(Buffer* buffer, bytes source) except -1:
    return put(buffer, PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))


cdef inline int put_length(Buffer* buffer, uint64_t length) except -1:
    """The one spelling of Content-Length that is passed on."""
    put(buffer, b"Content-Length: ", 16)
    put_number(buffer, length)
    return put(buffer, b"\r\n", 2)
