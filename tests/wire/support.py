"""What the wire tests have in common: bytes to send, ways to send them, and what every refusal must look like."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack, suppress

from fastgate.testing import RawClient, RecordingUpstream, gateway_to

GET = b"GET /path?query HTTP/1.1\r\nHost: example.test\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nHost: example.test\r\n\r\n"
DELIVERIES = ("whole", "byte by byte", "with bytes after")

# What the gateway may add to a request by itself, in lower case.
ADDED = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id"}


def head(
    *lines: str, method: str = "GET", target: str = "/", version: str = "1.1", host: str | None = "example.test"
) -> bytes:
    """A request head: the request line, Host, the lines, the empty line."""
    first = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        first.append(f"Host: {host}")
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


def post(body: bytes, *lines: str, target: str = "/", version: str = "1.1") -> bytes:
    """A POST with Content-Length."""
    return head(*lines, f"Content-Length: {len(body)}", method="POST", target=target, version=version) + body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n", target: str = "/") -> bytes:
    """A POST in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head("Transfer-Encoding: chunked", method="POST", target=target) + body + end


class Stand:
    """An upstream, a gateway before it, and clients; all are taken down in the order that leaves no one surprised."""

    def __init__(self, stack: AsyncExitStack):
        self.stack = stack
        self.upstream: RecordingUpstream
        self.gateway = None

    async def new_upstream(self, *args, **options) -> RecordingUpstream:
        return await self.stack.enter_async_context(RecordingUpstream(*args, **options))

    async def start(self, *targets, upstream_options=None, gateway=None, route=None, upstream=None):
        """Starts the upstream (unless targets are given) and the gateway, and returns a connected client."""
        if not targets:
            self.upstream = await self.new_upstream(**(upstream_options or {}))
            targets = (self.upstream.port,)
        context = gateway_to(*targets, gateway=gateway, route=route, upstream=upstream)
        self.gateway = await self.stack.enter_async_context(context)
        return await self.client()

    async def client(self, **options) -> RawClient:
        return await self.stack.enter_async_context(RawClient(self.gateway.port, **options))

    def refusing_port(self) -> int:
        """A port that refuses connections: it is bound, so that nobody else gets it, and nobody listens."""
        sock = self.stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

    def forwarded(self, index: int = 0, *, without: set[str] = ADDED) -> list[tuple[str, str]]:
        """The fields of a request as they reached the upstream, without Host and what the gateway adds by itself."""
        pairs = self.upstream.requests[index].fields.pairs
        return [(name, value) for name, value in pairs if name.lower() not in without | {"host"}]


async def deliver(client: RawClient, data: bytes, delivery: str = "whole") -> None:
    """Sends the bytes in one of the three ways. A server that has refused may have stopped to listen."""
    with suppress(ConnectionError):
        if delivery == "byte by byte":
            await client.send_pieces(data)
        elif delivery == "with bytes after":
            await client.send(data + AFTER)
        else:
            await client.send(data)


def check_problem(response, status: int) -> dict:
    """The response is a problem of RFC 9457 with all the members that fastgate promises; returns them."""
    assert response.status == status, f"{response.start!r} {response.body!r}"
    assert response.fields["content-type"].split(";")[0] == "application/problem+json"
    problem = json.loads(response.body)
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= problem.keys()
    assert problem["status"] == status
    assert all(isinstance(problem[key], str) for key in ("type", "title", "detail", "instance", "request_id"))
    assert "127.0.0.1" not in response.body.decode()
    return problem


async def refused(stand: Stand, client: RawClient, data: bytes, status: int, delivery: str = "whole"):
    """The bytes get that status, the connection is closed and nothing at all reaches the upstream."""
    await deliver(client, data, delivery)
    response = await client.response()
    check_problem(response, status)
    assert response.fields["connection"] == "close"
    assert await client.wait_closed() == "eof"
    assert not stand.upstream.connections
    return response


async def served(client: RawClient, data: bytes, status: int = 200):
    """The bytes get that status and the connection is still good for another request, whose answer is checked."""
    response = await client.request(data)
    assert response.status == status, response.body
    assert "close" not in (response.fields.get("connection") or "")
    return response


async def eventually(condition, timeout: float = 5.0) -> None:
    """Polls for what no event tells."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


def by_id(cases: dict) -> dict:
    """Arguments of ``parametrize`` from {id: case}."""
    return {"argvalues": list(cases.values()), "ids": list(cases)}
