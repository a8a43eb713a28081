from libc.stdint cimport int64_t


cdef bint read_date(const unsigned char* p, Py_ssize_t length, int64_t now, int64_t* seconds) noexcept
