"""Answers that a route gives by itself: fixed ones, and redirects."""

from urllib.parse import quote_from_bytes

from fastgate._core.exchange.causes cimport BAD_VALUE, ROUTE_ANSWERED
from fastgate._core.exchange.exchange cimport Delivery, Exchange, answer_of
from fastgate._core.exchange.field_values cimport with_values

cdef str _URL = "/%:@!$&'()*+,;=-._~?#[]"


cdef class Fixed(Delivery):
    """The same answer to every request. Field values may be templates."""

    def __init__(self, *, status=200, fields=(), content=b"", keeps_query=False):
        self.status = status
        self.fields = tuple((name.encode("ascii"), value) for name, value in fields)
        self.content = content
        self.keeps_query = keeps_query

    cdef int begin(self, Exchange x) except -1:
        cdef list fields = with_values(x, self.fields, [], self.keeps_query)
        cdef bytes name, value
        if fields is None:
            return x.refuse(BAD_VALUE)
        if self.keeps_query:
            name, value = fields[0]
            # A path may hold what a URL cannot; and two slashes in front would lead to another host.
            value = quote_from_bytes(value, safe=_URL).encode()
            if value.startswith(b"/"):
                value = b"/" + value.lstrip(b"/")
            if x.has_query:
                value, mark, fragment = value.partition(b"#")
                if b"?" not in value:
                    value += b"?" + x.query[:x.query_length]
                value += mark + fragment
            fields[0] = name, value
        return x.respond(answer_of(self.status, fields, self.content), ROUTE_ANSWERED)
