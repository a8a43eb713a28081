# What an exchange calls: each feature of a route is one or several of these. Part of exchange.pxd; what a class does
# that a feature leaves as it is stands in exchange_sides.pxi.

cdef enum Passage:
    """What a step says of a request."""
    PASSED = 0                         # on to the next
    ENDED = 1                          # it was answered or refused
    LATER = 2                          # it waits: it is ``x.later``, or a task does; it comes back by `chain.advance`


cdef class Gate:
    """A built-in policy on the request side: a step in the chain of a route.

    `enter` is called once. A step that is ``x.later`` and waits hears `leave` when the exchange no longer waits for it,
    and `late` gives the cause to refuse with when the deadline that it set has passed.
    """
    cdef int enter(self, Exchange x) except -1
    cdef int leave(self, Exchange x) except -1
    cdef int late(self, Exchange x) except -1


cdef class Debt:
    """What a feature owes for an exchange until its end: a share, a reservation, state that goes back to a free list.

    `settle` is called once, when the exchange is over and its heads can still be read; the last owed first. It never
    waits and never calls the exchange. What it raises is logged, and the others are settled all the same.
    """
    cdef Debt owed_before

    cdef int settle(self, Exchange x, int cause) except -1


cdef class Spares:
    """Debts of one kind that are settled, kept for later: so none is made for a request."""
    cdef Debt first
    cdef int count

    cdef Debt take(self)
    cdef int give(self, Debt debt) except -1


cdef class Stamp:
    """Fields of every answer of a route, whoever gave it: the upstream, a policy, the gateway in its own trouble.

    `stamp` flags fields of ``x.response`` that have to go (where there is no ``x.answer``), puts its own lines and
    returns what is left of ``extra``, the fields beside those of that head. ``withheld`` are bits of `OwnField` that an
    edit has taken away or an answer says itself. `name` adds the lower-case names that it puts to ``names``.
    """
    cdef readonly uint32_t own         # bits of `OwnField` that it may put

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer)
    cdef int name(self, Exchange x, dict names) except -1


cdef class Observer:
    """Told once of each exchange that is over, while its heads can still be read."""
    cdef int exchange_finished(self, Exchange x) except -1
