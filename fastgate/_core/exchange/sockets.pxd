cdef bint is_closing(int fd) noexcept
cdef bint is_reset(int fd) noexcept
cdef long unacknowledged(int fd) noexcept
cdef bint is_quiet(int fd) noexcept
cdef bint is_plain(object transport) noexcept
cdef Py_ssize_t send_one(int fd, const char* data, Py_ssize_t length) noexcept
cdef Py_ssize_t send_now(
    int fd, const char* head, Py_ssize_t head_length, const char* body, Py_ssize_t length
) noexcept
cdef int reset_on_close(object transport) except -1
cdef bytes read_waiting(int fd)
