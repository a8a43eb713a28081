# What an exchange calls: each feature of a route is one or several of these. Part of exchange.pxd; what a class does
# that a feature leaves as it is stands in exchange_sides.pxi.

cdef enum GateResult:
    """What a step says of a request."""
    PASSED = 0                         # on to the next
    ENDED = 1                          # it was answered or refused
    LATER = 2                          # it waits: it is ``x.later``, or a task does; it comes back by `chain.advance`


cdef class Gate:
    """A built-in policy on the request side: a step in the chain of a route.

    `enter` is called once. A step that is ``x.later`` and waits hears `leave` when the exchange no longer waits for it,
    and `late` gives the cause to refuse with when the deadline that it set has passed. `owns` tells the names of
    fields, as `folded_name` gives them, that only the gateway may send to this route's upstream.
    """
    cdef int enter(self, Exchange x) except -1
    cdef int leave(self, Exchange x) except -1
    cdef int late(self, Exchange x) except -1
    cdef bint owns(self, bytes folded) except -1


cdef class Debt:
    """What a feature owes for an exchange until its end: a share, a reservation, state that goes back to a free list.

    `settle` is called once, when the exchange is over and its heads can still be read; the last owed first. It never
    waits and never calls the exchange. What it raises is logged, and the others are settled all the same.
    """
    cdef Debt owed_before

    cdef int settle(self, Exchange x, int cause) except -1


cdef class Facts:
    """What a feature knows of an exchange: made when that is first asked, and kept with it when it is used again.

    `reset` is called at the end of each use. `copy_to` gives a copy of the exchange what decides about its answer.
    Facts owe nothing: what has to be given back is a `Debt`.
    """
    cdef Facts others                  # of the same exchange

    cdef void reset(self) noexcept
    cdef int copy_to(self, Exchange copy) except -1


cdef class Delivery:
    """Who answers the requests of a route: upstreams, a fixed answer, a choice among others. Compiled once a route.

    The exchange calls `begin` when the request may go out, `more` with each later piece of its body, `late` when a
    deadline has passed that the delivery has set by `Exchange.wait`, and `leave` when the answer is whole or not wanted
    any more, with ``x.cause`` set. `leave` may come at any time, also from within `begin` or from within what the
    delivery tells, and more than once.

    What it delivers it tells by `tell_answered`, with the head in ``x.response`` and ``x.source`` set where a body
    follows, by `tell_piece` and by `tell_failed`. That goes to the delivery around it, ``outer``, which may keep it,
    change it, or ask somebody else; it goes outwards from there, and at last to the exchange. One that has no more to
    say of an exchange, and nothing around it, puts another in its place: ``x.delivery``.

    What it knows of one exchange lies in `Facts` or in a `Debt`. `move` lets what it does for one exchange go on for
    another, which is a copy without a client: see `detach`. `arriving` is the head of the answer that is coming in.
    """
    cdef readonly Delivery outer       # None: the exchange

    cdef int begin(self, Exchange x) except -1
    cdef int more(self, Exchange x, bytes piece, bint complete) except -1
    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1
    cdef int late(self, Exchange x) except -1
    cdef int leave(self, Exchange x) except -1
    cdef int move(self, Exchange x, Exchange to) except -1
    cdef Head arriving(self, Exchange x)
    cdef int enclose(self, Delivery outer) except -1

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1
    cdef int piece(self, Exchange x, bytes piece, bint last) except -1
    cdef int failed(self, Exchange x, int cause) except -1

    cdef int tell_answered(self, Exchange x, bytes piece, bint last) except -1
    cdef int tell_piece(self, Exchange x, bytes piece, bint last) except -1
    cdef int tell_failed(self, Exchange x, int cause) except -1


cdef class Around(Delivery):
    """A delivery around another one: what it leaves as it is goes inwards, or outwards."""
    cdef readonly Delivery inner


cdef class AnswerEdits:
    """What a route does to the heads of answers, whoever gave them. `owns` as of a `Gate`."""

    cdef int interim(self, Exchange x) except -1
    cdef bint arrived(self, Exchange x) except -1
    cdef Answer own(self, Exchange x, Answer answer, bint given)
    cdef bint owns(self, bytes folded) except -1


cdef class Spares:
    """Debts of one kind that are settled, kept for later: so none is made for a request."""
    cdef Debt first
    cdef int count

    cdef Debt take(self)
    cdef int give(self, Debt debt) except -1


cdef class OpenFilters(Debt):
    """The filters of a body, which have to hear that the exchange is over."""
    cdef list filters


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
    """Told once of each exchange that is over, while its heads can still be read; any number, bound to the runtime.

    Debts are settled and plugins were told by then. What `finished` raises is logged, and the others are told all the
    same.
    """
    cdef int finished(self, Exchange x) except -1


cdef class Problems:
    """The shape of the gateway's own errors: RFC 9457, a page for a browser, that of a protocol.

    Those of the route are asked, of the longest prefix of its path, of the runtime, until one gives an answer. None:
    not for this client. There may be no route and no head that could be read. Fields that tell the client what to do
    about it (Allow, Retry-After, WWW-Authenticate) are added by the exchange, where the answer has none of its own.
    """
    cdef Answer answer(self, Exchange x, int cause, int status)
