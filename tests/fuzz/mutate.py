"""Mutations of messages: what a fuzzer does to bytes that were sensible."""

from collections.abc import Callable, Sequence
from random import Random

# What decides about framing, routes and persistence, right and wrong.
WORDS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b": ", b"\x00", b"\x7f", b"\xff", b"\xc3\xa9", b"%",
    b"%2F", b"%5C", b"%00", b"%2e%2e", b"/../", b"//", b";", b"?", b"#", b"&", b"=", b",", b'"', b"\\", b"[::1]",
    b"[", b"]", b"@", b"_", b".", b"*", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\tchunked\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n", b"Connection: Host, X-Tag\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"Host: other\r\n",
    b"Host: \r\n", b"X-Forwarded-For: 10.0.0.1\r\n", b"Forwarded: for=unknown\r\n", b"Proxy: http://x\r\n",
    b"X.User: a\r\n", b"X_User: a\r\n", b"Authorization: NTLM abcd\r\n", b"Authorization: Basic YTpi\r\n",
    b"Authorization: Bearer a.b.c\r\n", b"Cookie: a=b; a=c\r\n", b"TE: trailers\r\n", b"Trailer: X-Tag\r\n",
    b"Keep-Alive: timeout=1\r\n", b"Date: x\r\n", b"Retry-After: 1\r\n", b"WWW-Authenticate: Negotiate\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Range: bytes 0-1/2\r\n", b" folded\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"5;ext=1\r\nhello\r\n", b"fffffffffffffffff\r\n", b"0\r\nX: y\r\n\r\n", b"-1\r\n", b"0x5\r\n", b"HTTP/1.0",
    b"HTTP/1.1", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"HEAD ", b"CONNECT ", b"TRACE ", b"OPTIONS * ", b"BREW ",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n", b" 599 ", b" 99 ", b" 600 ",
]  # fmt: skip

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]


def _at(random: Random, data: bytes) -> int:
    return random.randint(0, len(data))


def flip(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def replace(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def insert(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(random, data)
    return data[:at] + random.choice(WORDS) + data[at:]


def insert_line(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A line where one can stand."""
    ends = [at + 2 for at in range(len(data) - 1) if data[at : at + 2] == b"\r\n"]
    at = random.choice(ends) if ends else _at(random, data)
    return data[:at] + random.choice(WORDS) + data[at:]


def delete(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(random, data)
    return data[:at] + data[at + random.choice((1, 1, 2, 8, 64)) :]


def repeat(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(random, data)
    piece = data[at : at + random.choice((1, 4, 20))]
    return data[:at] + piece * random.choice((2, 3, 50, 2000)) + data[at:]


def cut(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _at(random, data)]


def splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return data[: _at(random, data)] + other[_at(random, other) :]


def long_run(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """As much as a limit, or a little more or less, of bytes that some writers have to escape."""
    at = _at(random, data)
    size = random.choice((100, 255, 1024, 8190, 8192, 8193, 16384, 32768, 40000))
    byte = random.choice((b"a", b'"', b"\\", b"%", b"\xff", b"\xc3\xa9", b"/", b";", b"="))
    return data[:at] + byte * size + data[at:]


MUTATIONS: list[Mutation] = [
    flip, replace, insert, insert, insert_line, insert_line, delete, repeat, cut, splice, long_run,
]  # fmt: skip


def mutate(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four changes."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        data = random.choice(MUTATIONS)(random, data, others)
    return data


def pieces(random: Random, data: bytes) -> list[bytes]:
    """The data as it may arrive: whole, in a few pieces, or, where it is short, byte by byte."""
    how = random.random()
    if how < 0.6 or len(data) < 2:
        return [data] if data else []
    if how < 0.65 and len(data) < 600:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted({random.randint(1, len(data) - 1) for _ in range(random.choice((1, 1, 2, 5)))})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
