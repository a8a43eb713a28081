"""Debts, stamps and steps for tests: what an exchange settles, and when, as Python sees it. The gateway never loads it.

Theory of operation. `Owes` is a gate that owes one debt for each of its names and writes down when each is settled; a
name that begins with "!" raises then. With ``twice`` each settles the one before it as well, which is a fault. `Marks`
is a stamp that puts one field. `Waits` is a gate that waits without a task, until it is told to go on, is left, or is
late.
"""

from libc.stdint cimport uint32_t

from fastgate._core.exchange.causes cimport QUEUE_TIMEOUT, reason_of
from fastgate._core.exchange.exchange cimport LATER, PASSED, PHASE_LATER, PHASE_REQUEST, Exchange, advance
from fastgate._core.memory.buffer cimport Buffer, put_bytes


cdef class Owed(Debt):
    cdef int settle(self, Exchange x, int cause) except -1:
        self.diary.append((self.name, reason_of(cause), x.over, x.request.count))
        if self.other is not None:
            self.other.settle(x, cause)
        if self.name.startswith("!"):
            raise ValueError(self.name)
        return 0


cdef class Owes(Gate):
    def __init__(self, diary, *names, twice=False):
        self.diary = diary
        self.names = names
        self.twice = twice

    cdef int enter(self, Exchange x) except -1:
        cdef Owed debt
        cdef Owed before = None
        for name in self.names:
            debt = Owed.__new__(Owed)
            debt.diary = self.diary
            debt.name = name
            x.owe(debt)
            if self.twice:
                debt.other = before
                before = debt
        return PASSED


cdef class Marks(Stamp):
    def __init__(self, name, value):
        self.line = f"{name}: {value}\r\n".encode()

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        put_bytes(buffer, self.line)
        return extra


cdef class Waits(Gate):
    def __init__(self, diary, limit):
        self.diary = diary
        self.limit = limit

    cdef int enter(self, Exchange x) except -1:
        self.waiting = x
        x.later = self
        x.phase = PHASE_LATER
        x.wait(self.limit)
        return LATER

    cdef int leave(self, Exchange x) except -1:
        self.diary.append("left")
        self.waiting = None
        return 0

    cdef int late(self, Exchange x) except -1:
        return QUEUE_TIMEOUT

    def go_on(self):
        cdef Exchange x = self.waiting
        self.waiting = None
        x.later = None
        x.wait(0)
        x.phase = PHASE_REQUEST
        advance(x)
