"""Who may come in: a route's methods of authentication, asked in their order, and who was found.

Theory of operation
-------------------
A `Method` looks for its credential in the request and says what it found (`AuthVerdict`). With ``any`` the first that
grants decides; with ``all`` each has to grant, and the first one's identity goes on, with the claims and fields of the
others. When nobody grants, the client gets the gravest of what was found: 503 when it cannot be found out, 403 for
credentials that are valid but not for this request, else 401 with the challenge of every method (RFC 9110, 11.6.1).

What has to outlast a call is in the `Inquiry` of an exchange, which begins when a method waits or refuses: a request
that is granted at once owes nothing. A method that has to wait (a hash that takes long, a request to a service) leaves
an awaitable in ``pending`` there and says WAITING. The gate's task awaits it: it gives an `Identity`, another verdict
or None (REFUSED), or an answer that says in the method's place why not, or raises a `Refusal`; then the loop goes on
where it stood. ``Refusal("auth_unavailable")`` is UNAVAILABLE, so that another method may still grant; any other
refusal ends it.

Fields that methods send upstream are **owned**: what a client sends under their names is removed before anything is
verified, whichever method grants, so that a client cannot assert its own identity. Every spelling of a name that is
the same variable behind CGI, WSGI and PHP is removed too (`head.same_variable`). What a method may have to read first
is removed later: if it replaces a credential, when the method grants, else when any method does.

`VerifiedCache` keeps identities in two dicts: what is asked for moves into the young one, and when that is half full it
becomes the old one, whose rest is forgotten. So it is bounded, what is in use stays, and nothing is kept in order. A
credential is found by a hash of its bytes, for which no object is made, and then compared; of two with one hash the
later one is kept. Only what was verified is in there, so that no client can fill it.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from fastgate._core.exchange.causes cimport AUTH_UNAVAILABLE, UNAUTHENTICATED, detail_of
from fastgate._core.exchange.exchange cimport (
    ENDED,
    LATER,
    PASSED,
    Answer,
    Exchange,
    Gate,
    Spares,
    new_place,
    refuse_for,
    wait_on,
)
from fastgate._core.memory.hashing cimport quick_hash
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.head cimport DROPPED, Field, Head, folded_name, same_variable

from fastgate._core.exchange.refusal import Refusal

cdef enum:
    MAX_METHODS = 32           # of one route

cdef int PLACE = new_place()
cdef Spares spares = Spares.__new__(Spares)


cdef Inquiry inquiry_of(Exchange x):
    """How far it has come; begun when it is first asked for."""
    cdef Inquiry inquiry
    if x.places[PLACE] != NULL:
        return <Inquiry>x.places[PLACE]
    inquiry = <Inquiry>spares.take()
    if inquiry is None:
        inquiry = Inquiry.__new__(Inquiry)
    inquiry.verdict = inquiry.method_index = 0
    inquiry.refused_by = 0
    x.places[PLACE] = <void*>inquiry
    x.owe(inquiry)
    return inquiry


cdef class Inquiry(Debt):
    cdef int settle(self, Exchange x, int cause) except -1:
        x.places[PLACE] = NULL
        self.pending = self.complaint = None
        return spares.give(self)


cdef class Later:
    """An awaitable that begins when it is awaited: one that a client's leaving makes needless leaves nothing behind."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def __await__(self):
        return self.function(*self.arguments).__await__()


cdef class Method:
    cdef int verify(self, Exchange x) except -1:
        """GRANTED (by `grant`), another verdict, or WAITING with an awaitable in ``pending`` of the inquiry."""
        raise NotImplementedError

    def close(self):
        """The gateway stops."""

    cdef int grant(self, Exchange x, Identity identity) except -1:
        """The request is this one's."""
        if x.identity is not None:
            identity = (<Identity>x.identity).with_others(identity)
        x.identity = identity
        return GRANTED

    cdef bytes challenge_to(self, Exchange x, bint refused):
        """Its challenge to this client, whose credentials were ``refused`` or absent; None = none."""
        return self.invalid if refused and self.invalid is not None else self.challenge


# Not in the .pxd: `exchange`, which has the base class, imports this module, and with it all that stands there.
cdef class Authentication(Gate):
    """The methods of a route: any of them is enough, or each is needed."""
    cdef readonly tuple methods
    cdef readonly bint all
    cdef tuple owned
    cdef tuple late                    # names of fields that are the gateway's own once it is known who asks

    def __init__(self, methods, *, all=False, owned=(), late=()):
        self.methods = tuple(methods)
        if len(self.methods) > MAX_METHODS:
            raise ValueError(f"a route has at most {MAX_METHODS} methods of authentication")
        self.all = all
        names = {name.encode("ascii") for name in owned}
        for method in self.methods:
            names.update((<Method?>method).owned or ())
        self.owned = comparable(names)
        self.late = comparable(name.encode("ascii") for name in late)

    cdef int enter(self, Exchange x) except -1:
        cdef int verdict
        if self.owned:
            take_away(x, self.owned)
        if not self.methods:
            if self.late:
                take_away(x, self.late)
            return PASSED
        verdict = self.go_on(x, 0, ABSENT)
        if verdict == GRANTED:
            return PASSED
        if verdict == WAITING:
            wait_on(x, self.wait(x))
            return LATER
        refuse_for(x, self.refusal(x, verdict, None))
        return ENDED

    cdef bint owns(self, bytes folded) except -1:
        return folded in self.owned or folded in self.late

    cdef int go_on(self, Exchange x, int index, int so_far) except -1:
        """Asks one method after the other from ``index``, after those that said ``so_far``. GRANTED, WAITING, or what
        is to be told.
        """
        cdef Inquiry inquiry
        cdef int verdict
        while index < PyTuple_GET_SIZE(self.methods):
            verdict = (<Method>PyTuple_GET_ITEM(self.methods, index)).verify(x)
            if verdict == WAITING:
                inquiry = inquiry_of(x)
                inquiry.verdict = so_far
                inquiry.method_index = index
                return WAITING
            if self.decides(x, index, verdict, &so_far):
                break
            index += 1
        if so_far == GRANTED:
            self.send_on(x)
        return so_far

    cdef bint decides(self, Exchange x, int index, int verdict, int* so_far) except -1:
        """Books what a method said; whether no other needs to be asked."""
        cdef Inquiry inquiry
        if verdict == REFUSED:
            inquiry = inquiry_of(x)
            inquiry.refused_by |= <unsigned int>1 << index
        if self.all:
            so_far[0] = verdict
            return verdict != GRANTED
        so_far[0] = max(so_far[0], verdict)
        return verdict == GRANTED

    cdef int send_on(self, Exchange x) except -1:
        """The fields that tell the upstream who asks."""
        cdef Identity identity = <Identity>x.identity
        if self.late:
            take_away(x, self.late)
        if identity.fields:
            if x.request_extra is None:
                x.request_extra = list(identity.fields)
            else:
                x.request_extra.extend(identity.fields)
        return 0

    async def wait(self, Exchange x):
        """The rest of `go_on`, when a method was not done at once."""
        cdef object found
        cdef Answer answer = None
        cdef int verdict = WAITING
        cdef int so_far
        cdef uint64_t generation = x.generation
        cdef Inquiry inquiry
        cdef Method method
        while verdict == WAITING:
            inquiry = inquiry_of(x)
            method = <Method>self.methods[inquiry.method_index]
            awaitable = inquiry.pending
            inquiry.pending = None
            try:
                found = await awaitable
            except Refusal as refusal:
                if refusal.cause != AUTH_UNAVAILABLE:
                    raise
                found = refusal
            if x.generation != generation:
                return
            if isinstance(found, Refusal):
                verdict = UNAVAILABLE
            elif found is None:
                verdict = REFUSED
            elif isinstance(found, Answer):
                answer = <Answer>found
                verdict = NOT_ALLOWED if answer.code == 403 else REFUSED
            elif isinstance(found, Identity):
                verdict = method.grant(x, <Identity>found)
            else:
                verdict = found
            so_far = inquiry.verdict
            if not self.decides(x, inquiry.method_index, verdict, &so_far):
                verdict = self.go_on(x, inquiry.method_index + 1, so_far)
            elif so_far == GRANTED:
                self.send_on(x)
            else:
                verdict = so_far
        if verdict != GRANTED:
            raise self.refusal(x, verdict, answer)

    def refusal(self, Exchange x, int verdict, Answer answer):
        """What the client is told; ``answer`` is what a method would have it told."""
        cdef list fields
        # Where all are needed some may have granted, and that is not enough to be anybody.
        x.identity = None
        if verdict == UNAVAILABLE:
            return Refusal("auth_unavailable")
        if verdict == NOT_ALLOWED:
            return Refusal("forbidden", answer=answer if answer is not None and answer.code == 403 else None)
        fields = self.challenges(x)
        if answer is not None and answer.code != 403:
            if answer.code == 401:
                answer.fields = answer.fields + [(name.encode(), value.encode("latin-1")) for name, value in fields]
            return Refusal("unauthenticated", answer=answer)
        if not fields:
            # A 401 must say how to do better (RFC 9110 section 15.5.2); no header field stands for a certificate.
            return Refusal("forbidden", detail_of(UNAUTHENTICATED))
        return Refusal("unauthenticated", fields=fields)

    def challenges(self, Exchange x):
        """WWW-Authenticate, once for each method that has one."""
        cdef list fields = []
        cdef Method method
        cdef int i
        for i in range(len(self.methods)):
            method = <Method>self.methods[i]
            challenge = method.challenge_to(x, inquiry_of(x).refused_by >> i & 1)
            if challenge is not None:
                fields.append(("WWW-Authenticate", challenge.decode("latin-1")))
        return fields


cdef tuple comparable(object names):
    """Names for `take_away`."""
    return tuple(sorted({folded_name(name) for name in names}))


cdef int take_away(Exchange x, tuple names) except -1:
    """What the client says under names that are the gateway's own, which are `comparable`."""
    cdef Head head = x.request
    cdef Field* field
    cdef bytes name
    cdef const char* start
    cdef Py_ssize_t length
    cdef int i
    for name in names:
        start = PyBytes_AS_STRING(name)
        length = PyBytes_GET_SIZE(name)
        for i in range(head.count):
            field = &head.fields[i]
            # Most are of another length, for which nothing has to be called.
            if field.name_length == length and same_variable(head.p + field.name, length, start, length):
                field.flags |= DROPPED
    return 0


cdef class VerifiedCache:
    def __init__(self, capacity):
        self.capacity = capacity
        self.young = {}
        self.old = {}
        memcpy(&self.seed, PyBytes_AS_STRING(os.urandom(8)), 8)

    cdef Identity find(self, const void* credential, Py_ssize_t length, double now):
        cdef object number = quick_hash(self.seed, credential, length) >> 4
        cdef object found = self.young.get(number)
        cdef tuple entry
        if found is None:
            found = self.old.pop(number, None)
            if found is None:
                return None
            if now < <double>(<tuple>found)[2]:
                self.add(number, <tuple>found)
        entry = <tuple>found
        if PyBytes_GET_SIZE(<bytes>entry[0]) != length \
                or memcmp(PyBytes_AS_STRING(<bytes>entry[0]), credential, length) != 0:
            return None
        if now >= <double>entry[2]:
            self.young.pop(number, None)
            return None
        return <Identity>entry[1]

    cdef int keep(self, bytes credential, Identity identity, double until) except -1:
        cdef object number
        if self.capacity > 0:
            number = quick_hash(self.seed, PyBytes_AS_STRING(credential), PyBytes_GET_SIZE(credential)) >> 4
            self.old.pop(number, None)
            self.add(number, (credential, identity, until))
        return 0

    cdef int add(self, object number, tuple entry) except -1:
        if len(self.young) >= (self.capacity + 1) // 2:
            self.old = self.young
            self.young = {}
        self.young[number] = entry
        return 0

    def __len__(self):
        return len(self.young) + len(self.old)

    def get(self, bytes key not None, double now):
        return self.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), now)

    def put(self, bytes key not None, Identity identity, double until):
        self.keep(key, identity, until)

    def clear(self):
        self.young = {}
        self.old = {}
