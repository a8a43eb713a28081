"""What the control plane does for upstreams: probes, names, retry budgets, what time brings about, the log of changes.

It runs once for a host: in the supervisor's loop, or in the gateway's own where there is no supervisor. Workers change
the shared state too (they eject targets and open breakers); each change of anybody is one event in shared memory, and
this is the one place that writes them to the log, in their order.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable

from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing, StateEvent
from fastgate._core.memory.segment import Segment
from fastgate.config import ActiveHealth, ConfigError, GatewayConfig, Route, Upstream
from fastgate.upstreams.builders import breaker_of, health_of
from fastgate.upstreams.dns import Question, Resolver
from fastgate.upstreams.health_probes import Check, Prober, ProbeTarget
from fastgate.upstreams.members import Address, AddressesByName, Member, is_awaited, members_of, question_of
from fastgate.upstreams.srv import Service
from fastgate.upstreams.tls import client_context, server_name

_log = logging.getLogger("fastgate.upstreams")

SWEEP_EVERY = 0.1  # seconds
_SETTLE_EVERY = 10  # sweeps
_BETWEEN = "\0"


class _Watched:
    """One upstream as the control plane knows it."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self.upstream = upstream
        self.found: dict[str, list[Address]] = {}
        self.members: list[Member] = []
        self.health: UpstreamHealth
        self.breakers: list[Breaker] = []


class UpstreamControl:
    """Begins with `update`; ``on_found(upstream, found)`` is told when the names of an upstream resolve to others."""

    def __init__(self, segment: Segment, on_found: Callable[[str, AddressesByName], None]) -> None:
        self._rows = segment.rows
        events = segment.region("events")
        self._on_found = on_found
        self._ring = EventRing(events, after=EventRing(events).last)
        self._watched: dict[str, _Watched] = {}
        self._budgets: list[RetryBudget] = []
        self._names: dict[int, str] = {}  # of rows, for the log
        self._prober = Prober(self._probed)
        self._resolver = Resolver(self._resolved, self._resolved_services)
        self._questions: dict[str, Question] = {}
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def found(self) -> dict[str, AddressesByName]:
        """What names have resolved to so far, by upstream."""
        return {name: watched.found for name, watched in self._watched.items() if watched.found}

    def update(self, config: GatewayConfig) -> None:
        """Makes these the upstreams; what stays goes on."""
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        before, self._watched = self._watched, {}
        self._questions = {}
        for name, upstream in config.upstreams.items():
            watched = before.get(name)
            if watched is None or watched.upstream != upstream:
                found = watched.found if watched is not None else {}
                watched = _Watched(name, upstream)
                asked = {question_of(target, upstream.dns) for target in upstream.targets}
                watched.found = {question: answers for question, answers in found.items() if question in asked}
                self._arrange(watched)
            self._watched[name] = watched
            self._questions.update(_questions(name, upstream))
        # A budget that is opened with the first retry would begin without what all first tries before it have paid in.
        self._budgets = [RetryBudget(self._rows, *each) for each in retry_budgets(config.routes).items()]
        self._probe()
        self._resolver.update(self._questions)

    async def stop(self) -> None:
        """Ends everything."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self._prober.stop()
        await self._resolver.stop()

    # -- parts

    def _arrange(self, watched: _Watched) -> None:
        """The members of an upstream, and their state in shared memory."""
        name, upstream = watched.name, watched.upstream
        watched.members = members_of(upstream, watched.found)
        names = [member.name for member in watched.members]
        backups = [member.name for member in watched.members if member.backup]
        watched.health = health_of(self._rows, name, names, backups, upstream, self._ring)
        scope = upstream.breaker.scope if upstream.breaker is not None else ""
        owners = [""] if scope == "upstream" else names if scope == "target" else []
        watched.breakers = []
        for owner in owners:
            assert upstream.breaker is not None
            watched.breakers.append(breaker_of(self._rows, name, owner, upstream.breaker, self._ring))
        self._names[watched.health.row] = f"upstream {name!r}"
        for index, member in enumerate(names):
            target = watched.health.target(index)
            self._names[target.row] = f"target {member} of upstream {name!r}"
            if upstream.health.active is None:
                target.set_probe(None)

    def _probe(self) -> None:
        targets: dict[str, ProbeTarget] = {}
        for watched in self._watched.values():
            active = watched.upstream.health.active
            if active is not None:
                for member in watched.members:
                    probed = _probe_target(watched, member, active)
                    if probed is not None:
                        targets[f"{watched.name}{_BETWEEN}{member.name}"] = probed
        self._prober.update(targets)

    def _probed(self, key: str, up: bool, reason: str) -> None:
        upstream, _, name = key.partition(_BETWEEN)
        watched = self._watched.get(upstream)
        if watched is None or name not in watched.health.targets:
            return
        _log.log(
            logging.INFO if up else logging.WARNING,
            "target %s of upstream %r: the probe says %s (%s)", name, upstream, "up" if up else "down", reason,
        )
        with contextlib.suppress(TimeoutError):
            watched.health.target(watched.health.targets.index(name)).set_probe(up)

    def _resolved(self, key: str, addresses: list[str]) -> None:
        self._take(key, [Address(address) for address in addresses])

    def _resolved_services(self, key: str, services: list[Service]) -> None:
        found = [Address(each.address, each.port, each.weight, each.backup, each.authority) for each in services]
        self._take(key, found)

    def _take(self, key: str, answers: list[Address]) -> None:
        upstream, _, question = key.partition(_BETWEEN)
        watched = self._watched.get(upstream)
        if watched is None:
            return
        # That the first question failed has been said.
        if answers or question in watched.found:
            _log.info(
                "upstream %r: %s resolves to %s", upstream, self._questions[key].host,
                ", ".join(f"{each.host}:{each.port}" if each.port else each.host for each in answers)
                or "no addresses",
            )
        watched.found[question] = answers
        self._arrange(watched)
        self._probe()
        self._on_found(upstream, watched.found)

    async def _sweep(self) -> None:
        for turn in itertools.count():
            now = Segment.now()
            if turn % _SETTLE_EVERY == 0:
                for budget in self._budgets:
                    budget.settle(now)
            for watched in self._watched.values():
                watched.health.sweep(now)
                for breaker in watched.breakers:
                    breaker.settle(now)
            for event in self._ring.read():
                self._tell(event)
            await asyncio.sleep(SWEEP_EVERY)

    def _tell(self, event: StateEvent) -> None:
        name = self._names.get(event.row)
        if name is None or event.kind == "health":  # what a probe found is told with its reason
            return
        bad = event.new in ("ejected", "down", "open", "drained", "on", "all")
        _log.log(logging.WARNING if bad else logging.INFO, "%s: %s", name, describe(event))


def retry_budgets(routes: Iterable[Route]) -> dict[str, float]:
    """What a first try pays in, by upstream; where routes differ, what the most generous one says."""
    budgets: dict[str, float] = {}
    for route in routes:
        for name in [each.upstream for each in route.split] or [route.upstream]:
            if name:
                budgets[name] = max(budgets.get(name, 0.0), route.retry.budget)
    return budgets


def describe(event: StateEvent) -> str:
    """An event in words."""
    match event.kind:
        case "ejected":
            return f"ejected for {event.value / 1000:g} s"
        case "returned":
            return f"no longer ejected, but {event.new}" if event.new in ("down", "drained") else "in use again"
        case "panic":
            if event.new == "all":
                return "too few targets are healthy: using all targets, even those that the probe says are down"
            if event.new == "on":
                return "too few targets are healthy: using ejected targets too"
            return "enough targets are healthy: using only healthy targets again"
        case "breaker":
            return f"breaker {event.old} -> {event.new}"
    return event.kind


def _questions(name: str, upstream: Upstream) -> dict[str, Question]:
    dns = upstream.dns
    questions = {}
    for target in upstream.targets:
        question = question_of(target, dns)
        if question:
            questions[f"{name}{_BETWEEN}{question}"] = Question(
                host=target.srv or target.host,
                family=dns.family,
                server=dns.server,
                srv=bool(target.srv),
                refresh=dns.refresh,
                stale=dns.stale,
                awaited=is_awaited(target, dns),
            )
    return questions


def _probe_target(watched: _Watched, member: Member, active: ActiveHealth) -> ProbeTarget | None:
    tls = watched.upstream.tls
    context = None
    if member.tls:
        try:
            context = client_context(tls, f"upstreams.{watched.name}.tls")
        except ConfigError as error:  # files that changed since they were last looked at; the last verdict stays
            _log.error("upstream %r: cannot probe its targets, keeping their last state: %s", watched.name, error)
            return None
    return ProbeTarget(
        check=Check(
            type=active.type,
            path=active.path,
            interval=active.interval,
            jitter=active.jitter,
            timeout=active.timeout,
            healthy=active.healthy,
            unhealthy=active.unhealthy,
            status=active.status,
            body=active.body,
            host=active.host,
            port=active.port,
            headers=active.headers,
        ),
        host=member.host,
        port=member.port,
        unix=member.unix,
        tls=context,
        server_name=server_name(tls, member.tls_name) if member.tls else "",
        authority=member.authority,
    )
