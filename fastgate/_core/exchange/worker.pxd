from libc.stdint cimport uint64_t

from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.route cimport Runtime
from fastgate._core.memory.counters cimport Slab
from fastgate._core.memory.region cimport Region
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.memory.workers cimport WorkerSlot
from fastgate._core.exchange.timers cimport Wheel


cdef class Part:
    """What a feature keeps for a worker."""

    cdef int turned(self) except -1


cdef class Engine:
    cdef readonly object loop
    cdef readonly int slot
    cdef Region workers
    cdef WorkerSlot* seat              # in the region of workers
    cdef Region counters
    cdef Slab* slab                    # in that of counters
    cdef readonly TargetRows rows
    cdef readonly Wheel wheel
    cdef readonly Runtime runtime
    cdef Buffer buffer                 # scratch for the head that is being assembled
    cdef object spare                  # an exchange to use again, which knows the next one
    cdef int spares
    cdef set connections               # of clients
    cdef object arrivals               # those whose TLS handshake or PROXY header is awaited; the longest first
    cdef dict shares                   # client address → its connections; only with `max_per_client`
    cdef uint64_t full_until           # milliseconds: no connection gives way before
    cdef set copies                    # exchanges that no client waits for: mirrors, hedges
    cdef readonly set afterwards       # tasks of ``on_finish`` hooks, whose exchanges are over
    cdef readonly object pools         # upstream.Pool, as long as something else needs them
    cdef list parts                    # of Part: see `new_part`
    cdef list turning                  # those of them that are told of each turn of the wheel
    cdef public int max_connections    # of clients; 0 = no limit
    cdef public int max_per_client     # connections of one client address; 0 = no limit
    cdef public bint ready             # what the health path answers
    cdef public bint draining          # every answer says Connection: close
    cdef readonly object log           # log(level, message, **fields)
    cdef object sink
    cdef readonly object repeats       # what a wire knows of requests that come again, for this runtime
    cdef object request_parser
    cdef bint request_first            # nothing was shown to it yet
    cdef bint response_first
    cdef object response_parser
    cdef object feed_request
    cdef object feed_response
    cdef uint64_t date_at
    cdef bytes date_line
    cdef uint64_t id_state[2]
    cdef object timer
    cdef bint stopped                  # nothing is kept for later any more
    cdef dict said_at                  # milliseconds: when each kind of that was last logged

    cdef int turned_away(self, str kind, str reason) except -1
    cdef int say_full(self, str kind, str message) except -1
    cdef bint accept_request(self, Head head, bytes data, Py_ssize_t offset) except -1
    cdef int show_request(self, Head head, bytes data, Py_ssize_t offset) except -1
    cdef int show_response(self, Head head, bytes data, Py_ssize_t offset, bint whole) except -1
    cdef bint accept_response(self, Head head, bytes data, Py_ssize_t offset, bint bodiless) except -1
    cdef bytes date(self)
    cdef void make_id(self, char* target) noexcept
    cdef uint64_t random(self) noexcept
    cdef object spawn(self, object coroutine)


cdef int new_part() except -1


cdef struct Live:
    long long connections              # of clients
    long long exchanges                # between first byte and finish
    long long upstreams                # connections to upstreams, pooled or busy


cdef Live live
