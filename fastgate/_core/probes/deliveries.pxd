from fastgate._core.exchange.exchange cimport Around, BodyFilter, BodyRule, Delivery, Exchange, Facts, Source
from fastgate._core.exchange.head cimport Head
from fastgate._core.delivery.stored cimport Stored


cdef class Known(Facts):
    """What a delivery of this module knows of an exchange."""
    cdef object what


cdef class Stream(Source):
    """Pieces from an iterator, as fast as they are taken."""
    cdef Delivery by
    cdef Exchange exchange             # None: not wanted any more
    cdef object pieces
    cdef int held
    cdef bint awaited                  # a turn of the loop

    cdef int plan(self) except -1


cdef class Streams(Delivery):
    cdef bytes head
    cdef object make
    cdef readonly int made             # pieces so far, of all exchanges


cdef class Lying(Stored):
    cdef Lies lies
    cdef bytes body


cdef class Lies(Delivery):
    cdef bytes head
    cdef bytes body
    cdef readonly int begun
    cdef readonly int let_go


cdef class Delayed(Around):
    cdef double seconds
    cdef readonly list diary


cdef class Keeps(Around):
    cdef Head head                     # None: nothing is kept
    cdef list body
    cdef bint whole
    cdef readonly int replayed


cdef class Spool:
    """The body of one answer, which one exchange writes and another reads."""
    cdef Spools by
    cdef list pieces
    cdef int taken
    cdef bint apart                    # the writer is another exchange than the reader
    cdef bint whole
    cdef int cause                     # why no more comes
    cdef Exchange reader               # None: it has all, or is over

    cdef int add(self, bytes piece, bint last) except -1
    cdef int fail(self, int cause) except -1
    cdef int feed(self) except -1


cdef class Reading(Source):
    cdef Spool spool
    cdef int held


cdef class Spools(Around):
    cdef readonly int detached
    cdef readonly int finished         # of those

    cdef int lag(self, Spool spool) except -1


cdef class Detaches(Around):
    """Answers, and lets what is within go on."""
    cdef double after                  # seconds; 0: at once


cdef class Plan(Delivery):
    cdef list parts                    # (delivery, path, fields, body)

    cdef int ask(self, Exchange x, int number) except -1
    cdef Delivery now(self, Exchange x)
    cdef bint goes_on(self, Exchange x) except -1


cdef class Watched(Around):
    cdef readonly list diary
    cdef str raises


cdef class WatchedFilter(BodyFilter):
    cdef WatchedRule rule


cdef class WatchedRule(BodyRule):
    cdef readonly list diary
    cdef bint raises
