"""Contenders in interleaved rounds: A B C A B C, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from benchmarks.arithmetic import microseconds, ratios, saturated, spread
from benchmarks.load import Load, Origin
from benchmarks.machine import Unavailable, busy, cores
from benchmarks.processes import Cpu
from benchmarks.proxies import Proxy

BASE = "nginx"
AGAIN = "nginx again"
"""The peer against itself: a second nginx, whose ratios show what this machine calls equal."""

FIELD = (BASE, "fastgate", "haproxy", "caddy")
"""The contenders of every lane, in the order of the table."""

CACHES = ("varnish",)
"""Contenders of the cache lane alone."""


@dataclass(frozen=True)
class Options:
    """What the command line asked for. Durations in seconds."""

    rounds: int = 10
    duration: float = 2.0
    quick: bool = False
    only: tuple[str, ...] = FIELD + CACHES
    connections: int = 32
    idle: int = 10_000
    starts: int = 10
    before: str = ""


class Contender(NamedTuple):
    """Who takes part: a kind, and what tells it apart; see `Proxy` for the rest."""

    kind: str
    label: str
    values: Mapping[str, object] = MappingProxyType({})
    checkout: Path | None = None


@dataclass(frozen=True)
class Turn:
    """One contender's turn in one round.

    ``forwarded`` is what the origin answered meanwhile; ``foreign`` the larger share of the two cores that went to
    processes which do not belong to the contest.
    """

    load: Load
    cpu: Cpu
    origin: Cpu
    forwarded: int
    foreign: float
    cached: bool = False
    """The origin must not have been asked."""

    @property
    def proxy_busy(self) -> float:
        """Share of its core that the proxy used."""
        return self.cpu.total / self.load.seconds

    @property
    def load_busy(self) -> float:
        """Share of the other core that load generator and origin used."""
        return (self.load.cpu_seconds + self.origin.total) / self.load.seconds

    def wrong(self, connections: int) -> int:
        """Answers that were not right, and requests that never reached the origin or reached it twice.

        The load generator may leave one unfinished request a connection behind, and asks one before it starts.
        """
        if self.cached:
            return self.load.wrong + self.forwarded
        extra = self.forwarded - self.load.requests
        return self.load.wrong + (0 if 0 <= extra <= connections + 1 + self.load.wrong else abs(extra))


@dataclass
class Row:
    """One contender and its turns."""

    label: str
    kind: str
    turns: list[Turn] = field(default_factory=list)

    def values(self, of: Callable[[Turn], float]) -> list[float]:
        """One figure of every turn."""
        return [of(turn) for turn in self.turns]

    def cpu_us(self) -> list[float]:
        """Processor time per request of every turn, microseconds."""
        return self.values(lambda turn: microseconds(turn.cpu.total, turn.load.requests))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


class Contest:
    """Origin and all contenders, started and idle; a context manager. ``skipped`` says who is absent and why."""

    def __init__(
        self,
        options: Options,
        *,
        again: bool = True,
        contenders: Sequence[tuple[str, str] | Contender] | None = None,
        head: bytes = b"",
        addresses: int = 1,
        values: Callable[[int], Mapping[str, object]] | None = None,
        cached: bool = False,
    ) -> None:
        """``contenders``, or (kind, label) alone, in place of those of the command line; ``head``: see `Proxy`.

        The origin has so many ``addresses``; ``values`` makes of its port what is filled into configurations. What is
        ``cached`` must be answered without it.
        """
        self.options = options
        self._head = head
        self._addresses = addresses
        self._values = values
        self._cached = cached
        self.proxy_core, self.load_core = cores()
        self.skipped: dict[str, str] = {}
        self.proxies: list[Proxy] = []
        self._stack = ExitStack()
        chosen = contenders or [(kind, kind) for kind in FIELD if kind in options.only]
        self._wanted = [Contender(*each) for each in chosen]
        if contenders is None and again and BASE in options.only:
            self._wanted.insert(1, Contender(BASE, AGAIN))

    def __enter__(self) -> Self:
        try:
            self.origin = self._stack.enter_context(Origin(self.load_core, self._addresses))
            port = self.origin.port
            common = self._values(port) if self._values is not None else {}
            for kind, label, own, checkout in self._wanted:
                values = {**common, **own}
                try:
                    proxy = Proxy(
                        kind, port, self.proxy_core, label=label, head=self._head, values=values, checkout=checkout
                    )
                except Unavailable as reason:
                    self.skipped[label] = str(reason)
                    say(f"  skipped: {reason}")
                else:
                    self.proxies.append(self._stack.enter_context(proxy))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take_turn(self, proxy: Proxy, load: Callable[[Proxy], Load]) -> Turn:
        """Run ``load`` against one proxy between two readings of every clock and counter."""
        counted = self._settled()
        sides = busy(self.proxy_core), busy(self.load_core)
        origin, cpu = self.origin.cpu(), proxy.process.cpu()
        began = time.monotonic()
        seen = load(proxy)
        cpu, origin, elapsed = proxy.process.cpu() - cpu, self.origin.cpu() - origin, time.monotonic() - began
        others = (
            busy(self.proxy_core) - sides[0] - cpu.total,
            busy(self.load_core) - sides[1] - origin.total - seen.cpu_seconds,
        )
        if not proxy.process.running:
            raise Unavailable(f"{proxy.label} ended under load: {proxy.process.words()}")
        if seen.requests == 0:
            raise Unavailable(f"{proxy.label} answered nothing rightly: {seen.errors}")
        forwarded = self.origin.counts()["requests"] - counted
        return Turn(seen, cpu, origin, forwarded, max(0.0, *others) / elapsed, self._cached)

    def _settled(self) -> int:
        """How many requests the origin has answered, once nothing is under way that an earlier load left behind."""
        counted = -1
        for _ in range(100):
            seen = self.origin.counts()["requests"]
            if seen == counted:
                break
            counted = seen
            time.sleep(0.05)
        return counted

    def interleave(self, what: str, load: Callable[[Proxy], Load], warmup: Callable[[Proxy], object]) -> list[Row]:
        """``rounds`` rounds in which every proxy has one turn; each round begins with another proxy.

        A contender that ends, or answers nothing rightly, leaves the contest with its reason in ``skipped``.
        """
        rows = {proxy.label: Row(proxy.label, proxy.kind.name) for proxy in self.proxies}
        for proxy in self.proxies:
            warmup(proxy)
        for number in range(self.options.rounds):
            first = number % max(1, len(self.proxies))
            figures = []
            for proxy in self.proxies[first:] + self.proxies[:first]:
                row = rows[proxy.label]
                try:
                    row.turns.append(self.take_turn(proxy, load))
                except Unavailable as reason:
                    say(f"  {proxy.label} leaves: {reason}")
                    self.skipped[proxy.label] = str(reason)
                    self.proxies.remove(proxy)
                    continue
                figures.append(f"{row.label} {row.cpu_us()[-1]:.1f}")
            say(f"  {what}, round {number + 1}/{self.options.rounds}: µs/request: {', '.join(figures)}")
        return [row for row in rows.values() if row.label not in self.skipped]


def table(rows: Sequence[Row], connections: int) -> list[dict[str, object]]:
    """The rows as JSON, each with medians and spreads, ratios to the base row, and its raw turns."""
    base = next((row for row in rows if row.label == BASE), None)
    return [_entry(row, base, connections) for row in rows]


def _entry(row: Row, base: Row | None, connections: int) -> dict[str, object]:
    sides = spread(row.values(lambda turn: turn.proxy_busy)), spread(row.values(lambda turn: turn.load_busy))
    entry: dict[str, object] = {
        "label": row.label,
        "kind": row.kind,
        "cpu_us": spread(row.cpu_us()),
        "user_us": spread(row.values(lambda turn: microseconds(turn.cpu.user, turn.load.requests))),
        "system_us": spread(row.values(lambda turn: microseconds(turn.cpu.system, turn.load.requests))),
        "rate": spread(row.values(lambda turn: turn.load.rate)),
        "p50_us": spread(row.values(lambda turn: turn.load.latency["p50"])),
        "p99_us": spread(row.values(lambda turn: turn.load.latency["p99"])),
        "proxy_busy": sides[0],
        "load_busy": sides[1],
        "saturated": saturated(sides[0]["median"], sides[1]["median"]),
        "foreign": spread(row.values(lambda turn: turn.foreign)),
        "requests": sum(turn.load.requests for turn in row.turns),
        "wrong": sum(turn.wrong(connections) for turn in row.turns),
        "errors": _sum_errors(turn.load.errors for turn in row.turns),
        "turns": [asdict(turn) for turn in row.turns],
    }
    if base is not None:
        entry["cpu_ratio"] = ratios(row.cpu_us(), base.cpu_us())
        entry["rate_ratio"] = ratios(row.values(lambda turn: turn.load.rate), base.values(lambda turn: turn.load.rate))
        entry["p99_ratio"] = ratios(
            row.values(lambda turn: turn.load.latency["p99"]), base.values(lambda turn: turn.load.latency["p99"])
        )
    return entry


def _sum_errors(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for errors in counts:
        for name, count in errors.items():
            total[name] = total.get(name, 0) + count
    return total
