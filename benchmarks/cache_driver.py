"""The program that callgrind counts for the response cache: hits, misses, and what each is compared with.

``python -m benchmarks.cache_driver REQUESTS KIND FIELDS`` is as `benchmarks.driver`, on a route that caches (``hit``,
``miss``), that proxies (``uncached``: the requests and answers of ``miss``), or that answers itself (``fixed``: the
fields and the body of ``hit``); ``traced_hit`` and ``traced_fixed`` are the same where each request has a trace id of
its own. ``FIELDS`` is the number of fields that the upstream's answer has.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any

from benchmarks.driver import Loop, connect
from benchmarks.load import DOCUMENT, cached_head
from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway

BODIES = {"hit": DOCUMENT, "fixed": DOCUMENT, "miss": 1024, "uncached": 1024}
"""Bytes of the answer's body, by kind."""
TRACED_KINDS = ("traced_hit", "traced_fixed")
"""As the kinds without the first word, where no request has the fields of the one before."""
MOST = 2000
"""Requests of a run. All are made in every run, however many are used: what that takes is then in no difference."""
OWN = ("date", "content-length")
"""Fields of an answer that the gateway makes: a fixed answer cannot be given them."""


ADDED = ("age", "cache-status", "x-request-id")


def answer_fields(count: int) -> dict[str, str]:
    """So many fields of an answer that may be stored for an hour; Content-Length comes beside them."""
    fields = {
        "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "Server": "origin",
        "Content-Type": "application/json",
        "Cache-Control": "max-age=2000000000",
        "ETag": '"0123456789abcdef"',
        "Last-Modified": "Wed, 31 Dec 2025 00:00:00 GMT",
        "Content-Language": "en",
    }
    return fields | {f"X-Field-{number:02}": f"value of field {number:02}" for number in range(count - 1 - len(fields))}


def body_of(size: int) -> bytes:
    """A body of so many bytes."""
    return b'{"id": 4711, "name": "' + b"x" * (size - 24) + b'"}'


def answer(kind: str, count: int) -> bytes:
    """What the upstream sends."""
    body = body_of(BODIES[kind])
    fields = answer_fields(count) | {"Content-Length": str(len(body))}
    return "\r\n".join(["HTTP/1.1 200 OK", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode() + body


def configuration(kind: str, count: int) -> GatewayConfig:
    """One route of this kind; the access log is off."""
    route: dict[str, Any] = {"name": "all", "path": "/*"}
    if kind == "fixed":
        fields = {name.lower(): value for name, value in answer_fields(count).items() if name.lower() not in OWN}
        fields |= {"age": "28800000", "cache-status": "fastgate; hit; ttl=1971200000"}
        route["respond"] = {"status": 200, "headers": fields, "body": body_of(BODIES[kind]).decode()}
    else:
        route["upstream"] = "origin"
        if kind != "uncached":
            route["cache"] = {}
    upstreams = {} if kind == "fixed" else {"origin": {"targets": [{"host": "127.0.0.1", "port": 9}]}}
    gateway = {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}}
    return GatewayConfig.from_dict({"gateway": gateway, "routes": [route], "upstreams": upstreams})


def names(message: bytes) -> list[str]:
    """Names of the fields of an answer, sorted."""
    head = message.partition(b"\r\n\r\n")[0].decode("latin-1")
    return sorted(line.partition(":")[0].lower() for line in head.splitlines()[1:])


def expected(count: int) -> list[str]:
    """Names that an answer has for the client: those that are stored, two that say so, and the gateway's own."""
    return sorted(name.lower() for name in [*answer_fields(count), "Content-Length", *ADDED])


async def drive(loop: Loop, requests: int, kind: str, count: int) -> None:
    """One exchange that connects, where there is an upstream, then ``requests`` of the kind."""
    loop.connected = loop.create_future()
    traced = kind in TRACED_KINDS
    kind = kind.removeprefix("traced_")
    several = kind in ("miss", "uncached")
    heads = [
        cached_head(
            f"/api/users/{number:06}" if several else "/api/users/4711",
            **({"Traceparent": f"00-{number:032x}-{'1' * 16}-01"} if traced else {}),
        )
        for number in range(MOST + 1)
    ]
    response = answer(kind, count)
    async with Gateway(configuration(kind, count)) as gateway:
        client: Any = gateway._connection(gateway._listeners[0], None, None)
        written: deque[bytes] = deque(maxlen=1)
        connect(client, written.append)
        feed = client.data_received
        feed(heads[MOST])
        if kind != "fixed":
            upstream = await loop.connected
            await asyncio.sleep(0)  # the gateway's own turn: it sends the request
            upstream.data_received(response)
            await asyncio.sleep(0)
        if several:
            give = upstream.data_received
            for number in range(requests):
                feed(heads[number])
                give(response)
        else:
            for number in range(requests):
                feed(heads[number])
        last = written[-1]
        if not last.startswith(b"HTTP/1.1 200 ") or not last.endswith(body_of(BODIES[kind])):
            raise SystemExit(f"the last answer is not right: {last!r}")
        if not several and names(last) != expected(count):
            raise SystemExit(f"the last answer has the fields {names(last)}, not {expected(count)}")
        if (b"hit" in last) != (not several) or (b"stored" in last) != (kind == "miss"):
            raise SystemExit(f"the last answer was not a {kind}: {last!r}")
        counted = gateway.metrics()["requests"]
        if counted != requests + 1:
            raise SystemExit(f"the gateway counted {counted} requests, not {requests + 1}")


def main(requests: int, kind: str, count: int) -> None:
    """Drive ``requests`` requests of a kind, at most `MOST`."""
    if not 0 < requests <= MOST:
        raise SystemExit(f"{requests} requests: at least one, and at most {MOST}")
    loop = Loop()
    try:
        loop.run_until_complete(drive(loop, requests, kind, count))
    finally:
        loop.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
