"""The gate of a route that is closed for a while, but for some addresses.

Theory of operation. The gate is in the chain of a route only while it is closed; its answer is made for each request.
"""

from cpython.bytes cimport PyBytes_AS_STRING

from fastgate._core.exchange.causes cimport MAINTENANCE
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Answer, Exchange, Gate, answer_of, problem_answer
from fastgate._core.routing.networks cimport NOWHERE, Networks


cdef class Maintenance(Gate):
    def __init__(self, *, status=503, retry_after=300, allow=(), content_type="", content=b""):
        self.allowed = Networks(allow)
        self.status = status
        self.retry_after = retry_after
        self.kind = content_type.encode("latin-1")
        self.content = content or None

    cdef int enter(self, Exchange x) except -1:
        cdef Answer answer
        if self.allowed.find(PyBytes_AS_STRING(x.client_ip)) != NOWHERE:
            return PASSED
        x.refused_for = self.retry_after
        if self.content is None:
            answer = problem_answer(x, MAINTENANCE, self.status)
        else:
            answer = answer_of(self.status, [
                (b"Content-Type", self.kind),
                (b"Cache-Control", b"no-store"),
                (b"Retry-After", b"%d" % self.retry_after),
            ], self.content)
        x.respond(answer, MAINTENANCE)
        return ENDED
