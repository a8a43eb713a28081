from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.balancer cimport Balancer, Load
from fastgate._core.delivery.breaker cimport Breaker
from fastgate._core.delivery.health cimport UpstreamHealth
from fastgate._core.delivery.retry cimport Judgement
from fastgate._core.delivery.tries cimport Try, Upstream
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.request_key cimport RequestKey
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.memory.store cimport Budget
from fastgate._core.wire.pooled cimport Home, PooledConnection


cdef class Target(Home):
    cdef readonly str host
    cdef readonly int port
    cdef readonly str path             # of a Unix socket; "" = TCP
    cdef readonly str server_name
    cdef readonly int number           # its row in the shared target table
    cdef public double weight
    cdef public bint backup            # used only when no other target can be
    cdef public Breaker breaker        # its own; None where there is none, or one for the whole upstream
    cdef int index                     # in Pool.targets
    cdef readonly bint retired         # no longer one of them
    cdef PooledConnection resting    # the one that was used last; each knows the one below
    cdef readonly int idle
    cdef object waiting                # deque of exchanges
    cdef readonly int open             # connections: idle, busy and being made
    cdef long long* in_flight
    cdef uint64_t reported             # milliseconds: when a failure to connect was last logged
    cdef int unreported

    cdef int rest(self, PooledConnection connection) except -1
    cdef PooledConnection wake(self)


cdef class Ticket:
    """What an exchange holds while a connection is made for it."""
    cdef object task
    cdef bint begun                    # the task has made its first step
    cdef Target target


cdef class Pool(Upstream):
    cdef object __weakref__
    cdef Engine engine
    cdef readonly tuple targets
    cdef Balancer balancer
    cdef readonly UpstreamHealth health
    cdef readonly Breaker breaker      # for the whole upstream; None where there is none
    cdef RequestKey hash_key           # for balancers that hash; None for the others
    cdef Judgement passive             # what counts against a target; None: nothing does
    cdef Judgement breaks              # what counts for breakers
    cdef object budgets                # (name, share) → a Budget of the store
    cdef Budget budget
    cdef double budget_ratio
    cdef uint64_t* first_tries
    cdef int room                      # how many targets the arrays have space for
    cdef double* base                  # weights as configured
    cdef double* effective             # and as health leaves them
    cdef double* reserve               # of backups that are not in use
    cdef Load load
    cdef unsigned char* skip
    cdef readonly int max_connections  # of one target, this worker's share; INT_MAX where there is no bound
    cdef readonly int max_idle
    cdef readonly int queue
    cdef uint32_t queue_timeout        # milliseconds
    cdef uint32_t idle_timeout
    cdef int max_requests
    cdef bint closed
    cdef bint awaits_names             # a name has not been resolved yet
    cdef object unplaced               # deque of exchanges that wait for one, while there is no target

    cdef int weigh(self) except -1
    cdef int place(self) except -1
    cdef int retire(self, Target target) except -1
    cdef Target choose(self, Exchange x, Try t, uint64_t now)
    cdef int64_t open_for(self, uint64_t now) except -1
    cdef int mark_tried(self, Try t) except -1
    cdef bint forget_tried(self) noexcept
    cdef int pick_reserve(self, uint64_t word) noexcept
    cdef PooledConnection take_reserved(self, Exchange x, Try t, uint64_t now)
    cdef PooledConnection take_resting(self, Target target, Exchange x)
    cdef int connect(self, Target target, Exchange x, Try t) except -1
    cdef int report(self, Target target, str what) except -1
    cdef int occupy(self, Exchange x, Try t, Target target) noexcept
    cdef int serve(self, Target target) except -1
    cdef int put_back(self, PooledConnection connection) except -1
