"""Hits of the response cache beside nginx, HAProxy and Varnish; then what hits and misses take in instructions.

All have one worker, keep-alive and no access log, and answer from memory: nginx from files on a file system in memory.
Before a turn counts, each must have answered twice without the origin, with the origin's own bytes. nginx takes part
with `tcp_nopush` on and off; it is compared by the faster of the two. The load generator does not sleep: the origin has
nothing to do and leaves it the core, and to wake it costs who sends: in a virtual machine up to a third of a large
answer, which a client on another machine does not cost.

Instructions are those of `benchmarks/cache_driver.py`, as in the cost lane; once, since they are repeatable, and as
many programs at a time as there are cores, since nobody looks at the time.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.arithmetic import ratios
from benchmarks.callgrind import Place, Profile, part_of, source_of
from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import AGAIN, BASE, Contender, Contest, Options, Row, say, table
from benchmarks.load import DOCUMENT, LARGE, TRACED, WORK, Load, ask, cached_head, run_load
from benchmarks.machine import ROOT, Unavailable
from benchmarks.proxies import Proxy

TITLE = "Cache hits"
SIZES = (DOCUMENT, 10 * 1024, 100 * 1024, LARGE)
OFF = "nginx, tcp_nopush off"
SMALL_MOST = {BASE: 0.65, "haproxy": 1.0, "varnish": 0.4}
LARGE_MOST = {BASE: 1.1, "haproxy": 0.85}
"""What this gateway may take of a peer's processor time: up to 10 KB, and from 100 KB."""
SHARED_MEMORY = Path("/dev/shm")

SHORT, LONG = 200, 1200
OBJECTS = "_PyObject_Malloc"
OWN = {source.stem for source in (ROOT / "fastgate" / "_core").rglob("*.pyx")}
KINDS = (
    ("fixed", 8), ("hit", 8), ("traced_fixed", 8), ("traced_hit", 8), ("fixed", 80), ("hit", 80), ("uncached", 8),
    ("miss", 8),
)  # fmt: skip
ELSEWHERE = (("other_route",), ("cached_elsewhere",))
"""Features of `benchmarks.driver`: another route without `cache`, and the same with it."""
MISS_MOST = 6000


def run(options: Options) -> dict[str, object]:
    """Each size as interleaved rounds, then the instructions."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-cache-", dir=_memory()))
        Path(folder).chmod(0o755)
        everyone = contenders(folder)
        chosen = [each for each in everyone if each.kind.partition("-")[0] in options.only]
        contest = stack.enter_context(
            Contest(options, contenders=chosen, head=cached_head(target(DOCUMENT)), cached=True)
        )
        cases = [*(_case(contest, size) for size in SIZES), _case(contest, DOCUMENT, traced=True)]
        skipped = contest.skipped
    return {
        "settings": {"connections": options.connections, "request_fields": 10, "short": SHORT, "long": LONG},
        "cases": cases,
        "instructions": instructions(),
        "skipped": skipped,
    }


def _memory() -> Path:
    if not SHARED_MEMORY.is_dir():
        raise Unavailable(f"there is no {SHARED_MEMORY}: nginx would answer from a disk")
    return SHARED_MEMORY


def contenders(memory: str) -> list[Contender]:
    """Who takes part; nginx keeps its files in folders of ``memory``."""
    peers = ((BASE, "on", "one"), (AGAIN, "on", "two"), (OFF, "off", "three"))
    return [
        *(
            Contender("nginx-cache", label, {"nopush": nopush, "memory": memory, "cache": cache})
            for label, nopush, cache in peers
        ),
        Contender("fastgate-cache", "fastgate"),
        Contender("haproxy-cache", "haproxy"),
        Contender("varnish", "varnish"),
    ]


def target(size: int) -> str:
    """Where the origin has a body of so many bytes."""
    return f"/cached/{size}"


def _case(contest: Contest, size: int, *, traced: bool = False) -> dict[str, object]:
    """``traced``: each request has a trace id of its own, as clients send them that are traced."""
    core, connections = contest.load_core, contest.options.connections
    head = cached_head(target(size), **(TRACED if traced else {}))
    for proxy in [*contest.proxies]:
        try:
            _must_hit(contest, proxy, head)
        except (Unavailable, OSError) as reason:
            say(f"  {proxy.label} leaves: {reason}")
            contest.skipped[proxy.label] = str(reason)
            contest.proxies.remove(proxy)

    def closed(proxy: Proxy, duration: float = contest.options.duration) -> Load:
        return run_load(
            core, proxy.port, head, duration=duration, connections=connections, length=size, count=traced, spin=True
        )

    told = f"hits of {size:,} bytes" + (", a new trace id each" if traced else "")
    rows = contest.interleave(told, closed, lambda proxy: closed(proxy, 0.2))
    beside = compared(rows, None if traced else size)
    return {"size": size, "traced": traced, "rows": table(rows, connections), "compared": beside}


def _must_hit(contest: Contest, proxy: Proxy, head: bytes) -> None:
    """Raises ``Unavailable`` unless the proxy answers with the origin's bytes, and without the origin from then on."""
    right = ask(contest.origin.port, head).body
    ask(proxy.port, head)
    before = contest.origin.counts()["requests"]
    for _ in range(2):
        answer = ask(proxy.port, head)
        if answer.status != 200 or answer.body != right:
            words = f"answered {answer.status} with {len(answer.body):,} bytes, not those of the origin"
            raise Unavailable(f"{proxy.label} {words}")
    asked = contest.origin.counts()["requests"] - before
    if asked:
        raise Unavailable(f"{proxy.label} asked the origin for {asked} of 2 answers of {len(right):,} bytes")


def compared(rows: Sequence[Row], size: int | None) -> list[dict[str, object]]:
    """Processor time of this gateway's hits ÷ that of each peer's; nginx is the faster of its two settings.

    ``size``: of the answers, for which there is a most that it may be; None: there is none.
    """
    found = {row.label: row for row in rows}
    ours = found.get("fastgate")
    if ours is None:
        return []
    settings = [found[label] for label in (BASE, OFF) if label in found]
    faster = min(settings, key=lambda row: median(row.cpu_us()), default=None)
    peers = {BASE: faster, "haproxy": found.get("haproxy"), "varnish": found.get("varnish")}
    most = {} if size is None else SMALL_MOST if size <= 16 * 1024 else LARGE_MOST
    return [
        {"peer": name, "label": row.label, "ratio": ratios(ours.cpu_us(), row.cpu_us()), "most": most.get(name)}
        for name, row in peers.items()
        if row is not None
    ]


class Cost(NamedTuple):
    """Of one request: instructions, those of them in the gateway's compiled modules, and objects."""

    all: float
    own: float
    objects: float
    places: dict[Place, float]


def instructions() -> dict[str, object]:
    """What hits, misses and their comparisons take, and where: in a hit, and in what a miss adds."""
    WORK.mkdir(exist_ok=True)
    commands = {f"{kind} {fields}": ["benchmarks.cache_driver", kind, str(fields)] for kind, fields in KINDS}
    commands |= {features[0]: ["benchmarks.driver", *features] for features in ELSEWHERE}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        costs = dict(zip(commands, pool.map(_measure, commands.values()), strict=True))
    for name, cost in costs.items():
        say(f"  {name}: {cost.all:,.0f} instructions a request, {cost.objects:.1f} objects")
    hit, miss, uncached = costs["hit 8"].places, costs["miss 8"].places, costs["uncached 8"].places
    added = {place: miss.get(place, 0.0) - uncached.get(place, 0.0) for place in miss.keys() | uncached.keys()}
    return {
        "rows": [
            {"name": name, "instructions": cost.all, "own": cost.own, "objects": cost.objects}
            for name, cost in costs.items()
        ],
        "claims": claims(costs),
        "hit": _where(hit),
        "miss": _where(added),
    }


def claims(costs: dict[str, Cost]) -> list[dict[str, object]]:
    """What must hold: each a figure, and the most that it may be."""
    return [
        *(
            {
                "claim": f"a hit with {fields} stored fields, beyond a fixed answer with the same fields",
                "value": costs[f"hit {fields}"].all - costs[f"fixed {fields}"].all,
                "most": 0,
            }
            for fields in (8, 80)
        ),
        {
            "claim": "objects of a hit with 80 stored fields, beyond those of a hit with 8",
            "value": round(costs["hit 80"].objects - costs["hit 8"].objects, 1),
            "most": 0,
        },
        {
            "claim": "a miss that stores 1 KB, beyond the same request without `cache`",
            "value": costs["miss 8"].all - costs["uncached 8"].all,
            "most": MISS_MOST,
        },
        {
            "claim": "a request of a route without `cache`, in the compiled core, because another route has it",
            "value": round(costs["cached_elsewhere"].own - costs["other_route"].own),
            "most": 0,
        },
    ]


def _measure(command: list[str]) -> Cost:
    module, *words = command
    few, many = (
        run_callgrind([sys.executable, "-m", module, str(count), *words], WORK / f"cache.{'.'.join(words)}.{count}")
        for count in (SHORT, LONG)
    )
    requests = LONG - SHORT
    more = {place: count / requests for place, count in many.minus(few).items()}
    own = sum(count for place, count in more.items() if place.object in OWN)
    return Cost(sum(more.values()), own, (_objects(many) - _objects(few)) / requests, more)


def _objects(profile: Profile) -> int:
    return sum(count for place, count in profile.calls.items() if place.function.partition("'")[0] == OBJECTS)


def _where(places: dict[Place, float], most: int = 40) -> dict[str, object]:
    """By part, and the costliest functions."""
    parts: dict[str, float] = {}
    for place, count in places.items():
        part = part_of(place)
        parts[part] = parts.get(part, 0.0) + count
    ordered = sorted(places.items(), key=lambda item: -item[1])[:most]
    return {
        "parts": [
            {"part": part, "instructions": count} for part, count in sorted(parts.items(), key=lambda item: -item[1])
        ],
        "functions": [
            {"function": source_of(place), "part": part_of(place), "instructions": count} for place, count in ordered
        ],
    }
