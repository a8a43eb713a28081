"""What each kind of request costs, here and in another checkout: instructions and objects, by one driver for both.

The driver and its fake transports are those of this checkout; only the gateway is another one with ``--before``. Each
figure is the difference of a long and a short run, so that starting up is not in it; the middle of three. Objects are
calls of Python's allocator of small blocks: what comes from a free list is not counted.
"""

from __future__ import annotations

from statistics import median

from benchmarks.arithmetic import spread
from benchmarks.callgrind import Place
from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import Options, say
from benchmarks.load import WORK
from benchmarks.logged import driver

TITLE = "What each kind of request costs"
SETS: tuple[tuple[str, ...], ...] = (
    (),
    ("traced",),
    ("jwt",),
    ("key",),
    ("cors", "security_headers"),
    ("token_bucket", "breaker", "passive", "least_connections"),
    ("plugin",),
    ("log_json",),
    ("download",),
    ("upload",),
    ("chunked",),
    ("post", "retry"),
)
FEW = {"download": (20, 120), "upload": (20, 120)}
"""Requests of the short and of the long run where a request is large."""
OBJECTS = "_PyObject_Malloc"


def run(options: Options) -> dict[str, object]:
    """Every set of features, by turns in both checkouts."""
    WORK.mkdir(exist_ok=True)
    checkouts = {"before": options.before, "now": ""} if options.before else {"now": ""}
    repeats = 1 if options.quick else 3
    rows = []
    for features in SETS:
        found: dict[str, list[tuple[float, float]]] = {when: [] for when in checkouts}
        for number in range(repeats):
            for when, checkout in checkouts.items():
                found[when].append(_measure(features, checkout, number))
        row: dict[str, object] = {"features": list(features)}
        for when, pairs in found.items():
            row[when] = {
                "instructions": spread([instructions for instructions, _ in pairs]),
                "objects": median(objects for _, objects in pairs),
            }
        if options.before:
            now, before = (median(pair[0] for pair in found[when]) for when in ("now", "before"))
            row["change"] = now / before - 1
        rows.append(row)
        told = ", ".join(
            f"{when} {median(pair[0] for pair in pairs):,.0f} and {median(pair[1] for pair in pairs):.1f} objects"
            for when, pairs in found.items()
        )
        say(f"  {' + '.join(features) or 'plain'}: {told}" + (f" ({row['change']:+.2%})" if options.before else ""))
    return {"settings": {"repeats": repeats}, "rows": rows}


def _measure(features: tuple[str, ...], checkout: str, number: int) -> tuple[float, float]:
    """Instructions and objects of one request."""
    short, long = FEW.get(features[0] if features else "", (200, 1200))
    few, many = (
        run_callgrind([*driver(checkout), str(count), *features], WORK / f"cost.{number}.{count}")
        for count in (short, long)
    )
    requests = long - short
    return (many.total - few.total) / requests, (_objects(many.calls) - _objects(few.calls)) / requests


def _objects(calls: dict[Place, int]) -> int:
    return sum(count for place, count in calls.items() if place.function.partition("'")[0] == OBJECTS)
