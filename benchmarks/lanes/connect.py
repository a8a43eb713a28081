"""A connection for each request: connect, a request that says ``Connection: close``, its answer, the server's close."""

from __future__ import annotations

from benchmarks.contest import Contest, Options, table
from benchmarks.load import Load, request_head, run_load
from benchmarks.proxies import Proxy

TITLE = "A new connection for each request"


def run(options: Options) -> dict[str, object]:
    """Closed loop with as many clients as the plain lane has connections."""
    head = request_head(connection="close")
    with Contest(options) as contest:
        core, connections = contest.load_core, options.connections

        def fresh(proxy: Proxy, duration: float = options.duration) -> Load:
            return run_load(core, proxy.port, head, duration=duration, connections=connections, fresh=True)

        rows = contest.interleave("connection per request", fresh, lambda proxy: fresh(proxy, 0.3))
        return {
            "settings": {"clients": connections},
            "rows": table(rows, connections),
            "skipped": contest.skipped,
        }
