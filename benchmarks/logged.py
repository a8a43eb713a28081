"""What the lanes with an access log share.

Loads whose lines are counted, this gateway beside an earlier one, and where the instructions go, part by part.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arithmetic import ratios
from benchmarks.callgrind import part_of
from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import AGAIN, BASE, Contender, Contest, Options, Row, say, table
from benchmarks.load import WORK, Load, run_load
from benchmarks.machine import ROOT, interpreter_of
from benchmarks.proxies import Proxy

SHORT, LONG = 200, 1200
BUFFERED = " buffer=64k flush=1s"
"""Of nginx's log: the lines wait until there are 64 KiB of them, and a second at most."""
BEFORE = "before: "
"""Begins the label of a contender that is taken from the checkout of ``--before``."""

PEERS = (
    Contender("nginx-log", BASE, {"buffer": BUFFERED}),
    Contender("nginx-log", AGAIN, {"buffer": BUFFERED}),
    Contender("nginx-log", "nginx, a write for each line", {"buffer": ""}),
)


def contest(options: Options, ours: Sequence[Contender], head: bytes) -> dict[str, object]:
    """``ours`` as they are, and as they were where ``--before`` says so, beside nginx with its log; interleaved."""
    before = [
        each._replace(label=BEFORE + each.label, checkout=Path(options.before)) for each in ours if options.before
    ]
    with Contest(options, contenders=[*PEERS, *ours, *before], head=head) as running:
        core, connections = running.load_core, options.connections

        def closed(proxy: Proxy) -> Load:
            return counted(proxy, run_load(core, proxy.port, head, duration=options.duration, connections=connections))

        def warmup(proxy: Proxy) -> Load:
            return counted(proxy, run_load(core, proxy.port, head, duration=0.3, connections=connections))

        rows = running.interleave("closed loop", closed, warmup)
        return {
            "settings": {"connections": connections, "buffer": BUFFERED.strip()},
            "rows": table(rows, connections),
            "changes": [_change(row, rows) for row in rows if any(BEFORE + row.label == old.label for old in rows)],
            "skipped": running.skipped,
        }


def counted(proxy: Proxy, load: Load, limit: float = 5.0) -> Load:
    """``load``, with an error for each answer that has no line in the log a few seconds later. Empties the log.

    What the writing of the last lines costs is still within the turn.
    """
    file = proxy.folder / "access.log"
    end = time.monotonic() + limit
    while (lines := count_lines(file)) < load.requests and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.1)  # requests that the load left unfinished have a line too
    os.truncate(file, 0)
    missing = max(0, load.requests - lines)
    if not missing:
        return load
    return dataclasses.replace(load, wrong=load.wrong + missing, errors={**load.errors, "not logged": missing})


def count_lines(file: Path) -> int:
    """Lines of a file, of which only a piece at a time is in memory."""
    with file.open("rb", buffering=0) as lines:
        return sum(piece.count(b"\n") for piece in iter(lambda: lines.read(1 << 20), b""))


def _change(row: Row, rows: Sequence[Row]) -> dict[str, object]:
    old = next(old for old in rows if old.label == BEFORE + row.label)
    return {"label": row.label, "ratio": ratios(row.cpu_us(), old.cpu_us())}


def instructions(options: Options, sets: Sequence[tuple[str, ...]]) -> list[dict[str, object]]:
    """Instructions of a request by part, for each set of the driver's features: now, and before. Not when quick."""
    if options.quick:
        return []
    WORK.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    for features in sets:
        checkouts = {"before": options.before, "now": ""} if options.before else {"now": ""}
        parts = {when: _parts(features, checkout) for when, checkout in checkouts.items()}
        rows.append({"features": list(features), **parts})
        totals = ", ".join(f"{when} {sum(counts.values()):,.0f}" for when, counts in parts.items())
        say(f"  {' + '.join(features) or 'plain'}: instructions a request: {totals}")
    return rows


def _parts(features: tuple[str, ...], checkout: str) -> dict[str, float]:
    few, many = (
        run_callgrind([*driver(checkout), str(count), *features], WORK / f"logged.{count}") for count in (SHORT, LONG)
    )
    parts: Counter[str] = Counter()
    for place, count in many.minus(few).items():
        parts[part_of(place)] += count
    return {part: count / (LONG - SHORT) for part, count in parts.most_common()}


def driver(checkout: str) -> list[str]:
    """The command of this checkout's driver, on the gateway of another one where it is named."""
    if not checkout:
        return [sys.executable, "-m", "benchmarks.driver"]
    program = (
        f"import sys; sys.path.insert(0, {checkout!r}); import fastgate; sys.path[0] = {str(ROOT)!r}; "
        "import runpy; runpy.run_module('benchmarks.driver', run_name='__main__')"
    )
    return [str(interpreter_of(Path(checkout))), "-c", program]
