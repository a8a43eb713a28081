"""Answers that lie in memory, on their way to clients over real sockets: whole, in order, and given back at the end."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tls.authorities import Files
from waiting import until

from fastgate import Gateway
from fastgate._core.delivery.fixed import Fixed
from fastgate._core.exchange.route import Route, Runtime
from fastgate._core.probes.deliveries import Lies
from fastgate._core.routing.router import Router
from fastgate.testing import RawClient, gateway_to

GET = b"GET /memory HTTP/1.1\r\nHost: h\r\n\r\n"
SMALL = b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n"
MEDIUM = b"GET /medium HTTP/1.1\r\nHost: h\r\n\r\n"
MEDIUM_BODY = bytes(range(200)) * 250
SIZES = [1, 16_384, 100_000, 1_000_000, 8_000_000]


@cache
def body_of(size: int) -> bytes:
    """No piece of it is like another."""
    return b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(size // 32 + 1))[:size]


def lies(size: int, *fields: bytes) -> Lies:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % size, *fields, b"", b""])
    return Lies(head, body_of(size))


@asynccontextmanager
async def serving(delivery: Lies, *, gateway: dict[str, Any] | None = None, **route: Any) -> AsyncIterator[Gateway]:
    """A gateway that answers /memory from there, and /small at once."""
    async with gateway_to(1, gateway=gateway or {}) as to:
        router = Router()
        router.add("/memory", Route(name="memory", delivery=delivery, **route))
        router.add("/small", Route(name="small", delivery=Fixed(content=b"small")))
        router.add("/medium", Route(name="medium", delivery=Fixed(content=MEDIUM_BODY)))
        to._engine.use(Runtime(router=router, request_id=""))  # type: ignore[attr-defined]
        yield to


async def slow(port: int, asked: bytes, *, tls: ssl.SSLContext | None = None) -> tuple[Any, Any]:
    """A connection with little room for what is not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(
        sock=made, limit=8192, ssl=tls, server_hostname="a.test" if tls is not None else None
    )
    writer.write(asked)
    return reader, writer


@pytest.mark.parametrize("size", SIZES)
async def test_bodies_of_all_sizes_arrive_whole(size: int) -> None:
    delivery = lies(size, b"X-A: 1")
    async with serving(delivery) as gateway, RawClient(gateway.port) as client:
        for _ in range(3):
            answer = await client.request(GET)
            assert (answer.status, answer.body, answer.fields["x-a"]) == (200, body_of(size), "1")
            assert (await client.request(SMALL)).body == b"small"
        assert (delivery.begun, delivery.let_go) == (3, 3)


@pytest.mark.parametrize("size", SIZES)
async def test_pipelined_answers_keep_their_order(size: int) -> None:
    delivery = lies(size)
    async with serving(delivery) as gateway, RawClient(gateway.port) as client:
        await client.send((SMALL + GET) * 5 + SMALL)
        for number in range(11):
            assert (await client.response()).body == (body_of(size) if number % 2 else b"small")
        assert delivery.let_go == 5


async def test_a_slow_reader_gets_pipelined_answers_in_their_order() -> None:
    """Of an answer some may be unsent when the next begins. That none is sent past it, test_deliveries shows."""
    size = 100_000
    delivery = lies(size)
    async with serving(delivery) as gateway:
        reader, writer = await slow(gateway.port, (MEDIUM + GET) * 60)
        await until(lambda: delivery.begun > 2)
        for _ in range(60):
            for wanted in (MEDIUM_BODY, body_of(size)):
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(len(wanted)) == wanted
        assert delivery.let_go == 60
        writer.transport.abort()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_slow_reader_gets_every_byte(secure: bool, tmp_path: Path) -> None:
    size = 3_000_000
    files = Files(tmp_path)
    settings: dict[str, Any] = {}
    trusted = None
    if secure:
        issued = files.issue("a", "a.test")
        settings = {"tls": {"certificates": [{"cert": issued.cert, "key": issued.key}]}}
        trusted = ssl.create_default_context()
        files.authority.configure_trust(trusted)
    delivery = lies(size)
    async with serving(delivery, gateway=settings) as gateway:
        readers = [await slow(gateway.port, GET, tls=trusted) for _ in range(8)]

        async def read(reader: Any, number: int) -> bytes:
            await reader.readuntil(b"\r\n\r\n")
            pieces = []
            left = size
            while left:
                piece = await reader.readexactly(min(left, 30_000 + number * 1001))
                left -= len(piece)
                pieces.append(piece)
                if len(pieces) % 20 == 0:
                    await asyncio.sleep(0.002)
            return b"".join(pieces)

        for body in await asyncio.gather(*(read(reader, number) for number, (reader, _) in enumerate(readers))):
            assert body == body_of(size)
        assert delivery.let_go == 8
        # The connections serve on, small answers among them.
        for reader, writer in readers:
            writer.write(SMALL + GET)
            await reader.readuntil(b"small")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(size) == body_of(size)
            writer.transport.abort()
        assert delivery.let_go == 16


@pytest.mark.parametrize("ends", ["reset", "closed", "stopped"])
async def test_memory_is_let_go_when_its_reader_leaves(ends: str) -> None:
    delivery = lies(16_000_000)
    async with serving(delivery) as gateway:
        reader, writer = await slow(gateway.port, GET)
        await reader.readexactly(1000)
        assert (delivery.begun, delivery.let_go) == (1, 0)
        if ends == "reset":
            writer.transport.abort()
        elif ends == "closed":
            writer.close()
        else:
            gateway._engine.abort_connections()  # type: ignore[attr-defined]
        await until(lambda: delivery.let_go == 1)
        writer.transport.abort()


async def test_who_takes_nothing_is_cut() -> None:
    """As with any other body: the limits of the route count what the client has taken."""
    delivery = lies(16_000_000)
    async with serving(delivery, write_timeout=1) as gateway:
        _, writer = await slow(gateway.port, GET)
        await until(lambda: delivery.let_go == 1)
        writer.transport.abort()


async def test_an_old_client_gets_the_length_too() -> None:
    async with serving(lies(100_000)) as gateway, RawClient(gateway.port) as client:
        await client.send(b"GET /memory HTTP/1.0\r\nConnection: keep-alive\r\nHost: h\r\n\r\n" * 2)
        for _ in range(2):
            assert (await client.response()).body == body_of(100_000)
