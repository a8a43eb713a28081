"""The row "client goes away" of the table "When the upstream fails"."""

import asyncio
import json
import os

import pytest
from wire.support import GET, chunked, eventually, head, post, served

from fastgate.testing import Answer, respond, stall, wait_for

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = ["close", "half_close", "reset"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [GET, post(b"hello")], ids=["GET", "POST"])
async def test_before_the_answer(stand, way, data):
    """client goes away → the upstream exchange is cancelled. EOF after a complete request is the client leaving"""
    client = await stand.start()
    stand.upstream.script(Answer(stall()))
    await client.send(data)
    await stand.upstream.complete_request(0)
    getattr(client, way)()
    assert await stand.upstream.connections[0].wait_ended()
    await served(await stand.client(), GET)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [post(b"hello")[:-2], chunked(b"hello", end=b"")], ids=["length", "chunked"])
async def test_in_its_own_body(stand, way, data):
    """EOF inside one aborts it"""
    client = await stand.start()
    stand.upstream.script(Answer(respond(b"must not be sent for it"), stall()))
    await client.send(data)
    await stand.upstream.request(0)
    getattr(client, way)()
    assert await stand.upstream.connections[0].wait_ended()
    assert not stand.upstream.requests[0].complete


@pytest.mark.parametrize("way", WAYS)
async def test_in_its_own_head(stand, way):
    client = await stand.start()
    await client.send(GET[:-2])
    getattr(client, way)()
    if way == "half_close":
        rest = await client.rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 400")
    assert not stand.upstream.connections


@pytest.mark.parametrize("way", WAYS)
async def test_in_the_answer(stand, way):
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + b"5\r\nhello\r\n", stall()))
    await client.send(GET)
    response = await client.head()
    await client.body(response, 5)
    getattr(client, way)()
    assert await stand.upstream.connections[0].wait_ended()
    await served(await stand.client(), GET)


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_where_back_pressure_paused_reading(stand, way):
    """where back-pressure paused it, the timer wheel asks TCP_INFO once a second"""
    await stand.start(gateway={"max_body": 0})
    client = await stand.client(receive_buffer=8192)
    piece = b"10000\r\n" + os.urandom(65536) + b"\r\n"

    async def flood(exchange):
        await exchange.send(CHUNKED)
        while True:
            await exchange.send(piece)

    stand.upstream.script(Answer(flood))
    await client.send(GET)
    await client.head()
    await stand.upstream.request(0)
    wire = stand.upstream.connections[0].wire
    before = -1
    while before != wire.bytes_out:
        before = wire.bytes_out
        await asyncio.sleep(0.1)
    getattr(client, way)()
    async with asyncio.timeout(5):
        await stand.upstream.connections[0].over.wait()


async def test_while_its_upload_is_held_back(stand):
    client = await stand.start(gateway={"max_body": 0}, upstream_options={"receive_buffer": 8192})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), stall(), early=True))
    await client.send(head("Content-Length: 64000000", method="POST"))

    async def flood():
        while True:
            await client.wire.send(bytes(65536))

    sending = asyncio.create_task(flood())
    await stand.upstream.request(0)
    before = -1
    while before != client.wire.bytes_out:
        before = client.wire.bytes_out
        await asyncio.sleep(0.1)
    client.reset()
    with pytest.raises(ConnectionError):
        await sending
    go.set()
    assert await stand.upstream.connections[0].wait_ended()


async def test_while_connecting_and_queued(stand):
    client = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 5, "queue_timeout": 60}})
    stand.upstream.script(Answer(stall()))
    await client.send(GET)
    await stand.upstream.request(0)
    waiting = await stand.client()
    await waiting.send(head(target="/waiting"))
    await waiting.assert_silent()
    waiting.reset()
    client.close()
    await stand.upstream.connections[0].wait_ended()
    await served(await stand.client(), GET)
    assert "/waiting" not in {request.target for request in stand.upstream.requests}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("turns", range(8))
async def test_at_any_moment_of_connecting(stand, way, turns):
    """However far the upstream's connection has come, nothing is left of it, and its place is free."""
    client = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 1, "queue_timeout": 1}})
    await client.send(post(b"hello")[:-2])
    for _ in range(turns):
        await asyncio.sleep(0)
    getattr(client, way)()
    if way == "half_close":
        await client.rest()
    await served(await stand.client(), GET)
    for connection in stand.upstream.connections[:-1]:
        await connection.wait_ended()
    assert [request.target for request in stand.upstream.requests if request.complete] == ["/path?query"]


async def test_counted_as_499(stand, tmp_path):
    """counted as 499"""
    log = tmp_path / "access.log"
    client = await stand.start(gateway={"access_log": {"path": str(log)}})
    stand.upstream.script(Answer(stall()))
    await client.send(GET)
    await stand.upstream.request(0)
    client.close()
    await stand.upstream.connections[0].wait_ended()
    await stand.gateway.close()
    await eventually(lambda: log.exists() and log.read_text().count("\n") == 1)
    assert json.loads(log.read_text())["status"] == 499


async def test_the_next_pipelined_request_is_not_begun(stand):
    client = await stand.start()
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), stall()))
    await client.send(GET + head(target="/next"))
    await stand.upstream.request(0)
    client.close()
    go.set()
    await stand.upstream.connections[0].wait_ended()
    await served(await stand.client(), head(target="/other"))
    assert [request.target for request in stand.upstream.requests] == ["/path?query", "/other"]
