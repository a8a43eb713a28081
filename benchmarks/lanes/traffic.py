"""What limits, breakers, health and balancing add to a proxied request.

Instructions first, as in the callgrind lane: the plain path, then with each feature alone, then with token bucket,
breaker, passive health and least connections together. Then the same together in time, beside the plain path and beside
nginx with its nearest equivalents (limit_req, least_conn, max_fails), interleaved.
"""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import AGAIN, BASE, Contest, Options, say, table
from benchmarks.load import WORK, Load, request_head, run_load, run_wrk
from benchmarks.proxies import Proxy

TITLE = "What limits, breakers, health and balancing add"
SHORT, LONG = 200, 1200

TOGETHER = ("token_bucket", "breaker", "passive", "least_connections")
SETS: tuple[tuple[str, ...], ...] = (
    (),
    ("token_bucket",),
    ("fixed_window",),
    ("sliding_window_log",),
    ("concurrency",),
    ("breaker",),
    ("passive",),
    ("least_connections",),
    ("retry",),
    TOGETHER,
)
CONTENDERS = (
    (BASE, BASE),
    (BASE, AGAIN),
    ("nginx-traffic", "nginx with its rules"),
    ("fastgate", "fastgate"),
    ("fastgate-traffic", "fastgate with its rules"),
)


def run(options: Options) -> dict[str, object]:
    """Instructions of every set, and the interleaved rounds."""
    WORK.mkdir(exist_ok=True)
    rows = []
    for features in SETS:
        # They repeat to a thousandth: thrice where the claim is, once for the rest.
        repeats = 3 if features in ((), TOGETHER) and not options.quick else 1
        totals = [_instructions(features, number) for number in range(repeats)]
        rows.append({"features": list(features), "instructions": median(totals), "totals": totals})
        say(f"  {' + '.join(features) or 'plain'}: {median(totals):,.0f} instructions a request")
    head = request_head()
    with Contest(options, contenders=CONTENDERS) as contest:
        core, connections = contest.load_core, options.connections

        def closed(proxy: Proxy) -> Load:
            return run_wrk(core, proxy.port, duration=options.duration, connections=connections)

        def warmup(proxy: Proxy) -> Load:
            return run_load(core, proxy.port, head, duration=0.3, connections=connections)

        timed = contest.interleave("closed loop", closed, warmup)
        return {
            "settings": {"short": SHORT, "long": LONG, "connections": connections},
            "instructions": rows,
            "rows": table(timed, connections),
            "skipped": contest.skipped,
        }


def _instructions(features: tuple[str, ...], number: int) -> float:
    few, many = (
        run_callgrind(
            [sys.executable, "-m", "benchmarks.driver", str(count), *features], WORK / f"traffic.{number}.{count}"
        )
        for count in (SHORT, LONG)
    )
    return (many.total - few.total) / (LONG - SHORT)
