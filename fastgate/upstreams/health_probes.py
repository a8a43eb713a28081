"""Active health checks: each target is probed on a connection of its own, and its verdict told when it changes.

One task a target probes at once and then every ``interval``, counted from the beginning of one probe to that of the
next. A target that was never probed is unknown, and used; its first result counts at once. After that it takes
``unhealthy`` failures in a row to take it down and ``healthy`` successes in a row to bring it back.

What a probe costs is bounded: ``timeout`` seconds from connecting to the verdict, a second more to end the connection,
64 KB of response head and 64 KB of body, and of the body no more than what is looked for needs. At most ``at_once``
probes run at a time, over all targets; above it they queue, outside their timeout.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from fastgate.http_client import (
    Bounds,
    ClientError,
    ConnectError,
    Connection,
    ConnectionLost,
    Destination,
    Reply,
    Until,
    compose,
    connect,
)

_log = logging.getLogger("fastgate.upstreams")

_BOUNDS = Bounds(head=65536, body=65536, cut_body=True)
_SPREAD = 0.01  # seconds a target: a thousand new ones are not all probed in one instant


class Check(NamedTuple):
    """What a probe does and what it expects: ``health.active`` of an upstream.

    Names and values of header fields, path and host are sent as they are; the configuration has checked them.
    """

    type: Literal["http", "tcp"] = "http"
    """``http`` is a GET; ``tcp`` connects, with the TLS handshake where there is one, and says nothing."""
    path: str = "/"
    interval: float = 5.0
    """Seconds."""
    jitter: float = 0.1
    """How far an interval may differ from ``interval``, as a share of it."""
    timeout: float = 2.0
    """Seconds for the whole probe."""
    healthy: int = 2
    """Successes in a row that bring a target back."""
    unhealthy: int = 3
    """Failures in a row that take it down."""
    status: Sequence[str] = ("2xx", "3xx")
    """Which statuses are a success: ``"204"`` or ``"2xx"``."""
    body: str = ""
    """What the first 64 KB of the body must contain."""
    host: str = ""
    """The Host field; empty: the target's own name."""
    port: int = 0
    """Where to connect to; 0: the target's own port."""
    headers: Mapping[str, str] = {}


class ProbeTarget(NamedTuple):
    """Where a probe connects to. ``host`` should be an address: a name is asked for at each probe."""

    host: str
    port: int
    check: Check
    unix: str = ""
    """Path of a Unix socket, instead of host and port."""
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """The name that is asked for (SNI) and verified; empty: the host."""
    authority: str = ""
    """What the Host field says unless the check does; empty: host and port."""


class ProbeResult(NamedTuple):
    """How one probe went."""

    success: bool
    status: int
    """The response's; 0 when there was none."""
    reason: str
    """In words, such as "answered 200", "503 is not 2xx or 3xx", "connection refused", "timeout after 2 s"."""
    latency: float
    """Seconds from the beginning to the verdict."""
    at: float
    """When it ended, as ``time.time()``."""


class ProbedHealth:
    """What is known of a target.

    Attributes:
        up: The verdict; None while it is unknown.
        streak: How many results in a row have spoken against the verdict.
        last: The last result; None before the first.
    """

    __slots__ = ("last", "streak", "up")

    def __init__(self) -> None:
        self.up: bool | None = None
        self.streak = 0
        self.last: ProbeResult | None = None

    def count(self, result: ProbeResult, check: Check) -> bool:
        """Takes a result in; True when the verdict is a new one."""
        self.last = result
        if result.success == self.up:
            self.streak = 0
            return False
        self.streak += 1
        needed = 1 if self.up is None else check.healthy if result.success else check.unhealthy
        if self.streak < needed:
            return False
        self.up = result.success
        self.streak = 0
        return True


class Prober:
    """Probes targets, each under a name, in the running event loop.

    Attributes:
        health: What is known of each target, by name.
    """

    def __init__(self, on_change: Callable[[str, bool, str], None], *, at_once: int = 128) -> None:
        """``on_change(name, up, reason)`` is told each new verdict, the first one included."""
        self.health: dict[str, ProbedHealth] = {}
        self._on_change = on_change
        self._slots = asyncio.Semaphore(at_once)
        self._targets: dict[str, ProbeTarget] = {}
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, targets: Mapping[str, ProbeTarget]) -> None:
        """Makes these the targets.

        One that is unchanged goes on undisturbed. One whose check changed keeps its verdict and is probed at once; one
        whose address changed is unknown again. Nothing is told of those that are gone, their health is forgotten.
        """
        fresh = []
        for name in [name for name, target in self._targets.items() if targets.get(name) != target]:
            self._probing.pop(name).cancel()
            known = self._targets.pop(name)
            target = targets.get(name)
            if target is None or _place(target) != _place(known):
                del self.health[name]
        for name, target in targets.items():
            if name not in self._targets:
                self._targets[name] = target
                self.health.setdefault(name, ProbedHealth())
                fresh.append(name)
        for name in fresh:
            task = asyncio.get_running_loop().create_task(self._probe_on(name, targets[name], len(fresh)))
            self._probing[name] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends all probes; returns when their connections are closed."""
        self.update({})
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _probe_on(self, name: str, target: ProbeTarget, count: int) -> None:
        check = target.check
        health = self.health[name]
        loop = asyncio.get_running_loop()
        await asyncio.sleep(random.uniform(0, min(check.interval, count * _SPREAD)))
        while True:
            begun = loop.time()
            try:
                async with self._slots:
                    result = await probe(target)
                if health.count(result, check):
                    self._on_change(name, result.success, result.reason)
            except Exception:
                # Neither a caller's mistake nor one of ours may end the probing, or be held against the target.
                _log.exception("the health probe of %s failed", name)
            interval = check.interval * random.uniform(1 - check.jitter, 1 + check.jitter)
            await asyncio.sleep(begun + interval - loop.time())


async def probe(target: ProbeTarget) -> ProbeResult:
    """Probes a target once."""
    check = target.check
    begun = time.perf_counter()
    status = 0
    connection: Connection | None = None
    try:
        try:
            async with asyncio.timeout(check.timeout):
                connection = await connect(_destination(target))
                if check.type == "tcp":
                    success, reason = True, "connected"
                else:
                    reply = await connection.ask(request_head(target), _BOUNDS, _enough(check))
                    status = reply.status
                    success, reason = _judge(reply, check)
        except TimeoutError:
            success, reason = False, f"timeout after {check.timeout:g} s"
        except ClientError as error:
            success, (status, reason) = False, _words(error, check)
        except ValueError as error:
            success, reason = False, str(error)
        result = ProbeResult(success, status, reason, time.perf_counter() - begun, time.time())
        if connection is not None and (success or status):
            # Politely, so that the target's log stays clean.
            await connection.end_and_wait()
        return result
    finally:
        if connection is not None:
            connection.cut()


def _destination(target: ProbeTarget) -> Destination:
    return Destination(
        target.host, target.check.port or target.port, tls=target.tls, server_name=target.server_name, unix=target.unix
    )


def _enough(check: Check) -> Until:
    """No more is read than the verdict needs."""
    wanted = check.body.encode()
    return lambda status, body: (
        not _is_accepted(status, check.status) or wanted in body or len(body) >= _BOUNDS.body
    )


def _judge(reply: Reply, check: Check) -> tuple[bool, str]:
    if not _is_accepted(reply.status, check.status):
        return False, f"{reply.status} is not {_alternatives(check.status)}"
    if check.body.encode() not in reply.body:
        return False, _lacks(check)
    return True, f"answered {reply.status}"


def _words(error: ClientError, check: Check) -> tuple[int, str]:
    """The status that had come, and what is said of a probe without a reply."""
    if error.reset:
        return 0, "connection reset"
    if isinstance(error, ConnectionLost) and error.status:
        # It is the body that is looked at: that there was more to come does not matter.
        return error.status, _lacks(check)
    return error.status, str(error).lower() if isinstance(error, ConnectError) else str(error)


def _lacks(check: Check) -> str:
    return f'the body does not contain "{check.body}"'


def request_head(target: ProbeTarget) -> bytes:
    """The request of a probe. A field that the check sets replaces the probe's own."""
    check = target.check
    fields = {
        "host": ("Host", check.host or target.authority or _authority(target)),
        "user-agent": ("User-Agent", "fastgate-health"),
        "accept": ("Accept", "*/*"),
        "connection": ("Connection", "close"),
    }
    for name, value in check.headers.items():
        fields[name.lower()] = (name, value)
    return compose("GET", check.path or "/", fields.values())


def _authority(target: ProbeTarget) -> str:
    if target.unix:
        return "localhost"
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.tls is not None else 80) else f"{host}:{target.port}"


def _place(target: ProbeTarget) -> tuple[str, int, str]:
    return target.host, target.check.port or target.port, target.unix


def _is_accepted(status: int, accepted: Sequence[str]) -> bool:
    return str(status) in accepted or f"{status // 100}xx" in accepted


def _alternatives(accepted: Sequence[str]) -> str:
    return " or ".join([", ".join(accepted[:-1]), accepted[-1]] if len(accepted) > 1 else accepted)

