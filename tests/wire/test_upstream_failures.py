"""The table "When the upstream fails", row by row, and what is retried."""

import asyncio
import socket
import time

import pytest
from wire.support import AFTER, GET, by_id, check_problem, chunked, head, post, served

from fastgate.testing import Answer, CutShort, close, half_close, pieces, read_body, reset, respond, stall, wait_for

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"


def check_retry_after(response) -> None:
    check_problem(response, 503)
    assert int(response.fields["retry-after"]) >= 1


async def test_queue_full(stand):
    """queue full → 503 with `Retry-After`"""
    first = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 1, "queue_timeout": 60}})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"1")), respond(b"2"))
    await first.send(GET)
    await stand.upstream.request(0)
    second, third = await stand.client(), await stand.client()
    await second.send(GET)
    await second.assert_silent()
    check_retry_after(await third.request(GET))
    go.set()
    assert (await first.response()).body == b"1"
    assert (await second.response()).body == b"2"
    assert len(stand.upstream.connections) == 1


async def test_no_queue(stand):
    first = await stand.start(upstream={"pool": {"max_connections": 2, "queue": 0}})
    stand.upstream.script(Answer(stall()), Answer(stall()))
    second = await stand.client()
    await first.send(GET)
    await second.send(GET)
    await stand.upstream.request(1)
    third = await stand.client()
    check_retry_after(await third.request(GET))
    first.close()
    await stand.upstream.connections[0].wait_ended()
    await served(third, GET)


async def test_queue_timed_out(stand):
    """queue timed out → 503 with `Retry-After`"""
    first = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 5, "queue_timeout": 0.3}})
    stand.upstream.script(Answer(stall()))
    await first.send(GET)
    await stand.upstream.request(0)
    second = await stand.client()
    check_retry_after(await second.request(GET))
    assert len(stand.upstream.requests) == 1


async def test_a_client_that_leaves_the_queue_is_not_served(stand):
    first = await stand.start(upstream={"pool": {"max_connections": 1, "queue": 5, "queue_timeout": 60}})
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"1")))
    await first.send(GET)
    await stand.upstream.request(0)
    second, third = await stand.client(), await stand.client()
    await second.send(head(target="/second"))
    await second.assert_silent()
    await third.send(head(target="/third"))
    await third.assert_silent()
    second.close()
    await first.assert_silent()
    go.set()
    assert (await third.response()).status == 200
    assert [request.target for request in stand.upstream.requests] == ["/path?query", "/third"]


async def test_name_that_does_not_resolve(stand):
    """name that does not resolve → 503 with `Retry-After`"""
    client = await stand.start({"host": "no-such-host.invalid", "port": 80})
    client.timeout = 15
    response = await client.request(GET)
    check_retry_after(response)
    assert b"invalid" not in response.body


@pytest.mark.parametrize("data", [GET, post(b"hello"), chunked(b"hello")], ids=["GET", "POST", "chunked"])
async def test_connection_refused(stand, data):
    """cannot connect → retry by the rules below, else 502"""
    client = await stand.start(stand.refusing_port())
    response = await client.request(data)
    problem = check_problem(response, 502)
    assert problem["title"]
    response = await client.request(GET)
    check_problem(response, 502)


@pytest.mark.parametrize("data", [GET, post(b"hello"), head(method="DELETE")], ids=["GET", "POST", "DELETE"])
async def test_connection_refused_tries_another_target(stand, data):
    """Connect failures and refused connections: any method. Another target each time"""
    origin = await stand.new_upstream()
    client = await stand.start(stand.refusing_port(), origin.port)
    for _ in range(6):
        await served(client, data)
    assert len(origin.requests) == 6


async def test_connect_timeout(stand):
    """cannot connect: `timeouts.connect`"""
    full = socket.socket()
    fillers = []
    try:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        client = await stand.start(full.getsockname()[1], route={"timeouts": {"connect": 0.3}})
        started = time.monotonic()
        response = await client.request(GET)
        assert response.status in (502, 504)
        assert time.monotonic() - started < 4
    finally:
        for sock in (full, *fillers):
            sock.close()


async def test_tls_failure(stand):
    """TLS failure → 502"""

    async def greet(connection):
        await connection.wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    plain = await stand.new_upstream()
    plain.on_connect = greet
    client = await stand.start(f"https://127.0.0.1:{plain.port}")
    check_problem(await client.request(GET), 502)
    assert not plain.requests


async def test_tls_certificate_that_nobody_vouches_for(stand):
    ssl = pytest.importorskip("ssl")
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    origin = await stand.new_upstream(tls=context)
    client = await stand.start(f"https://127.0.0.1:{origin.port}")
    check_problem(await client.request(GET), 502)
    assert not origin.requests


ENDINGS = {"reset": reset(), "close": close(), "half close": half_close()}


@pytest.mark.parametrize("ending", **by_id(ENDINGS))
@pytest.mark.parametrize("data", [GET, post(b"hello")], ids=["GET", "POST"])
async def test_the_end_before_any_byte(stand, ending, data):
    """reset … before any byte of it → retry by the rules below, else 502"""
    client = await stand.start()
    stand.upstream.default = Answer(ending)
    check_problem(await client.request(data), 502)
    assert len(stand.upstream.requests) <= (2 if data is GET else 1)


async def test_a_reset_is_retried_on_another_target(stand):
    """Default `retry`: two attempts on `connect` and `reset`; idempotent methods"""
    bad, good = await stand.new_upstream(default=Answer(reset())), await stand.new_upstream()
    client = await stand.start(bad.port, good.port)
    for _ in range(2):
        await served(client, GET)
    assert len(bad.requests) >= 1
    assert len(good.requests) == 2


async def test_a_reset_post_is_not_retried(stand):
    bad, good = await stand.new_upstream(default=Answer(reset())), await stand.new_upstream()
    client = await stand.start(bad.port, good.port)
    answers = [(await client.request(post(b"hello"))).status for _ in range(2)]
    assert sorted(answers) == [200, 502]
    assert (len(bad.requests), len(good.requests)) == (1, 1)


async def test_no_head_in_time(stand):
    """no head in `timeouts.read` → 504"""
    client = await stand.start(route={"timeouts": {"read": 0.3}})
    stand.upstream.script(Answer(stall()), Answer(b"HTTP/1.1 200 OK\r\nX-A:", stall()))
    check_problem(await client.request(GET), 504)
    assert await stand.upstream.connections[0].wait_ended()
    check_problem(await client.request(post(b"hello")), 504)
    assert await stand.upstream.connections[1].wait_ended()
    await served(client, AFTER)
    assert len(stand.upstream.requests) == 3


async def test_the_read_timeout_counts_from_the_sent_request(stand):
    client = await stand.start(route={"timeouts": {"read": 0.6}})
    await client.send(post(b"01234")[:-5])
    for byte in b"01234":
        await asyncio.sleep(0.2)
        await client.send(bytes([byte]))
    assert (await client.response()).status == 200


async def test_total_passed(stand):
    """`total` passed → 504"""
    client = await stand.start(route={"timeouts": {"total": 0.3}})
    stand.upstream.script(Answer(stall()))
    check_problem(await client.request(GET), 504)
    assert await stand.upstream.connections[0].wait_ended()


async def test_total_passed_in_the_body(stand):
    client = await stand.start(route={"timeouts": {"total": 0.4}})
    stand.upstream.script(Answer(pieces(CHUNKED + b"1\r\nx\r\n" * 1000, 6, 0.02), stall()))
    await client.send(GET)
    response = await client.head()
    with pytest.raises(CutShort):
        await client.body(response)
    assert await stand.upstream.connections[0].wait_ended()


async def test_idle_passed_in_the_body(stand):
    client = await stand.start(route={"timeouts": {"idle": 0.3}})
    stand.upstream.script(Answer(CHUNKED + b"1\r\nx\r\n", stall()))
    await client.send(GET)
    response = await client.head()
    with pytest.raises(CutShort):
        await client.body(response)
    assert await stand.upstream.connections[0].wait_ended()


async def test_idle_counts_between_two_reads(stand):
    client = await stand.start(route={"timeouts": {"idle": 1.2}})
    stand.upstream.script(Answer(CHUNKED, pieces(b"1\r\nx\r\n" * 10, 6, 0.2), b"0\r\n\r\n"))
    assert (await served(client, GET)).body == b"x" * 10


CUTS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome",
    "chunked, between chunks": CHUNKED + b"4\r\nsome\r\n",
    "chunked, in a chunk": CHUNKED + b"9\r\nsome",
    "chunked, in the trailers": CHUNKED + b"4\r\nsome\r\n0\r\nT: x\r\n",
}


@pytest.mark.parametrize("ending", **by_id({"reset": reset(), "close": close()}))
@pytest.mark.parametrize("start", **by_id(CUTS))
async def test_cut_in_the_body(stand, start, ending):
    """cut in the middle of a body → the chunked body is left unterminated and the connection closed"""
    client = await stand.start()
    seen = asyncio.Event()
    stand.upstream.script(Answer(start, wait_for(seen), ending))
    await client.send(GET + AFTER)
    response = await client.head()
    assert await client.body(response, 4) == b"some"
    seen.set()
    with pytest.raises(CutShort):
        await client.body(response)
    assert response.body == b"some"
    assert client.ended
    assert not client.reader.received.endswith(b"0\r\n\r\n")
    assert len(stand.upstream.requests) == 1


@pytest.mark.parametrize("start", **by_id({**CUTS, "until close": b"HTTP/1.1 200 OK\r\n\r\nsome"}))
async def test_cut_in_a_body_that_ends_at_close_is_a_reset(stand, start):
    """a body that ends at close is reset. A cut response never looks complete"""
    client = await stand.start()
    seen = asyncio.Event()
    stand.upstream.script(Answer(start, wait_for(seen), reset()))
    await client.send(GET_1_0)
    response = await client.head()
    assert await client.body(response, 4) == b"some"
    seen.set()
    with pytest.raises(CutShort) as caught:
        await client.body(response)
    assert caught.value.reset or response.framing == "length"


BAD_FRAMING = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "two equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "length with sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length empty": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    "length of 19 digits": b"HTTP/1.1 200 OK\r\nContent-Length: 0000000000000000002\r\n\r\nok",
    "length and chunked": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare CR": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nok",
    "empty name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok",
    "coding gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "coding gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "chunked twice": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 10_000], ids=["byte by byte", "whole"])
@pytest.mark.parametrize("data", **by_id(BAD_FRAMING))
async def test_bad_framing_of_a_response(stand, data, size):
    """bad framing in the response (two lengths, obs-fold, bad chunk, coding not `chunked`) → 502, never retried"""
    client = await stand.start()
    stand.upstream.script(Answer(pieces(data, size), stall()))
    check_problem(await client.request(GET), 502)
    # connection dropped
    assert await stand.upstream.connections[0].wait_ended()
    assert len(stand.upstream.requests) == 1
    await served(client, AFTER)


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"2\nok\r\n0\r\n\r\n", b"2\r\nokX\r\n0\r\n\r\n", b"2 \r\nok\r\n0\r\n\r\n", b"\r\n"], ids=repr
)
async def test_bad_chunk_of_a_response(stand, body):
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + body, stall()))
    try:
        response = await client.request(GET)
    except CutShort:
        # The head had been forwarded before the chunk was seen to be bad.
        assert client.ended
    else:
        check_problem(response, 502)
    assert await stand.upstream.connections[0].wait_ended()
    assert len(stand.upstream.requests) == 1


async def test_bad_chunk_of_a_response_after_good_ones(stand):
    client = await stand.start()
    seen = asyncio.Event()
    stand.upstream.script(Answer(CHUNKED + b"2\r\nok\r\n", wait_for(seen), b"zz\r\n", stall()))
    await client.send(GET)
    response = await client.head()
    assert await client.body(response, 2) == b"ok"
    seen.set()
    with pytest.raises(CutShort):
        await client.body(response)
    assert await stand.upstream.connections[0].wait_ended()
    assert len(stand.upstream.requests) == 1


async def test_a_response_head_that_is_too_large(stand):
    client = await stand.start(gateway={"max_header_bytes": 2048})
    stand.upstream.script(Answer(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000, stall()))
    check_problem(await client.request(GET), 502)
    assert await stand.upstream.connections[0].wait_ended()


@pytest.mark.parametrize("where", ["length", "chunked"])
async def test_it_answers_before_it_has_the_whole_body(stand, where):
    """it answers before it has the whole body → its answer is forwarded, sending stops, the connection is not reused"""
    client = await stand.start(gateway={"max_body": 0})
    stand.upstream.script(Answer(respond(b"no", "403 Forbidden", "X-A: 1"), stall(), early=True))
    field = "Content-Length: 50000000" if where == "length" else "Transfer-Encoding: chunked"
    await client.send(head(field, method="POST") + b"186a0\r\n" * (where == "chunked") + b"x" * 1000)
    response = await client.response()
    assert (response.status, response.body, response.fields["x-a"]) == (403, b"no", "1")
    assert await stand.upstream.connections[0].wait_ended()
    assert len(stand.upstream.connections[0].received) < 200_000
    assert not stand.upstream.requests[0].complete
    client = await stand.client()
    await served(client, GET)
    assert len(stand.upstream.connections) == 2


async def test_an_early_answer_reaches_a_client_that_goes_on_sending(stand):
    client = await stand.start(gateway={"max_body": 0})
    stand.upstream.script(Answer(respond(b"no", "403 Forbidden"), stall(), early=True))
    sent = 0
    await client.send(head("Content-Length: 900000", method="POST"))
    await stand.upstream.request(0)
    while sent < 900_000:
        await client.send(b"x" * 10_000)
        sent += 10_000
    response = await client.response()
    assert (response.status, response.body) == (403, b"no")


async def test_an_early_answer_to_a_small_body_keeps_the_client(stand):
    client = await stand.start()
    stand.upstream.script(Answer(respond(b"no", "403 Forbidden"), stall(), early=True))
    await client.send(head("Content-Length: 5", method="POST"))
    response = await client.response()
    assert response.status == 403
    if "close" not in (response.fields.get("connection") or ""):
        await client.send(b"hello")
        await served(client, GET)


async def test_an_early_answer_that_then_takes_the_body(stand):
    client = await stand.start()
    stand.upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", read_body(), b"done", early=True))
    await client.send(post(b"hello")[:-5])
    response = await client.head()
    assert response.status == 200
    with pytest.raises((CutShort, TimeoutError)):
        client.timeout = 1
        await client.body(response)
