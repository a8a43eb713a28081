from fastgate._core.exchange.exchange cimport Problems


cdef class ProblemDetails(Problems):
    pass


cdef class HtmlPages(Problems):
    pass
