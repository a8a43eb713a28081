cdef extern from "routing/hosts.h" nogil:
    enum:
        HOST_ROOM
    # See there.
    Py_ssize_t end_of_host(const unsigned char* text, Py_ssize_t length)
    Py_ssize_t write_host(const unsigned char* text, Py_ssize_t length, char* out)
