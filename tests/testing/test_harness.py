"""The harness against itself: what a broken one would hide must be seen here."""

import asyncio
from contextlib import suppress

import pytest

from fastgate.testing import (
    Answer,
    CutShort,
    EventStream,
    FaultProxy,
    Malformed,
    RawClient,
    RecordingUpstream,
    close,
    echo,
    echo_stream,
    half_close,
    pieces,
    read_body,
    read_slowly,
    reflect,
    reset,
    respond,
    stall,
    wait_for,
)

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
)


async def test_records_the_exact_bytes_and_answers_in_order():
    async with RecordingUpstream() as upstream, RawClient(upstream.port) as client:
        upstream.script(respond(b"one"), respond(b"two", "404 Not Found", "X-A: 1"))
        await client.send(GET + GET + GET)
        first, second, third = [await client.response() for _ in range(3)]
    assert (first.status, first.body, second.status, second.body, second.fields["x-a"]) == (
        200,
        b"one",
        404,
        b"two",
        "1",
    )
    assert third.body == b"ok"
    assert [request.head for request in upstream.requests] == [GET] * 3
    assert upstream.connections[0].received == GET * 3
    assert len(upstream.connections) == 1


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_chunked_bodies_are_taken_apart(size):
    async with RecordingUpstream(default=Answer(echo)) as upstream, RawClient(upstream.port) as client:
        await client.send_pieces(CHUNKED + GET, size)
        assert (await client.response()).body == b"abcde"
        assert (await client.response()).body == b""
    request = upstream.requests[0]
    assert (request.body, request.chunks, request.extensions) == (b"abcde", [3, 2], [b";e=1"])
    assert request.trailers["t"] == "1"
    assert upstream.requests[1].target == "/a?b"


@pytest.mark.parametrize(
    "body", [b"3\r\nabcd\r\n0\r\n\r\n", b"x\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n"], ids=repr
)
async def test_bad_chunks_are_not_forgiven(body):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with RecordingUpstream(default=Answer(head + body, close())) as upstream, RawClient(upstream.port) as client:
        with pytest.raises((Malformed, CutShort)):
            await client.request(GET)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ],
    ids=repr,
)
async def test_bad_heads_are_not_forgiven(head):
    async with RecordingUpstream(default=Answer(head, close())) as upstream, RawClient(upstream.port) as client:
        with pytest.raises(Malformed):
            await client.request(GET)


async def test_head_and_interim_responses():
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with RecordingUpstream(default=Answer(interim, final)) as upstream, RawClient(upstream.port) as client:
        response = await client.request(GET.replace(b"GET", b"HEAD"))
        assert (response.status, response.body, response.fields["content-length"]) == (200, b"", "5")
        assert [(one.status, one.fields["link"]) for one in response.interim] == [(103, "</a>")]
        await client.assert_silent(0.01)


@pytest.mark.parametrize(("step", "was_reset"), [(close(), False), (reset(), True)], ids=["close", "reset"])
async def test_a_cut_response_is_told_apart(step, was_reset):
    seen = asyncio.Event()
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    async with RecordingUpstream(default=Answer(start, wait_for(seen), step)) as upstream:
        async with RawClient(upstream.port) as client:
            await client.send(GET)
            response = await client.head()
            await client.body(response, limit=3)
            seen.set()
            with pytest.raises(CutShort) as caught:
                await client.body(response)
    assert caught.value.reset is was_reset
    assert response.body == b"abc"
    assert not response.complete


async def test_a_body_that_ends_at_close_is_complete_at_fin_only():
    async with RecordingUpstream(default=Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close())) as upstream:
        async with RawClient(upstream.port) as client:
            assert (await client.request(GET)).body == b"abc"


async def test_answers_early_and_stalls_until_the_client_goes():
    async with RecordingUpstream(default=Answer(respond(b"early"), stall(), early=True)) as upstream:
        async with RawClient(upstream.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
            assert (await client.response()).body == b"early"
            client.reset()
            assert await upstream.connections[0].wait_ended() == "reset"
    assert not upstream.requests[0].complete


async def test_half_close_in_both_directions():
    async with RecordingUpstream(default=Answer(respond(b"x"), half_close(), stall())) as upstream:
        async with RawClient(upstream.port) as client:
            assert (await client.request(GET)).body == b"x"
            assert await client.wait_closed() == "eof"
            await client.send(b"after")
            client.half_close()
            assert await upstream.connections[0].wait_ended() == "eof"
            assert upstream.connections[0].received == GET + b"after"


async def test_a_slow_reader_holds_the_sender():
    upstream = RecordingUpstream(receive_buffer=4096, keep=False)
    go = asyncio.Event()
    upstream.script(Answer(read_slowly(1000, 0.0, 5000), wait_for(go), read_body(), respond(b"done"), early=True))
    async with upstream, RawClient(upstream.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n")
        sending = asyncio.create_task(client.wire.send(bytes(16_000_000)))
        await upstream.wait_for(lambda: upstream.requests[0].body_length >= 5000 if upstream.requests else False)
        await asyncio.sleep(0.05)
        assert not sending.done()
        go.set()
        assert (await client.response()).body == b"done"
        await sending
        assert upstream.requests[0].body_length == 16_000_000


async def test_reflect_echo_stream_and_events():
    async with RecordingUpstream() as upstream, RawClient(upstream.port) as client:
        stream = EventStream()
        upstream.script(Answer(reflect), Answer(echo_stream, early=True), Answer(stream))
        assert (await client.request(GET)).body == GET
        await client.send(CHUNKED[:-20])
        response = await client.head()
        assert await client.body(response, limit=3) == b"abc"
        await client.send(CHUNKED[-20:])
        assert await client.body(response) == b"abcde"
        await client.send(GET)
        await stream.send(b"data: 1\n\n")
        response = await client.head()
        assert await client.body(response, limit=1) == b"data: 1\n\n"
        await stream.send(b"data: 2\n\n")
        await stream.end()
        assert await client.body(response) == b"data: 1\n\ndata: 2\n\n"


async def test_on_connect_may_refuse_and_connections_are_counted():
    async def refuse(connection):
        connection.wire.reset()

    async with RecordingUpstream() as upstream:
        upstream.on_connect = refuse
        # The reset may overtake the end of connect().
        with suppress(ConnectionResetError):
            async with RawClient(upstream.port) as client:
                assert await client.wait_closed() == "reset"
        assert len(upstream.connections) == 1
        assert not upstream.requests


async def test_an_error_of_a_step_comes_out():
    async def broken(exchange):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with RecordingUpstream(default=Answer(broken)) as upstream, RawClient(upstream.port) as client:
            await client.send(GET)
            await client.wait_closed()


async def test_unix_socket_and_ipv6(tmp_path):
    path = str(tmp_path / "s")
    async with RecordingUpstream(path) as upstream, RawClient(path) as client:
        assert (await client.request(GET)).body == b"ok"
        assert upstream.address == path
    async with RecordingUpstream(("::1", 0)) as upstream, RawClient(("::1", upstream.port)) as client:
        assert (await client.request(GET)).body == b"ok"


async def test_proxy_forwards_trickles_and_stalls():
    async with RecordingUpstream() as upstream, FaultProxy(upstream.port) as proxy, RawClient(proxy.port) as client:
        assert (await client.request(GET)).body == b"ok"
        proxy.to_target.trickle(1)
        assert (await client.request(GET)).body == b"ok"
        proxy.to_client.stall()
        await client.send(GET)
        await upstream.request(2)
        await client.assert_silent()
        proxy.to_client.resume()
        assert (await client.response()).body == b"ok"
        assert (proxy.accepted, proxy.open_connections) == (1, 1)


@pytest.mark.parametrize(
    ("command", "ended"), [("cut_after", "eof"), ("reset_after", "reset"), ("half_close_after", "eof")]
)
async def test_proxy_ends_after_so_many_bytes(command, ended):
    async with RecordingUpstream() as upstream, FaultProxy(upstream.port) as proxy, RawClient(proxy.port) as client:
        getattr(proxy.to_client, command)(10)
        await client.send(GET)
        assert (await client.rest())[:10] == b"HTTP/1.1 2"[: 10 if ended == "eof" else len(client.reader.received)]
        assert client.ended == ended


async def test_proxy_stalls_after_so_many_bytes_and_resets_all():
    async with RecordingUpstream() as upstream, FaultProxy(upstream.port) as proxy, RawClient(proxy.port) as client:
        proxy.to_client.stall_after(5)
        await client.send(GET)
        assert await client.receive(5) == b"HTTP/"
        await client.assert_silent()
        proxy.reset_all()
        assert await client.wait_closed() == "reset"


async def test_proxy_passes_a_reset_on_as_a_reset():
    async with RecordingUpstream(default=Answer(reset())) as upstream, FaultProxy(upstream.port) as proxy:
        async with RawClient(proxy.port) as client:
            await client.send(GET)
            assert await client.wait_closed() == "reset"


@pytest.mark.parametrize("size", [1, 64])
async def test_answers_in_pieces(size):
    async with RecordingUpstream(default=Answer(pieces(respond(b"x" * 100), size))) as upstream:
        async with RawClient(upstream.port) as client:
            assert (await client.request(GET)).body == b"x" * 100
