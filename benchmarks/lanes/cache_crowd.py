"""A crowd for one cold object of 1 MB, which the origin sends in 16 pieces over half a second; four workers.

2,000 clients ask at once. Then again, and the client that asked first leaves or takes a byte a second, or the worker
that fetches is killed, before the answer has begun or in the midst of it. Each answer is compared byte for byte; what
ends before its length is cut, not wrong. Then 40 clients, and how long after the first of them the others have each
64 KB; and an answer with `no-store`, beside the same on a route without `cache`.

The workers have the first core together, clients and origin the last.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import count
from statistics import median, quantiles

from benchmarks.arithmetic import ratios, spread
from benchmarks.contest import Options, say
from benchmarks.crowd import Client, Crowd, Outcome, judge, on_core, sum_of, wait_for_workers
from benchmarks.crowd_origin import PIECES, SECONDS, CrowdOrigin, body_of
from benchmarks.load import cached_head
from benchmarks.machine import FILES, Unavailable, cores, raise_file_limit
from benchmarks.processes import family, owners_of
from benchmarks.proxies import Proxy

TITLE = "A crowd for one object that is not stored"
CONNECTIONS = 2000
FEW = 40
WORKERS = 4
LIMIT = 30.0
"""Seconds after which who has not got everything counts as cut."""
BEFORE_HEAD = 0.3
"""Seconds that the origin waits with its head, where the worker is killed before it has come."""

numbers = count(1)


class Case:
    """What happens to the client that asks first. ``asked`` is the most upstream requests that are right."""

    def __init__(self, label: str, path: str, *, asked: int = 1, first: str = "") -> None:
        self.label = label
        self.path = path
        self.asked = asked
        self.first = first

    @property
    def query(self) -> str:
        """What the origin is told."""
        return f"?wait={BEFORE_HEAD}" if self.first == "killed before" else ""


CASES = (
    Case("all ask at once", "/pieces"),
    Case("the first client leaves", "/pieces", asked=2, first="leaves"),
    Case("the first client takes a byte a second, `min_rate = 0`", "/patient/pieces", asked=2, first="slow"),
    Case("the first client takes a byte a second", "/pieces", asked=2, first="slow"),
    Case("the fetching worker is killed before the answer", "/pieces", asked=2, first="killed before"),
    Case("the fetching worker is killed half way", "/pieces", asked=2, first="killed"),
)


def new_path(prefix: str) -> tuple[str, str]:
    """A path that nobody has asked for, as clients name it and as the origin does."""
    name = f"object-{next(numbers)}"
    asked = f"{prefix}/{name}"
    for route in ("/patient", "/uncached"):
        prefix = prefix.removeprefix(route)
    return asked, f"{prefix}/{name}"


class Turn:
    """One crowd: its outcome and its times, in seconds.

    ``began`` is when the first client asked, ``asked`` when the origin was. ``share`` is how far the origin was with
    its answer, the last one, when the median client had its first byte.
    """

    def __init__(self, began: float, others: list[Client], asked: list[dict[str, float]], wait: float) -> None:
        self.outcome: Outcome = judge(others)
        self.asked = len(asked)
        firsts = [client.first_byte_at - client.asked_at for client in others if client.first_byte_at]
        self.first_byte = median(firsts) if firsts else None
        came = [client.first_byte_at for client in others if client.first_byte_at]
        self.share = (median(came) - max(each["at"] for each in asked) - wait) / SECONDS if came and asked else None
        ends = [client.ended_at for client in others if client.whole]
        self.total = max(ends) - began if ends else None


def run(options: Options) -> dict[str, object]:
    """Every case, then the lag of few, then what cannot be shared."""
    core, load_core = cores()
    connections = 200 if options.quick else CONNECTIONS
    rounds = 1 if options.quick else 3
    if raise_file_limit(FILES) < 4 * connections + 500:
        raise Unavailable(f"{4 * connections + 500:,} open files are needed")
    with CrowdOrigin(load_core) as origin, on_core(load_core):
        first = cached_head("/pieces/first")

        @contextmanager
        def gateway() -> Iterator[Proxy]:
            with Proxy("fastgate-crowd", origin.port, core, head=first, wait=False) as proxy:
                yield proxy

        rows = []
        for case in CASES:
            with gateway() as proxy:
                rows.append(_row(case, [play(case, origin, proxy, connections) for _ in range(rounds)], connections))
                say(f"  {_told(rows[-1])}")
        with gateway() as proxy:
            lag = lag_of_few(origin, proxy, rounds)
            say(f"  lag of {FEW}: {lag}")
            private = no_store(origin, proxy, connections, rounds)
            say(f"  no-store: {private['ratio']} of the time without cache")
    return {
        "settings": {"connections": connections, "workers": WORKERS, "pieces": PIECES, "seconds": SECONDS},
        "rows": rows,
        "lag": lag,
        "no_store": private,
    }


def play(case: Case, origin: CrowdOrigin, proxy: Proxy, connections: int) -> Turn:
    """One crowd for one new object. Where something happens to the first client, it asks first, alone."""
    wait_for_workers(proxy, cached_head("/pieces/first"), WORKERS)
    path, asked_path = new_path(case.path)
    head = cached_head(path + case.query)
    with Crowd(proxy.port, connections, body_of(asked_path)) as crowd:
        first, others = crowd.clients[0], crowd.clients[1:] if case.first else crowd.clients
        if not case.first:
            began = crowd.ask(head, others)
            crowd.read(LIMIT)
        else:
            began = crowd.ask(head, [first])
            fetching = until(lambda: origin.asked(asked_path))[0]
            if case.first == "slow":
                crowd.lag(first)
            crowd.ask(head, others)
            crowd.read(LIMIT, _happening(case, crowd, first, began, int(fetching["port"]), origin, proxy))
        return Turn(began, others, origin.asked(asked_path), BEFORE_HEAD if case.query else 0.0)


def _happening(
    case: Case, crowd: Crowd, first: Client, began: float, port: int, origin: CrowdOrigin, proxy: Proxy
) -> Callable[[float], None]:
    """What is done once, at its time, or each second; called often while the crowd reads."""
    after = {"leaves": SECONDS / 4, "slow": 0.0, "killed before": BEFORE_HEAD / 2, "killed": SECONDS / 2}[case.first]
    due = [began + after]

    def happen(now: float) -> None:
        if not due or now < due[0]:
            return
        due.clear()
        if case.first == "leaves":
            crowd.leave(first)
        elif case.first == "slow":
            due.append(now + 1.0)
            try:
                first.connection.recv(1)
            except OSError:
                pass
        else:
            worker = owners_of([(port, origin.port)], family(proxy.process.pid)[1:])[0]
            if worker is None:
                raise Unavailable("the worker that fetches was not found")
            os.kill(worker, signal.SIGKILL)

    return happen


def until(found: Callable[[], list[dict[str, float]]], limit: float = 5.0) -> list[dict[str, float]]:
    """What ``found`` returns once that is something."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if seen := found():
            return seen
        time.sleep(0.005)
    raise Unavailable("the origin was not asked")


def _row(case: Case, turns: list[Turn], connections: int) -> dict[str, object]:
    clients = connections - bool(case.first)
    asked = max(turn.asked for turn in turns)
    outcome = sum_of([turn.outcome for turn in turns])
    shares = [turn.share for turn in turns if turn.share is not None]
    # Nobody may be cut or refused unless its own worker was killed.
    lost = 0 if case.first.startswith("killed") else outcome.cut + outcome.refused
    return {
        "label": case.label,
        "kind": "fastgate",
        "rounds": len(turns),
        "clients": clients,
        "upstream_requests": asked,
        "most_upstream_requests": case.asked,
        "right": outcome.right,
        "cut": outcome.cut,
        "refused": outcome.refused,
        "wrong": outcome.wrong + lost + max(0, asked - case.asked),
        "wrong_bodies": outcome.wrong,
        "origin_share": spread(shares) if shares else None,
        "first_byte_ms": _milliseconds(turn.first_byte for turn in turns),
        "total_ms": _milliseconds(turn.total for turn in turns),
    }


def _milliseconds(seconds: Iterable[float | None]) -> dict[str, float] | None:
    """None: nobody got so far in any round."""
    found = [value * 1000 for value in seconds if value is not None]
    return spread(found) if found else None


def _told(row: dict[str, object]) -> str:
    counts = ("upstream_requests", "right", "cut", "refused", "wrong_bodies")
    times = ("origin_share", "first_byte_ms", "total_ms")
    return f"{row['label']}: " + ", ".join(f"{name} {row[name]}" for name in counts + times)


def lag_of_few(origin: CrowdOrigin, proxy: Proxy, rounds: int) -> dict[str, object]:
    """How long after the client that asked first the others have each piece."""
    medians, highest = [], []
    wait_for_workers(proxy, cached_head("/pieces/first"), WORKERS)
    for _ in range(rounds):
        path, asked_path = new_path("/pieces")
        head = cached_head(path)
        with Crowd(proxy.port, FEW + 1, body_of(asked_path)) as crowd:
            first, others = crowd.clients[0], crowd.clients[1:]
            crowd.ask(head, [first])
            until(partial(origin.asked, asked_path))
            crowd.ask(head, others)
            crowd.read(LIMIT)
            # The first pieces may have come before the others had asked.
            lags = [
                (at - lead) * 1000
                for client in others
                for at, lead in zip(client.steps, first.steps, strict=False)
                if lead > client.asked_at + 0.01
            ]
        if len(lags) < FEW:
            raise Unavailable(f"{FEW} clients got {len(lags)} pieces")
        cuts = quantiles(lags, n=100)
        medians.append(cuts[49])
        highest.append(cuts[98])
    return {"clients": FEW, "p50_ms": spread(medians), "p99_ms": spread(highest)}


def no_store(origin: CrowdOrigin, proxy: Proxy, connections: int, rounds: int) -> dict[str, object]:
    """The time until all have everything, with `no-store` on a route that caches, ÷ the same without `cache`."""
    cases = (Case("cached", "/private", asked=connections), Case("without", "/uncached/private", asked=connections))
    turns: list[list[Turn]] = [[], []]
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            turns[which].append(play(cases[which], origin, proxy, connections))
    outcomes = [sum_of([turn.outcome for turn in each]) for each in turns]
    cached, without = ([turn.total for turn in each if turn.total is not None] for each in turns)
    if len(cached) != rounds or len(without) != rounds:
        raise Unavailable(f"nobody got an answer with no-store: {outcomes}")
    return {
        "clients": connections,
        "cached_ms": spread([value * 1000 for value in cached]),
        "without_ms": spread([value * 1000 for value in without]),
        "ratio": ratios(cached, without),
        "cached_outcome": asdict(outcomes[0]),
        "without_outcome": asdict(outcomes[1]),
    }
