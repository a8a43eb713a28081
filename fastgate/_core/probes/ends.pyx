"""Observers and shapes of errors for tests: what is told at the end of an exchange. The gateway never loads it.

Theory of operation. `Notes` is an observer that writes down each exchange that it is told of; one whose name begins
with "!" raises then. `Shape` gives the gateway's own errors a shape of its own, or none where it is told so.
"""

from fastgate._core.exchange.causes cimport reason_of
from fastgate._core.exchange.exchange cimport Answer, Exchange, answer_of, refusal_sentence


cdef class Notes(Observer):
    def __init__(self, diary, name):
        self.diary = diary
        self.name = name

    cdef int finished(self, Exchange x) except -1:
        route = x.route.name if x.route is not None else None
        self.diary.append((self.name, reason_of(x.cause), x.over, x.debts is None, x.request.count, route))
        if self.name.startswith("!"):
            raise ValueError(self.name)
        return 0


cdef class Shape(Problems):
    def __init__(self, name, fields=(), declines=False):
        self.name = name
        self.fields = [(key.encode(), value.encode()) for key, value in fields]
        self.declines = declines

    cdef Answer answer(self, Exchange x, int cause, int status):
        if self.declines:
            return None
        if self.name.startswith("!"):
            raise ValueError(self.name)
        where = x.route.name if x.route is not None else "no route"
        head = "head" if x.request.data is not None else "no head"
        content = f"{self.name}: {reason_of(cause)} {status}, {where}, {head}: {refusal_sentence(x, cause)}".encode()
        return answer_of(status, list(self.fields), content)
