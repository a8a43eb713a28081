"""The targets of an upstream, and the pools in which connections to them rest.

Theory of operation
-------------------
A `Pool` serves one named upstream. `acquire` asks its breaker, has its balancer pick among the targets that health
lets be used, and gives the exchange, in this order: a connection that rests in the pool (the one used last first, so
that the others can go), a new connection if the target may have one more, a place in the target's queue. A connection
that comes free goes to the queue before it goes to rest. How a try went is told to health and breakers by `judge`.

Which targets there are, and all settings, can change at any time (`update`): a target that stays keeps its
connections, its counts and what is known of its health, one that goes is *retired*: it gets no more requests, and its
connections close when they are done.

Invariant: ``Target.open`` counts every connection from the decision to make it until `connection_lost`, or until
making it failed.
"""

import asyncio
import socket
import ssl
from collections import deque
from errno import EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastgate._core.delivery.balancer cimport Balancer, mix
from fastgate._core.delivery.breaker cimport REJECT, Breaker
from fastgate._core.delivery.health cimport UpstreamHealth
from fastgate._core.delivery.retry cimport Judgement
from fastgate._core.delivery.tries cimport Try, Upstream, try_of
from fastgate._core.exchange.causes cimport (
    BREAKER_OPEN,
    CONNECT_FAILED,
    NAME_UNRESOLVED,
    NO_SOCKET,
    NO_TARGET,
    OK,
    POOL_FULL,
    TLS_FAILED,
)
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.request_key cimport RequestKey, find_steady_key
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.memory.store cimport Budget
from fastgate._core.memory.hashing cimport fraction_of
from fastgate._core.wire.h1.upstream cimport UpstreamConnection
from fastgate._core.wire.pooled cimport IDLE, RESERVED, STARTING, Home, PooledConnection

from fastgate._core.exchange.timers import milliseconds

cdef enum:
    REPORT_EVERY = 10000       # milliseconds

cdef enum:
    TRIED = 1                  # by this exchange
    REFUSED = 2                # by the target's breaker


# The gateway has no file for another connection, or no port; that says nothing about the target.
cdef frozenset OUT_OF_FILES = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))
cdef frozenset OUT_OF_SOCKETS = OUT_OF_FILES | {EADDRNOTAVAIL}


def _wake(future):
    """Lets go on what waits for a future, if it still waits."""
    if not future.done():
        future.set_result(None)


cdef str in_words(object error):
    """Why there is no connection, without the number of the error."""
    return (getattr(error, "strerror", None) or str(error)).lower()


cdef class Target(Home):
    """One address of an upstream. ``number`` is its row in the shared target table.

    Weight, being a backup and the breaker may change while it is used (`Pool.update` reads them).
    """

    def __cinit__(
        self, Engine engine, *, name, host="", port=0, path="", tls=None, server_name="", authority="", number=0,
        weight=1.0, backup=False, Breaker breaker=None
    ):
        self.name = name
        self.number = number
        self.weight = weight
        self.backup = backup
        self.breaker = breaker
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.server_name = server_name
        self.authority = (authority or name).encode("ascii")
        self.waiting = deque()
        engine.rows.check(number, engine.slot)
        self.in_flight = engine.rows.in_flight(number, engine.slot)

    cdef int rest(self, PooledConnection connection) except -1:
        """Lays a connection on top of those that rest."""
        connection.mode = IDLE
        connection.rested = True
        connection.above = NULL
        connection.below = self.resting
        if self.resting is not None:
            self.resting.above = <PyObject*>connection
        self.resting = connection
        self.idle += 1
        return 0

    cdef PooledConnection wake(self):
        """Takes the topmost one; there must be one."""
        cdef PooledConnection connection = self.resting
        self.remove(connection)
        return connection

    cdef int gone(self, PooledConnection connection) except -1:
        self.open -= 1
        return 0

    cdef int came_free(self, PooledConnection connection) except -1:
        return (<Pool>connection.pool).serve(self)

    cdef int take_back(self, PooledConnection connection) except -1:
        return (<Pool>connection.pool).put_back(connection)

    cdef int report(self, PooledConnection connection, str what) except -1:
        return (<Pool>connection.pool).report(self, what)

    cdef int remove(self, PooledConnection connection) except -1:
        """Takes one out, wherever it lies."""
        connection.mode = STARTING
        if connection.above != NULL:
            (<PooledConnection>connection.above).below = connection.below
        else:
            self.resting = connection.below
        if connection.below is not None:
            connection.below.above = connection.above
        connection.above = NULL
        connection.below = None
        self.idle -= 1
        return 0


cdef int64_t in_seconds(uint64_t ms) noexcept:
    """Rounded up, for Retry-After."""
    return <int64_t>((ms + 999) // 1000)


cdef class Pool(Upstream):
    """The targets of one upstream with this worker's connections to them. Times are seconds; counts are of one target
    and this worker. ``max_connections`` and ``max_idle`` 0: there is no bound but that of open files.
    """

    def __cinit__(
        self, Engine engine, str name, targets, Balancer balancer, UpstreamHealth health, *, budgets,
        Breaker breaker=None, RequestKey hash_key=None, Judgement passive=None, Judgement breaks=None,
        max_connections=0, max_idle=0, queue=128, queue_timeout=1.0, idle_timeout=4.0, max_requests=0,
        awaits_names=False
    ):
        self.engine = engine
        self.name = name
        self.targets = ()
        self.unplaced = deque()
        self.budgets = budgets
        self.first_tries = engine.rows.first_tries(health.row, engine.slot)
        engine.pools.add(self)
        self.update(
            targets, balancer, health, breaker=breaker, hash_key=hash_key, passive=passive, breaks=breaks,
            max_connections=max_connections, max_idle=max_idle, queue=queue, queue_timeout=queue_timeout,
            idle_timeout=idle_timeout, max_requests=max_requests, awaits_names=awaits_names,
        )

    def __dealloc__(self):
        PyMem_Free(self.base)

    def update(
        self, targets, Balancer balancer, UpstreamHealth health, *, Breaker breaker=None, RequestKey hash_key=None,
        Judgement passive=None, Judgement breaks=None, max_connections=0, max_idle=0, queue=128, queue_timeout=1.0,
        idle_timeout=4.0, max_requests=0, awaits_names=False
    ):
        """Other targets or settings from now on; ``balancer`` and ``health`` are made for these targets."""
        cdef Target target
        cdef int size, i
        cdef char* room
        targets = tuple(targets)
        size = <int>len(targets)
        if size > self.room or self.base == NULL:
            # One block: base, effective and reserve weights, where in-flight words begin, who was tried.
            room = <char*>PyMem_Malloc((size + 1) * (3 * sizeof(double) + sizeof(void*) + 1))
            if room == NULL:
                raise MemoryError
            PyMem_Free(self.base)
            self.room = size
            self.base = <double*>room
            self.effective = self.base + size
            self.reserve = self.effective + size
            self.load.first = <long long**>(self.reserve + size)
            self.skip = <unsigned char*>(self.load.first + size)
        for i in range(size):
            target = <Target>targets[i]
            target.index = i
            target.retired = False
            self.base[i] = target.weight
            self.load.first[i] = self.engine.rows.in_flight(target.number, 0)
        self.load.stride = self.engine.rows.stride
        self.load.slots = self.engine.rows.slots
        for gone in set(self.targets) - set(targets):
            self.retire(<Target>gone)
        self.targets = targets
        self.balancer = balancer
        self.health = health
        self.breaker = breaker
        self.hash_key = hash_key
        self.passive = passive
        self.breaks = breaks
        self.max_connections = max_connections or INT_MAX
        self.max_idle = max_idle or INT_MAX
        self.queue = queue
        self.queue_timeout = milliseconds(queue_timeout)
        self.idle_timeout = milliseconds(idle_timeout)
        self.max_requests = max_requests
        self.awaits_names = awaits_names
        balancer.loads(&self.load)
        self.weigh()
        if self.unplaced and (self.targets or not awaits_names):
            self.place()

    cdef int weigh(self) except -1:
        """Tells the balancer what health has changed."""
        self.health.weigh(self.engine.wheel.now, self.base, self.effective, self.reserve)
        return self.balancer.use(self.effective, <int>len(self.targets))

    cdef int place(self) except -1:
        """Names have been resolved, or cannot be: those that have waited for it go on."""
        cdef Exchange x
        cdef Try t
        while self.unplaced:
            x = <Exchange>self.unplaced.popleft()
            t = try_of(x)
            t.waiting = False
            self.acquire(x, t)
        return 0

    cdef int retire(self, Target target) except -1:
        cdef PooledConnection connection
        target.retired = True
        while target.idle:
            connection = target.wake()
            connection.close()
        return 0

    def close_oldest(self, int most):
        """Closes the connections that have rested longest, target by target, at most so many; says how many."""
        cdef Target target
        cdef PooledConnection connection
        cdef int closed = 0
        for target in self.targets:
            connection = target.resting
            while connection is not None and connection.below is not None:
                connection = connection.below
            while connection is not None and closed < most:
                above = <PooledConnection>connection.above if connection.above != NULL else None
                connection.close()
                connection = above
                closed += 1
        return closed

    @property
    def open(self):
        """Connections of this worker: idle, busy and being made."""
        return sum([(<Target>target).open for target in self.targets])

    def close(self):
        """Closes what rests; what is busy closes when it is done."""
        self.closed = True
        for target in self.targets:
            self.retire(<Target>target)

    cdef int acquire(self, Exchange x, Try t) except -1:
        cdef Target target
        cdef PooledConnection connection
        cdef uint64_t now = self.engine.wheel.now
        cdef int admitted
        if self.awaits_names and not self.targets:
            # No longer than for a connection.
            self.unplaced.append(x)
            t.waiting = True
            return 0
        if self.breaker is not None:
            admitted = self.breaker.admit(now, self.engine.random())
            if admitted == REJECT:
                self.engine.slab.breaker_refused += 1
                x.refused_for = in_seconds(self.breaker.retry_after_ms(now))
                return t.by.failed(x, BREAKER_OPEN)
            t.admitted = admitted
        if self.health.changed(now):
            self.weigh()
        if x.client.peer.reserved is not None and not t.fresh and not x.is_copy:
            connection = self.take_reserved(x, t, now)
            if connection is not None:
                self.occupy(x, t, <Target>connection.home)
                return t.by.connected(x, t, connection)
        target = self.choose(x, t, now)
        if target is None:
            if x.refused_for:
                self.engine.slab.breaker_refused += 1
                return t.by.failed(x, BREAKER_OPEN)
            x.refused_for = in_seconds(self.health.retry_after_ms(now))
            return t.by.failed(x, NO_TARGET)
        self.occupy(x, t, target)
        # Those that wait already come first: see `put_back`.
        if target.idle and not t.fresh and not target.waiting:
            connection = self.take_resting(target, x)
            if connection is not None:
                return t.by.connected(x, t, connection)
        if target.open < self.max_connections:
            return self.connect(target, x, t)
        if len(target.waiting) >= self.queue:
            return t.by.failed(x, POOL_FULL)
        target.waiting.append(x)
        t.waiting = True
        self.engine.wheel.arm(x, self.queue_timeout)
        return 0

    cdef int occupy(self, Exchange x, Try t, Target target) noexcept:
        """The try is with this target."""
        if t.number == 1 and not t.fresh and not x.is_copy:
            self.first_tries[0] += 1
        t.target = target
        x.target_name = target.name
        t.in_flight = target.in_flight
        target.in_flight[0] += 1
        return 0

    cdef PooledConnection take_reserved(self, Exchange x, Try t, uint64_t now):
        """The connection to this upstream that the client has authenticated, while its target is in use; else None."""
        cdef PooledConnection connection
        cdef Target target
        cdef int admitted
        for connection in list(x.client.peer.reserved):
            if connection.pool is not self or connection.mode != RESERVED:
                continue
            target = <Target>connection.home
            if target.retired or self.effective[target.index] <= 0.0 or not connection.quiet():
                connection.close()
                continue
            if target.breaker is not None:
                admitted = target.breaker.admit(now, self.engine.random())
                if admitted == REJECT:
                    continue
                t.target_admitted = admitted
            self.engine.slab.upstream_reuses += 1
            connection.mode = STARTING
            return connection
        return None

    cdef Target choose(self, Exchange x, Try t, uint64_t now):
        """The target of the next try: one that was not asked yet, if there is one, rather a primary than a backup.

        None: there is none to ask; where that is up to breakers, ``refused_for`` says for how long.
        """
        cdef Target target
        cdef uint64_t hash = 0
        cdef int number, reserve, admitted
        cdef unsigned char* skip = NULL
        if self.hash_key is not None and not find_steady_key(x, self.hash_key, b"", &hash):
            hash = 0                    # by chance
        if t.tried is not None:
            skip = self.skip
            self.mark_tried(t)
        while True:
            number = self.balancer.pick(hash, self.engine.random(), skip)
            if skip != NULL and (number < 0 or skip[number]):
                reserve = self.pick_reserve(hash or self.engine.random())
                if reserve >= 0:
                    number = reserve
            # Rather a target that failed again than none; a hedge has no use for it.
            if number >= 0 and skip != NULL and skip[number] == REFUSED and not x.is_copy and self.forget_tried():
                continue
            if number < 0 or (skip != NULL and skip[number] == REFUSED):
                x.refused_for = self.open_for(now)
                return None
            target = <Target>self.targets[number]
            if target.breaker is None:
                return target
            admitted = target.breaker.admit(now, self.engine.random())
            if admitted != REJECT:
                t.target_admitted = admitted
                return target
            if skip == NULL:
                skip = self.skip
                memset(skip, 0, len(self.targets))
            skip[number] = REFUSED

    cdef int64_t open_for(self, uint64_t now) except -1:
        """Seconds until the first breaker of a target lets requests pass again; 0 when none refuses."""
        cdef Target target
        cdef uint64_t soonest = 0
        cdef uint64_t wait
        for target in self.targets:
            if target.breaker is not None:
                wait = target.breaker.retry_after_ms(now)
                if wait and (soonest == 0 or wait < soonest):
                    soonest = wait
        return in_seconds(soonest)

    cdef int mark_tried(self, Try t) except -1:
        cdef Target target
        memset(self.skip, 0, len(self.targets))
        for target in t.tried:
            if target.index < len(self.targets) and self.targets[target.index] is target:
                self.skip[target.index] = TRIED
        return 0

    cdef bint forget_tried(self) noexcept:
        """Of those to skip, only the refused ones. Whether there were others."""
        cdef int i
        cdef bint found = False
        for i in range(<int>len(self.targets)):
            if self.skip[i] == TRIED:
                self.skip[i] = 0
                found = True
        return found

    cdef int pick_reserve(self, uint64_t word) noexcept:
        """A backup that stands by and is not to be skipped, by weight; -1: there is none."""
        cdef double total = 0.0
        cdef double at
        cdef int i
        cdef int last = -1
        for i in range(<int>len(self.targets)):
            if not self.skip[i]:
                total += self.reserve[i]
        at = fraction_of(mix(word)) * total
        for i in range(<int>len(self.targets)):
            if not self.skip[i] and self.reserve[i] > 0.0:
                last = i
                at -= self.reserve[i]
                if at < 0.0:
                    break
        return last

    cdef bint has_untried(self, Try t) except -1:
        cdef int i
        if t.tried is None:
            return len(self.targets) > 1
        self.mark_tried(t)
        for i in range(<int>len(self.targets)):
            if not self.skip[i] and (self.effective[i] > 0.0 or self.reserve[i] > 0.0):
                return True
        return False

    cdef bint affords_retry(self, double ratio) except -1:
        if self.budget is None or self.budget_ratio != ratio:
            self.budget = <Budget?>self.budgets(self.name, ratio)
            self.budget_ratio = ratio
        return self.budget.spend(self.engine.wheel.now, 1)

    cdef int judge(self, Exchange x, Try t, int failure) except -1:
        cdef Target target = <Target>t.target
        cdef uint64_t now
        t.judged = True
        if self.passive is None and self.breaks is None:
            return 0
        now = self.engine.wheel.now
        if self.passive is not None and not target.retired:
            if self.passive.condemns(failure, x.status):
                self.health.failed(target.index, now)
            else:
                self.health.succeeded(target.index)
        if self.breaks is not None:
            if self.breaker is not None:
                self.breaker.record(t.admitted, not self.breaks.condemns(failure, x.status), now)
            elif target.breaker is not None:
                target.breaker.record(t.target_admitted, not self.breaks.condemns(failure, x.status), now)
        return 0

    cdef int leave_unjudged(self, Try t) except -1:
        cdef Target target = <Target>t.target
        if t.admitted and self.breaker is not None:
            self.breaker.cancel(t.admitted)
        if t.target_admitted and target is not None and target.breaker is not None:
            target.breaker.cancel(t.target_admitted)
        return 0

    cdef int leave(self, Exchange x, Try t) except -1:
        cdef Target target = <Target>t.target
        cdef Ticket ticket
        if t.waiting:
            t.waiting = False
            queue = self.unplaced if target is None else target.waiting
            if x in queue:
                queue.remove(x)
        if t.connecting is not None:
            ticket = <Ticket>t.connecting
            t.connecting = None
            if ticket.task is not None:
                ticket.task.cancel()
            if not ticket.begun:
                # A task that is cancelled before its first step runs no line of its own.
                target.open -= 1
                self.serve(target)
        return 0

    cdef PooledConnection take_resting(self, Target target, Exchange x):
        """A connection that has rested and can carry this request; None: there is none.

        This is the one place that decides it, for requests that come and for those that have waited. A request that
        can be sent again needs no look at the socket: if the connection turns out to have ended, it is. But where the
        request before had a body, there is a look: an upstream that has not read it as one, but as a request, sends an
        answer too many, which would be given to this client.
        """
        cdef PooledConnection connection
        while target.idle:
            connection = target.wake()
            if (x.idempotent and x.request_complete and not connection.carried_body) or connection.quiet():
                self.engine.slab.upstream_reuses += 1
                return connection
            connection.close()
        return None

    cdef int connect(self, Target target, Exchange x, Try t) except -1:
        cdef Ticket ticket = Ticket.__new__(Ticket)
        target.open += 1
        ticket.target = target
        t.connecting = ticket
        ticket.task = self.engine.spawn(self.open_connection(target, ticket, x, t))
        return 0

    async def open_connection(self, Target target, Ticket ticket, Exchange x, Try t):
        cdef UpstreamConnection connection
        cdef int cause = OK
        cdef bint freed = False
        ticket.begun = True
        connection = UpstreamConnection.__new__(UpstreamConnection, self.engine, target, self)
        loop = self.engine.loop
        tls = {}
        if target.tls is not None:
            tls = {"ssl": target.tls, "server_hostname": target.server_name or target.host}
        self.engine.slab.upstream_connects += 1
        try:
            while True:
                try:
                    if target.path:
                        await loop.create_unix_connection(lambda: connection, target.path, **tls)
                    else:
                        await loop.create_connection(lambda: connection, target.host, target.port, **tls)
                    break
                except OSError as error:
                    if error.errno not in OUT_OF_FILES or freed or not self.engine.close_idle_upstreams():
                        raise
                # What was closed is given back in the loop's next turns.
                freed = True
                turned = loop.create_future()
                loop.call_later(0.001, _wake, turned)
                await turned
        except asyncio.CancelledError:
            # The loop has closed the transport by itself, and connection_lost does not follow.
            connection.forget()
            self.serve(target)
            raise
        except socket.gaierror as error:
            cause = NAME_UNRESOLVED
            reason = in_words(error)
        except ssl.SSLError as error:
            cause = TLS_FAILED
            reason = str(error)
        except (OSError, asyncio.TimeoutError) as error:
            cause = NO_SOCKET if getattr(error, "errno", 0) in OUT_OF_SOCKETS else CONNECT_FAILED
            reason = in_words(error)
        finally:
            # The task holds this coroutine, and the ticket the task.
            ticket.task = None
        if cause != OK:
            connection.forget()
            self.report(target, f"cannot connect to {target.name}: {reason}")
        if t.connecting is not ticket:
            # Given up in the meantime.
            if cause == OK:
                self.put_back(connection)
            return
        t.connecting = None
        if cause == OK and not connection.connected:
            cause = CONNECT_FAILED
        if cause != OK:
            t.by.failed(x, cause)
            self.serve(target)
        else:
            t.by.connected(x, t, connection)

    cdef int report(self, Target target, str what) except -1:
        """Logs what is wrong with a target, at most once in `REPORT_EVERY`."""
        if target.reported and self.engine.wheel.now - target.reported < REPORT_EVERY:
            target.unreported += 1
            return 0
        more = f" ({target.unreported} more since the last report)" if target.unreported else ""
        target.reported = self.engine.wheel.now
        target.unreported = 0
        self.engine.log("warning", f"upstream {self.name!r}: {what}{more}")
        return 0

    cdef int serve(self, Target target) except -1:
        """Something of this target came free: the next in the queue."""
        cdef Exchange x
        cdef Try t
        cdef PooledConnection connection
        while target.waiting:
            x = <Exchange>target.waiting[0]
            connection = self.take_resting(target, x)
            if connection is None and target.open >= self.max_connections:
                break
            target.waiting.popleft()
            t = try_of(x)
            t.waiting = False
            if connection is not None:
                t.by.connected(x, t, connection)
            else:
                self.connect(target, x, t)
        return 0

    def serve_waiting(self, Target target):
        """`serve`, in a turn of the loop of its own."""
        self.serve(target)

    cdef int put_back(self, PooledConnection connection) except -1:
        """A connection has no exchange any more and can take another."""
        cdef Target target = <Target>connection.home
        cdef uint64_t keep = self.idle_timeout
        if connection.keep_seconds >= 0:
            # One second before the upstream closes it itself.
            keep = 1000 * (connection.keep_seconds - 1) if connection.keep_seconds > 1 else 0
        if not connection.connected or target.retired or self.closed or self.engine.draining or keep == 0 \
                or (self.max_requests and connection.requests >= self.max_requests):
            return connection.close()
        if connection.owner is not None:
            if connection.owner.gone:
                return connection.close()
            connection.mode = RESERVED
            connection.rested = True
            return 0
        if target.idle >= self.max_idle and not target.waiting:
            return connection.close()
        target.rest(connection)
        self.engine.wheel.arm(connection, keep)
        if target.waiting:
            # Not at once: where the upstream closes the connection with its answer, the loop has that next.
            self.engine.loop.call_soon(self.serve_waiting, target)
        return 0
