"""The rows of "Requests" about time and order: Expect, pipelining, timeouts."""

import asyncio
import time

import pytest
from wire.support import AFTER, GET, check_problem, chunked, deliver, eventually, head, post, served

from fastgate.testing import Answer, respond, stall, wait_for

EXPECT = head("Expect: 100-continue", "Content-Length: 5", method="POST", target="/e")


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_expect_is_answered_here_and_removed_upstream(stand, value, way):
    """`Expect: 100-continue` → answered here and removed upstream"""
    client = await stand.start()
    await deliver(client, EXPECT.replace(b"100-continue", value.encode()), way)
    assert (await client.receive(25)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.assert_silent()
    await deliver(client, b"hello", way)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert request.body == b"hello"
    assert "expect" not in request.fields
    await served(client, GET)


async def test_expect_with_a_chunked_body(stand):
    client = await stand.start()
    await client.send(head("Expect: 100-continue", "Transfer-Encoding: chunked", method="PUT"))
    assert (await client.receive(25)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].body == b"hello"


async def test_expect_with_the_body_already_there(stand):
    client = await stand.start()
    response = await client.request(EXPECT + b"hello" + AFTER)
    assert response.status == 200
    assert [interim.status for interim in response.interim] in ([], [100])
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].body == b"hello"


@pytest.mark.parametrize("reason", ["no route", "too large", "no target", "wrong method"])
async def test_a_refusal_goes_out_without_100(stand, reason):
    """a refusal goes out without it"""
    status = {"no route": 404, "too large": 413, "no target": 503, "wrong method": 405}[reason]
    if reason == "no target":
        client = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 0}})
        stand.upstream.script(Answer(stall()))
        busy = await stand.client()
        await busy.send(GET)
        await stand.upstream.request(0)
    else:
        route = {"no route": {"path": "/x"}, "too large": {"max_body": 4}, "wrong method": {"methods": ["GET"]}}[reason]
        client = await stand.start(route=route)
    await client.send(EXPECT)
    response = await client.response()
    check_problem(response, status)
    assert response.interim == []
    # The client will not send the body now; what it sends next is a request, or the connection has been closed.
    if "close" in (response.fields.get("connection") or ""):
        assert await client.wait_closed() == "eof"


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "x"])
async def test_other_expectations(stand, value):
    """Other expectations 417"""
    client = await stand.start()
    check_problem(await client.request(head(f"Expect: {value}")), 417)
    assert not stand.upstream.connections


async def test_expect_of_a_1_0_client_gets_no_100(stand):
    """HTTP/1.0: never sent 1xx"""
    client = await stand.start()
    await client.send(EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
    response = await client.response()
    assert (response.status, response.interim) == (200, [])
    assert stand.upstream.requests[0].body == b"hello"


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_pipelined_requests_are_answered_in_order(stand, way):
    """pipelined requests → answered in order"""
    client = await stand.start()
    stand.upstream.script(*(respond(f"{number}".encode()) for number in range(5)))
    requests = [
        GET,
        post(b"hello", target="/1"),
        chunked(b"a", b"b", target="/2"),
        head(method="HEAD", target="/3"),
        AFTER,
    ]
    await deliver(client, b"".join(requests), way)
    answers = [await client.response(method) for method in ("GET", "POST", "POST", "HEAD", "GET")]
    assert [answer.body for answer in answers] == [b"0", b"1", b"2", b"", b"4"]
    assert [request.target for request in stand.upstream.requests] == ["/path?query", "/1", "/2", "/3", "/after"]
    assert [request.body for request in stand.upstream.requests] == [b"", b"hello", b"ab", b"", b""]


async def test_pipelined_requests_are_one_exchange_at_a_time(stand):
    """one exchange at a time"""
    client = await stand.start()
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"first")))
    await client.send(GET + AFTER + AFTER)
    await stand.upstream.request(0)
    await client.assert_silent()
    assert len(stand.upstream.requests) == 1
    go.set()
    assert [(await client.response()).body for _ in range(3)] == [b"first", b"ok", b"ok"]


async def test_many_pipelined_requests(stand):
    client = await stand.start()
    await client.send(b"".join(head(target=f"/{number}") for number in range(500)))
    for _ in range(500):
        assert (await client.response()).status == 200
    assert [request.target for request in stand.upstream.requests] == [f"/{number}" for number in range(500)]


async def test_many_pipelined_requests_that_are_answered_here(stand):
    client = await stand.start(route={"path": "/only"})
    await client.send(head(target="/nowhere") * 500)
    for _ in range(500):
        assert (await client.response()).status == 404
    await served(client, head(target="/only"))


async def test_a_refused_request_ends_the_pipeline(stand):
    client = await stand.start()
    await client.send(GET + b"GET / HTTP/1.1\r\n\r\n" + AFTER)
    assert (await client.response()).status == 200
    check_problem(await client.response(), 400)
    assert await client.wait_closed() == "eof"
    assert [request.target for request in stand.upstream.requests] == ["/path?query"]


async def test_pipelined_bytes_are_bounded(stand):
    """at most 64 KB of later bytes kept"""
    client = await stand.start(gateway={"max_body": 0}, upstream_options={"keep": False})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"first")))
    size, piece = 48_000_000, bytes(100_000)

    async def send_all() -> None:
        await client.wire.send(GET + head(f"Content-Length: {size}", method="POST"))
        for _ in range(size // len(piece)):
            await client.wire.send(piece)

    sending = asyncio.create_task(send_all())
    await stand.upstream.request(0)
    before = -1
    while before != client.wire.bytes_out:
        before = client.wire.bytes_out
        await asyncio.sleep(0.1)
    # What two socket buffers take, and 64 KB.
    assert client.wire.bytes_out < 24_000_000
    go.set()
    assert [(await client.response()).body for _ in range(2)] == [b"first", b"ok"]
    await sending
    assert stand.upstream.requests[1].body_length == size


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\nG"], ids=repr)
async def test_head_timeout(stand, data):
    """head not complete in `header_timeout` → 408, close"""
    client = await stand.start(gateway={"header_timeout": 0.3})
    started = time.monotonic()
    await client.send(data)
    response = await client.response()
    check_problem(response, 408)
    assert response.fields["connection"] == "close"
    assert await client.wait_closed() == "eof"
    assert 0.25 < time.monotonic() - started < 2.5
    assert not stand.upstream.connections


async def test_head_timeout_counts_from_the_first_byte(stand):
    client = await stand.start(gateway={"header_timeout": 0.5})
    trickle = asyncio.create_task(deliver_slowly(client, GET, 0.1))
    check_problem(await client.response(), 408)
    trickle.cancel()


async def deliver_slowly(client, data: bytes, pause: float) -> None:
    try:
        await client.wire.send_pieces(data, 1, pause)
    except ConnectionError:
        pass


async def test_head_timeout_of_a_second_request(stand):
    client = await stand.start(gateway={"header_timeout": 0.3})
    await served(client, GET)
    await client.send(GET[:20])
    check_problem(await client.response(), 408)
    assert await client.wait_closed() == "eof"


@pytest.mark.parametrize("data", [post(b"hello")[:-2], chunked(b"hello", end=b"")], ids=["length", "chunked"])
async def test_body_timeout(stand, data):
    """body stalled for `body_timeout` → 408, close"""
    client = await stand.start(gateway={"body_timeout": 0.3})
    await client.send(data)
    response = await client.response()
    check_problem(response, 408)
    assert response.fields["connection"] == "close"
    assert await client.wait_closed() == "eof"
    for connection in stand.upstream.connections:
        await connection.wait_ended()
        assert not any(request.complete for request in connection.requests)


async def test_body_timeout_is_between_two_reads(stand):
    client = await stand.start(gateway={"body_timeout": 1.5})
    data = post(b"0123456789")
    await client.send(data[:-10])
    for byte in b"0123456789":
        await asyncio.sleep(0.2)
        await client.send(bytes([byte]))
    assert (await client.response()).status == 200


async def test_a_slow_answer_is_no_stalled_body(stand):
    client = await stand.start(gateway={"body_timeout": 0.3, "header_timeout": 0.3, "keepalive": 0.3})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"late")))
    await client.send(post(b"hello"))
    await client.assert_silent(1.5)
    go.set()
    assert (await client.response()).body == b"late"


async def test_idle_connection_is_closed_after_keepalive(stand):
    client = await stand.start(gateway={"keepalive": 0.3})
    await served(client, GET)
    assert await client.wait_closed() == "eof"


async def test_the_first_request_is_due_within_the_time_of_a_head(stand):
    client = await stand.start(gateway={"keepalive": 60, "header_timeout": 0.4})
    assert await client.wait_closed() == "eof"
    slow = await stand.client()
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(0.3)
    await slow.send(b"GET /")
    assert (await slow.response()).status == 408
    assert asyncio.get_running_loop().time() - began < 0.65


async def test_health_path(stand):
    client = await stand.start(gateway={"health_path": "/healthz"})
    assert (await served(client, head(target="/healthz"))).status == 200
    assert not stand.upstream.connections


async def test_max_connections(stand):
    first = await stand.start(gateway={"max_connections": 2})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"late")), Answer(wait_for(go), respond(b"late")))
    second = await stand.client()
    for client in (first, second):
        await client.send(GET)
    await eventually(lambda: len(stand.upstream.requests) == 2)
    try:
        third = await stand.client()
        await third.wait_closed()
    except ConnectionResetError:
        pass
    go.set()
    for client in (first, second):
        assert (await client.response()).body == b"late"
    await asyncio.sleep(0.15)
    await served(second, GET)
    fourth = await stand.client()
    await served(fourth, GET)
    assert await first.wait_closed() == "eof", "it was idle for longest"
    fourth.close()

    async def again() -> bool:
        client = await stand.client()
        try:
            return (await client.request(GET)).status == 200
        except (AssertionError, ConnectionError):
            return False

    async with asyncio.timeout(5):
        while not await again():
            await asyncio.sleep(0.02)
