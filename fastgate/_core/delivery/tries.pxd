from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.retry cimport RetryRule
from fastgate._core.exchange.exchange cimport Delivery, Exchange, Facts, UpstreamSide
from fastgate._core.exchange.head cimport Head


cdef enum State:
    ASKING = 0                         # a target, or for a connection to one
    KEEPING = 1                        # an answer that may not be the last is kept while its body comes
    PAUSING = 2                        # between two tries
    TELLING = 3                        # the answer is the one to give


cdef enum:
    NO_TRY = -1
    LEFT_TO_HEDGE = -2                 # a pause without end: another target is being asked already


cdef class Upstream:
    """Where requests go: targets and the connections to them."""
    cdef readonly str name

    cdef int acquire(self, Exchange x, Try t) except -1
    cdef int leave(self, Exchange x, Try t) except -1
    cdef int judge(self, Exchange x, Try t, int failure) except -1
    cdef int leave_unjudged(self, Try t) except -1
    cdef bint has_untried(self, Try t) except -1
    cdef bint affords_retry(self, double ratio) except -1


cdef class Try(Facts):
    """What an exchange knows of the try that is under way, and of those before it."""
    cdef Upstreams by
    cdef int state                     # State
    cdef int number                    # of this try
    cdef object target
    cdef UpstreamSide connection
    cdef object connecting             # what the upstream holds while a connection is made
    cdef bint waiting                  # in the upstream's queue
    cdef bint judged                   # health and breakers know how it went
    cdef int admitted                  # what the upstream's breaker let it in as
    cdef int target_admitted           # the same of the target's own breaker
    cdef long long* in_flight
    cdef uint64_t due                  # milliseconds on the wheel: it has to have its answer
    cdef bint replayed
    cdef int refusals                  # how often an upstream has not processed the request
    cdef bint fresh                    # no pooled connection for it
    cdef list tried                    # targets, once there was more than one try
    cdef int last_cause                # why the try before this one failed
    cdef int64_t pause_for             # milliseconds to the next one, decided when the answer was kept
    cdef object pause                  # the loop's timer for the next one, or for a hedge
    cdef Head kept_head                # the last answer of the upstream, should no other come
    cdef list kept_body
    cdef Py_ssize_t kept_size
    cdef Exchange hedge                # the copy that asks a second target meanwhile

    cdef void clear(self) noexcept
    cdef int stop_pause(self) except -1
    cdef int take_over(self, Exchange x, Try other, Upstreams by) except -1


cdef class Changes:
    """What an answer to another request than GET changes elsewhere, before its client has it."""
    cdef int answered(self, Exchange x) except -1


cdef class Upstreams(Delivery):
    cdef readonly Upstream upstream
    cdef readonly RetryRule rule       # None: one try
    cdef readonly Changes changes      # None: nothing
    cdef readonly uint32_t connect_timeout     # milliseconds; 0 = none
    cdef bint single                   # whatever the rule says: one try, also where the connection was dead

    cdef int ask(self, Exchange x, Try t) except -1
    cdef int connected(self, Exchange x, Try t, UpstreamSide connection) except -1
    cdef int give(self, Exchange x, Try t, bytes piece, bint last) except -1
    cdef int drop(self, Exchange x, Try t) except -1
    cdef bint left_to_another(self, Exchange x, Try t, int cause) except -1
    cdef int next_step(self, Exchange x, Try t, int cause) except -1
    cdef int64_t plan(self, Exchange x, Try t, int failure, bint arrived, int64_t not_before) except -2
    cdef int pause(self, Exchange x, Try t, int64_t pause) except -1
    cdef bint keeps(self, Exchange x, Try t) except -1
    cdef int keep(self, Exchange x, Try t, bytes piece, bint last) except -1
    cdef int keep_piece(self, Exchange x, Try t, bytes piece, bint last) except -1
    cdef void done(self, Exchange x, Try t) noexcept


cdef int remember(Try t, object target) except -1
cdef Try try_of(Exchange x)
