"""Instructions a proxied request costs in the gateway's own process, the kernel left out, by part.

``benchmarks/driver.py`` runs twice under callgrind, with few and with many requests; the difference of both profiles
divided by the difference of the requests has no start-up in it. It is repeatable to a thousandth (what is left are
turns of the loop that depend on the clock), where timing on a shared machine is not repeatable to a tenth.
"""

from __future__ import annotations

import sys
from collections import Counter
from statistics import median

from benchmarks.callgrind import part_of, source_of
from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import Options, say
from benchmarks.load import WORK

TITLE = "Instructions per request"
SHORT, LONG = 200, 1200


def run(options: Options) -> dict[str, object]:
    """The instructions of three pairs of runs (one when quick), and the breakdown of the first pair."""
    WORK.mkdir(exist_ok=True)
    totals: list[float] = []
    parts: Counter[str] = Counter()
    functions: list[dict[str, object]] = []
    repeats = 1 if options.quick else 3
    requests = LONG - SHORT
    for number in range(repeats):
        few, many = (
            run_callgrind([sys.executable, "-m", "benchmarks.driver", str(count)], WORK / f"callgrind.{count}")
            for count in (SHORT, LONG)
        )
        totals.append((many.total - few.total) / requests)
        say(f"  pair {number + 1}/{repeats}: {totals[-1]:,.1f} instructions a request")
        if number == 0:
            costs = sorted(many.minus(few).items(), key=lambda item: -item[1])
            for place, count in costs:
                parts[part_of(place)] += count
            functions = [
                {"function": source_of(place), "part": part_of(place), "instructions": count / requests}
                for place, count in costs[:60]
            ]
    return {
        "settings": {"short": SHORT, "long": LONG, "request_fields": 10, "body_bytes": 110},
        "instructions": median(totals),
        "totals": totals,
        "repeats": repeats,
        "parts": [{"part": part, "instructions": count / requests} for part, count in parts.most_common()],
        "functions": functions,
    }
