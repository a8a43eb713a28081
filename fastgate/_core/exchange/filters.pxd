from fastgate._core.exchange.exchange cimport BodyFilter, BodyRule, Exchange, Hook


cdef class HookFilter(BodyFilter):
    cdef Hook hook
    cdef bint of_request


cdef class HookRule(BodyRule):
    cdef HookFilter filter


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
cdef int lose_length(Exchange x) except -1
