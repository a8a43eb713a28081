"""Plain proxying: a 110-byte JSON answer to a request with ten ordinary fields, keep-alive on both sides.

Two runs. In the closed one wrk keeps every connection busy: processor time per request, requests per second, which side
was full. In the open one requests are due at half of what nginx reached in the first, whether or not the earlier ones
were answered: latency as a client sees it. A contender that saturates below that rate gets half of its own, and its row
says so.
"""

from __future__ import annotations

from statistics import median

from benchmarks.contest import BASE, Contest, Options, say, table
from benchmarks.load import Load, request_head, run_load, run_wrk
from benchmarks.proxies import Proxy

TITLE = "Plain proxy, keep-alive, 110-byte JSON"


def run(options: Options) -> dict[str, object]:
    """Both runs, as JSON."""
    head = request_head()
    with Contest(options) as contest:
        core, connections = contest.load_core, options.connections

        def closed(proxy: Proxy) -> Load:
            return run_wrk(core, proxy.port, duration=options.duration, connections=connections)

        def warmup(proxy: Proxy) -> Load:
            return run_load(core, proxy.port, head, duration=0.3, connections=connections)

        rows = contest.interleave("closed loop", closed, warmup)
        reached = {row.label: median(turn.load.rate for turn in row.turns) for row in rows}
        half = reached.get(BASE, max(reached.values(), default=0.0)) / 2
        rates = {label: round(half if rate >= 1.2 * half else rate / 2) for label, rate in reached.items()}
        say(f"  fixed rates: {rates}")

        def fixed(proxy: Proxy) -> Load:
            return run_load(
                core,
                proxy.port,
                head,
                duration=options.duration,
                connections=connections,
                rate=rates[proxy.label],
            )

        steady = contest.interleave("fixed rate", fixed, warmup)
        entries = table(steady, connections)
        for entry in entries:
            entry["wanted_rate"] = rates[str(entry["label"])]
        return {
            "settings": {"connections": connections, "request_fields": 10, "body_bytes": 110},
            "rows": table(rows, connections),
            "fixed_rate_rows": entries,
            "skipped": contest.skipped,
        }
