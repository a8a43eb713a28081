"""From the start of the command to the first answer of the origin through it; not pinned, as an operator starts it."""

from __future__ import annotations

import time

from benchmarks.arithmetic import spread
from benchmarks.contest import FIELD, Options, say
from benchmarks.load import Origin
from benchmarks.machine import Unavailable, cores
from benchmarks.processes import memory_of
from benchmarks.proxies import Proxy

TITLE = "Start to first answer"


def run(options: Options) -> dict[str, object]:
    """Interleaved starts of every contender; milliseconds. Also the memory of the fresh serving process, bytes."""
    load_core = cores()[1]
    times: dict[str, list[float]] = {kind: [] for kind in FIELD if kind in options.only}
    memory: dict[str, dict[str, int]] = {}
    skipped: dict[str, str] = {}
    with Origin(load_core) as origin:
        for number in range(options.starts):
            for kind in [kind for kind in times if kind not in skipped]:
                began = time.perf_counter()
                try:
                    proxy = Proxy(kind, origin.port, None, wait=False)
                except Unavailable as reason:
                    skipped[kind] = str(reason)
                    continue
                with proxy:
                    try:
                        proxy.wait(pause=0.001)
                    except Unavailable as reason:
                        skipped[kind] = str(reason)
                        continue
                    times[kind].append((time.perf_counter() - began) * 1000)
                    used = memory_of(proxy.process.worker())
                    memory[kind] = {"rss": used.rss, "pss": used.pss}
            say(f"  start {number + 1}/{options.starts}")
    rows = [
        {"kind": kind, "milliseconds": spread(values), "starts": len(values), "memory": memory[kind], "raw": values}
        for kind, values in times.items()
        if values
    ]
    return {"settings": {"starts": options.starts}, "rows": rows, "skipped": skipped}
