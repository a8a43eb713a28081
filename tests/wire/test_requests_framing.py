"""The rows of "Requests" about where a body ends."""

import asyncio

import pytest
from wire.support import AFTER, GET, by_id, check_problem, chunked, deliver, head, post, refused, served

from fastgate.testing import Answer, close, half_close, pause, read_body, respond, stall

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "fields",
    **by_id(
        {
            "Content-Length with Transfer-Encoding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding with Content-Length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length 0 with Transfer-Encoding": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "two Content-Length": b"Content-Length: 5\r\nContent-Length: 6\r\n",
            "two equal Content-Length": b"Content-Length: 5\r\nContent-Length: 5\r\n",
            "two equal, names in other case": b"Content-Length: 5\r\ncontent-length: 5\r\n",
            "list": b"Content-Length: 5, 5\r\n",
            "list of one": b"Content-Length: 5,\r\n",
            "plus": b"Content-Length: +5\r\n",
            "minus": b"Content-Length: -5\r\n",
            "space inside": b"Content-Length: 5 5\r\n",
            "hex": b"Content-Length: 0x5\r\n",
            "hex digit": b"Content-Length: a\r\n",
            "fraction": b"Content-Length: 5.0\r\n",
            "empty": b"Content-Length:\r\n",
            "blank": b"Content-Length: \t\r\n",
            "19 digits": b"Content-Length: 0000000000000000005\r\n",
            "2^64-1": b"Content-Length: 18446744073709551615\r\n",
            "non-ASCII digit": b"Content-Length: \xb2\r\n",
        }
    ),
)
async def test_content_length(stand, delivery, fields):
    """Content-Length with Transfer-Encoding; two Content-Length, even equal; list; signs, spaces, … → 400, close"""
    await refused(stand, await stand.start(), POST + fields + b"\r\n0\r\n\r\n", 400, delivery)


async def test_content_length_of_18_digits_is_a_length(stand):
    client = await stand.start(gateway={"max_body": 0})
    await client.send(POST + b"Content-Length: 000000000000000005\r\n\r\nhello" + AFTER)
    assert (await client.response()).status == 200
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].body == b"hello"


@pytest.mark.parametrize(
    ("fields", "status"),
    **by_id(
        {
            "gzip": (b"Transfer-Encoding: gzip\r\n", 501),
            "gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", 501),
            "unknown": (b"Transfer-Encoding: xchunked\r\n", 501),
            "unknown on another line": (b"Transfer-Encoding: unknown\r\nTransfer-Encoding: chunked\r\n", 501),
            "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            "chunked, chunked": (b"Transfer-Encoding: chunked, chunked\r\n", 400),
            "comma before": (b"Transfer-Encoding: ,chunked\r\n", 400),
            "comma after": (b"Transfer-Encoding: chunked,\r\n", 400),
            "empty": (b"Transfer-Encoding:\r\n", 400),
            "empty, then chunked": (b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", 400),
        }
    ),
)
async def test_transfer_encoding(stand, delivery, fields, status):
    """Transfer-Encoding other than exactly one `chunked` → 501 for an unknown coding, else 400"""
    await refused(stand, await stand.start(), POST + fields + b"\r\n0\r\n\r\n", status, delivery)


@pytest.mark.parametrize(
    "value", ["identity", "identity, chunked", "chunked, identity", "chunked;q=1", '"chunked"', "chunked\tx"]
)
async def test_transfer_encoding_with_no_other_reading(stand, delivery, value):
    client = await stand.start()
    await deliver(client, POST + f"Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n".encode(), delivery)
    response = await client.response()
    assert response.status in (400, 501)
    assert await client.wait_closed() == "eof"
    assert not stand.upstream.connections


@pytest.mark.parametrize("value", [b"chunked", b"gzip", b"identity"])
async def test_transfer_encoding_in_http_1_0(stand, delivery, value):
    """Transfer-Encoding in HTTP/1.0: 400"""
    data = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"
    await refused(stand, await stand.start(), data, 400, delivery)


async def test_chunked_without_case(stand, delivery):
    client = await stand.start()
    await deliver(client, POST + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.complete) == (b"hello", True)


BARE_IN_BODY = {
    "LF after the size": b"5\n",
    "CR after the size": b"5\rX",
    "LF in an extension": b"5;a=b\n",
    "CR in an extension": b"5;a=b\rX",
    "LF after the data": b"5\r\nhello\n",
    "CR after the data": b"5\r\nhello\rX",
    "LF after the last chunk": b"5\r\nhello\r\n0\n",
    "LF in a trailer": b"5\r\nhello\r\n0\r\nT: x\n",
    "CR in a trailer": b"5\r\nhello\r\n0\r\nT: x\rY",
    "LF instead of the last line": b"5\r\nhello\r\n0\r\n\n",
    "LF ending the trailers": b"5\r\nhello\r\n0\r\nT: x\r\n\n",
}

BAD_CHUNK = {
    "size not hex": b"g\r\n",
    "size empty": b"\r\n",
    "size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "tab after the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size over 2^63-1": b"8000000000000000\r\n",
    "size of 2^64-1": b"ffffffffffffffff\r\n",
    "chunk line over 256 bytes": b"5;" + b"x" * 300,
    "bad terminator": b"5\r\nhelloX\r\n0\r\n\r\n",
    "terminator missing": b"5\r\nhello0\r\n\r\n",
    "a byte too many": b"5\r\nhello!\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
}


async def bad_body(stand, data: bytes, way: str) -> None:
    """400 and the end of the connection; the upstream may have seen a beginning, never a whole request."""
    client = await stand.start(gateway={"body_timeout": 60})
    await deliver(client, data, way)
    check_problem(await client.response(), 400)
    assert await client.wait_closed() == "eof"
    for connection in stand.upstream.connections:
        await connection.wait_ended()
        assert not any(request.complete for request in connection.requests)


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
@pytest.mark.parametrize("body", **by_id(BARE_IN_BODY))
async def test_bare_line_end_in_body_is_refused_as_soon_as_it_is_seen(stand, body, way):
    """bare LF or bare CR as line end, in chunk line, extension or trailer → 400, as soon as the byte is seen"""
    await bad_body(stand, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body, way)


@pytest.mark.parametrize("body", **by_id(BARE_IN_BODY))
async def test_bare_line_end_in_body_with_all_that_follows(stand, body):
    await bad_body(
        stand, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"\r\n\r\n0\r\n\r\n", "with bytes after"
    )


@pytest.mark.parametrize("body", **by_id(BAD_CHUNK))
async def test_bad_chunk(stand, delivery, body):
    """chunk size not hex, over 16 digits or 2^63−1, chunk line over 256 bytes, bad terminator → 400, never 502"""
    await bad_body(stand, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body, delivery)


@pytest.mark.parametrize("line", [b"T", b"T : x", b": x", b"T: a\r\n b", b"T: \0"], ids=repr)
async def test_malformed_trailer_is_refused_or_dropped(stand, delivery, line):
    client = await stand.start()
    await deliver(client, chunked(b"hello", end=b"0\r\n" + line + b"\r\n\r\n"), delivery)
    response = await client.response()
    assert response.status in (200, 400)
    for request in stand.upstream.requests:
        assert (
            request.target == "/after" or not request.complete or (request.body, len(request.trailers)) == (b"hello", 0)
        )


async def test_chunk_sizes_that_are_fine(stand, delivery):
    client = await stand.start()
    body = b"0000000000000005\r\nhello\r\nA\r\n0123456789\r\n00\r\n\r\n"
    await deliver(client, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body, delivery)
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].body == b"hello0123456789"


async def test_chunk_extensions_and_trailers_are_dropped(stand, delivery):
    """chunk extensions → dropped; trailers: dropped"""
    client = await stand.start()
    body = b'5;a=b;c="d"\r\nhello\r\n0;e\r\nT: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n'
    await deliver(client, POST + b"Trailer: T\r\nTransfer-Encoding: chunked\r\n\r\n" + body, delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.extensions, len(request.trailers)) == (b"hello", [], 0)
    assert "trailer" not in request.fields


async def test_trailers_are_bounded(stand):
    """trailers: at most `max_header_bytes`"""
    client = await stand.start(gateway={"max_header_bytes": 1024})
    await deliver(client, chunked(b"hello", end=b"0\r\n" + b"T: 0123456789\r\n" * 100))
    response = await client.response()
    assert response.status in (400, 431)
    assert await client.wait_closed() == "eof"
    for connection in stand.upstream.connections:
        await connection.wait_ended()
        assert not connection.requests[0].complete


@pytest.mark.parametrize("size", [0, 1, 5, 70_000])
async def test_lengths_are_forwarded_as_lengths(stand, delivery, size):
    client = await stand.start()
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    if delivery == "byte by byte":
        body = body[:1000]
        size = len(body)
    await deliver(client, post(body), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.fields["content-length"], request.body) == (str(size), body)
    assert "transfer-encoding" not in request.fields


async def test_chunked_bodies_are_framed_anew(stand, delivery):
    client = await stand.start()
    await deliver(client, chunked(b"hello", b" ", b"world"), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.fields.get("transfer-encoding"), request.fields.get("content-length")) in (
        (b"hello world", "chunked", None),
        (b"hello world", None, "11"),
    )


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
async def test_a_body_belongs_to_any_method(stand, delivery, method):
    client = await stand.start()
    await deliver(client, head("Content-Length: 3", method=method) + b"GET", delivery)
    assert (await client.response(method)).status == 200
    assert stand.upstream.requests[0].body == b"GET"


@pytest.mark.parametrize("where", ["gateway", "route"])
async def test_content_length_over_max_body(stand, where):
    """body over `max_body` → 413: before reading when Content-Length says so"""
    limits = {"gateway": {"max_body": 10}} if where == "gateway" else {"route": {"max_body": 10}}
    client = await stand.start(**limits)
    await served(client, post(b"x" * 10))
    await client.send(post(b"x" * 11)[:-11])
    check_problem(await client.response(), 413)
    assert len(stand.upstream.requests) == 1


async def test_content_length_over_max_body_by_far(stand):
    client = await stand.start(gateway={"max_body": 10})
    await client.send(head("Content-Length: 999999999999", method="POST"))
    response = await client.response()
    check_problem(response, 413)
    assert response.fields["connection"] == "close"
    assert await client.wait_closed() == "eof"
    assert not stand.upstream.connections


async def test_chunked_over_max_body(stand, delivery):
    """body over `max_body` → 413: else as soon as it is passed"""
    client = await stand.start(gateway={"max_body": 10})
    # Without an end, unless what comes after it would be taken for a chunk.
    end = b"0\r\n\r\n" if delivery == "with bytes after" else b""
    await deliver(client, chunked(b"x" * 5, b"y" * 5, b"z", end=end), delivery)
    check_problem(await client.response(), 413)
    for connection in stand.upstream.connections:
        for request in connection.requests:
            if request.target != "/after":
                await connection.wait_ended()
                assert not request.complete
                assert request.body_length <= 10


async def test_chunked_at_max_body(stand, delivery):
    client = await stand.start(gateway={"max_body": 10})
    await deliver(client, chunked(b"x" * 5, b"y" * 5), delivery)
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].body == b"xxxxxyyyyy"


async def test_the_routes_own_max_body_wins(stand):
    client = await stand.start(gateway={"max_body": 10}, route={"max_body": 0})
    await served(client, post(b"x" * 1000))


async def test_default_max_body(stand):
    client = await stand.start()
    await client.send(head(f"Content-Length: {32 * 1024 * 1024 + 1}", method="POST"))
    check_problem(await client.response(), 413)


NOWHERE = {"path": "/somewhere"}


async def test_answered_before_a_small_body_was_read(stand):
    """answered before the body was read → what remains is dropped if at most 64 KB and the connection kept"""
    client = await stand.start(route=NOWHERE)
    for size in (0, 10, 65_536):
        await client.send(head(f"Content-Length: {size}", method="POST", target="/nowhere"))
        response = await client.response()
        check_problem(response, 404)
        assert "close" not in (response.fields.get("connection") or "")
        await client.send(b"GET /x HTTP/1.1\r\n"[:17].ljust(size, b"x")[:size])
        await served(client, head(target="/somewhere"))
    assert {request.target for request in stand.upstream.requests} == {"/somewhere"}


async def test_answered_before_a_large_body_was_read(stand):
    """else `Connection: close` and a lingering close (write side shut; read and drop until the client closes)"""
    client = await stand.start(route=NOWHERE)
    await client.send(head("Content-Length: 900000", method="POST", target="/nowhere") + b"x" * 1000)
    response = await client.response()
    check_problem(response, 404)
    assert response.fields["connection"] == "close"
    # The write side is shut while what the client still sends is taken.
    assert await client.wait_closed() == "eof"
    for _ in range(10):
        await client.send(b"x" * 50_000)
        await asyncio.sleep(0)
    assert not stand.upstream.connections


@pytest.mark.parametrize("round", range(5))
async def test_lingering_close_loses_no_answer(stand, round):
    """A plain close makes clients lose the answer"""
    client = await stand.start(route=NOWHERE)
    sending = asyncio.create_task(
        deliver(client, head("Content-Length: 800000", method="POST", target="/nowhere") + b"x" * 800_000)
    )
    # As a client that writes all before it reads.
    await sending
    check_problem(await client.response(), 404)
    assert await client.wait_closed() == "eof"


SIZE = 8 * 1024 * 1024
UPLOADS = {
    "too large": (413, {"max_body": "1MB"}, None),
    "no credentials": (401, {"auth": {"any": ["key"]}}, None),
    "no route": (404, {"path": "/elsewhere"}, None),
    "early, then read": (403, {}, [respond(b"no", "403 Forbidden"), read_body()]),
    "early, then nothing": (403, {}, [respond(b"no", "403 Forbidden"), stall()]),
    "early, then closed with the rest unread": (403, {}, [respond(b"no", "403 Forbidden"), close()]),
    "early, until the connection is closed": (
        200, {}, [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", pause(0.05), b"enough", half_close(), read_body()]
    ),
}


@pytest.mark.parametrize(("status", "route", "steps"), **by_id(UPLOADS))
async def test_the_answer_to_a_large_upload_arrives(stand, status, route, steps):
    """read and drop until the client closes, no bound in bytes: for clients that write all before they read"""
    keys = {"keys": {"a": {"hash": "0" * 64}}}
    client = await stand.start(route=route, gateway=keys)
    if steps is not None:
        stand.upstream.default = Answer(*steps, early=True)

    async def upload(client):
        await client.send(head(f"Content-Length: {SIZE}", method="POST"))
        for _ in range(0, SIZE, 65_536):
            await client.send(b"x" * 65_536)
        response = await client.response()
        assert response.status == status, response.body
        assert await client.wait_closed() == "eof"

    await asyncio.gather(upload(client), *[upload(await stand.client()) for _ in range(9)])


async def test_chunked_body_answered_before_it_was_read(stand):
    client = await stand.start(route=NOWHERE)
    await client.send(chunked(b"x" * 100, end=b"", target="/nowhere"))
    response = await client.response()
    check_problem(response, 404)
    if "close" in (response.fields.get("connection") or ""):
        assert await client.wait_closed() == "eof"
    else:
        await client.send(b"0\r\n\r\n")
        await served(client, head(target="/somewhere"))


async def test_nothing_of_a_dropped_body_is_taken_for_a_request(stand):
    client = await stand.start(route=NOWHERE)
    await client.send(head(f"Content-Length: {len(GET)}", method="POST", target="/nowhere") + GET)
    check_problem(await client.response(), 404)
    await served(client, head(target="/somewhere"))
    assert [request.target for request in stand.upstream.requests] == ["/somewhere"]
