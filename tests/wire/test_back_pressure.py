"""Bodies stream: what a peer does not take stays with the one who sends it, not in the gateway."""

import asyncio
import hashlib
import os
import resource

import pytest
from wire.support import GET, head

from fastgate.testing import Answer, read_body, respond, wait_for

SIZE = 64 * 1024 * 1024
PIECE = os.urandom(65536)
DIGEST = hashlib.sha256(PIECE * (SIZE // len(PIECE))).hexdigest()
# AddressSanitizer keeps back what was freed.
GROWTH = 24 * 1024 * 1024 if "ASAN_OPTIONS" not in os.environ else 1024 * 1024 * 1024


def resident() -> int:
    """Resident bytes of this process, in which client, gateway and upstream all run."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def still(count) -> None:
    """Returns once the count has not changed for a moment."""
    before = -1
    while before != count():
        before = count()
        await asyncio.sleep(0.15)


async def send_pieces(wire, head: bytes, framing: str) -> None:
    await wire.send(head)
    for _ in range(SIZE // len(PIECE)):
        await wire.send(b"10000\r\n" + PIECE + b"\r\n" if framing == "chunked" else PIECE)
    if framing == "chunked":
        await wire.send(b"0\r\n\r\n")


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_upload_to_a_slow_reader(stand, framing):
    """`pause_writing`/`pause_reading` couple both sides: memory per stream is bounded whatever the peer does"""
    client = await stand.start(gateway={"max_body": 0}, upstream_options={"keep": False})
    go = asyncio.Event()
    stand.upstream.script(Answer(read_body(100_000), wait_for(go), read_body(), respond(b"done"), early=True))
    field = f"Content-Length: {SIZE}" if framing == "length" else "Transfer-Encoding: chunked"
    before = resident()
    sending = asyncio.create_task(send_pieces(client.wire, head(field, method="POST"), framing))
    await stand.upstream.request(0)
    await still(lambda: client.wire.bytes_out)
    assert client.wire.bytes_out < SIZE
    assert resident() - before < GROWTH
    go.set()
    client.timeout = 20
    assert (await client.response()).body == b"done"
    await sending
    assert resident() - before < GROWTH
    request = stand.upstream.requests[0]
    assert (request.body_length, request.sha256) == (SIZE, DIGEST)


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
async def test_download_to_a_slow_reader(stand, framing):
    await stand.start(gateway={"max_body": 0})
    client = await stand.client(keep=False, timeout=20)
    field = {
        "length": b"Content-Length: %d\r\n" % SIZE,
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "until close": b"",
    }[framing]

    async def send(exchange):
        await send_pieces(exchange.wire, b"HTTP/1.1 200 OK\r\n" + field + b"\r\n", framing)
        if framing == "until close":
            exchange.wire.close()

    stand.upstream.script(Answer(send))
    before = resident()
    await client.send(GET)
    response = await client.head()
    await client.body(response, 100_000)
    wire = stand.upstream.connections[0].wire
    await still(lambda: wire.bytes_out)
    assert wire.bytes_out < SIZE
    assert resident() - before < GROWTH
    await client.body(response)
    assert resident() - before < GROWTH
    assert (response.body_length, response.sha256) == (SIZE, DIGEST)


async def test_a_client_that_takes_nothing_meets_the_write_timeout(stand):
    """write: the peer takes no byte"""
    await stand.start(gateway={"max_body": 0}, route={"timeouts": {"write": 0.5}})
    client = await stand.client(receive_buffer=8192)

    async def send(exchange):
        await send_pieces(exchange.wire, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE, "length")

    stand.upstream.script(Answer(send))
    await client.send(GET)
    await client.head()
    async with asyncio.timeout(5):
        await stand.upstream.connections[0].over.wait()
    await client.rest()
    assert client.reader.wire.bytes_in < SIZE


async def test_a_client_that_pipelines_and_takes_nothing_is_not_answered_further(stand):
    """pipelined requests: answered in order, one exchange at a time; memory is bounded whatever the peer does"""
    await stand.start()
    client = await stand.client(receive_buffer=8192, keep=False)
    stand.upstream.default = Answer(respond(b"x" * 30_000))
    before = resident()
    sending = asyncio.create_task(client.send(GET * 3000))
    await still(lambda: len(stand.upstream.requests))
    asked = len(stand.upstream.requests)
    assert asked < 1000
    assert resident() - before < GROWTH
    client.timeout = 20
    for _ in range(3000):
        assert (await client.response()).body_length == 30_000
    await sending
    assert len(stand.upstream.requests) == 3000
