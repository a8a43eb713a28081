"""A store that answers later: the counters of another one, as if they were far away. The gateway never loads it.

Theory of operation
-------------------
Every question and every message without an answer takes `Line.delay` to arrive, in the order in which they were sent,
and takes effect then; the answer is there at once. So a gate sees what it would see of a server at the other end of a
connection: the exchange that asked has left or ended meanwhile.
"""

from collections import deque

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastgate._core.memory.store cimport Asker, RateCounter, ShareCounter, Verdict

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ns()

cdef enum:
    ENTER
    PROMOTE
    LEAVE
    LEAVE_QUEUE


cdef class Line:
    """The way to a store: ``delay`` seconds long. Answers are ``error`` while it is set, and none while ``silent``.
    Nothing arrives while it is ``held``.
    """

    def __init__(self, loop, double delay=0.01):
        self.loop = loop
        self.delay = delay
        self.under_way = deque()

    cdef int send(self, Message message) except -1:
        self.under_way.append(message)
        self.loop.call_later(self.delay, self.arrived)
        return 0

    def arrived(self):
        """The first that was sent is there."""
        cdef Message message
        if self.held:
            self.due += 1
            return
        message = self.under_way.popleft()
        if message.asker is not None and self.silent:
            return
        message.arrive(self.error)

    def let_go(self):
        """What was held arrives."""
        self.held = False
        while self.due:
            self.due -= 1
            self.arrived()


cdef class Message:
    cdef int arrive(self, object error) except -1:
        raise NotImplementedError


cdef class LateRateCounter(RateCounter):
    """A rate limit of another store, at the end of a line."""

    def __init__(self, RateCounter home not None, Line line not None):
        self.home = home
        self.line = line
        memcpy(self.secret, home.secret, sizeof(self.secret))

    cdef int ask(self, uint64_t key, int64_t amount, uint64_t now_ns, Asker asker) except -1:
        return self.line.send(rate_message(self.home, key, amount, now_ns, 0, asker))

    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept:
        self.line.send(rate_message(self.home, key, taken, taken_ns, actual, None))


cdef RateMessage rate_message(
    RateCounter home, uint64_t key, int64_t amount, uint64_t at, int64_t actual, Asker asker
):
    cdef RateMessage message = RateMessage.__new__(RateMessage)
    message.home = home
    message.key = key
    message.amount = amount
    message.at = at
    message.actual = actual
    message.asker = asker
    return message


cdef class RateMessage(Message):
    cdef int arrive(self, object error) except -1:
        cdef Verdict verdict
        cdef int reply
        if self.asker is None:
            self.home.correct(self.key, self.amount, self.actual, self.at, monotonic_ns())
            return 0
        if error is not None:
            return self.asker.failed(error)
        reply = self.home.check(self.key, self.amount, self.at, &verdict)
        return self.asker.rated(reply, &verdict)


cdef class LateShareCounter(ShareCounter):
    """A limit of concurrency of another store, at the end of a line."""

    def __init__(self, ShareCounter home not None, Line line not None):
        self.home = home
        self.line = line
        memcpy(self.secret, home.secret, sizeof(self.secret))

    cdef int ask(self, uint64_t key, int64_t amount, bint behind, Asker asker) except -1:
        cdef ShareMessage message = share_message(self.home, ENTER, NULL, amount, asker)
        message.key = key
        message.behind = behind
        return self.line.send(message)

    cdef int ask_promotion(self, void* place, int64_t amount, Asker asker) except -1:
        return self.line.send(share_message(self.home, PROMOTE, place, amount, asker))

    cdef void leave(self, void* place, int64_t amount) noexcept:
        self.line.send(share_message(self.home, LEAVE, place, amount, None))

    cdef void leave_queue(self, void* place) noexcept:
        self.line.send(share_message(self.home, LEAVE_QUEUE, place, 0, None))


cdef ShareMessage share_message(ShareCounter home, int verb, void* place, int64_t amount, Asker asker):
    cdef ShareMessage message = ShareMessage.__new__(ShareMessage)
    message.home = home
    message.verb = verb
    message.place = place
    message.amount = amount
    message.asker = asker
    return message


cdef class ShareMessage(Message):
    cdef int arrive(self, object error) except -1:
        cdef void* place = self.place
        cdef int reply
        if self.verb == LEAVE:
            self.home.leave(place, self.amount)
        elif self.verb == LEAVE_QUEUE:
            self.home.leave_queue(place)
        elif error is not None:
            return self.asker.failed(error)
        elif self.verb == PROMOTE:
            return self.asker.shared(self.home.promote(place, self.amount), place)
        else:
            reply = self.home.enter(self.key, self.amount, self.behind, &place)
            return self.asker.shared(reply, place)
        return 0
