from fastgate._core.exchange.exchange cimport Exchange


cdef enum Variable:
    CLIENT_IP = 0
    REQUEST_ID = 1
    REQUEST_HOST = 2
    REQUEST_PATH = 3
    PARAMETER = 4
    CLAIM = 5
    KEY_ID = 6


cdef class Template:
    cdef readonly tuple parts          # bytes, or (variable, argument)


cdef list with_values(Exchange x, tuple fields, list extra, bint in_url)
cdef bytes edited_host(Exchange x)
