# One parameter of a query, from its first byte to the "&" behind it or the end.
cdef struct Parameter:
    Py_ssize_t start
    Py_ssize_t value
    Py_ssize_t end


cdef bint find_parameter(
    const unsigned char* query, Py_ssize_t length, bytes name, Py_ssize_t at, Parameter* found
) noexcept
cdef bytes without_parameter(const unsigned char* query, Py_ssize_t length, bytes name)
cdef int decoded(const unsigned char* text, Py_ssize_t length, Py_ssize_t* at) noexcept nogil
