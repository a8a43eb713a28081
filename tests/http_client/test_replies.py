"""What is a reply and where it ends, whatever pieces it comes in; and what is none."""

import ssl
from collections.abc import Iterator

import pytest

from fastgate.http_client import (
    Bounds,
    ClientError,
    ConnectionLost,
    InvalidReply,
    Reply,
    ReplyTooLarge,
    TLSError,
    compose,
)
from fastgate.http_client.replies import ReplyReader

SMALL = Bounds(head=200, body=20)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nX-A: no\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"


def cuts(raw: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, byte by byte, and cut in two at each place."""
    yield [raw] if raw else []
    yield [raw[i : i + 1] for i in range(len(raw))]
    for i in range(1, len(raw)):
        yield [raw[:i], raw[i:]]


def read(pieces: list[bytes], bounds: Bounds = SMALL, error: Exception | None = None) -> tuple[Reply, bool]:
    """The reply, and whether its connection can be used again; after the pieces the connection ends."""
    reader = ReplyReader()
    reader.begin(bounds, None)
    for number, piece in enumerate(pieces):
        reply = reader.feed(piece)
        if reply is not None:
            return reply, reader.reusable and number == len(pieces) - 1
    return reader.end(error), reader.reusable


@pytest.mark.parametrize(
    ("raw", "status", "body", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 200, b"ab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20, 200, b"x" * 20, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", 200, b"ab", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", 200, b"ab", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab", 200, b"ab", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (CHUNKED + b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX-After: 1\r\n\r\n", 200, b"abc", True),
        (CHUNKED.replace(b"chunked", b"Chunked") + b"0\r\n\r\n", 200, b"", True),
        (HINTS + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, b"a", True),
        (UNTIL_CLOSE + b"abc", 200, b"abc", False),
        (UNTIL_CLOSE, 200, b"", False),
    ],
)  # fmt: skip
def test_replies(raw: bytes, status: int, body: bytes, reusable: bool) -> None:
    for pieces in cuts(raw):
        reply, again = read(pieces)
        assert (reply.status, reply.body, reply.whole, again) == (status, body, True, reusable), pieces
        assert reply.get_all("x-after") == []
        assert "no" not in reply.get_all("x-a")


def test_one_reply_after_the_other() -> None:
    reader = ReplyReader()
    for number, raw in enumerate(
        (
            b"HTTP/1.1 403 No\r\nX-A: 1\r\nContent-Length: 1\r\n\r\na",
            CHUNKED + b"2\r\nbc\r\n0\r\nX-After: 1\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            UNTIL_CLOSE + b"d",
        )
    ):
        reader.begin(SMALL, None)
        assert not reader.started
        for i in range(len(raw)):
            reply = reader.feed(raw[i : i + 1])
            assert (reply is None) == (number == 3 or i < len(raw) - 1)
        reply = reply or reader.end(None)
        assert (reply.status, reply.body) == ((403, b"a"), (200, b"bc"), (204, b""), (200, b"d"))[number]
        assert reply.get_all("x-a") == [["1"], [], [], ["1"]][number]
        assert reader.reusable == (number < 3)


def test_fields() -> None:
    reply, _ = read([b"HTTP/1.1 200 OK\r\nX-A:  1 \r\nx-a: \xfc\r\nContent-Length: 0\r\n\r\n"])
    assert reply.fields == [("x-a", "1"), ("x-a", "\xfc"), ("content-length", "0")]
    assert reply.get_all("x-a") == ["1", "\xfc"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"SSH-2.0-x\r\n", "not a valid HTTP response: Expected HTTP/"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "not a valid HTTP response: its version is 2.0"),
        (b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "not a valid HTTP response: its version is 0.9"),
        (b"HTTP/1.1 103 A\r\n\r\nHTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
         "not a valid HTTP response: its version is 2.0"),
        (b"HTTP/1.1 99 OK\r\n\r\n", "not a valid HTTP response: Invalid status code"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "not a valid HTTP response: Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "not a valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
         "not a valid HTTP response: Transfer-Encoding can't be present"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         "not a valid HTTP response: its transfer coding is not chunked"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab",
         "not a valid HTTP response: its transfer coding is not chunked"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "not a valid HTTP response: its transfer coding is not chunked"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "not a valid HTTP response: a transfer coding in HTTP/1.0"),
        (b"HTTP/1.1 103 A\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "not a valid HTTP response: a body in an interim response (103)"),
        (CHUNKED + b"2\nab\r\n0\r\n\r\n", "not a valid HTTP response: "),
        (CHUNKED + b"x\r\n", "not a valid HTTP response: "),
        (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", "not a valid HTTP response: "),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
         "the server switched to another protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "the server switched to another protocol"),
    ],
)  # fmt: skip
def test_what_is_no_reply(raw: bytes, said: str) -> None:
    for pieces in cuts(raw):
        with pytest.raises(InvalidReply) as caught:
            read(pieces)
        assert str(caught.value).startswith(said), pieces


@pytest.mark.parametrize(
    ("raw", "status", "said"),
    [
        (b"", 0, "closed without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-", 0, "closed before the response was complete"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", 0, "closed before the response was complete"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nab", 403, "closed before the response was complete"),
        (CHUNKED + b"2\r\nab\r\n0\r\n", 200, "closed before the response was complete"),
    ],
)
def test_ends_that_come_too_early(raw: bytes, status: int, said: str) -> None:
    for pieces in cuts(raw):
        for error in (None, ConnectionResetError()):
            with pytest.raises(ConnectionLost) as caught:
                read(pieces, error=error)
            assert (str(caught.value), caught.value.status) == (said, status)
            assert caught.value.reset == (error is not None)


def test_a_body_up_to_the_end_of_the_connection_does_not_end_by_a_reset_or_by_tls_that_is_cut() -> None:
    with pytest.raises(ConnectionLost):
        read([UNTIL_CLOSE, b"ab"], error=ConnectionResetError())
    cut = ssl.SSLEOFError()
    cut.reason = "UNEXPECTED_EOF_WHILE_READING"
    with pytest.raises(TLSError, match="TLS: unexpected eof while reading"):
        read([UNTIL_CLOSE, b"ab"], error=cut)


@pytest.mark.parametrize(
    ("raw", "part", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 300, "head", "the response head is larger than 200 bytes"),
        (b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 300 + b"\r\nContent-Length: 0\r\n\r\n", "head",
         "the response head is larger than"),
        (b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" * 9, "head", "the response head is larger than"),
        (b"HTTP/1.1 103 A\r\nX: " + b"x" * 150 + b"\r\n\r\nHTTP/1.1 200 OK\r\nX: " + b"x" * 60 + b"\r\n\r\n", "head",
         "the response head is larger than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + b"x" * 21, "body",
         "the response body is larger than 20 bytes"),
        (UNTIL_CLOSE + b"x" * 21, "body", "the response body is larger than 20 bytes"),
        (CHUNKED + b"1\r\nx\r\n" * 21, "body", "the response body is larger than 20 bytes"),
        (CHUNKED + b"1;" + b"x" * 400, "framing", "the response is larger than 360 bytes with framing"),
        (CHUNKED + b"0\r\n" + b"X-After: 1\r\n" * 40, "framing", "the response is larger than 360 bytes with framing"),
    ],
)  # fmt: skip
def test_what_is_too_large(raw: bytes, part: str, said: str) -> None:
    for pieces in cuts(raw):
        with pytest.raises(ReplyTooLarge) as caught:
            read(pieces)
        assert caught.value.part == part
        assert str(caught.value).startswith(said)


def test_a_body_of_chunks_of_one_byte_is_not_too_large() -> None:
    for pieces in cuts(CHUNKED + b"1\r\nx\r\n" * 20 + b"0\r\n\r\n"):
        assert read(pieces)[0].body == b"x" * 20


def test_a_body_that_may_be_cut_is() -> None:
    for pieces in cuts(b"HTTP/1.1 403 No\r\nContent-Length: 30\r\n\r\n" + b"x" * 30):
        reply, reusable = read(pieces, SMALL._replace(cut_body=True))
        assert (reply.status, reply.body, reply.whole, reusable) == (403, b"x" * 20, False, False)


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", b"nonsense", b"HTTP/1.1"])
def test_bytes_behind_a_reply_are_no_part_of_it_and_end_the_connection(surplus: bytes) -> None:
    for pieces in cuts(b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\na" + surplus):
        reply, reusable = read(pieces)
        assert (reply.status, reply.body, reply.whole, reusable) == (403, b"a", True, False)


def test_enough_may_have_come_before_the_end() -> None:
    told: list[tuple[int, bytes]] = []

    def enough(status: int, body: bytearray) -> bool:
        told.append((status, bytes(body)))
        return b"c" in body

    reader = ReplyReader()
    reader.begin(SMALL, enough)
    for piece in (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 9\r\n\r\n", b"ab"):
        assert reader.feed(piece) is None
    reply = reader.feed(b"cd")
    assert reply == Reply(200, [("content-length", "9")], b"abcd", whole=False)
    assert not reader.reusable
    assert told == [(200, b""), (200, b"ab"), (200, b"abcd")]


def test_a_switch_of_protocols_is_enough_where_that_is_said() -> None:
    reader = ReplyReader()
    reader.begin(SMALL, lambda status, _: status == 101)
    reply = reader.feed(b"HTTP/1.1 101 A\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz")
    assert reply is not None
    assert (reply.status, reader.reusable) == (101, False)


# --- requests


def test_a_request() -> None:
    fields = [("Host", "a.test"), ("X-A", "\xfc")]
    assert compose("GET", "/a?b", fields) == b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nX-A: \xfc\r\n\r\n"
    assert compose("POST", "/", fields[:1]) == b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
    assert compose("POST", "/", fields[:1], b"ab").endswith(b"\r\nContent-Length: 2\r\n\r\nab")


@pytest.mark.parametrize(
    ("method", "target", "fields", "said"),
    [
        ("HEAD", "/", [], "not a valid method"),
        ("CONNECT", "/", [], "not a valid method"),
        ("G T", "/", [], "not a valid method"),
        ("", "/", [], "not a valid method"),
        ("GET", "", [], "not a valid request target"),
        ("GET", "/a b", [], "not a valid request target"),
        ("GET", "/\r\nX: y", [], "not a valid request target"),
        ("GET", "/ü", [], "not a valid request target"),
        ("GET", "/", [("X-A\r\nX", "b")], "not a valid field"),
        ("GET", "/", [("X-A", "b\r\nX: y")], "has an invalid character"),
        ("GET", "/", [("X-A", "b\0")], "has an invalid character"),
        ("GET", "/", [("X-A", "€")], "has an invalid character"),
        ("GET", "/", [("content-length", "1")], "not a valid field"),
        ("GET", "/", [("Transfer-Encoding", "chunked")], "not a valid field"),
        ("GET", "/", [("host", "b")], "exactly one Host field, but this one has 2"),
    ],
)
def test_what_is_no_request(method: str, target: str, fields: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compose(method, target, [("Host", "a"), *fields])


def test_a_request_has_a_host() -> None:
    with pytest.raises(ValueError, match="exactly one Host field, but this one has 0"):
        compose("GET", "/", [])


def test_errors_are_of_one_kind() -> None:
    assert all(issubclass(kind, ClientError) for kind in (ConnectionLost, InvalidReply, ReplyTooLarge, TLSError))
