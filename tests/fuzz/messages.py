"""Strict readers of what the gateway sends: requests on the side of an upstream, answers on the side of a client.

They take nothing that can be read in two ways. What does not fit raises `Malformed`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]*")
FIELD = re.compile(rb"(" + TOKEN + rb"): ?([\t -~\x80-\xff]*)")
CHUNK = re.compile(rb"([0-9a-f]{1,16})\r\n")


class Malformed(Exception):
    """What the gateway sent cannot be read in one way."""


@dataclass
class Message:
    first: re.Match[bytes]
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each.lower() == name]

    @property
    def method(self) -> bytes:
        return self.first[1]

    @property
    def target(self) -> bytes:
        return self.first[2]

    @property
    def status(self) -> int:
        return int(self.first[1])


def read_head(data: bytes, line: re.Pattern[bytes]) -> tuple[Message, bytes] | None:
    """A head and what follows it; None while it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if re.search(rb"(?<!\r)\n|\r(?!\n|\Z)", data):
            raise Malformed(f"a line end that is none: {data[:200]!r}")
        return None
    first, *lines = data[:end].split(b"\r\n")
    match = line.fullmatch(first)
    if match is None:
        raise Malformed(f"not a start line: {first!r}")
    fields = []
    for each in lines:
        field = FIELD.fullmatch(each)
        if field is None:
            raise Malformed(f"not a field: {each!r}")
        fields.append((field[1], field[2]))
    return Message(match, fields), data[end + 4 :]


def read_body(message: Message, rest: bytes, *, length: int | None, chunked: bool, ended: bool) -> bytes:
    """Reads as much of the body as there is; what follows the message. ``length`` None and not chunked: until close."""
    if chunked:
        while True:
            if not rest:
                return rest
            match = CHUNK.match(rest)
            if match is None:
                if re.fullmatch(rb"[0-9a-f]{0,16}\r?", rest):
                    return rest
                raise Malformed(f"not a chunk: {rest[:60]!r}")
            size = int(match[1], 16)
            if len(rest) < match.end() + size + 2:
                message.body += rest[match.end() : match.end() + size]
                return b""
            if rest[match.end() + size : match.end() + size + 2] != b"\r\n":
                raise Malformed("a chunk that does not end where it says")
            message.body += rest[match.end() : match.end() + size]
            rest = rest[match.end() + size + 2 :]
            if size == 0:
                message.complete = True
                return rest
    if length is None:
        message.body, message.complete = rest, ended
        return b""
    message.body, rest = rest[:length], rest[length:]
    message.complete = len(message.body) == length
    return rest


def framing(message: Message) -> tuple[int | None, bool]:
    """Content-Length, and whether it comes in chunks. At most one of the two may be there, and once."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Malformed(f"framed twice: {lengths} {codings}")
    if codings:
        if codings != [b"chunked"]:
            raise Malformed(f"a coding but chunked: {codings}")
        return None, True
    if lengths and re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
        raise Malformed(f"not a length: {lengths}")
    return (int(lengths[0]) if lengths else None), False


class Requests:
    """The requests on one connection to an upstream, as they come."""

    def __init__(self) -> None:
        self.pending = b""
        self.raw = False
        """What still comes is not looked at: a tunnel, or the rest of a request that was answered early."""
        self.begun: Message | None = None
        """The request whose body is still coming."""

    def feed(self, data: bytes) -> Iterable[Message]:
        """Those that are complete now."""
        if self.raw:
            return
        self.pending += data
        self.begun = None
        while self.pending:
            found = read_head(self.pending, REQUEST_LINE)
            if found is None:
                return
            message, rest = found
            if len(message.values(b"host")) != 1:
                raise Malformed(f"not one Host: {message.fields}")
            length, chunked = framing(message)
            rest = read_body(message, rest, length=length or 0 if not chunked else None, chunked=chunked, ended=False)
            if not message.complete:
                self.begun = message
                return
            self.pending = rest
            yield message


def read_answers(data: bytes, methods: Iterable[bytes], *, ended: bool) -> list[Message]:
    """All that a client got, as answers to requests of these methods. The last may be cut where the connection
    ended.
    """
    answers = []
    for method in methods:
        while True:
            found = read_head(data, STATUS_LINE)
            if found is None:
                if data and not ended:
                    raise Malformed(f"half a head: {data[:100]!r}")
                return answers
            message, data = found
            if message.status >= 200 or message.status == 101:
                break
            if framing(message) != (None, False):
                raise Malformed(f"an interim response with a body: {message.fields}")
        answers.append(message)
        if message.status == 101:
            message.body, message.complete = data, True
            return answers
        length, chunked = framing(message)
        # A method that the access log does not know may have been HEAD; that answer was the last.
        if method == b"HEAD" or message.status in (204, 304) or (not method and not data):
            if message.status == 204 and (length is not None or chunked):
                raise Malformed("a 204 with a length")
            message.complete = True
            continue
        data = read_body(message, data, length=length, chunked=chunked, ended=ended)
        if not message.complete:
            if not ended:
                raise Malformed(f"an answer that is not whole on a connection that is open: {message.fields}")
            return answers
    if data:
        raise Malformed(f"bytes that no request asked for: {data[:200]!r}")
    return answers
