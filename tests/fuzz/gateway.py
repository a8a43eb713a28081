"""A worker's core with nearly everything that a configuration can name, between fake transports.

What is real: the configuration, routes with all their policies, pools, balancers, health, breakers, limits in shared
memory, the access log. What is not: sockets and the clock, so that a course of things can be played again by its seed.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from core.playbook import Loop, Transport

from fastgate import Policy, Request, Response
from fastgate._core.observe.access_log import AccessLog
from fastgate._core.probes.core import HandWheel, seed_random
from fastgate._core.wire.h1.client import ClientConnection
from fastgate.config import GatewayConfig, Problem
from fastgate.gateway.building import make_engine
from fastgate.gateway.control import LocalControl
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.duties import DUTIES
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.pools import Pools
from fastgate.gateway.runtime import Compiled, compile_runtime

KEY = "ea77193cc4e6f18656f3130e296203880c4b9b3772afc855211b82fdd46e9185"  # of "secret-one"
RETRY = {"attempts": 3, "on": ["connect", "reset", "timeout", "5xx"], "backoff": "10ms", "budget": 10}
UPSTREAM = {"upstream": "backend"}


class Sees(Policy):
    """Looks at everything, changes a little."""

    def on_request(self, request: Request) -> Response | None:
        request.headers.set("x-seen", "|".join((request.method, request.path, request.client_ip, request.host))[:200])
        assert isinstance(dict(request.query), dict)
        assert isinstance(dict(request.cookies), dict)
        assert list(request.headers) is not None
        if "stop" in request.query:
            return Response(403, "stopped")
        return None

    def on_response(self, request: Request, response: Response) -> None:
        response.headers.set("x-from", request.id)
        if response.status == 299:
            response.status = 203

    def on_error(self, request: Request, error: Any) -> Response | None:
        return Response(error.status, json={"cause": error.cause}) if error.status == 502 else None


class Waits(Policy):
    """The same, but each hook waits until the course lets it go on."""

    def __init__(self, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.wait = wait

    async def on_request(self, request: Request) -> None:
        await self.wait()

    async def on_response(self, request: Request, response: Response) -> None:
        await self.wait()

    async def on_error(self, request: Request, error: Any) -> None:
        await self.wait()


class Reads(Policy):
    """Reads whole bodies."""

    body = "full"

    async def on_request(self, request: Request) -> None:
        request.headers.set("x-size", str(len(await request.body())))

    def on_response(self, request: Request, response: Response) -> None:
        response.headers.set("x-size", str(len(response.body())))


class Streams(Policy):
    """Changes bodies while they pass."""

    def on_request_body(self, request: Request, piece: bytes, last: bool) -> bytes:
        return piece.replace(b"x", b"xx")

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes:
        return piece + (b"." if last else b"")


ROUTES: dict[str, dict[str, Any]] = {
    "/plain/*": UPSTREAM,
    "/once/*": {**UPSTREAM, "retry": False},
    "/retry/*": {**UPSTREAM, "retry": RETRY},
    "/quick/*": {**UPSTREAM, "retry": {**RETRY, "per_try_timeout": "200ms"}, "timeouts": {"total": "2s"}},
    "/mirror/*": {**UPSTREAM, "mirror": {"upstream": "shadow"}},
    "/split/*": {"split": [{"upstream": "backend", "weight": 1}, {"upstream": "shadow", "weight": 1}]},
    "/limit/*": {**UPSTREAM, "rate_limit": [
        {"rate": 20, "per": "1h", "key": "client_ip", "legacy_headers": True},
        {"rate": 50, "per": "1h", "algorithm": "fixed_window", "key": "header:x-who", "name": "w"},
        {"rate": 50, "per": "1h", "algorithm": "sliding_window_log", "key": "cookie:c", "name": "s"},
    ]},
    "/few/*": {**UPSTREAM, "concurrency": {"max": 2, "queue": 2, "queue_timeout": "500ms"}},
    "/key/*": {**UPSTREAM, "auth": {"any": ["key"]}, "rate_limit": {"rate": 1000, "key": "key", "per": "1h"}},
    "/jwt/*": {**UPSTREAM, "auth": {"any": ["jwt", "key"]}, "request_headers": {"set": {"x-sub": "{claim.sub}"}}},
    "/cors/*": {**UPSTREAM, "security_headers": True, "cors": {
        "origins": ["https://a.example", "https://*.b.example"], "credentials": True, "expose": ["*"],
    }},
    "/edit/{id}/{rest*}": {
        **UPSTREAM,
        "request_headers": {"set": {"x-id": "{param.id}", "x-ip": "{client_ip}"}, "remove": ["x-gone"]},
        "response_headers": {"set": {"x-path": "{path}"}, "add": {"vary": "x"}, "remove": ["server"]},
    },
    "/json/*": {**UPSTREAM, "envelope": True, "compression": {"min_size": 1, "encodings": ["gzip"]}},
    "/sees/*": {**UPSTREAM, "policies": [{"use": "sees"}]},
    "/waits/*": {**UPSTREAM, "policies": [{"use": "waits"}], "timeouts": {"total": "5s"}},
    "/reads/*": {**UPSTREAM, "policies": [{"use": "reads"}], "max_body": "100KB"},
    "/streams/*": {**UPSTREAM, "policies": [{"use": "streams"}], "retry": RETRY},
    "/buffer/*": {**UPSTREAM, "buffer_request": True, "max_body": "50KB", "retry": RETRY},
    "/small/*": {**UPSTREAM, "max_body": "1KB"},
    "/strip/*": {**UPSTREAM, "strip_prefix": "/strip", "add_prefix": "/added", "host_header": "client"},
    "/ip/*": {**UPSTREAM, "ip": {"deny": ["10.0.0.0/8"]}},
    "/types/*": {**UPSTREAM, "content_types": ["application/json"]},
    "/half/*": {**UPSTREAM, "half_close": "serve"},
    "/own/*": {"respond": {"status": 200, "body": "own", "headers": {"x-path": "{path}"}}},
    "/moved/*": {"redirect": {"to": "https://{host}{path}", "status": 308}},
    "~/rx/(?P<n>[0-9]+)": UPSTREAM,
    "/hosts/*": {**UPSTREAM, "hosts": ["h", "*.example"], "headers": {"x-v": "~v[0-9]+"}, "query": {"q": "*"}},
    "/single/*": {"upstream": "single"},
}  # fmt: skip


def configuration() -> GatewayConfig:
    passive = {"passive": {"failures": 3, "eject": "1s", "window": "5s"}}
    return GatewayConfig.from_dict({
        "gateway": {
            "trusted_proxies": ["192.0.2.0/24"],
            "forwarded": True,
            "via": True,
            "keys": {"one": {"hash": KEY}},
            "access_log": {"path": ""},
            "health_path": "/healthz",
        },
        "auth": {"jwt": {"algorithms": ["HS256"], "secret": "s" * 32, "claims_to_headers": {"sub": "x-user"}}},
        "defaults": {"retry": {**RETRY, "hedge": {"delay": "100ms"}}},
        "plugins": [{"name": name, "use": "fastgate:Policy"} for name in ("sees", "waits", "reads", "streams")],
        "routes": [{"name": f"r{number}", "path": path, **ROUTES[path]} for number, path in enumerate(ROUTES)],
        "upstreams": {
            "backend": {
                "targets": [{"host": f"10.1.0.{number}", "port": 80, "backup": number == 4} for number in range(1, 5)],
                "balancer": "least_connections",
                "health": passive,
                "breaker": {"failures": 20, "open": "1s"},
            },
            "shadow": {"targets": ["10.2.0.1:80"], "pool": {"max_connections": 4, "queue": 4}},
            "single": {"targets": ["10.3.0.1:80"], "pool": {"max_connections": 1, "queue": 2, "max_requests": 5}},
        },
    })


class Lines:
    """Where the access log goes."""

    descriptor = -1

    def __init__(self) -> None:
        self.collect: Callable[[], object] | None = None
        self.data: list[bytes] = []

    def append(self, lines: bytes, count: int) -> bool:
        assert lines.count(b"\n") == count
        self.data.append(lines)
        return True

    def wake(self) -> None:
        pass

    def take(self) -> list[dict[str, Any]]:
        """The lines since the last look; each has to be JSON."""
        assert self.collect is not None
        self.collect()
        lines = b"".join(self.data).split(b"\n")[:-1]
        self.data.clear()
        return [json.loads(line) for line in lines]


class Listener:
    scheme = "http"
    port = 8080


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class FuzzedGateway:
    def __init__(self, config: GatewayConfig, seed: int) -> None:
        self.transports: list[Transport] = []
        self.upstreams: list[Transport] = []
        self.mistakes: list[str] = []
        self.errors: list[str] = []
        self.connecting: deque[asyncio.Future[None] | Exception] = deque()
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.loop = Loop(self._connect, self._connected)
        self.control = LocalControl(config)
        self.segment = self.control.segment
        self.engine = make_engine(self.loop, self.segment, 0, self._log)
        seed_random(self.engine, seed)
        self.clock = HandWheel(wheel=self.engine.wheel)
        self.loop.now = lambda: self.clock.now
        self.lines = Lines()
        problems: list[Problem] = []
        pools = Pools(self.engine, self.control.store, self.segment.region("events"), self.control.slots, {})
        plan = finished(pools.plan(config.upstreams, Cooperative(), problems))
        policies: dict[str, Policy] = {
            "sees": Sees({}), "waits": Waits(self._wait), "reads": Reads({}), "streams": Streams({}),
        }  # fmt: skip
        subscribers = Subscribers(DUTIES, lambda topic, data: None)
        self.compiled: Compiled = finished(
            compile_runtime(
                config,
                self.engine,
                self.control.store,
                self.segment.region("plugins"),
                plan.pools,
                policies,
                subscribers,
                lambda: self.control.cache.open(self.control.slot),
                Cooperative(),
                problems,
            )
        )
        assert problems == []
        pools.use(plan)
        self.pools = pools
        self.compiled.runtime.observers = [AccessLog(self.lines)]  # type: ignore[arg-type]
        self.engine.use(self.compiled.runtime)

    def _log(self, level: str, message: str, exception: BaseException | None = None) -> None:
        if exception is not None or level == "error":
            self.errors.append(f"{message} ({exception!r})")

    async def _wait(self) -> None:
        self.waiting.append(self.loop.create_future())
        await self.waiting[-1]

    async def _connect(self) -> None:
        if self.connecting:
            first = self.connecting.popleft()
            if isinstance(first, Exception):
                raise type(first)(*first.args)
            await first

    def _connected(self, protocol: Any) -> None:
        self.upstreams.append(Transport(self, protocol))  # type: ignore[arg-type]

    def client(self, address: str) -> Transport:
        """A client with an address of its own, by which the access log can be told apart."""
        connection = ClientConnection(self.engine, Listener())
        return Transport(self, connection, peername=(address, 5555))  # type: ignore[arg-type]

    def pass_time(self, milliseconds: int) -> None:
        end = self.clock.now + milliseconds
        while self.clock.now < end:
            self.clock.turn(min(self.clock.now + 50, end))
            for timer in [timer for timer in self.loop.timers if timer.due <= self.clock.now]:
                self.loop.timers.remove(timer)
                if timer.callback is not None:
                    timer.callback(*timer.args)
            self.loop.run()

    def end(self) -> None:
        """Everything is closed, and nothing is left."""
        for waiting in self.waiting:
            waiting.cancel()
        self.engine.abort_connections()
        for pool in self.pools:
            pool.close()
        for transport in self.transports:
            transport.abort()
        self.loop.run()
        self.engine.stop()
        open_ = sum(pool.open for pool in self.pools)
        flight = [self.segment.rows.requests_in_flight(number) for number in range(8)]
        assert (self.mistakes, self.loop.problems, self.errors, open_, flight) == ([], [], [], 0, [0] * 8)
        assert self.engine.open_connections == 0
