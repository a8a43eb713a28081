"""Deliveries and a filter for tests: what a contract has to allow is shown by something that does it.

The gateway never loads it. `Streams` answers by itself, from a generator, as fast as the client takes it. `Lies` has
its answer in memory. `Delayed` waits before it begins. `Keeps` keeps an answer and plays it again. `Spools` lets the
try go on without a client that takes the answer too slowly. `Plan` asks one delivery after the other, each with its own
path, credential and body. `Watched` and `WatchedRule` write down what they hear, and raise where they are told to.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from fastgate._core.delivery.stored cimport Stored
from fastgate._core.exchange.causes cimport OK, ROUTE_ANSWERED, reason_of
from fastgate._core.exchange.exchange cimport (
    Around,
    BodyFilter,
    BodyRule,
    Delivery,
    Exchange,
    Facts,
    NoClient,
    Source,
    answer_of,
    detach,
    new_place,
)
from fastgate._core.exchange.head cimport AUTHORIZATION, DROPPED, Head

cdef int STREAM = new_place()
cdef int SPOOL = new_place()
cdef int PART = new_place()


cdef class Known(Facts):
    cdef void reset(self) noexcept:
        self.what = None


cdef Known known(Exchange x, int place):
    cdef Known facts
    if x.places[place] == NULL:
        facts = Known.__new__(Known)
        x.remember(facts, place)
    return <Known>x.places[place]


cdef int fill(Head head, bytes data) except -1:
    """A response head from its bytes."""
    cdef const unsigned char* p = data
    head.release()
    head.scan(p, len(data), False, len(data))
    head.data = data
    head.p = p
    head.index(False, 1)
    return 0


# -- own answers

cdef class Stream(Source):
    cdef int hold(self, int reason) except -1:
        self.held |= reason
        return 0

    cdef int release(self, int reason) except -1:
        self.held &= ~reason
        return self.plan()

    cdef int plan(self) except -1:
        if self.held == 0 and not self.awaited and self.exchange is not None:
            self.awaited = True
            self.exchange.engine.loop.call_soon(self.go_on)
        return 0

    def go_on(self):
        cdef Exchange x = self.exchange
        cdef bytes piece
        self.awaited = False
        if x is None or self.held:
            return
        piece = next(self.pieces, None)
        (<Streams>self.by).made += 1
        if piece is None:
            self.exchange = None
            x.source = None
        self.by.tell_piece(x, piece, piece is None)
        self.plan()


cdef class Streams(Delivery):
    def __init__(self, head, make):
        self.head = head
        self.make = make

    cdef int begin(self, Exchange x) except -1:
        cdef Stream stream = Stream.__new__(Stream)
        stream.by = self
        stream.exchange = x
        stream.pieces = iter(self.make())
        known(x, STREAM).what = stream
        fill(x.response, self.head)
        x.source = stream
        self.tell_answered(x, None, False)
        return stream.plan()

    cdef int leave(self, Exchange x) except -1:
        cdef Known facts = known(x, STREAM)
        if facts.what is not None:
            (<Stream>facts.what).exchange = None
            facts.what = None
        return 0


cdef class Lying(Stored):
    cdef int let_go(self) except -1:
        self.lies.let_go += 1
        self.body = None
        return 0


cdef class Lies(Delivery):
    def __init__(self, head, body):
        self.head = head
        self.body = body

    cdef int begin(self, Exchange x) except -1:
        cdef Lying body = Lying.__new__(Lying)
        body.lies = self
        # Memory of its own, which is gone when it is let go.
        body.body = PyBytes_FromStringAndSize(self.body, len(self.body))
        self.begun += 1
        known(x, STREAM).what = body
        fill(x.response, self.head)
        return body.begin(self, x, body.body, len(self.body))

    cdef int leave(self, Exchange x) except -1:
        cdef Known facts = known(x, STREAM)
        if facts.what is not None:
            (<Lying>facts.what).leave()
            facts.what = None
        return 0


# -- around another

cdef class Delayed(Around):
    def __init__(self, Delivery inner, seconds):
        self.inner = inner
        self.seconds = seconds
        self.diary = []

    cdef int begin(self, Exchange x) except -1:
        self.diary.append("waits")
        x.engine.loop.call_later(self.seconds, self.go_on, x, x.generation)
        return 0

    cdef int leave(self, Exchange x) except -1:
        self.diary.append("left")
        return self.inner.leave(x)

    cdef int enclose(self, Delivery outer) except -1:
        self.outer = outer
        return self.inner.enclose(outer)

    def go_on(self, Exchange x, generation):
        if x.generation == generation and x.delivery is self:
            self.diary.append("begins")
            self.inner.begin(x)


cdef class Keeps(Around):
    def __init__(self, Delivery inner):
        self.inner = inner
        inner.enclose(self)

    cdef int begin(self, Exchange x) except -1:
        if not self.whole:
            return self.inner.begin(x)
        self.replayed += 1
        x.response.copy(self.head)
        return self.tell_answered(x, b"".join(self.body) or None, True)

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        self.head = Head.__new__(Head)
        self.head.copy(x.response)
        self.body = [piece] if piece is not None else []
        self.whole = last
        return self.tell_answered(x, piece, last)

    cdef int piece(self, Exchange x, bytes piece, bint last) except -1:
        if piece is not None:
            self.body.append(piece)
        self.whole = last
        return self.tell_piece(x, piece, last)


# -- a try that goes on without its client

cdef class Reading(Source):
    cdef int hold(self, int reason) except -1:
        self.held |= reason
        return self.spool.by.lag(self.spool) if not self.spool.apart else 0

    cdef int release(self, int reason) except -1:
        self.held &= ~reason
        return self.spool.feed() if self.held == 0 else 0


cdef class Spool:
    cdef int add(self, bytes piece, bint last) except -1:
        if piece is not None:
            self.pieces.append(piece)
        self.whole = last
        return self.feed()

    cdef int fail(self, int cause) except -1:
        self.cause = cause
        return self.feed()

    cdef int feed(self) except -1:
        """Gives the reader what it takes."""
        cdef Exchange x
        cdef Reading source
        cdef bytes piece
        cdef bint last
        while self.reader is not None:
            x = self.reader
            source = <Reading>x.source
            if source is None or source.held:
                return 0
            if self.taken == len(self.pieces):
                if self.cause != OK or self.whole:
                    self.reader = None
                    x.source = None
                    return self.by.tell_piece(x, None, True) if self.cause == OK else self.by.tell_failed(x, self.cause)
                return 0
            piece = self.pieces[self.taken]
            self.taken += 1
            last = self.whole and self.taken == len(self.pieces)
            if last:
                self.reader = None
                x.source = None
            self.by.tell_piece(x, piece, last)
        return 0


cdef class Spools(Around):
    def __init__(self, Delivery inner):
        self.inner = inner
        inner.enclose(self)

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        cdef Spool spool
        cdef Reading source
        if not last:
            spool = Spool.__new__(Spool)
            spool.by = self
            spool.pieces = []
            spool.reader = x
            source = Reading.__new__(Reading)
            source.spool = spool
            known(x, SPOOL).what = spool
            x.source = source
        return self.tell_answered(x, piece, last)

    cdef int lag(self, Spool spool) except -1:
        """The client takes no more: the try goes on in another exchange, and the client reads what that brings."""
        cdef Exchange x = spool.reader
        cdef Source source = x.source
        cdef Exchange copy = detach(x, NoClient.__new__(NoClient))
        spool.apart = True
        known(copy, SPOOL).what = spool
        x.source = source
        x.delivery = self
        self.detached += 1
        return 0

    cdef int piece(self, Exchange x, bytes piece, bint last) except -1:
        cdef Spool spool = <Spool>known(x, SPOOL).what
        if spool.apart:
            spool.add(piece, last)
            self.finished += last
        return self.tell_piece(x, piece, last)

    cdef int failed(self, Exchange x, int cause) except -1:
        cdef Spool spool = <Spool>known(x, SPOOL).what
        if spool is not None and spool.apart:
            spool.fail(cause)
        return self.tell_failed(x, cause)

    cdef int leave(self, Exchange x) except -1:
        cdef Known facts = known(x, SPOOL)
        cdef Spool spool = <Spool>facts.what
        facts.what = None
        if spool is not None and spool.apart and not x.is_copy:
            # What it asked goes on elsewhere.
            spool.reader = None
            return 0
        return self.inner.leave(x)


cdef class Detaches(Around):
    def __init__(self, Delivery inner, after=0):
        self.inner = inner
        self.after = after

    cdef int begin(self, Exchange x) except -1:
        self.inner.begin(x)
        if self.after:
            x.engine.loop.call_later(self.after, self.answer, x, x.generation)
        else:
            self.answer(x, x.generation)
        return 0

    def answer(self, Exchange x, generation):
        if x.generation == generation:
            detach(x, NoClient.__new__(NoClient))
            x.respond(answer_of(202, [], b""), ROUTE_ANSWERED)


# -- one after the other

cdef class Plan(Delivery):
    def __init__(self, parts):
        cdef Delivery inner
        self.parts = list(parts)
        for inner, _, _, _ in self.parts:
            inner.enclose(self)

    cdef int ask(self, Exchange x, int number) except -1:
        cdef Delivery inner
        cdef bytes body
        cdef int i
        known(x, PART).what = number
        inner, x.forward_path, fields, body = self.parts[number]
        x.request_extra = list(fields)
        for i in range(x.request.count):
            if x.request.fields[i].id == AUTHORIZATION:
                x.request.fields[i].flags |= DROPPED
        x.body = [body]
        x.body_kept = len(body)
        x.body_lost = False
        x.buffering = True
        x.response.release()
        return inner.begin(x)

    cdef int begin(self, Exchange x) except -1:
        return self.ask(x, 0)

    cdef Delivery now(self, Exchange x):
        return <Delivery>self.parts[known(x, PART).what or 0][0]

    cdef bint goes_on(self, Exchange x) except -1:
        return known(x, PART).what + 1 < len(self.parts)

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        return self.now(x).more(x, piece, complete)

    cdef int late(self, Exchange x) except -1:
        return self.now(x).late(x)

    cdef int leave(self, Exchange x) except -1:
        return self.now(x).leave(x)

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        if x.response.status < 500 or not self.goes_on(x):
            return self.tell_answered(x, piece, last)
        self.now(x).leave(x)
        return self.ask(x, known(x, PART).what + 1)

    cdef int failed(self, Exchange x, int cause) except -1:
        if not self.goes_on(x):
            return self.tell_failed(x, cause)
        self.now(x).leave(x)
        return self.ask(x, known(x, PART).what + 1)


# -- what is heard

cdef class Watched(Around):
    def __init__(self, Delivery inner, diary, *, raises=""):
        self.inner = inner
        self.diary = diary
        self.raises = raises
        inner.enclose(self)

    cdef int begin(self, Exchange x) except -1:
        self.diary.append("begin")
        if self.raises == "begin":
            raise ValueError("begin")
        return self.inner.begin(x)

    cdef int leave(self, Exchange x) except -1:
        self.diary.append("leave")
        return self.inner.leave(x)


cdef class WatchedFilter(BodyFilter):
    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        return piece

    cdef int close(self, Exchange x, int cause) except -1:
        self.rule.diary.append(("close", reason_of(cause)))
        if self.rule.raises:
            raise ValueError("close")
        return 0


cdef class WatchedRule(BodyRule):
    def __init__(self, diary, *, raises=False):
        self.name = "watched"
        self.diary = diary
        self.raises = raises

    cdef BodyFilter open(self, Exchange x, bytes piece, bint last):
        cdef WatchedFilter filter = WatchedFilter.__new__(WatchedFilter)
        filter.name = self.name
        filter.rule = self
        self.diary.append("open")
        return filter
