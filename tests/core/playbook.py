"""A worker's core between fake transports: what arrives is said, what was sent is read, and nothing waits.

A `World` has an engine, one pool of targets and routes. Its loop runs when it is told to and no socket is opened: a
connection to an upstream is made at once, or when the play says so.
"""

import asyncio
import random
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from core.regions import engine, ring

from fastgate._core.delivery.balancer import RoundRobin
from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.delivery.hedge import Hedged
from fastgate._core.delivery.mirror import Mirrored
from fastgate._core.delivery.pool import Pool, Target
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.tries import Upstreams
from fastgate._core.exchange.exchange import Delivery, FinishMark, Hook
from fastgate._core.exchange.problems import ProblemDetails
from fastgate._core.exchange.route import Route, Runtime
from fastgate._core.exchange.views import Request  # noqa: F401 - what hooks see
from fastgate._core.memory.plugin_times import PluginTimes, plugins_size
from fastgate._core.memory.segment import Segment
from fastgate._core.policies.header_edits import RequestEdits, ResponseEdits
from fastgate._core.policies.path_edits import PathEdit
from fastgate._core.probes.core import HandWheel
from fastgate._core.routing.router import Router
from fastgate._core.wire.h1.client import ClientConnection
from fastgate.testing.transport import FakeTransport

DEFAULT_RETRY = RetryRule()
PEER = ("203.0.113.7", 5555)
FORWARDED = (
    b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: h", b"X-Forwarded-Port: 8080",
)


class Timer:
    """What `call_later` gives: due at a time of the clock, in milliseconds."""

    def __init__(self, due: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.due = due
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None
        self.args = ()


class Loop:
    """What the core and `asyncio.Task` ask of a loop. `run` turns it until nothing is ready."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, None]], connected: Callable[[Any], None]) -> None:
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._connect = connect
        self._connected = connected
        self._running = False
        self.problems: list[Any] = []
        self.turns = 0
        self.timers: list[Timer] = []
        self.now: Callable[[], int] = lambda: 0

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> "Timer":
        timer = Timer(self.now() + round(delay * 1000), callback, args)
        self.timers.append(timer)
        return timer

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> SimpleNamespace:
        self._ready.append((callback, args))
        return SimpleNamespace(cancel=lambda: None)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        return asyncio.Task(coroutine, loop=self)  # type: ignore[arg-type]

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, problem: Any) -> None:
        self.problems.append(problem)

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int, **options: Any) -> None:
        try:
            await self._connect()
        except BaseException:
            del factory  # the traceback keeps this frame
            raise
        self._connected(factory())

    def run(self) -> None:
        if self._running:
            return
        self._running = True
        try:
            while self._ready:
                for _ in range(len(self._ready)):
                    callback, args = self._ready.popleft()
                    callback(*args)
                self.turns += 1
        finally:
            self._running = False


class Transport(FakeTransport):
    """A connection in a world: what is ready has its turn whenever the peer does something."""

    def __init__(self, world: "World", protocol: Any, **options: Any) -> None:
        world.transports.append(self)
        super().__init__(
            protocol, world.loop.call_soon, settle=world.loop.run, mistakes=world.mistakes,
            **{"peername": PEER, **options},
        )  # fmt: skip


class Finishing(NamedTuple):
    """Stands in ``on_request`` for the ``on_finish`` of a plugin."""

    hook: Callable[..., object]


class World:
    """See the module. ``routes`` maps a path to the options of its `Route`; those of pool and runtime follow."""

    def __init__(
        self,
        routes: dict[str, dict[str, Any]] | None = None,
        *,
        targets: int = 1,
        pool: dict[str, Any] | None = None,
        health: dict[str, Any] | None = None,
        **runtime: Any,
    ) -> None:
        self.transports: list[Transport] = []
        self.upstreams: list[Transport] = []
        self.mistakes: list[str] = []
        self.logged: list[tuple[str, str]] = []
        self.errors: list[BaseException] = []
        self.connecting: deque[asyncio.Future[None] | Exception] = deque()
        """What the next connections wait for, or fail with."""
        self.loop = Loop(self._connect, self._connected)
        self.segment = Segment.create(slots=1, targets=16, plugins=plugins_size(1))
        self.meter = PluginTimes(self.segment.region("plugins"), 0, "play")
        self.engine = engine(self.loop, self.segment, 0, self._log)
        self.clock = HandWheel(wheel=self.engine.wheel)
        self.loop.now = lambda: self.clock.now
        names = [f"t{number}:80" for number in range(targets)]
        made = [
            Target(
                self.engine, name=name, host=f"t{number}", port=80, number=self.segment.rows.row(f"backend\0{name}")
            )
            for number, name in enumerate(names)
        ]
        health = UpstreamHealth(self.segment.rows, "backend", names, events=ring(self.segment), **(health or {}))
        self.pool = Pool(self.engine, "backend", made, RoundRobin(made), health, budgets=self.budget, **(pool or {}))
        self.pools = [self.pool]
        self.router = Router()
        for path, options in (routes or {"/*": {}}).items():
            self.route(path, **options)
        given = {"request_id": "", "server_header": "", "problems": [ProblemDetails()]}
        self.engine.use(Runtime(router=self.router, **given | runtime))

    def _log(self, level: str, message: str, exception: BaseException | None = None) -> None:
        self.logged.append((level, message))
        if exception is not None:
            self.errors.append(exception)

    async def _connect(self) -> None:
        if self.connecting:
            first = self.connecting.popleft()
            if isinstance(first, Exception):
                raise type(first)(*first.args)
            await first

    def _connected(self, protocol: Any) -> None:
        self.upstreams.append(Transport(self, protocol))

    def route(self, path: str, *, methods: list[str] | None = None, **options: Any) -> None:
        """Adds a route to the first pool, or to what the options say. Hooks may be given as they are."""
        for side in ("on_request", "on_response", "on_error"):
            options[side] = [self.step(each) for each in options.get(side, ())]
        options["on_request"] = [*options.pop("gates", ()), *options["on_request"]]
        if "request_edits" in options:
            options["on_request"].append(RequestEdits(options.pop("request_edits")))
        if "rewrite" in options:
            options["on_request"].append(PathEdit(options.pop("rewrite")))
        if "response_edits" in options:
            options["edits"] = ResponseEdits(options.pop("response_edits"))
        if "delivery" not in options:
            asked = {key: options.pop(key) for key in ("mirror", "retry", "connect_timeout") if key in options}
            options["delivery"] = self._delivery(**asked)
        self.router.add(path, Route(**{"name": path, **options}), methods=methods)

    def _delivery(
        self,
        *,
        mirror: dict[str, Any] | None = None,
        retry: RetryRule | None = DEFAULT_RETRY,
        connect_timeout: float = 2.0,
    ) -> Delivery:
        """The first pool; with ``mirror`` another one, and the options of its copies, gets what it gets."""
        kind = Hedged if retry is not None and retry.hedge_delay else Upstreams
        delivery: Delivery = kind(self.pool, retry, connect_timeout=connect_timeout)  # type: ignore[arg-type]
        if mirror is not None:
            copies = Upstreams(mirror.pop("pool"), retry, connect_timeout=connect_timeout, single=True)
            delivery = Mirrored(delivery, copies, **mirror)
        return delivery

    def step(self, call: Any) -> Any:
        """A step of a route's chain: a hook, or an ``on_finish``."""
        if isinstance(call, Finishing):
            return FinishMark(Hook(call.hook, self.meter))
        return Hook(call, self.meter)

    def client(self) -> Transport:
        """A new connection of a client."""
        listener = SimpleNamespace(scheme="http", port=8080)
        return Transport(self, ClientConnection(self.engine, listener))

    @property
    def upstream(self) -> Transport:
        """The connection to an upstream that was made last."""
        self.loop.run()
        return self.upstreams[-1]

    def pass_time(self, seconds: float) -> None:
        """So much time goes by, tick by tick."""
        end = self.clock.now + round(seconds * 1000)
        while self.clock.now < end:
            self.clock.turn(min(self.clock.now + 50, end))
            for timer in [timer for timer in self.loop.timers if timer.due <= self.clock.now]:
                self.loop.timers.remove(timer)
                if timer.callback is not None:
                    timer.callback(*timer.args)
            self.loop.run()

    def budget(self, name: str, share: float) -> RetryBudget:
        return RetryBudget(self.segment.rows, name, share)

    def metrics(self) -> dict[str, Any]:
        return self.segment.metrics()

    def end(self) -> None:
        """Ends every connection and asserts that nothing was done wrong on the way."""
        self.loop.run()
        self.engine.abort_connections()
        for pool in self.pools:
            pool.close()
        for transport in self.transports:
            transport.abort()
        self.loop.run()
        self.engine.stop()
        self.loop.run()
        in_flight = [self.segment.rows.requests_in_flight(number) for number in range(16)]
        still_open = sum(pool.open for pool in self.pools)
        assert (self.mistakes, self.loop.problems, still_open, in_flight) == ([], [], 0, [0] * 16)
        assert self.engine.open_connections == 0
        counted = self.segment.metrics()
        assert counted["accepted"] == counted["closed"]


@contextmanager
def world(routes: dict[str, dict[str, Any]] | None = None, **options: Any) -> Iterator[World]:
    """A `World` for one play, ended after it."""
    made = World(routes, **options)
    try:
        yield made
    except BaseException:
        made.mistakes.clear()
        for transport in made.transports:
            transport.lose()
        made.pool.close()
        raise
    made.end()


def by_chance(play: World, chance: random.Random, *more: Callable[[], object]) -> None:
    """A few events in any order, for three clients, whose requests are pipelined and beside each other.

    They ask, are answered, lose their upstream, leave, or have to wait too long; ``more`` are others that may happen.
    """
    clients = [play.client() for _ in range(3)]

    def ask(number: int) -> None:
        if not clients[number].closed:
            clients[number].send(get() * chance.randrange(1, 3))

    def answers(_: int) -> None:
        for upstream in play.upstreams:
            if not upstream.closed and chance.random() < 0.5:
                upstream.send(answer(b"ok"))

    def upstream_lost(_: int) -> None:
        if play.upstreams and not play.upstreams[-1].closed:
            play.upstreams[-1].lose()

    def leaves_or_waits(number: int) -> None:
        if chance.random() < 0.3:
            play.pass_time(6)
        else:
            clients[number].lose()
            clients[number] = play.client()

    events: list[Callable[[int], object]] = [ask, ask, answers, upstream_lost, leaves_or_waits]
    events.extend(lambda _, event=event: event() for event in more)
    for _ in range(chance.randrange(1, 12)):
        chance.choice(events)(chance.randrange(3))


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """A request of the client without a body."""
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, path, version), b"Host: h", *fields, b"", b""])


def post(body: bytes, path: bytes = b"/", *fields: bytes, method: bytes = b"POST") -> bytes:
    return get(path, b"Content-Length: %d" % len(body), *fields, method=method) + body


def asked(line: bytes, *fields: bytes, after: tuple[bytes, ...] = (), host: bytes = b"t0:80") -> bytes:
    """The head that an upstream gets: ``fields`` of the client, then the gateway's own."""
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: " + host, *fields, *FORWARDED, *after, b"", b""])


DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"


def answer(body: bytes = b"", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """An upstream's response with a Date, so that the gateway adds none, and the length where the gateway puts it."""
    return b"\r\n".join([b"HTTP/1.1 " + status, DATE, *fields, b"Content-Length: %d" % len(body), b"", body])


def head(*fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A response head without any length."""
    return b"\r\n".join([b"HTTP/1.1 " + status, DATE, *fields, b"", b""])


def chunks(*pieces: bytes, last: bool = True) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if last else b"")


def status_of(data: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", data)
    assert match is not None, data
    return int(match[1])


def closes(data: bytes) -> bool:
    """Whether an answer says that it is the last."""
    return b"\r\nConnection: close\r\n" in data
