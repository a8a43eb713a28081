"""The pools of a gateway: connections to the targets of each upstream. They outlive configurations.

A pool belongs to the name of its upstream, a target to its address and its TLS settings; so a reload, or a name that
resolves to other addresses, changes what has to change and leaves the rest: connections, counts and what is known of
health go on. Changes are planned first, where everything can still be refused and requests go on in between; then
they are made in one step, which is short however many there are.
"""

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fastgate._core.delivery.balancer import (
    Balancer,
    IPHash,
    LeastConnections,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    SmoothWeightedRoundRobin,
)
from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.delivery.pool import Pool, Target
from fastgate._core.delivery.retry import Judgement
from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.events import EventRing
from fastgate._core.memory.region import Region
from fastgate.config import ConfigError, Problem, Upstream
from fastgate.config.errors import render_path
from fastgate.gateway.cooperative import Cooperative
from fastgate.state.store import Store
from fastgate.upstreams.builders import breaker_of, health_of
from fastgate.upstreams.members import AddressesByName, Member, awaits_names, members_of
from fastgate.upstreams.tls import client_context, server_name

Contexts = dict[str, ssl.SSLContext | None]


class Placed(NamedTuple):
    """A target, which may be in use, and what it will be."""

    target: Target
    weight: float
    backup: bool
    breaker: Breaker | None


class Arrangement(NamedTuple):
    """Targets and settings of a pool, ready to be used."""

    placed: list[Placed]
    settings: dict[str, Any]


class Plan(NamedTuple):
    """What pools there will be."""

    pools: dict[str, Pool]
    upstreams: dict[str, Upstream]
    contexts: Contexts
    changed: dict[str, Arrangement]
    """What becomes of pools that stay and are not to stay as they are."""
    fresh: list[str]
    """Upstreams whose pools are new."""


class Pools:
    """The pools of one worker by the name of their upstream. ``found`` is what names have resolved to so far.

    ``store`` has the budgets of retries, ``events`` is the region in which changes of health are told.
    """

    def __init__(
        self, engine: Engine, store: Store, events: Region, slots: int, found: Mapping[str, AddressesByName]
    ) -> None:
        self._engine = engine
        self._store = store
        self._slots = slots
        self._found = dict(found)
        self._pools: dict[str, Pool] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._contexts: Contexts = {}
        self._leaving: list[Pool] = []
        self._resolved: set[str] = set()  # upstreams whose names resolved to others since the last plan
        self._events = EventRing(events)

    async def plan(self, upstreams: Mapping[str, Upstream], cooperative: Cooperative, problems: list[Problem]) -> Plan:
        """The pools of another configuration; those that stay are the same objects, unchanged so far.

        Adds everything to the problems that only shows now: files that cannot be used. With one the plan must not be
        made true.
        """
        contexts: Contexts = {}
        self._resolved.clear()
        for name, upstream in upstreams.items():
            contexts[name] = None
            try:
                if any(target.tls for target in upstream.targets):
                    contexts[name] = client_context(upstream.tls, render_path(("upstreams", name, "tls")))
            except ConfigError as error:
                problems.extend(error.problems)
            await cooperative.give_way()
        plan = Plan({}, dict(upstreams), contexts, {}, [])
        try:
            for name, upstream in upstreams.items():
                pool = self._pools.get(name)
                if pool is None:
                    pool = self._make(name, upstream, contexts[name])
                    plan.fresh.append(name)
                elif upstream != self._upstreams[name] or contexts[name] is not self._contexts[name]:
                    plan.changed[name] = self._arrange(name, upstream, contexts[name], pool)
                plan.pools[name] = pool
                await cooperative.give_way()
        except BaseException:
            self.forget(plan)
            raise
        return plan

    def use(self, plan: Plan) -> None:
        """Makes the plan true: pools that stay get their new settings, those that are gone serve what is under way."""
        gone = [pool for name, pool in self._pools.items() if name not in plan.pools]
        self._pools, self._upstreams, self._contexts = plan.pools, plan.upstreams, plan.contexts
        for name, arrangement in plan.changed.items():
            if name not in self._resolved:
                _use(plan.pools[name], arrangement)
        for name in self._resolved & (plan.changed.keys() | set(plan.fresh)):
            self._update(name)
        self._found = {name: found for name, found in self._found.items() if name in plan.pools}
        for pool in gone:
            pool.close()
        self._leaving = [pool for pool in [*self._leaving, *gone] if pool.open]

    def forget(self, plan: Plan) -> None:
        """The plan will not come true."""
        for name in plan.fresh:
            plan.pools[name].close()

    def resolved(self, name: str, found: AddressesByName) -> None:
        """The names of an upstream resolve to other addresses than before."""
        self._found[name] = found
        self._resolved.add(name)
        if name in self._pools:
            self._update(name)

    def names(self) -> dict[int, tuple[str, str]]:
        """The upstream and the target (empty: the upstream itself) that each row of shared state belongs to."""
        names = {}
        for name, pool in self._pools.items():
            names[pool.health.row] = (name, "")
            names.update((target.number, (name, target.name)) for target in pool.targets)
        return names

    def close(self) -> None:
        """Closes what rests in every pool."""
        for pool in self:
            pool.close()

    def __iter__(self) -> Iterator[Pool]:
        return iter([*self._pools.values(), *self._leaving])

    # -- making

    def _make(self, name: str, upstream: Upstream, context: ssl.SSLContext | None) -> Pool:
        placed, settings = self._arrange(name, upstream, context, None)
        return Pool(self._engine, name, _place(placed), budgets=self._store.budget, **settings)

    def _update(self, name: str) -> None:
        pool = self._pools[name]
        _use(pool, self._arrange(name, self._upstreams[name], self._contexts[name], pool))

    def _arrange(
        self, name: str, upstream: Upstream, context: ssl.SSLContext | None, pool: Pool | None
    ) -> Arrangement:
        """The targets of an upstream, those that its pool has already, and its settings. Changes nothing."""
        known = {(target.name, target.tls): target for target in pool.targets} if pool is not None else {}
        placed = []
        for member in members_of(upstream, self._found.get(name, {})):
            target = known.get((member.name, context if member.tls else None))
            if target is None:
                target = self._target(name, upstream, member, context)
            # Round robin knows no weights, not even where slow start makes it a weighted one.
            weight = member.weight if upstream.balancer != "round_robin" else 1.0
            placed.append(Placed(target, weight, member.backup, self._breaker(name, member.name, upstream, "target")))
        return Arrangement(placed, self._settings(name, upstream, placed))

    def _target(self, name: str, upstream: Upstream, member: Member, context: ssl.SSLContext | None) -> Target:
        return Target(
            self._engine,
            name=member.name,
            host=member.host,
            port=member.port,
            path=member.unix,
            tls=context if member.tls else None,
            server_name=server_name(upstream.tls, member.tls_name) if member.tls else "",
            authority=member.authority,
            number=self._engine.rows.row(f"{name}\0{member.name}"),
        )

    def _breaker(self, name: str, target: str, upstream: Upstream, scope: str) -> Breaker | None:
        if upstream.breaker is None or upstream.breaker.scope != scope:
            return None
        return breaker_of(self._engine.rows, name, target, upstream.breaker, self._events)

    def _settings(self, name: str, upstream: Upstream, placed: list[Placed]) -> dict[str, Any]:
        pool, passive, breaker = upstream.pool, upstream.health.passive, upstream.breaker
        targets = [each.target.name for each in placed]
        backups = [each.target.name for each in placed if each.backup]
        health: UpstreamHealth = health_of(self._engine.rows, name, targets, backups, upstream, self._events)
        hashes = upstream.balancer in ("ip_hash", "consistent_hash")
        return {
            "balancer": _make_balancer(upstream, placed, self._engine.slot),
            "health": health,
            "breaker": self._breaker(name, "", upstream, "upstream"),
            "awaits_names": awaits_names(upstream, self._found.get(name, {})),
            "hash_key": RequestKey(upstream.hash_key) if hashes else None,
            "passive": Judgement(passive.on, protocol=True) if passive is not None else None,
            "breaks": Judgement(breaker.on, protocol=True) if breaker is not None else None,
            "max_connections": share(pool.max_connections, self._slots),
            "max_idle": share(pool.max_idle, self._slots),
            "queue": share(pool.queue, self._slots),
            "queue_timeout": pool.queue_timeout,
            "idle_timeout": pool.idle_timeout,
            "max_requests": pool.max_requests,
        }


def _place(placed: list[Placed]) -> list[Target]:
    """Makes the targets what they are to be."""
    for target, weight, backup, breaker in placed:
        target.weight = weight
        target.backup = backup
        target.breaker = breaker
    return [each.target for each in placed]


def _use(pool: Pool, arrangement: Arrangement) -> None:
    pool.update(_place(arrangement.placed), **arrangement.settings)


def _make_balancer(upstream: Upstream, placed: list[Placed], slot: int) -> Balancer[Target]:
    """The balancer that an upstream asks for. ``slot`` spreads where workers begin."""
    targets, weights = [each.target for each in placed], [each.weight for each in placed]
    match upstream.balancer:
        case "weighted_round_robin":
            return SmoothWeightedRoundRobin(targets, weights, offset=slot)
        case "least_connections":
            return LeastConnections(targets, weights, offset=slot)
        case "ip_hash":
            return IPHash(targets, weights)
        case "random":
            return Random(targets, weights)
        case "power_of_two":
            return PowerOfTwoChoices(targets, weights)
        case "consistent_hash":
            names = [target.name for target in targets]
            from fastgate._core.delivery.ring import ConsistentHash  # on use: an upstream without it does not load it

            return ConsistentHash(targets, weights, bound=upstream.load_bound, names=names)
    if upstream.slow_start:
        return SmoothWeightedRoundRobin(targets, offset=slot)
    return RoundRobin(targets, offset=slot)


def share(total: int, slots: int) -> int:
    """What one of ``slots`` workers gets of a number for the host: never nothing, unless there is nothing."""
    return -(-total // slots)
