"""What clients get when the store cannot take an answer: all of it, and never a part as the whole."""

import asyncio

import pytest
from cache.support import Origin, caching

from fastgate.testing import RawClient, RecordedRequest, proxy_config, start_gateway
from fastgate.testing.upstream import UpstreamExchange

SIZE = 1_500_000


async def sizes(port: int, count: int, target: str = "/x") -> set[tuple[int, int]]:
    async def one() -> tuple[int, int]:
        async with RawClient(port, timeout=20, keep=False) as client:
            await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            found = await client.response()
            return found.status, found.body_length

    return set(await asyncio.gather(*(one() for _ in range(count))))


async def at_full_speed(exchange: UpstreamExchange) -> None:
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n")
    for start in range(0, SIZE, 50_000):
        size = min(50_000, SIZE - start)
        await exchange.send(b"%x\r\n" % size + b"y" * size + b"\r\n")
    await exchange.send(b"0\r\n\r\n")


async def test_a_chunked_body_that_outgrows_at_full_speed_reaches_all_who_read_it() -> None:
    async with caching() as (origin, gateway):
        origin.play = at_full_speed
        for _ in range(3):
            assert await sizes(gateway.port, 12) == {(200, SIZE)}


@pytest.mark.parametrize("paced", [9, 4])
@pytest.mark.parametrize(("size", "chunked"), [("8MB", False), ("8MB", True), ("20MB", True)])
async def test_a_store_that_is_full_costs_no_client_anything(size: str, chunked: bool, paced: int) -> None:
    """Many answers at once, each larger than a part of a small store.

    What is not ``paced`` of one comes at once: it is whole, and perhaps thrown out for another, before those who read
    along have heard of it.
    """
    asked = 0
    all_asked = asyncio.Event()

    async def slow(exchange: UpstreamExchange) -> None:
        nonlocal asked
        await exchange.read_body()
        asked += 1
        if asked == 40:
            all_asked.set()
        # All fetches are under way before one has its answer.
        await all_asked.wait()
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 900000"
        await exchange.send(b"HTTP/1.1 200 OK\r\n%b\r\nCache-Control: max-age=60\r\n\r\n" % length)
        for number in range(9):
            piece = b"z" * 100_000
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if number < paced:
                await asyncio.sleep(0.01)
        if chunked:
            await exchange.send(b"0\r\n\r\n")

    async with Origin() as origin:
        origin.play = slow
        config = {**proxy_config(origin.port, route={"cache": True}), "cache": {"max_bytes": size}}
        async with start_gateway(config) as gateway:
            found = await asyncio.gather(*(sizes(gateway.port, 3, f"/{number}") for number in range(40)))
            assert set().union(*found) == {(200, 900_000)}
            assert gateway.cache.stats().stores < 40


async def test_the_whole_answers_a_condition_and_is_asked_for_the_next_time() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Cache-Control": "max-age=60", "ETag": '"1"'}, b"whole"

    async with caching(handler) as (origin, gateway):
        async with RawClient(gateway.port) as client:
            for _ in range(4):
                await client.send(b'GET /a HTTP/1.1\r\nHost: h\r\nIf-None-Match: "0"\r\n\r\n')
                assert (await client.response()).body == b"whole"
        assert len(origin.asked) == 2
