"""The client on the wire: connections that are kept, bounded, dead or cut, and what a request given up leaves."""

import asyncio
import gc
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tls.authorities import Files

from fastgate.config import UpstreamTLS
from fastgate.http_client import (
    Bounds,
    Client,
    ClientError,
    ConnectError,
    Connection,
    ConnectionLost,
    Destination,
    InvalidReply,
    ReplyTimeout,
    ReplyTooLarge,
    TLSError,
    compose,
    connect,
)
from fastgate.testing import (
    Answer,
    RecordingUpstream,
    close,
    half_close,
    pause,
    pieces,
    reset,
    respond,
    stall,
    wait_for,
)
from fastgate.upstreams.tls import client_context

GET = compose("GET", "/", [("Host", "a.test")])
LATE = 30.0


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No task and no socket is left, and no exception that nobody has seen."""
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    tasks = asyncio.all_tasks()
    yield
    gc.collect()
    assert asyncio.all_tasks() <= tasks | {asyncio.current_task()}
    assert problems == []


def client_of(upstream: RecordingUpstream, **options: object) -> Client:
    return Client(Destination("127.0.0.1", upstream.port), **options)


# --- replies


@pytest.mark.parametrize("wait", [0.0, 0.001])
async def test_a_reply_byte_by_byte(upstream: RecordingUpstream, wait: float) -> None:
    upstream.script(Answer(pieces(respond(b"hello", "200 OK", "X-A: 1"), 1, wait)))
    client = client_of(upstream)
    reply = await client.ask(GET, LATE)
    assert (reply.status, reply.body, reply.get_all("x-a")) == (200, b"hello", ["1"])
    assert upstream.requests[0].head == GET
    client.close()


async def test_a_request_with_a_body(upstream: RecordingUpstream) -> None:
    client = client_of(upstream)
    body = os.urandom(300_000)
    assert (await client.ask(compose("POST", "/v1/traces", [("Host", "a")], body), LATE)).status == 200
    assert upstream.requests[0].body == body
    client.close()


@pytest.mark.parametrize(
    ("steps", "kind", "said"),
    [
        ([stall()], ReplyTimeout, "no answer within 0.1 s"),
        ([b"HTTP/1.1 200 OK\r\nX-A: ", stall()], ReplyTimeout, "no answer within 0.1 s"),
        ([pieces(respond(b"x" * 100), 1, 0.02)], ReplyTimeout, "no answer within 0.1 s"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", stall()], ReplyTimeout, "no answer within 0.1 s"),
        ([close()], ConnectionLost, "closed without a response"),
        ([half_close(), stall()], ConnectionLost, "closed without a response"),
        ([reset()], ConnectionLost, "closed without a response"),
        ([b"HTTP/1.1 200 OK\r\n", close()], ConnectionLost, "closed before the response was complete"),
        ([b"HTTP/1.1 200 OK\r\n\r\nab", pause(0.05), reset()], ConnectionLost, "closed before"),
        ([b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 2000, stall()], ReplyTooLarge, "the response head is larger than 1 KB"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 4000, stall()], ReplyTooLarge, "the response body is larger than 2 KB"),
        ([b"hello\r\n", stall()], InvalidReply, "not a valid HTTP response: "),
    ],
)
async def test_no_reply(upstream: RecordingUpstream, steps: list, kind: type[ClientError], said: str) -> None:
    upstream.script(Answer(*steps))
    client = client_of(upstream, bounds=Bounds(1024, 2048))
    with pytest.raises(kind) as caught:
        await client.ask(GET, 0.1 if kind is ReplyTimeout else LATE)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(said)
    await upstream.connections[0].wait_ended()
    # The one after it is not concerned.
    assert (await client.ask(GET, LATE)).status == 200
    assert len(upstream.connections) == 2
    client.close()


async def test_whether_it_was_a_reset_is_told(upstream: RecordingUpstream) -> None:
    for step, is_reset in ((reset(), True), (close(), False)):
        upstream.script(Answer(step))
        with pytest.raises(ConnectionLost) as caught:
            await client_of(upstream).ask(GET, LATE)
        assert caught.value.reset == is_reset


async def test_what_until_raises_is_the_askers(upstream: RecordingUpstream) -> None:
    def fail(status: int, body: bytearray) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client_of(upstream).ask(GET, LATE, until=fail)
    await upstream.connections[0].wait_ended()


# --- connections that are kept


async def test_a_connection_is_kept(upstream: RecordingUpstream) -> None:
    client = client_of(upstream)
    for _ in range(3):
        assert (await client.ask(GET, LATE)).body == b"ok"
    assert len(upstream.connections) == 1
    client.close()
    assert await upstream.connections[0].wait_ended() == "eof"
    # Nothing is kept from then on, and it can still be asked.
    assert (await client.ask(GET, LATE)).body == b"ok"
    assert await upstream.connections[1].wait_ended() == "eof"


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (respond(b"", "200 OK", "Connection: close"), {}),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", {}),
        (respond(b"") + respond(b""), {}),
        (respond(b"x" * 30), {"bounds": Bounds(body=20, cut_body=True)}),
        (respond(b""), {"keep": 0.0}),
    ],
)
async def test_what_is_not_kept(upstream: RecordingUpstream, answer: bytes, options: dict) -> None:
    upstream.default = Answer(answer)
    client = client_of(upstream, **options)
    for _ in range(2):
        assert (await client.ask(GET, LATE)).status == 200
    assert len(upstream.connections) == 2
    for connection in upstream.connections:
        await connection.wait_ended()


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(upstream: RecordingUpstream) -> None:
    upstream.script(Answer(respond(b"mine"), pause(0.02), respond(b"forged")))
    client = client_of(upstream)
    assert (await client.ask(GET, LATE)).body == b"mine"
    await upstream.connections[0].wait_ended()
    assert (await client.ask(GET, LATE)).body == b"ok"
    assert len(upstream.connections) == 2
    client.close()


@pytest.mark.parametrize("end", [reset(), close()])
async def test_a_kept_connection_that_died_costs_no_reply(upstream: RecordingUpstream, end) -> None:
    upstream.script(respond(b"1"), Answer(end, early=True), respond(b"2"))
    client = client_of(upstream)
    assert [(await client.ask(GET, LATE)).body for _ in range(2)] == [b"1", b"2"]
    assert (len(upstream.connections), len(upstream.requests)) == (2, 3)
    client.close()


async def test_what_may_not_be_repeated_is_not(upstream: RecordingUpstream) -> None:
    upstream.script(respond(b"1"), Answer(close(), early=True))
    client = client_of(upstream)
    assert (await client.ask(GET, LATE)).body == b"1"
    with pytest.raises(ConnectionLost):
        await client.ask(GET, LATE, repeatable=False)
    assert len(upstream.requests) == 2


async def test_a_reply_that_has_begun_is_not_asked_for_again(upstream: RecordingUpstream) -> None:
    upstream.script(respond(b"1"), Answer(b"HTTP/1.1 2", close()))
    client = client_of(upstream)
    assert (await client.ask(GET, LATE)).body == b"1"
    with pytest.raises(ConnectionLost, match="closed before the response was complete"):
        await client.ask(GET, LATE)
    assert len(upstream.requests) == 2


async def test_kept_connections_that_nobody_needs_are_closed(upstream: RecordingUpstream) -> None:
    client = client_of(upstream, keep=0.1)
    together = asyncio.Event()
    upstream.default = Answer(wait_for(together), respond(b""))
    asking = [asyncio.ensure_future(client.ask(GET, LATE)) for _ in range(3)]
    await upstream.request(2)
    together.set()
    await asyncio.gather(*asking)
    for _ in range(8):
        await client.ask(GET, LATE)
        await asyncio.sleep(0.03)
    # One was needed all the time; the other two have been closed meanwhile.
    assert sorted(connection.ended or "" for connection in upstream.connections) == ["", "eof", "eof"]
    for connection in upstream.connections:
        assert await connection.wait_ended() == "eof"


async def test_who_forgets_a_client_leaves_no_connection(upstream: RecordingUpstream) -> None:
    client = client_of(upstream)
    await client.ask(GET, LATE)
    del client
    gc.collect()
    assert await upstream.connections[0].wait_ended() == "eof"


# --- bounds


async def test_connections_are_bounded_and_waited_for_in_order(upstream: RecordingUpstream) -> None:
    go = asyncio.Event()
    upstream.default = Answer(wait_for(go), respond(b""))
    client = client_of(upstream, max_connections=2)
    targets = [f"/{number}" for number in range(6)]
    asking = [
        asyncio.ensure_future(client.ask(compose("GET", target, [("Host", "a")]), LATE)) for target in targets
    ]
    await upstream.request(1)
    asking[3].cancel()
    await asyncio.sleep(0)
    go.set()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in done] == [number == 3 for number in range(6)]
    assert [request.target for request in upstream.requests[2:]] == ["/2", "/4", "/5"]
    assert len(upstream.connections) == 2
    client.close()


async def test_waiting_for_a_turn_is_part_of_the_time(upstream: RecordingUpstream) -> None:
    upstream.script(Answer(stall()))
    client = client_of(upstream, max_connections=1)
    first = asyncio.ensure_future(client.ask(GET, LATE))
    await upstream.request()
    with pytest.raises(ReplyTimeout, match="no answer within 0.05 s"):
        await client.ask(GET, 0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await client.ask(GET, LATE)).status == 200
    client.close()


# --- ways there


async def test_nobody_there(upstream: RecordingUpstream) -> None:
    client = client_of(upstream)
    upstream.stop_listening()
    with pytest.raises(ConnectError, match="^Connection refused$"):
        await client.ask(GET, LATE)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    client = Client(Destination("", 0, unix=path))
    with pytest.raises(ConnectError, match="No such file"):
        await client.ask(GET, LATE)
    async with RecordingUpstream(path):
        assert (await client.ask(GET, LATE)).body == b"ok"
        client.close()


async def test_every_address_of_a_name_is_tried(upstream: RecordingUpstream) -> None:
    asked: list[str] = []

    async def resolve(name: str) -> list[str]:
        asked.append(name)
        return found

    client = Client(Destination("a.test", upstream.port), resolve=resolve, keep=0.0)
    found = ["127.0.0.9", "127.0.0.1"]
    assert (await client.ask(GET, LATE)).body == b"ok"
    found = ["127.0.0.9"]
    with pytest.raises(ConnectError, match="Connection refused"):
        await client.ask(GET, LATE)
    found = []
    with pytest.raises(ConnectError, match="the name has no addresses"):
        await client.ask(GET, LATE)
    assert asked == ["a.test"] * 3


async def test_connecting_has_a_time_of_its_own(upstream: RecordingUpstream) -> None:
    async def never(name: str) -> list[str]:
        await asyncio.sleep(LATE)
        raise AssertionError

    client = Client(Destination("a.test", 1), connect_timeout=0.05, resolve=never)
    with pytest.raises(ConnectError, match="no connection within 0.05 s"):
        await client.ask(GET, LATE)
    with pytest.raises(ReplyTimeout, match="no answer within 0.01 s"):
        await client.ask(GET, 0.01)
    # And takes none from the reply.
    upstream.script(Answer(pause(0.2), respond(b"late")))
    other = client_of(upstream, connect_timeout=0.1)
    assert (await other.ask(GET, LATE)).body == b"late"
    other.close()


# --- TLS


def serving(files: Files, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = files.issue("server", *names)
    context.load_cert_chain(issued.cert, issued.key)
    return context


async def test_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with RecordingUpstream(tls=serving(files, "a.test")) as upstream:
        place = Destination("127.0.0.1", upstream.port, client_context(UpstreamTLS(ca=files.ca)), "a.test")
        client = Client(place)
        for _ in range(2):
            assert (await client.ask(GET, LATE)).body == b"ok"
        assert len(upstream.connections) == 1
        assert upstream.connections[0].wire.tls.selected_alpn_protocol() is None
        client.close()
        assert await upstream.connections[0].wait_ended() == "eof"  # after close_notify: without it, it is a reset
        for other, said in (
            (place._replace(server_name="b.test"), "TLS: Hostname mismatch, certificate is not valid for 'b.test'"),
            (place._replace(server_name=""), "TLS: IP address mismatch, certificate is not valid for '127.0.0.1'"),
            (place._replace(tls=client_context(None)), "TLS: unable to get local issuer certificate"),
            (place._replace(host="", server_name=""), "TLS: the target has no host name"),
        ):
            with pytest.raises(TLSError) as caught:
                await Client(other).ask(GET, LATE)
            assert str(caught.value).startswith(said)
        assert len(upstream.requests) == 2


async def test_tls_where_none_is_spoken(upstream: RecordingUpstream) -> None:
    async def greet(connection) -> None:
        await connection.wire.send(b"220 welcome\r\n")

    upstream.on_connect = greet
    place = Destination("127.0.0.1", upstream.port, client_context(UpstreamTLS(verify=False)))
    with pytest.raises(TLSError, match="^TLS: wrong version number$"):
        await Client(place).ask(GET, LATE)


async def test_a_certificate_of_the_client(tmp_path: Path) -> None:
    files = Files(tmp_path)
    context = serving(files, "a.test")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.ca)
    mine = files.issue("mine", "gateway")
    async with RecordingUpstream(tls=context) as upstream:
        without = UpstreamTLS(ca=files.ca)
        for tls, fits in ((UpstreamTLS(ca=files.ca, cert=mine.cert, key=mine.key), True), (without, False)):
            client = Client(Destination("127.0.0.1", upstream.port, client_context(tls), "a.test"))
            if fits:
                assert (await client.ask(GET, LATE)).status == 200
            else:
                with pytest.raises(ClientError):
                    await client.ask(GET, LATE)
            client.close()
        assert len(upstream.requests) == 1


async def test_a_body_that_ends_with_the_connection_is_cut_without_close_notify(tmp_path: Path) -> None:
    async def say_the_end(exchange) -> None:
        await exchange.wire.close_tls()
        exchange.wire.close()

    files = Files(tmp_path)
    async with RecordingUpstream(tls=serving(files, "a.test")) as upstream:
        upstream.script(
            Answer(b"HTTP/1.1 200 OK\r\n\r\nall of it", say_the_end),
            Answer(b"HTTP/1.1 200 OK\r\n\r\nhalf of", close()),
        )
        place = Destination("127.0.0.1", upstream.port, client_context(UpstreamTLS(ca=files.ca)), "a.test")
        assert (await Client(place).ask(GET, LATE)).body == b"all of it"
        with pytest.raises(ConnectionLost, match="closed before the response was complete"):
            await Client(place).ask(GET, LATE)


async def test_a_connection_that_is_ended_and_waited_for(upstream: RecordingUpstream) -> None:
    connection = await connect(Destination("127.0.0.1", upstream.port))
    await connection.end_and_wait()
    assert await (await upstream.connection()).wait_ended() == "eof"
    await connection.end_and_wait()


# --- whoever asks may leave at any time


async def turns_of(asking: asyncio.Task) -> int:
    """Awaits a task, and counts the turns of the loop that it takes."""
    turns = 0
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    await asking
    return turns


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kept", [False, True])
async def test_a_request_that_is_given_up_leaves_nothing(secure: bool, kept: bool, tmp_path: Path) -> None:
    files = Files(tmp_path)
    answer = Answer(pieces(respond(b"ok", "200 OK", "X-A: 1"), 12))
    async with RecordingUpstream(tls=serving(files, "a.test") if secure else None, default=answer) as upstream:
        tls = client_context(UpstreamTLS(ca=files.ca)) if secure else None
        place = Destination("127.0.0.1", upstream.port, tls, "a.test" if secure else "")
        client = Client(place, max_connections=1)
        most = await turns_of(asyncio.ensure_future(client.ask(GET, LATE)))
        given_up = 0
        for turn in range(most + 1):
            if kept:
                assert (await client.ask(GET, LATE)).status == 200
            else:
                client.close()
                client = Client(place, max_connections=1)
            asking = asyncio.ensure_future(client.ask(GET, LATE))
            for _ in range(turn):
                await asyncio.sleep(0)
            asking.cancel()
            given_up += isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.CancelledError)
            # The only turn is free again, and what comes now is not what was given up.
            reply = await client.ask(GET, LATE)
            assert (reply.status, reply.body) == (200, b"ok")
        assert given_up > 3
        client.close()
        for connection in upstream.connections:
            await connection.wait_ended()


async def test_who_is_cancelled_as_the_error_comes_leaves_no_exception_unseen(upstream: RecordingUpstream) -> None:
    connection = await connect(Destination("127.0.0.1", upstream.port))
    asking = asyncio.ensure_future(connection.ask(GET, Bounds()))
    await asyncio.sleep(0)
    connection.data_received(b"nonsense")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_turn_that_comes_when_it_is_given_up_goes_to_the_next(upstream: RecordingUpstream) -> None:
    class Handing(Client):
        def _leave(self) -> None:
            super()._leave()
            second.cancel()

    client = Handing(Destination("127.0.0.1", upstream.port), max_connections=1)
    first, second, third = (asyncio.ensure_future(client.ask(GET, LATE)) for _ in range(3))
    assert (await first).status == (await third).status == 200
    assert second.cancelled()
    assert len(upstream.requests) == 2
    client.close()


async def test_a_connection_that_is_given_up_as_it_is_made_waits_for_no_farewell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path)
    lost = asyncio.Event()

    class Given(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            making.cancel()

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            lost.set()

    monkeypatch.setattr("fastgate.http_client.connections.Connection", Given)
    async with RecordingUpstream(tls=serving(files, "a.test")) as upstream:
        upstream.on_connect = lambda _: asyncio.sleep(LATE)
        place = Destination("127.0.0.1", upstream.port, client_context(UpstreamTLS(ca=files.ca)), "a.test")
        making = asyncio.ensure_future(connect(place))
        with pytest.raises(asyncio.CancelledError):
            await making
        async with asyncio.timeout(0.5):
            await lost.wait()


async def test_a_handshake_that_is_given_up_closes_its_socket(upstream: RecordingUpstream) -> None:
    place = Destination("127.0.0.1", upstream.port, client_context(UpstreamTLS(verify=False)))

    async def listen_only(connection) -> None:
        while await connection.wire.receive():
            pass

    upstream.on_connect = listen_only
    with pytest.raises(ReplyTimeout):
        await Client(place).ask(GET, 0.05)
    async with asyncio.timeout(0.5):
        await (await upstream.connection()).over.wait()
