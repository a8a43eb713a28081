cdef bint is_closing(int fd) noexcept
cdef bint is_reset(int fd) noexcept
cdef long unacknowledged(int fd) noexcept
cdef bint is_quiet(int fd) noexcept
cdef int reset_on_close(object transport) except -1
cdef bytes read_waiting(int fd)
