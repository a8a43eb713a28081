"""Faults for tests of clients: a share of the requests of a route waits, or is answered with an error, or both.

Theory of operation. A step draws a number for each request. One that is to wait waits for it without a task: what is
owed for it, a `Pause`, holds the timer and is found by its place. It goes on from the timer, into the error or to the
next step. When it ends before, or has had its time, the step is left, which cancels the timer. Pauses come from a list
of those that are settled.
"""

from libc.stdint cimport uint64_t

from fastgate._core.exchange.causes cimport FAULT_INJECTED
from fastgate._core.exchange.exchange cimport (
    ENDED,
    LATER,
    PASSED,
    PHASE_LATER,
    PHASE_REQUEST,
    Debt,
    Exchange,
    Gate,
    Spares,
    advance,
    new_place,
    policy_failed,
    problem_answer,
)
from fastgate._core.memory.hashing cimport fraction_of

cdef int PAUSE = new_place()
cdef Spares spare_pauses = Spares.__new__(Spares)


cdef class Pause(Debt):
    """What is owed for a request that was made to wait."""
    cdef FaultInjection gate
    cdef Exchange x                    # None: it no longer waits
    cdef object timer                  # of the loop

    cdef int stop(self) except -1:
        """The exchange no longer waits."""
        self.x = None
        self.timer.cancel()
        self.timer = None
        return 0

    cdef int settle(self, Exchange x, int cause) except -1:
        x.places[PAUSE] = NULL
        self.gate = None
        return spare_pauses.give(self)

    def go_on(self):
        """From the loop: it has waited long enough."""
        cdef Exchange x = self.x
        cdef FaultInjection gate = self.gate
        cdef uint64_t generation = x.generation
        self.stop()
        x.later = None
        x.phase = PHASE_REQUEST
        try:
            if gate.strike(x) == PASSED:
                advance(x)
        except Exception as error:
            if x.generation != generation:
                raise
            policy_failed(x, error)


cdef class FaultInjection(Gate):
    cdef double delay                  # seconds
    cdef int abort                     # a status; 0: the request goes on
    cdef double share                  # of the requests

    def __init__(self, *, delay=0.0, abort=0, share=1.0):
        self.delay = delay
        self.abort = abort
        self.share = share

    cdef int enter(self, Exchange x) except -1:
        cdef Pause pause
        if fraction_of(x.engine.random()) >= self.share:
            return PASSED
        if self.delay == 0:
            return self.strike(x)
        pause = <Pause>spare_pauses.take()
        if pause is None:
            pause = Pause.__new__(Pause)
        pause.gate = self
        pause.x = x
        pause.timer = x.engine.loop.call_later(self.delay, pause.go_on)
        x.places[PAUSE] = <void*>pause
        x.owe(pause)
        x.later = self
        x.phase = PHASE_LATER
        x.wait(0)
        return LATER

    cdef int leave(self, Exchange x) except -1:
        return (<Pause>x.places[PAUSE]).stop()

    cdef int strike(self, Exchange x) except -1:
        """The error, where there is to be one."""
        if self.abort == 0:
            return PASSED
        x.respond(problem_answer(x, FAULT_INJECTED, self.abort), FAULT_INJECTED)
        return ENDED
