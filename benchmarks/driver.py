"""The program that callgrind counts: requests through a gateway's protocol objects, with transports that do nothing.

``python -m benchmarks.driver REQUESTS [FEATURE ...]`` starts a ``Gateway`` on a loop whose upstream connections are
fake, opens one client connection, lets the first exchange connect its upstream, and then feeds request and response by
turns. The loop does not run meanwhile. At the end the last answer and the gateway's own count of requests are checked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import policy_features
from benchmarks.load import DOCUMENT, TRACED, WORK, request_head
from benchmarks.machine import ROOT
from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway, Policy, Request

BODY = b'{"id": 4711, "name": "' + b"x" * (DOCUMENT - 24) + b'"}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: origin\r\nCache-Control: no-cache\r\n\r\n" % len(BODY)
) + BODY


def load_transport() -> Any:
    """The fake transport of this checkout, also where the gateway is that of another one."""
    spec = importlib.util.spec_from_file_location("fake_transport", ROOT / "fastgate" / "testing" / "transport.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FakeTransport


FakeTransport = load_transport()


def connect(protocol: Any, write: Callable[[bytes], object]) -> Any:
    """A transport for a protocol; ``write`` gets what the gateway writes, at no cost of a function in Python."""
    addresses = {"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 8080)}
    return FakeTransport(protocol, asyncio.get_running_loop().call_soon, write=write, **addresses)


class Loop(uvloop.Loop):
    """A loop whose connections to upstreams are fake; ``connected`` gets the protocol of the first."""

    connected: asyncio.Future[Any]

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> tuple[Any, Any]:
        """A protocol with a transport that does nothing."""
        upstream = protocol_factory()
        transport = connect(upstream, deque(maxlen=1).append)
        self.connected.set_result(upstream)
        return transport, upstream


class ReadsAndSets(Policy):
    """A plugin that reads one field of the request and sets another."""

    def on_request(self, request: Request) -> None:
        """Knows who asks by the user agent."""
        request.headers.set("x-client", request.headers.get("user-agent", "none"))


ROUTE_FEATURES: dict[str, dict[str, Any]] = {
    "token_bucket": {"rate_limit": {"rate": 1_000_000, "key": "client_ip"}},
    "fixed_window": {"rate_limit": {"algorithm": "fixed_window", "rate": 1_000_000, "key": "client_ip"}},
    "sliding_window_log": {"rate_limit": {"algorithm": "sliding_window_log", "rate": 100_000, "key": "client_ip"}},
    "concurrency": {"concurrency": {"max": 1000, "key": "client_ip"}},
    "plugin": {"policies": [{"use": "plugin"}]},
    "retry": {"retry": {"attempts": 3, "on": ["connect", "reset", "timeout", "5xx"]}},
}
LOG = str(WORK / "driver.log")
TRACED_MOST = 2000
"""Requests of a run with ``traced``; all are made in every run, so that what that takes is in no difference."""
MEGABYTE = b"x" * 1_048_576
READ = 65_536
"""Bytes of one read of the fake transports, as an event loop would deliver them."""

# Shapes of a message: fields and body of the request, then fields and body of the answer.
SHAPES: dict[str, tuple[str, bytes, str, bytes]] = {
    "download": ("GET", b"", "Content-Length: 1048576", MEGABYTE),
    "upload": ("PUT", MEGABYTE, "", BODY),
    "chunked": ("PUT", b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked",
                b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"),
    "post": ("POST", b"x" * 10_240, "", BODY),
}  # fmt: skip
"""What a feature sends in place of the small GET: 1 MB each way, chunks both ways, a POST of 10 KB."""
GATEWAY_FEATURES: dict[str, dict[str, Any]] = {
    "log_json": {"access_log": {"path": LOG}},
    "log_combined": {"access_log": {"path": LOG, "format": "combined"}},
}
UPSTREAM_FEATURES: dict[str, dict[str, Any]] = {
    "breaker": {"breaker": {}},
    "passive": {"health": {"passive": {}}},
    "least_connections": {"balancer": "least_connections"},
}


def configuration(features: Sequence[str] = ()) -> GatewayConfig:
    """The same as ``peers/fastgate.toml`` (defaults, access log off, one route), with these features on it."""
    route: dict[str, Any] = {"name": "all", "path": "/*", "upstream": "origin"}
    upstream: dict[str, Any] = {"targets": [{"host": "127.0.0.1", "port": 9}]}
    gateway: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}}
    top: dict[str, Any] = {}
    for feature in features:
        route.update(ROUTE_FEATURES.get(feature, {}))
        route.update(policy_features.ROUTE.get(feature, {}))
        gateway.update(GATEWAY_FEATURES.get(feature, {}))
        gateway.update(policy_features.GATEWAY.get(feature, {}))
        top.update(policy_features.TOP.get(feature, {}))
        upstream.update(UPSTREAM_FEATURES.get(feature, {}))
    plugged = "plugin" in features or "elsewhere" in features
    routes = [route, *(policy_features.OTHER_ROUTE[name] for name in features if name in policy_features.OTHER_ROUTE)]
    return GatewayConfig.from_dict(
        {
            "gateway": gateway,
            "plugins": [{"name": "plugin", "use": "benchmarks.driver:ReadsAndSets"}] if plugged else [],
            "routes": routes,
            "upstreams": {"origin": upstream},
            **top,
        }
    )


def messages(features: Sequence[str]) -> tuple[bytes, bytes]:
    """The request and the answer of these features, as their bytes."""
    fields: dict[str, str] = {}
    for feature in features:
        fields.update(policy_features.FIELDS.get(feature, {}))
    shape = next((SHAPES[feature] for feature in features if feature in SHAPES), None)
    if "traced" in features:
        # No request has the fields of the one before.
        fields.update(TRACED)
    if shape is None:
        return request_head(**fields), RESPONSE
    method, sent, answer_field, answered = shape
    if sent and answer_field.startswith("Transfer-Encoding"):
        fields["transfer_encoding"] = "chunked"
    elif sent:
        fields["content_length"] = str(len(sent))
    answer = RESPONSE
    if answer_field:
        head, _, _ = RESPONSE.partition(b"\r\n\r\n")
        answer = head.replace(b"Content-Length: %d" % len(BODY), answer_field.encode()) + b"\r\n\r\n" + answered
    return request_head(method, **fields) + sent, answer


def reads(message: bytes) -> list[bytes]:
    """A message as an event loop delivers it."""
    return [message[start : start + READ] for start in range(0, len(message), READ)]


async def drive(loop: Loop, requests: int, features: Sequence[str]) -> None:
    """One exchange that connects, then ``requests`` that find the connection in the pool."""
    loop.connected = loop.create_future()
    request, response = messages(features)
    requested, answered = reads(request), reads(response)
    async with Gateway(configuration(features)) as gateway:
        # The listener's own way to a protocol; nothing connects to it.
        client: Any = gateway._connection(gateway._listeners[0], None, None)
        written: deque[bytes] = deque(maxlen=1)
        connect(client, written.append)
        for piece in requested:
            client.data_received(piece)
        upstream = await loop.connected
        await asyncio.sleep(0)  # the gateway's own turn: it sends the request
        for piece in answered:
            upstream.data_received(piece)
        feed, answer = client.data_received, upstream.data_received
        if "traced" in features:
            heads = [request.replace(b"0" * 32, b"%032x" % number) for number in range(TRACED_MOST)]
            for number in range(requests):
                feed(heads[number])
                answer(response)
        elif len(requested) == len(answered) == 1:
            for _ in range(requests):
                feed(request)
                answer(response)
        else:
            for _ in range(requests):
                for piece in requested:
                    feed(piece)
                for piece in answered:
                    answer(piece)
        last = written[-1]
        whole = last.startswith(b"HTTP/1.1 200 OK\r\n") or len(answered) > 1
        if not whole or not last.endswith(response[-64:] if len(answered) > 1 else response.partition(b"\r\n\r\n")[2]):
            raise SystemExit(f"the last answer is not right: {last!r}")
        counted = gateway.metrics()["requests"]
        if counted != requests + 1:
            raise SystemExit(f"the gateway counted {counted} requests, not {requests + 1}")


def main(requests: int, features: Sequence[str]) -> None:
    """Drive ``requests`` requests through a route with these features."""
    ours = {*policy_features.FIELDS, *policy_features.ROUTE, *policy_features.OTHER_ROUTE}
    ours |= {*ROUTE_FEATURES, *UPSTREAM_FEATURES, *GATEWAY_FEATURES, *SHAPES, "traced"}
    unknown = set(features) - ours
    if unknown:
        raise SystemExit(f"no such feature: {', '.join(sorted(unknown))}")
    loop = Loop()
    Path(LOG).unlink(missing_ok=True)
    try:
        loop.run_until_complete(drive(loop, requests, features))
    finally:
        loop.close()
    if GATEWAY_FEATURES.keys() & set(features):
        # By another program, so that it is not counted here.
        lines = int(subprocess.run(["wc", "-l", LOG], capture_output=True, check=True).stdout.split()[0])
        if lines != requests + 1:
            raise SystemExit(f"the log has {lines} lines, not {requests + 1}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
