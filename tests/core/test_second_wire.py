"""A second wire on both sides of real exchanges: what it needs is in the contract, and nothing outside its folder."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from core.frames_peer import BROKEN, CANCELLED, REFUSED, ROOM, FrameServer, Peer, Stream
from waiting import until

from fastgate._core.delivery.tries import Upstreams
from fastgate._core.exchange.route import Route, Runtime
from fastgate._core.exchange.worker import Engine
from fastgate._core.probes.core import live_counts
from fastgate._core.probes.frames import FrameClient, FrameUpstream
from fastgate._core.routing.router import Router
from fastgate.testing import Answer, RawClient, RecordingUpstream, proxy_config, respond, start_gateway

LARGE = bytes(range(256)) * 4096
TAKES = "te: trailers"


class Stand:
    """A gateway whose clients, and whose upstream, speak frames, in the event loop of the test."""

    def __init__(self, stack: AsyncExitStack, engine: Engine) -> None:
        self.stack = stack
        self.engine = engine

    async def client(self, **options: Any) -> Peer:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_connection(lambda: Peer(**options), "127.0.0.1", self.port)
        self.stack.callback(peer.transport.close)
        return peer

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        listener = SimpleNamespace(scheme="http", port=0, address="")
        server = await loop.create_server(lambda: FrameClient(self.engine, listener), "127.0.0.1", 0)
        self.stack.callback(server.close)
        self.port: int = server.sockets[0].getsockname()[1]

    def use(self, upstream: FrameUpstream, **options: Any) -> None:
        """Every path goes to this upstream."""
        self.stack.callback(upstream.close)
        router = Router()
        router.add("/*", Route(name="all", delivery=Upstreams(upstream), trailers=True, **options))
        self.engine.use(Runtime(router=router, request_id="", via=True))


@asynccontextmanager
async def stand(
    answer: Callable[[Stream], Awaitable[object]] | None = None, *, takes: bool = True, **options: Any
) -> AsyncIterator[tuple[Stand, FrameServer | RecordingUpstream, Any]]:
    """The gateway, its upstream, and its port for HTTP/1.1. Without ``answer`` the upstream speaks HTTP/1.1."""
    async with AsyncExitStack() as stack:
        upstream: Any = await stack.enter_async_context(
            FrameServer(answer, takes=takes) if answer is not None else RecordingUpstream()
        )
        gateway = await stack.enter_async_context(start_gateway(proxy_config(upstream.port, route={"trailers": True})))
        made = Stand(stack, gateway._engine)  # type: ignore[arg-type]
        if answer is not None:
            most = options.pop("most", 100)
            made.use(FrameUpstream(made.engine, "backend", "127.0.0.1", upstream.port, most=most), **options)
        await made.listen()
        yield made, upstream, gateway


async def echo(stream: Stream) -> None:
    """The body of the request, when it is whole."""
    await stream.whole()
    body = bytes(stream.body)
    stream.head("200", "content-type: text/plain", f"x-target: {stream.start}", end=not body)
    await stream.send(body, end=True)


async def test_a_request_and_its_answer() -> None:
    async with stand(echo) as (made, server, _):
        client = await made.client()
        stream = await client.request("/a?b=c", "x-field: 1", "content-length: 5", method="POST", end=False).send(
            b"hello", end=True
        )
        await stream.whole()
        assert (stream.start, bytes(stream.body)) == ("200", b"hello")
        assert (stream.get("x-target"), stream.get("via")) == ("POST /a?b=c", "7 fastgate")
        assert stream.get("date") is not None
        asked = server.streams[0]
        assert asked.fields[:2] == [("Host", "backend"), ("x-field", "1")]
        assert (asked.get("x-forwarded-for"), asked.get("via"), asked.get("content-length")) == (
            "127.0.0.1", "7 fastgate", "5",
        )  # fmt: skip


async def test_a_hundred_exchanges_at_once_over_one_connection_on_both_sides() -> None:
    """No answer begins before the upstream has all requests; the last one is answered first."""
    everything = asyncio.Event()
    turns = [asyncio.Event() for _ in range(101)]
    turns[100].set()
    most = 0

    async def answer(stream: Stream) -> None:
        nonlocal most
        most = max(most, live_counts()["exchanges"])
        if len(server.streams) == 100:
            everything.set()
        await stream.whole()
        await everything.wait()
        await turns[stream.number].wait()
        stream.head("200", f"x-number: {stream.number}")
        await stream.send(bytes(stream.body) * 2, end=True)
        turns[stream.number - 1].set()

    async with stand(answer) as (made, server, _):
        client = await made.client()
        streams = [client.request(f"/{number}", method="PUT", end=False) for number in range(100)]
        for number, stream in enumerate(streams):
            await stream.send(b"%d" % number, end=True)
        for stream in streams:
            await stream.whole()
        assert [bytes(stream.body) for stream in streams] == [b"%d%d" % (number, number) for number in range(100)]
        assert [stream.start for stream in server.streams] == [f"PUT /{number}" for number in range(100)]
        assert (len(server.peers), most, live_counts()["exchanges"]) == (1, 100, 0)
        assert (live_counts()["connections"], live_counts()["upstreams"]) == (1, 1)


async def test_more_exchanges_than_places_wait_for_one() -> None:
    async with stand(echo, most=3) as (made, server, _):
        client = await made.client()
        streams = [client.request(f"/{number}") for number in range(20)]
        for number, stream in enumerate(streams):
            await stream.whole()
            assert stream.get("x-target") == f"GET /{number}"
        assert len(server.peers) == 1


async def test_one_reader_that_stops_stops_only_its_own_stream() -> None:
    """Its answer stops at the upstream, with no more on the way than the room of two connections."""

    async def answer(stream: Stream) -> None:
        stream.head("200")
        await stream.send(LARGE, end=True)

    async with stand(answer) as (made, server, _):
        client = await made.client()
        client.takes = False
        still = client.request("/still")
        client.takes = True
        await still.until(lambda: len(still.body) == ROOM)
        for _ in range(3):
            other = await client.request("/other").whole()
            assert bytes(other.body) == LARGE
        asked = server.streams[0]
        assert len(still.body) == ROOM
        # What the upstream was given room for beyond the first, and has used.
        assert asked.room == 0
        await still.take_on().whole()
        assert bytes(still.body) == LARGE


async def test_an_upstream_that_stops_reading_one_body_stops_only_that_stream() -> None:
    go_on = asyncio.Event()

    async def answer(stream: Stream) -> None:
        if stream.start.endswith("/still"):
            await go_on.wait()
            stream.take_on()
        else:
            stream.take_on()
        await echo(stream)

    async with stand(answer, takes=False) as (made, server, _):
        client = await made.client()
        still = client.request("/still", method="PUT", end=False)
        sending = asyncio.ensure_future(still.send(LARGE, end=True))
        await still.until(lambda: server.streams and len(server.streams[0].body) == ROOM)
        other = client.request("/other", method="PUT", end=False)
        await other.send(LARGE, end=True)
        await other.whole()
        assert bytes(other.body) == LARGE
        assert len(server.streams[0].body) == ROOM
        assert not sending.done()
        go_on.set()
        await sending
        await still.whole()
        assert bytes(still.body) == LARGE


async def test_trailers_arrive_both_ways() -> None:
    async def answer(stream: Stream) -> None:
        await stream.whole()
        stream.head("200")
        await stream.send(b"body")
        stream.finish("grpc-status: 0", "content-length: 4", "x-seen: " + stream.trailers[0][1])

    async with stand(answer) as (made, server, _):
        client = await made.client()
        stream = client.request("/", TAKES, method="POST", end=False)
        await stream.send(b"question")
        await stream.finish("x-sum: 17", "host: evil").whole()
        assert server.streams[0].trailers == [("x-sum", "17")]
        assert server.streams[0].get("te") == "trailers"
        assert stream.trailers == [("grpc-status", "0"), ("x-seen", "17")]


async def test_an_answer_that_begins_early_leaves_the_request_going_on() -> None:
    async def answer(stream: Stream) -> None:
        stream.head("200")
        await stream.send(b"early")
        await stream.whole()
        await stream.send(bytes(stream.body), end=True)

    async with stand(answer) as (made, server, _):
        client = await made.client()
        stream = client.request("/", method="POST", end=False)
        await stream.send(b"a")
        await stream.until(lambda: bytes(stream.body) == b"early")
        await stream.send(LARGE, end=True)
        await stream.whole()
        assert bytes(stream.body) == b"earlya" + LARGE
        assert bytes(server.streams[0].body) == b"a" + LARGE
        assert server.streams[0].reset is None


async def test_an_answer_that_ends_early_ends_the_request() -> None:
    async def answer(stream: Stream) -> None:
        stream.head("413")
        await stream.send(b"no", end=True)

    async with stand(answer) as (made, server, _):
        client = await made.client()
        stream = client.request("/", method="POST", end=False)
        await stream.send(b"a")
        await stream.until(lambda: stream.ended)
        assert (stream.start, bytes(stream.body)) == ("413", b"no")
        await until(lambda: stream.reset == CANCELLED and server.streams[0].reset == CANCELLED)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_cancelling_one_leaves_the_others(who: str) -> None:
    go_on = asyncio.Event()

    async def answer(stream: Stream) -> None:
        stream.head("200")
        await stream.send(b"begun")
        await go_on.wait()
        if stream.reset is None and not stream.start.endswith("/ends"):
            await stream.send(b", done", end=True)

    async with stand(answer) as (made, server, _):
        client = await made.client()
        streams = [client.request(target) for target in ("/a", "/ends", "/c")]
        for stream in streams:
            await stream.until(lambda stream=stream: bytes(stream.body) == b"begun")
        if who == "client":
            streams[1].cancel()
            await until(lambda: server.streams[1].reset == CANCELLED)
        else:
            server.streams[1].cancel(BROKEN)
            await until(lambda: streams[1].reset == BROKEN)
        go_on.set()
        for stream in (streams[0], streams[2]):
            await stream.whole()
            assert bytes(stream.body) == b"begun, done"
        assert live_counts()["exchanges"] == 0


@pytest.mark.parametrize(("times", "status"), [(1, "200"), (3, "200"), (4, "503")])
async def test_what_was_not_processed_is_sent_again_whatever_the_method(times: int, status: str) -> None:
    """Without a retry rule and without a budget, and not for ever."""
    left = times

    async def answer(stream: Stream) -> None:
        nonlocal left
        await stream.whole()
        if left:
            left -= 1
            stream.cancel(REFUSED)
        else:
            await echo(stream)

    async with stand(answer) as (made, server, gateway):
        client = await made.client()
        stream = client.request("/", method="POST", end=False)
        await stream.send(b"once", end=True)
        await stream.whole()
        assert stream.start == status
        if status == "200":
            assert bytes(stream.body) == b"once"
        assert [bytes(each.body) for each in server.streams] == [b"once"] * min(times + 1, 4)
        assert gateway.metrics()["retries"] == 0


async def test_a_head_that_is_refused_leaves_the_connection() -> None:
    async with stand(echo) as (made, server, _):
        client = await made.client()
        streams = [
            client.request("/", "connection: close"),
            client.request("/", "transfer-encoding: chunked"),
            client.request("/", "bad name: x"),
            client.request("/a b"),
            client.request("/%zz"),
        ]
        for stream in streams:
            await stream.whole()
            assert stream.start == "400"
        assert (await client.request("/fine").whole()).start == "200"
        assert len(server.streams) == 1


async def test_a_connection_that_is_lost_ends_what_it_carries() -> None:
    async def answer(stream: Stream) -> None:
        stream.head("200")
        await stream.send(b"begun")

    async with stand(answer) as (made, server, _):
        client, other = await made.client(), await made.client()
        streams = [client.request(f"/{number}") for number in range(5)]
        kept = other.request("/kept")
        for stream in [*streams, kept]:
            await stream.until(lambda stream=stream: stream.body)
        client.transport.abort()
        await until(lambda: sum(each.reset == CANCELLED for each in server.streams) == 5)
        assert live_counts()["exchanges"] == 1
        server.peers[0].transport.abort()
        await until(lambda: kept.reset == BROKEN)


async def test_frames_before_and_http_behind() -> None:
    async with stand() as (made, upstream, _):
        upstream.script(
            Answer(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n"
            ),
            Answer(respond(LARGE)),
        )
        client = await made.client()
        stream = client.request("/a", TAKES, method="POST", end=False)
        await stream.send(b"question")
        await stream.finish("x-asked: yes").whole()
        assert (bytes(stream.body), stream.trailers) == (b"hello", [("X-Sum", "1")])
        request = upstream.requests[0]
        assert (request.body, request.trailers.pairs) == (b"question", [("x-asked", "yes")])
        assert bytes((await client.request("/b").whole()).body) == LARGE


async def test_http_before_and_frames_behind() -> None:
    async def answer(stream: Stream) -> None:
        await stream.whole()
        stream.head("200", "x-kind: frames")
        await stream.send(bytes(stream.body))
        stream.finish("x-sum: 1")

    async with stand(answer) as (_, server, gateway), RawClient(gateway.port) as client:
        head = b"POST /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = await client.request(head + b"5\r\nhello\r\n0\r\nX-Asked: yes\r\n\r\n")
        assert (response.body, response.trailers.pairs) == (b"hello", [("x-sum", "1")])
        assert server.streams[0].trailers == [("X-Asked", "yes")]
        response = await client.request(b"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
        assert (response.body, response.fields["x-kind"]) == (b"abc", "frames")
