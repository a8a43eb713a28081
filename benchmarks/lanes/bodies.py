"""Bodies of 1 MiB, down (origin to client) and up (client to origin), eight at a time, keep-alive."""

from __future__ import annotations

from benchmarks.contest import Contest, Options, table
from benchmarks.load import DOCUMENT, LARGE, Load, request_head, run_load
from benchmarks.proxies import Proxy

TITLE = "Bodies of 1 MiB"
CONNECTIONS = 8


def run(options: Options) -> dict[str, object]:
    """One set of interleaved rounds a direction."""
    down = request_head(target="/large")
    up = request_head("POST", "/upload", content_type="application/octet-stream", content_length=str(LARGE))
    with Contest(options) as contest:
        core = contest.load_core

        def download(proxy: Proxy, duration: float = options.duration) -> Load:
            return run_load(core, proxy.port, down, duration=duration, connections=CONNECTIONS, length=LARGE)

        def upload(proxy: Proxy, duration: float = options.duration) -> Load:
            return run_load(
                core, proxy.port, up, duration=duration, connections=CONNECTIONS, body=LARGE, length=DOCUMENT
            )

        downloads = contest.interleave("1 MiB down", download, lambda proxy: download(proxy, 0.3))
        before = contest.origin.counts()["body_bytes"]
        uploads = contest.interleave("1 MiB up", upload, lambda proxy: upload(proxy, 0.3))
        received = contest.origin.counts()["body_bytes"] - before
        sent = sum(turn.load.requests for row in uploads for turn in row.turns) * LARGE
        return {
            "settings": {"connections": CONNECTIONS, "body_bytes": LARGE},
            "down_rows": table(downloads, CONNECTIONS),
            "up_rows": table(uploads, CONNECTIONS),
            "origin_received_all_uploads": received >= sent,
            "skipped": contest.skipped,
        }
