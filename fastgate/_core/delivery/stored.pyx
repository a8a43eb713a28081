"""Bodies of answers that lie in memory, and leave it without a copy where that can be.

Theory of operation. A delivery that has an answer in memory fills ``x.response`` and begins a `Stored`, whose subclass
knows whose memory it is and gives it back by `let_go`: when the last byte is on its way, or when the delivery hears
that nobody wants it any more and calls `leave`. The client's side takes what it can (`draw`). Where something else has
to see the body first, a filter or a hook, it goes there in pieces, as any other body does.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from fastgate._core.exchange.exchange cimport PHASE_SENDING, SLICE, Delivery, Exchange, Source


cdef class Stored(Source):
    """The body of one answer; it has at least one byte."""

    def __cinit__(self):
        self.in_memory = True

    cdef int begin(self, Delivery by, Exchange x, const char* at, Py_ssize_t size) except -1:
        """The head of the answer is in ``x.response``, and these bytes are its body, until they are let go."""
        self.by = by
        self.exchange = x
        self.at = at
        self.left = size
        x.source = self
        # The client's side draws from it at once: what is next is seen to afterwards, here.
        self.going = True
        try:
            by.tell_answered(x, None, False)
        finally:
            self.going = False
        return self.go()

    cdef int leave(self) except -1:
        """Nobody wants the rest."""
        if self.exchange is not None:
            self.exchange = None
            self.let_go()
        return 0

    cdef int let_go(self) except -1:
        """The memory is not looked at any more."""
        return 0

    cdef int hold(self, int reason) except -1:
        self.held |= reason
        return 0

    cdef int release(self, int reason) except -1:
        self.held &= ~reason
        return self.go()

    cdef Py_ssize_t ready(self, const char** at) noexcept:
        at[0] = self.at
        return self.left

    cdef int took(self, Py_ssize_t count) except -1:
        self.at += count
        self.left -= count
        self.taken += count
        return 0

    cdef bint ended(self) noexcept:
        """Whether all of it was taken."""
        return self.left == 0

    cdef int idle(self) except -1:
        """Nothing is ready, and it has not ended."""
        return 0

    cdef int go(self) except -1:
        """On with it, as long as it is taken."""
        cdef Exchange x = self.exchange
        cdef const char* at
        cdef Py_ssize_t before, size
        cdef bytes piece = None
        if self.going:
            return 0
        self.going = True
        try:
            while self.exchange is not None and self.held == 0:
                size = self.ready(&at)
                if size == 0:
                    break
                if x.phase == PHASE_SENDING and self.by.outer is None:
                    before = self.taken
                    x.client.draw(x)
                    if self.taken == before:
                        break
                else:
                    piece = PyBytes_FromStringAndSize(at, min(size, <Py_ssize_t>SLICE))
                    self.took(len(piece))
                    if self.ended():
                        break
                    self.by.tell_piece(x, piece, False)
                    piece = None
        finally:
            self.going = False
        if self.exchange is None:
            return 0
        if not self.ended():
            return self.idle()
        self.exchange = None
        x.source = None
        self.let_go()
        return self.by.tell_piece(x, piece, True)
