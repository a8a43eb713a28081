"""An origin whose answers are a function of the request, and one request to a gateway."""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastgate.gateway import Gateway
from fastgate.testing import Answer, RawClient, RecordedRequest, RecordedResponse, RecordingUpstream, gateway_to
from fastgate.testing.upstream import UpstreamExchange

Fields = Mapping[str, str]
Handler = Callable[[RecordedRequest], "tuple[int, Fields, bytes]"]


def compose(status: int, fields: Fields, body: bytes, *, bodiless: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {value}" for name, value in fields.items())]
    if "content-length" not in {name.lower() for name in fields} and status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else body)


class Origin(RecordingUpstream):
    """Answers by ``handler``; ``steps`` are done instead, where they are set. ``asked`` are the requests."""

    def __init__(self, handler: Handler | None = None) -> None:
        super().__init__(default=Answer(self._answer))
        self.handler = handler
        self.play: Callable[[UpstreamExchange], Awaitable[None]] | None = None

    @property
    def asked(self) -> list[RecordedRequest]:
        return self.requests

    async def _answer(self, exchange: UpstreamExchange) -> None:
        if self.play is not None:
            await self.play(exchange)
            return
        assert self.handler is not None
        status, fields, body = self.handler(exchange.request)
        bodiless = exchange.request.head.startswith(b"HEAD ") or status in (204, 304)
        await exchange.send(compose(status, fields, body, bodiless=bodiless))


def some_seeds(count: int) -> list[int]:
    """Of what a test makes up; ``FASTGATE_SEED`` repeats one."""
    given = os.environ.get("FASTGATE_SEED")
    return [int(given)] if given else [random.SystemRandom().randrange(2**31) for _ in range(count)]


async def ask(
    address: int | RawClient, target: str = "/", method: str = "GET", fields: Fields | None = None, body: bytes = b""
) -> RecordedResponse:
    """One request, on a connection of its own where a port is given."""
    if isinstance(address, int):
        async with RawClient(address) as client:
            return await ask(client, target, method, fields, body)
    lines = [f"{method} {target} HTTP/1.1"]
    given = {"Host": "example.com", **(fields or {})}
    if body:
        given["Content-Length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in given.items()]
    await address.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    return await address.response(method)


@asynccontextmanager
async def caching(
    handler: Handler | None = None, cache: Mapping[str, Any] | None = None, **more: Any
) -> "AsyncIterator[tuple[Origin, Gateway]]":
    """An origin, and a gateway with one route to it that caches."""
    route = {"cache": dict(cache or {}), **more.pop("route", {})}
    async with Origin(handler) as origin, gateway_to(origin.port, route=route, **more) as gateway:
        yield origin, gateway
