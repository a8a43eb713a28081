from fastgate._core.exchange.exchange cimport Answer, BodyFilter, Exchange, OpenFilters


cdef class Chain:
    """The filters of one response body, and how far they are."""
    cdef tuple rules
    cdef int opened                    # of the rules that have seen the head
    cdef list filters                  # at work, but for `slow`
    cdef OpenFilters open
    cdef BodyFilter slow               # the one behind them that takes slices
    cdef int cause                     # how the exchange ends when the body has
    cdef str working                   # the name of the one that was called last
    cdef bytes rest                    # a piece on its way through ``slow``
    cdef Py_ssize_t offset
    cdef bint rest_last
    cdef list waiting                  # (piece, last) that came meanwhile
    cdef Exchange exchange             # while a turn of the loop is awaited


# for the exchange
cdef bint begin_request(Exchange x) except -1
cdef bytes filter_request(Exchange x, bytes piece, bint last)
cdef int begin_response(Exchange x, bytes piece, bint last, int cause) except -1
cdef int begin_answer(Exchange x, Answer answer, int cause) except -1
cdef int filter_response(Exchange x, bytes piece, bint last) except -1

# for rules: the response's head, whoever made it
cdef bytes field_of(Exchange x, bytes name)
cdef list fields_of(Exchange x, bytes name)
cdef int drop_field(Exchange x, bytes name) except -1
cdef int put_field(Exchange x, bytes name, bytes value) except -1
cdef bint has_token(list values, bytes token)
cdef bytes media_type(bytes value)
cdef bint transformable(Exchange x)
cdef int replace_body(Exchange x) except -1
cdef int weaken_tag(Exchange x) except -1
cdef bint bodiless(Exchange x) noexcept
cdef int lose_length(Exchange x) except -1
