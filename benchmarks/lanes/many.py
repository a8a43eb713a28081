"""Many clients and many targets with the defaults.

1,024 and 4,096 clients at once, then 64 targets behind two workers and behind four.

The load of the plain lane, closed: every connection is busy, so that as many requests are under way as there are
clients, each of which needs a connection to the origin. The peer keeps as many of those as there can be clients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from benchmarks.contest import AGAIN, BASE, Contest, Options, say, table
from benchmarks.load import Load, request_head, run_load, run_wrk
from benchmarks.machine import FILES, raise_file_limit
from benchmarks.proxies import Proxy

TITLE = "Many clients, many targets"

CASES = (
    {"clients": 1024, "targets": 1, "workers": 1},
    {"clients": 4096, "targets": 1, "workers": 1},
    {"clients": 1024, "targets": 64, "workers": 2},
    {"clients": 1024, "targets": 64, "workers": 4},
)
NEEDS = 10_000
"""Open files, for 4,096 clients: two a client."""

CONTENDERS = (("nginx-many", BASE), ("nginx-many", AGAIN), ("fastgate-many", "fastgate"))


def run(options: Options) -> dict[str, object]:
    """Each case as interleaved rounds."""
    files = raise_file_limit(FILES)
    cases = []
    skipped: dict[str, str] = {}
    for case in CASES:
        name = f"{case['clients']:,} clients, {case['targets']} targets, {case['workers']} workers"
        if 2 * case["clients"] + 1000 > files:
            skipped[name] = f"needs {NEEDS:,} open files, {files:,} are allowed"
            say(f"  skipped: {name}: {skipped[name]}")
            continue
        say(f"  {name}")
        cases.append({**case, **_case(options, case)})
    return {"cases": cases, "skipped": skipped}


def _case(options: Options, case: dict[str, int]) -> dict[str, object]:
    clients = case["clients"]

    def values(port: int) -> Mapping[str, object]:
        addresses = [f"127.0.0.{number + 1}:{port}" for number in range(case["targets"])]
        return {
            "workers": case["workers"],
            "targets": ", ".join(f'"{address}"' for address in addresses),
            "servers": " ".join(f"server {address};" for address in addresses),
        }

    options = dataclasses.replace(options, connections=clients)
    with Contest(options, contenders=CONTENDERS, addresses=case["targets"], values=values) as contest:
        core = contest.load_core

        def closed(proxy: Proxy) -> Load:
            return run_wrk(core, proxy.port, duration=options.duration, connections=clients)

        def warmup(proxy: Proxy) -> Load:
            return run_load(core, proxy.port, request_head(), duration=0.5, connections=clients)

        rows = contest.interleave("closed loop", closed, warmup)
        return {"rows": table(rows, clients), "absent": contest.skipped}
