"""The paragraphs "Retries" and "Pool" behind the table "When the upstream fails"."""

import asyncio
import time

import pytest
from wire.support import AFTER, GET, check_problem, head, post, served

from fastgate.testing import Answer, FaultProxy, close, reset, respond, stall

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"]
OK = respond(b"ok")


@pytest.mark.parametrize("ending", [close(), reset()], ids=["close", "reset"])
@pytest.mark.parametrize("method", IDEMPOTENT)
async def test_a_stale_pooled_connection_is_replayed(stand, method, ending):
    """A pooled connection that dies before the first response byte: idempotent methods are replayed once"""
    client = await stand.start()
    stand.upstream.script(OK, Answer(ending))
    await served(client, GET)
    await served(client, head("X-A: 1", method=method, target="/again"))
    assert [request.target for request in stand.upstream.requests] == ["/path?query", "/again", "/again"]
    assert stand.upstream.requests[1].head == stand.upstream.requests[2].head
    assert len(stand.upstream.connections) == 2


async def test_a_buffered_body_is_replayed(stand):
    """the request body can be replayed (none, or buffered within its limit)"""
    client = await stand.start(route={"buffer_request": True})
    stand.upstream.script(OK, Answer(close()))
    await served(client, GET)
    await served(client, post(b"hello", target="/again").replace(b"POST", b"PUT"))
    assert [request.body for request in stand.upstream.requests] == [b"", b"hello", b"hello"]


async def test_it_is_replayed_on_a_fresh_connection_only_once(stand):
    """replayed once on a fresh connection"""
    client = await stand.start()
    await served(client, GET)
    stand.upstream.default = Answer(close())
    check_problem(await client.request(head(target="/again")), 502)
    assert 2 <= len(stand.upstream.requests) - 1 <= 3


@pytest.mark.parametrize("ending", [close(), reset()], ids=["close", "reset"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
async def test_a_request_that_is_not_idempotent_is_not_replayed_once_written(stand, method, ending):
    """a request that is not idempotent is not replayed once written"""
    client = await stand.start()
    stand.upstream.script(OK, Answer(ending))
    await served(client, GET)
    check_problem(await client.request(post(b"hello", target="/again").replace(b"POST", method.encode())), 502)
    assert [request.target for request in stand.upstream.requests] == ["/path?query", "/again"]
    await served(client, AFTER)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["close", "reset"])
async def test_a_request_that_is_not_idempotent_finds_out_that_a_pooled_connection_is_closed(stand, ending):
    """takes a pooled connection only after a one-byte MSG_PEEK says that it is open"""
    client = await stand.start()
    for _ in range(10):
        stand.upstream.script(Answer(OK, ending))
        # The next request leaves as soon as the answer is here, which the closing of the connection may not yet be.
        await served(client, post(b"hello"))
    assert len(stand.upstream.requests) == 10


async def test_nothing_is_replayed_once_a_byte_has_come(stand):
    client = await stand.start()
    stand.upstream.script(OK, Answer(b"HTTP/1.1 2", close()))
    await served(client, GET)
    assert (await client.request(head(target="/again"))).status in (200, 502)
    assert len(stand.upstream.requests) <= 3


async def test_a_pooled_connection_that_was_closed_meanwhile(stand):
    client = await stand.start()
    await served(client, GET)
    stand.upstream.connections[0].wire.close()
    await stand.upstream.connections[0].wait_ended()
    await served(client, post(b"hello"))
    assert len(stand.upstream.connections) == 2
    assert len(stand.upstream.requests) == 2


async def test_many_pooled_connections_reset_at_once(stand):
    origin = await stand.new_upstream()
    async with FaultProxy(origin.port) as proxy:
        first = await stand.start(proxy.port)
        clients = [first, *[await stand.client() for _ in range(9)]]
        await asyncio.gather(*(served(client, GET) for client in clients))
        proxy.reset_all()
        await asyncio.gather(*(served(client, GET) for client in clients))
        await asyncio.gather(*(served(client, post(b"x")) for client in clients))
        for client in clients:
            client.close()
        await stand.gateway.close()


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Close, x"])
async def test_connection_close_of_the_upstream_is_obeyed(stand, line):
    client = await stand.start()
    stand.upstream.script(respond(b"ok", "200 OK", line))
    response = await served(client, GET)
    assert response.fields.get("connection") != "close"
    assert await stand.upstream.connections[0].wait_ended() == "eof"
    await served(client, GET)
    assert len(stand.upstream.connections) == 2


async def test_idle_timeout(stand):
    """Pool: `idle_timeout`"""
    client = await stand.start(upstream={"pool": {"idle_timeout": 0.4}})
    await served(client, GET)
    await served(client, GET)
    started = time.monotonic()
    assert await stand.upstream.connections[0].wait_ended() == "eof"
    assert 0.2 < time.monotonic() - started < 2.5
    await served(client, GET)
    assert len(stand.upstream.connections) == 2


async def test_keep_alive_timeout_of_the_upstream(stand):
    """an upstream's `Keep-Alive: timeout=N` sets N−1"""
    client = await stand.start(upstream={"pool": {"idle_timeout": 60}})
    stand.upstream.script(respond(b"ok", "200 OK", "Connection: keep-alive", "Keep-Alive: timeout=2, max=100"))
    await served(client, GET)
    started = time.monotonic()
    assert await stand.upstream.connections[0].wait_ended() == "eof"
    assert 0.5 < time.monotonic() - started < 2


async def test_keep_alive_timeout_of_one_second_is_not_pooled(stand):
    client = await stand.start(upstream={"pool": {"idle_timeout": 60}})
    stand.upstream.script(respond(b"ok", "200 OK", "Keep-Alive: timeout=1"))
    await served(client, GET)
    started = time.monotonic()
    assert await stand.upstream.connections[0].wait_ended() == "eof"
    assert time.monotonic() - started < 1


async def test_max_requests(stand):
    client = await stand.start(upstream={"pool": {"max_requests": 3}})
    for _ in range(7):
        await served(client, GET)
    assert [len(connection.requests) for connection in stand.upstream.connections] == [3, 3, 1]


async def test_max_idle(stand):
    client = await stand.start(upstream={"pool": {"max_idle": 1}})
    clients = [client, *[await stand.client() for _ in range(4)]]
    await asyncio.gather(*(served(one, GET) for one in clients))
    await stand.upstream.wait_for(lambda: sum(one.over.is_set() for one in stand.upstream.connections) >= 1)
    opened = len(stand.upstream.connections)
    await stand.upstream.wait_for(lambda: sum(one.over.is_set() for one in stand.upstream.connections) == opened - 1)
    await served(client, GET)
    assert len(stand.upstream.connections) == opened


async def test_max_connections(stand):
    client = await stand.start(upstream={"pool": {"max_connections": 3, "queue": 100, "queue_timeout": 5}})
    clients = [client, *[await stand.client() for _ in range(19)]]
    await asyncio.gather(*(served(one, GET) for one in clients for _ in range(1)))
    assert len(stand.upstream.connections) <= 3
    assert len(stand.upstream.requests) == 20


async def test_requests_that_wait_are_not_given_a_connection_that_has_ended(stand):
    client = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 100, "queue_timeout": 5}})
    stand.upstream.default = Answer(OK, close())
    clients = [client, *[await stand.client() for _ in range(19)]]
    await asyncio.gather(*(served(one, post(b"hello")) for one in clients))
    assert len(stand.upstream.requests) == 20


async def test_targets_take_turns(stand):
    origins = [await stand.new_upstream() for _ in range(3)]
    client = await stand.start(*(origin.port for origin in origins))
    for _ in range(9):
        await served(client, GET)
    assert [len(origin.requests) for origin in origins] == [3, 3, 3]
    assert [len(origin.connections) for origin in origins] == [1, 1, 1]


async def test_bytes_on_an_idle_connection_end_it(stand):
    client = await stand.start()

    async def whisper(exchange):
        await exchange.send(OK)
        await asyncio.sleep(0.05)
        await exchange.send(respond(b"poison"))
        await stall()(exchange)

    stand.upstream.script(Answer(whisper))
    assert (await served(client, GET)).body == b"ok"
    assert await stand.upstream.connections[0].wait_ended()
    assert (await served(client, GET)).body == b"ok"
