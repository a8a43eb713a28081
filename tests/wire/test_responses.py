"""What is forwarded: responses, their bodies and their ends."""

import asyncio

import pytest
from wire.support import AFTER, GET, by_id, check_problem, head, post, served

from fastgate.testing import Answer, CutShort, EventStream, close, half_close, pieces, reset, respond, stall, wait_for

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"


async def test_interim_responses_are_passed_on_at_once(stand):
    """Interim 1xx responses of the upstream are passed on (103 Early Hints too)"""
    client = await stand.start()
    go = asyncio.Event()
    stand.upstream.script(Answer(HINTS, b"HTTP/1.1 102 Processing\r\n\r\n", wait_for(go), respond(b"done")))
    await client.send(GET)
    assert await client.receive(12) == b"HTTP/1.1 103"
    go.set()
    rest = bytes(client.reader.received)
    client.reader.buffer[:0] = rest[:12]
    response = await client.response()
    assert [interim.status for interim in response.interim] == [103, 102]
    assert response.interim[0].fields["link"] == "</a.css>"
    assert response.body == b"done"
    await served(client, AFTER)


async def test_interim_responses_in_pieces(stand):
    client = await stand.start()
    stand.upstream.script(Answer(pieces(HINTS + HINTS + respond(b"done"))))
    response = await client.request(GET)
    assert ([interim.status for interim in response.interim], response.body) == ([103, 103], b"done")


async def test_eight_interim_responses(stand):
    client = await stand.start()
    stand.upstream.script(Answer(HINTS * 8 + respond(b"done")))
    response = await served(client, GET)
    assert (len(response.interim), response.body) == (8, b"done")


async def test_more_than_eight_interim_responses(stand):
    """at most 8"""
    client = await stand.start()
    stand.upstream.script(Answer(HINTS * 20 + respond(b"done")))
    response = await client.request(GET)
    assert len(response.interim) <= 8
    assert response.status in (200, 502)


async def test_interim_responses_never_go_to_1_0_clients(stand):
    """never to 1.0 clients"""
    client = await stand.start()
    stand.upstream.script(Answer(HINTS + respond(b"done")))
    response = await client.request(GET_1_0)
    assert (response.status, response.interim, response.body) == (200, [], b"done")


async def test_interim_response_with_hop_by_hop_fields(stand):
    client = await stand.start()
    hints = b"HTTP/1.1 103 Early Hints\r\nConnection: X-A\r\nX-A: 1\r\nContent-Length: 3\r\nLink: </a>\r\n\r\n"
    stand.upstream.script(Answer(hints + respond(b"done")))
    response = await client.request(GET)
    assert response.body == b"done" or response.status == 502
    for interim in response.interim:
        assert interim.fields.names == ["link"]


async def test_101_that_nobody_asked_for(stand):
    """101 only for an upgrade that was asked for"""
    client = await stand.start()
    stand.upstream.script(Answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"))
    check_problem(await client.request(GET), 502)
    await stand.upstream.connections[0].wait_ended()


@pytest.mark.parametrize("lines", [["Content-Length: 1234"], ["Transfer-Encoding: chunked"], []], ids=str)
async def test_head(stand, lines):
    """HEAD: no body, Content-Length kept as sent"""
    client = await stand.start()
    stand.upstream.script(Answer("\r\n".join(["HTTP/1.1 200 OK", *lines, "X-A: 1", "", ""]).encode()))
    response = await served(client, head(method="HEAD"))
    assert response.fields.get("content-length") == ("1234" if lines == ["Content-Length: 1234"] else None)
    await client.assert_silent()
    await served(client, GET)
    if lines:
        assert len(stand.upstream.connections) == 1


@pytest.mark.parametrize("lines", [["Content-Length: 1234"], []], ids=str)
async def test_304(stand, lines):
    """304: no body, Content-Length kept as sent"""
    client = await stand.start()
    stand.upstream.script(Answer("\r\n".join(["HTTP/1.1 304 Not Modified", *lines, 'ETag: "a"', "", ""]).encode()))
    response = await served(client, GET, 304)
    assert response.fields.get("content-length") == ("1234" if lines else None)
    assert "transfer-encoding" not in response.fields
    await served(client, GET)
    assert len(stand.upstream.connections) == 1


@pytest.mark.parametrize("line", ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked", "X-A: 1"])
async def test_204(stand, line):
    """204 and 1xx: Content-Length and Transfer-Encoding removed"""
    client = await stand.start()
    stand.upstream.script(Answer(f"HTTP/1.1 204 No Content\r\n{line}\r\n\r\n".encode()))
    await served(client, GET, 204)
    await client.assert_silent()
    await served(client, GET)


@pytest.mark.parametrize("status", [200, 201, 206, 299, 300, 404, 418, 500, 503, 599])
async def test_statuses_pass_as_they_are(stand, status):
    client = await stand.start()
    stand.upstream.script(respond(b"body", f"{status} Some Words"))
    response = await served(client, GET, status)
    assert (response.reason, response.body) == ("Some Words", b"body")


@pytest.mark.parametrize("ending", [close(), half_close()], ids=["close", "half close"])
async def test_a_response_that_ends_at_close_is_sent_chunked(stand, ending):
    """A response that ends at close is sent chunked to 1.1 clients; it is complete at `eof_received`"""
    client = await stand.start()
    stand.upstream.script(Answer(UNTIL_CLOSE + b"some", b"thing", ending))
    response = await served(client, GET)
    assert (response.framing, response.body) == ("chunked", b"something")
    await served(client, GET)
    assert len(stand.upstream.connections) == 2


async def test_a_response_that_ends_at_close_for_a_1_0_client(stand):
    client = await stand.start()
    stand.upstream.script(Answer(UNTIL_CLOSE + b"something", close()))
    response = await client.request(GET_1_0)
    assert (response.framing, response.body) == ("close", b"something")
    assert client.ended == "eof"


async def test_a_reset_is_no_end(stand):
    """`connection_lost` without it is a cut"""
    client = await stand.start()
    seen = asyncio.Event()
    stand.upstream.script(Answer(UNTIL_CLOSE + b"something", wait_for(seen), reset()))
    await client.send(GET)
    response = await client.head()
    await client.body(response, 9)
    seen.set()
    with pytest.raises(CutShort):
        await client.body(response)
    assert not response.complete


@pytest.mark.parametrize("cleanly", [True, False], ids=["close_notify", "cut"])
async def test_the_end_under_tls(stand, cleanly):
    """it is complete at `eof_received` only, also under TLS"""
    ssl = pytest.importorskip("ssl")
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    seen = asyncio.Event()

    async def end(exchange):
        await seen.wait()
        if cleanly:
            await exchange.wire.close_tls()
        exchange.wire.close()

    with authority.cert_pem.tempfile() as ca:
        origin = await stand.new_upstream(tls=context, default=Answer(UNTIL_CLOSE + b"something", end))
        client = await stand.start(f"https://127.0.0.1:{origin.port}", upstream={"tls": {"ca": ca}})
        await client.send(GET)
        response = await client.head()
        await client.body(response, 9)
        seen.set()
        if cleanly:
            assert await client.body(response) == b"something"
        else:
            with pytest.raises(CutShort):
                await client.body(response)


async def test_chunked_responses(stand):
    client = await stand.start()
    body = b"5;x=y\r\nhello\r\n1\r\n!\r\n0;z\r\nTrailer: 1\r\n\r\n"
    for size in (1, 3, 1000):
        stand.upstream.script(Answer(pieces(CHUNKED + body, size)))
        response = await served(client, GET)
        assert (response.framing, response.body) == ("chunked", b"hello!")
    assert len(stand.upstream.connections) == 1


async def test_chunked_response_for_a_1_0_client(stand):
    """HTTP/1.0: never sent chunked"""
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"))
    response = await client.request(GET_1_0)
    assert (response.framing, response.body, response.fields.get("transfer-encoding")) == ("close", b"hello!", None)


async def test_chunked_response_for_a_1_0_client_that_asked_for_keep_alive(stand):
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"))
    response = await client.request(GET_1_0[:-2] + b"Connection: keep-alive\r\n\r\n")
    assert (response.body, response.fields.get("transfer-encoding")) == (b"hello", None)
    if response.framing == "close":
        assert response.fields.get("connection") in (None, "close")
    else:
        await served(client, GET)


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_answers_in_pieces(stand, size):
    client = await stand.start()
    body = bytes(range(256)) * (1 if size == 1 else 100)
    stand.upstream.script(Answer(pieces(respond(body, "200 OK", "X-A: 1"), size)))
    response = await served(client, GET)
    assert (response.body, response.fields["x-a"]) == (body, "1")
    assert response.fields["content-length"] == str(len(body))


async def test_bytes_after_a_response_are_not_anothers_answer(stand):
    client = await stand.start()
    stand.upstream.script(Answer(respond(b"one") + respond(b"poison")))
    assert (await served(client, GET)).body == b"one"
    assert (await served(client, AFTER)).body == b"ok"
    assert len(stand.upstream.connections) == 2


@pytest.mark.parametrize("framing", ["chunked", "until close"])
async def test_events_are_never_held_back(stand, framing):
    """Server-sent events and chunked bodies are never held back: each read is a write"""
    client = await stand.start()
    stream = EventStream(chunked=framing == "chunked")
    stand.upstream.script(Answer(stream))
    await client.send(GET)
    response, length = None, 0
    for number in range(20):
        event = f"data: {number}\n\n".encode()
        await stream.send(event)
        response = response or await client.head()
        length += len(event)
        # The next event is not sent before this one is here.
        assert (await client.body(response, length)).endswith(event)
    await stream.end()
    await client.body(response)
    assert response.complete


async def test_part_of_a_chunk_is_not_held_back(stand):
    client = await stand.start()
    go = asyncio.Event()
    stand.upstream.script(Answer(CHUNKED + b"a\r\n01234", wait_for(go), b"56789\r\n0\r\n\r\n"))
    await client.send(GET)
    response = await client.head()
    assert await client.body(response, 5) == b"01234"
    go.set()
    assert await client.body(response) == b"0123456789"


async def test_a_head_without_body_is_not_held_back(stand):
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED, stall()))
    await client.send(GET)
    assert (await client.head()).status == 200


@pytest.mark.parametrize(
    "line",
    **by_id(
        {
            "000": b"HTTP/1.1 000 X",
            "099": b"HTTP/1.1 099 X",
            "600": b"HTTP/1.1 600 X",
            "999": b"HTTP/1.1 999 X",
            "four digits": b"HTTP/1.1 2000 X",
            "two digits": b"HTTP/1.1 20 X",
            "not a number": b"HTTP/1.1 abc X",
            "no status": b"HTTP/1.1",
            "version 2.0": b"HTTP/2.0 200 OK",
            "version 0.9": b"HTTP/0.9 200 OK",
            "another protocol": b"ICY 200 OK",
            "RTSP": b"RTSP/1.0 200 OK",
            "no HTTP": b"220 mail.example ESMTP",
            "two spaces": b"HTTP/1.1  200 OK",
        }
    ),
)
@pytest.mark.parametrize("size", [1, 1000])
async def test_status_line(stand, line, size):
    """Status outside 100–599 or a bad version → 502"""
    client = await stand.start()
    stand.upstream.default = Answer(pieces(line + b"\r\nContent-Length: 0\r\n\r\n", size), stall())
    check_problem(await client.request(GET), 502)
    await stand.upstream.connections[0].wait_ended()
    stand.upstream.default = Answer(respond(b"ok"))
    await served(client, AFTER)


@pytest.mark.parametrize("reason", [b"caf\xc3\xa9", b"a\x01b", b"a\tb\x7f"])
async def test_reason_that_is_not_visible_ascii(stand, reason):
    """a reason phrase that is not visible ASCII is replaced"""
    client = await stand.start()
    stand.upstream.script(Answer(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 0\r\n\r\n"))
    response = await client.request(GET)
    assert response.status in (200, 502)
    assert response.reason.encode() != reason
    assert response.reason.isprintable()


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 Very Fine Indeed"])
async def test_reason_that_is_fine(stand, line):
    client = await stand.start()
    stand.upstream.script(Answer(line + b"\r\nContent-Length: 0\r\n\r\n"))
    await served(client, GET)


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_1_0_upstream(stand, keep_alive):
    client = await stand.start()
    line = b"Connection: keep-alive\r\n" if keep_alive else b""
    stand.upstream.script(Answer(b"HTTP/1.0 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\nok"))
    response = await served(client, post(b"x"))
    assert (response.version, response.body) == ("1.1", b"ok")
    await served(client, GET)
    assert len(stand.upstream.connections) == (1 if keep_alive else 2)
