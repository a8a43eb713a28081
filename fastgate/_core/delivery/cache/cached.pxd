from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.cache.directives cimport Directives
from fastgate._core.delivery.cache.key_lookup cimport Lookup
from fastgate._core.delivery.cache.reader cimport Reader
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.delivery.tries cimport Changes
from fastgate._core.exchange.exchange cimport Around, Exchange, NoClient
from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.memory.cache.cache_store cimport Entry, Filling, View
from fastgate._core.memory.cache.flights cimport Ticket, Waiter


cdef enum Mode:
    """What the cache does for an exchange."""
    NOTHING = 0
    PASSING = 1                        # who is within answers it
    READING = 2                        # its body is awaited, which belongs to the key
    WAITING = 3                        # for its own fetch
    FOLLOWING = 4                      # for the fetch of another one
    SERVING = 5                        # from the store
    LEADING = 6                        # it is a fetch itself, whose answer may come in one piece


# What is asked for the store.
cdef struct Asked:
    const char* key
    Py_ssize_t length
    Py_ssize_t primary_length
    uint64_t primary_hash
    uint64_t number                    # of purges, when it was sent


cdef class Visit(Lookup):
    """A request that came to the cache."""
    cdef int mode                      # Mode
    cdef int forwarded                 # Forwarded: why it was not answered from the store
    cdef bint buffered                 # its body would be kept whole without the cache too
    cdef bint stale                    # what is stored is stale
    cdef bint collapsed
    cdef bint flies                    # it leads a flight itself
    cdef Ticket ticket
    cdef uint64_t asked_number         # of purges, when the upstream was asked
    cdef int64_t asked_at              # CLOCK_BOOTTIME in ms
    cdef int turns                     # how often it was looked up anew
    cdef uint64_t number               # of the stored answer whose whole body is sent; 0: it is not
    cdef list tapped                   # pieces of an answer that is stored when it is whole; None: it is not
    cdef Head tapped_head
    cdef int64_t tapped_size
    cdef uint64_t tap_number           # of purges, for that
    cdef WorkerCache cache             # where that is
    cdef Buffer key                    # the whole key, once it is needed beyond this call
    cdef Fetch fetch
    cdef Reader reader
    cdef Follower follower

    cdef void take_key(self, Buffer* key) noexcept      # what is in it by now is nothing to anybody


cdef class Follower(Waiter):
    cdef Cached by
    cdef Exchange x
    cdef Visit visit
    cdef uint64_t number               # of purges, when it asked


cdef class Fetch(NoClient):
    """What is asked of who is within, for the store: in an exchange without a client."""
    cdef Cached by
    cdef Exchange copy
    cdef Exchange patron               # the exchange that it was begun for; None: it left, or there was none
    cdef Visit visit                   # that of the patron
    cdef bint flies                    # it leads a flight, which it owes an end
    cdef Ticket ticket
    cdef Buffer key
    cdef uint64_t hash
    cdef uint64_t primary_hash
    cdef Py_ssize_t primary_length
    cdef int method
    cdef uint32_t facts
    cdef int forwarded
    cdef Directives asked
    cdef uint64_t number               # of purges, when it was sent
    cdef int64_t asked_at
    cdef bint replaces                 # something stale is stored under its key
    cdef Head stored                   # what it validates; None: nothing
    cdef uint64_t stored_number
    cdef Filling filling
    cdef Entry entry                   # of a body whose length is not known yet, with its texts
    cdef bytes entry_key               # None: its length is known
    cdef bytes entry_head
    cdef bytes entry_fields
    cdef Reader reader                 # of the patron
    cdef int64_t size                  # bytes of the body that came
    cdef list unsent                   # pieces that the store did not take, for the patron
    cdef bint complete                 # there is nothing more to do

    cdef int left_alone(self) except -1


cdef class Cached(Around):
    cdef readonly CacheRules rules
    cdef readonly WorkerCache cache
    cdef readonly bytes namespace
    cdef readonly bytes route
    cdef readonly bytes upstream
    cdef readonly bytes request_id     # the name of the field of the request id in lower case; None: there is none
    cdef readonly tuple credentials    # names in lower case of fields that may have credentials, beside Authorization
    cdef uint64_t credential_bits      # of these and of that: see `names_in`
    cdef Lookup aside                  # for addresses that are not those of a visit
    cdef uint64_t* counts              # of its route, in this worker's slot

    cdef int pass_by(self, Exchange x, Visit v, int forwarded) except -1
    cdef int look_up(self, Exchange x, Visit v) except -1
    cdef int passed_on(self, Exchange x, Visit v) except -1


cdef class Invalidating(Changes):
    cdef WorkerCache cache
    cdef Lookup aside
