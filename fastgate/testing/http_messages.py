"""Requests and responses as they were on the wire, and a reader that takes them apart.

The reader is stricter than a client should be: whatever would have two readings raises :class:`Malformed`. A harness
that forgives would hide what the gateway does wrong.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from fastgate.testing.wire import Wire

__all__ = ["CutShort", "Fields", "Malformed", "MessageReader", "RecordedRequest", "RecordedResponse"]

MAX_HEAD = 1 << 20
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VISIBLE = rb"[\x21-\x7e\x80-\xff]"
FIELD = re.compile(rb"(%b):[ \t]*((?:%b(?:[\t\x20-\x7e\x80-\xff]*%b)?)?)[ \t]*" % (TOKEN, VISIBLE, VISIBLE))
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/(1\.[01])")
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e]*)")


class Malformed(AssertionError):
    """What arrived is no HTTP/1.1 message with exactly one reading."""


class CutShort(AssertionError):
    """The connection ended before the message was complete.

    Attributes:
        response: What there was of it; None when not even the head was complete.
        received: The bytes of an incomplete head.
        reset: Whether it ended by RST rather than by FIN.
    """

    def __init__(self, response: "RecordedResponse | None", received: bytes, *, reset: bool) -> None:
        how = "reset" if reset else "end of file"
        what = "in the body" if response is not None else f"in the head, after {received!r}" if received else "at once"
        super().__init__(f"{how} {what}")
        self.response = response
        self.received = received
        self.reset = reset


class Fields:
    """Header fields in wire order: names as sent, found without case, values as str (latin-1)."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        """``pairs`` are (name, value) in the order of the wire."""
        self.pairs = pairs

    def get_all(self, name: str) -> list[str]:
        """Every value of that name, in wire order."""
        return [value for key, value in self.pairs if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of that name, None without one. Raises AssertionError when there are several."""
        values = self.get_all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        """The names in lower case, in wire order."""
        return [key.lower() for key, _ in self.pairs]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(f"no {name} among {', '.join(self.names) or 'no fields'}")
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.names

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"Fields({self.pairs!r})"


@dataclass
class Body:
    """A body as it arrives. With ``keep`` false only its length and digest are kept, for bodies of many megabytes."""

    keep: bool = True
    content: bytearray = field(default_factory=bytearray)
    length: int = 0
    complete: bool = False
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        """The next bytes of the content, without transfer coding."""
        self.length += len(data)
        self.digest.update(data)
        if self.keep:
            self.content += data


@dataclass
class Message:
    """What a request and a response have in common.

    Attributes:
        start: The first line without its CRLF.
        head: The exact bytes up to and with the empty line.
        fields: Its header fields.
        framing: How the end of the body is known: "none", "length", "chunked" or "close".
        content: The body as far as it has come.
        chunks: The sizes of its chunks.
        extensions: Chunk extensions, with their semicolon.
        trailers: The fields after the last chunk.
    """

    start: bytes
    head: bytes
    fields: Fields
    framing: str = "none"
    content: Body = field(default_factory=Body)
    chunks: list[int] = field(default_factory=list)
    chunk_left: int = -1
    extensions: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=lambda: Fields([]))

    @property
    def body(self) -> bytes:
        """The content so far, without transfer coding."""
        return bytes(self.content.content)

    @property
    def headers(self) -> Fields:
        """Its header fields, by the name that other clients give them."""
        return self.fields

    @property
    def text(self) -> str:
        """The content so far as text, UTF-8 unless its Content-Type names another charset."""
        match = re.search(r'charset="?([^\s;"]+)', self.fields.get("content-type") or "", re.IGNORECASE)
        return self.body.decode(match[1] if match else "utf-8")

    def json(self) -> Any:
        """The content so far, decoded. Raises ValueError when it is no JSON."""
        return json.loads(self.body)

    @property
    def complete(self) -> bool:
        """Whether the end of the body has been seen."""
        return self.content.complete

    @property
    def body_length(self) -> int:
        """Bytes of content so far, also where they were not kept."""
        return self.content.length

    @property
    def sha256(self) -> str:
        """Hex digest of the content so far."""
        return self.content.digest.hexdigest()


@dataclass
class RecordedRequest(Message):
    """A request that reached an upstream, exactly as it did."""

    method: str = ""
    target: str = ""
    version: str = ""


@dataclass
class RecordedResponse(Message):
    """A response that reached a client. ``interim`` are the 1xx responses before it."""

    status: int = 0
    reason: str = ""
    version: str = ""
    interim: "list[RecordedResponse]" = field(default_factory=list)


def parse_head(head: bytes) -> tuple[bytes, Fields]:
    """First line and fields of a complete head, empty line included. Raises :class:`Malformed`."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = []
    for line in lines:
        match = FIELD.fullmatch(line)
        if match is None:
            raise Malformed(f"not a valid header field: {line!r}")
        pairs.append((match[1].decode("latin-1"), match[2].decode("latin-1")))
    if any(character in first for character in (b"\r", b"\n")) or any(b"\n" in line for line in lines):
        raise Malformed(f"bare line end in {head!r}")
    return first, Fields(pairs)


class MessageReader:
    """Reads messages from one connection, in order.

    Attributes:
        wire: The connection.
        buffer: Received bytes that no message has taken yet.
        received: All received bytes, unless ``keep`` is false.
        ended: "eof" or "reset" once the peer's bytes have ended.
    """

    def __init__(self, wire: Wire, *, keep: bool = True) -> None:
        """With ``keep`` false bodies and bytes are counted and digested, not stored."""
        self.wire = wire
        self.keep = keep
        self.buffer = bytearray()
        self.received = bytearray()
        self.ended: str | None = None

    async def more(self, size: int = 65536) -> bool:
        """Receives once into :attr:`buffer`. False at the end, which :attr:`ended` then tells."""
        if self.ended is not None:
            return False
        try:
            data = await self.wire.receive(size)
        except ConnectionResetError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "eof"
            return False
        self.buffer += data
        if self.keep:
            self.received += data
        return True

    async def request(self) -> RecordedRequest | None:
        """The head of the next request; None when the connection ends instead. Its body: :meth:`body`."""
        head = await self._head()
        if head is None:
            return None
        start, fields = parse_head(head)
        match = REQUEST_LINE.fullmatch(start)
        if match is None:
            raise Malformed(f"not a valid request line: {start!r}")
        method, target, version = (part.decode("ascii") for part in match.groups())
        framing = self._framing(fields)
        request = RecordedRequest(start, head, fields, framing, method=method, target=target, version=version)
        request.content.keep = self.keep
        if request.framing == "none":
            request.content.complete = True
        return request

    async def response(self, method: str = "GET") -> RecordedResponse:
        """The head of the next response, after those with a 1xx status, except 101. Raises :class:`CutShort`."""
        interim: list[RecordedResponse] = []
        while True:
            head = await self._head()
            if head is None:
                raise CutShort(None, bytes(self.buffer), reset=self.ended == "reset")
            start, fields = parse_head(head)
            match = STATUS_LINE.fullmatch(start)
            if match is None:
                raise Malformed(f"not a valid status line: {start!r}")
            status = int(match[2])
            response = RecordedResponse(
                start, head, fields, status=status, reason=match[3].decode("ascii"), version=match[1].decode("ascii")
            )
            response.content.keep = self.keep
            if status < 200 and status != 101:
                self._no_body(response)
                interim.append(response)
                continue
            response.interim = interim
            if status in (101, 204):
                self._no_body(response)
            elif method == "HEAD" or status == 304:
                response.content.complete = True
            else:
                framing = self._framing(fields)
                response.framing = "close" if framing == "none" else framing
                if fields.get("content-length") == "0":
                    response.content.complete = True
            return response

    def _no_body(self, response: RecordedResponse) -> None:
        if "content-length" in response.fields or "transfer-encoding" in response.fields:
            raise Malformed(f"framing fields in a {response.status}: {response.head!r}")
        response.content.complete = True

    async def body(self, message: Message, *, size: int = 65536, limit: int | None = None) -> None:
        """Reads the rest of the message's body, or until it has ``limit`` bytes; ``size`` bytes a read at most.

        Where the connection ends too early, :attr:`ended` is set and the message stays incomplete; only a "close" body
        is complete at the end of file. Raises :class:`Malformed` for bad chunks.
        """
        if message.complete:
            return
        if message.framing == "length":
            await self._length_body(message, size, limit)
        elif message.framing == "chunked":
            await self._chunked_body(message, size, limit)
        else:
            self._take(message, len(self.buffer))
            while limit is None or message.body_length < limit:
                if not await self.more(size):
                    message.content.complete = self.ended == "eof"
                    break
                self._take(message, len(self.buffer))

    async def _length_body(self, message: Message, size: int, limit: int | None) -> None:
        total = int(message.fields["content-length"])
        while True:
            self._take(message, total - message.body_length)
            if message.body_length == total:
                message.content.complete = True
                return
            if (limit is not None and message.body_length >= limit) or not await self.more(size):
                return

    async def _chunked_body(self, message: Message, size: int, limit: int | None) -> None:
        while limit is None or message.body_length < limit:
            if message.chunk_left > 0:
                before = message.body_length
                self._take(message, message.chunk_left)
                message.chunk_left -= message.body_length - before
                if message.chunk_left > 0 and not await self.more(size):
                    return
            elif message.chunk_left == 0:
                if not await self._expect(b"\r\n", size):
                    return
                message.chunk_left = -1
            else:
                line = await self._line(size)
                if line is None:
                    return
                match = re.fullmatch(rb"([0-9A-Fa-f]{1,16})(;.*)?", line)
                if match is None:
                    raise Malformed(f"not a valid chunk size: {line!r}")
                if match[2]:
                    message.extensions.append(match[2])
                message.chunk_left = int(match[1], 16)
                if message.chunk_left == 0:
                    await self._trailers(message, size)
                    return
                message.chunks.append(message.chunk_left)

    async def _trailers(self, message: Message, size: int) -> None:
        pairs: list[tuple[str, str]] = []
        while True:
            line = await self._line(size)
            if line is None:
                return
            if not line:
                message.trailers = Fields(pairs)
                message.content.complete = True
                return
            pairs += parse_head(b"\r\n" + line)[1].pairs

    def _take(self, message: Message, count: int) -> None:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        message.content.add(data)

    async def _expect(self, expected: bytes, size: int) -> bool:
        while len(self.buffer) < len(expected):
            if not await self.more(size):
                return False
        if self.buffer[: len(expected)] != expected:
            raise Malformed(f"expected {expected!r}, got {bytes(self.buffer[:16])!r}")
        del self.buffer[: len(expected)]
        return True

    async def _line(self, size: int = 65536) -> bytes | None:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not await self.more(size):
                return None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    async def _head(self) -> bytes | None:
        start = 0
        while (end := self.buffer.find(b"\r\n\r\n", start)) < 0:
            start = max(0, len(self.buffer) - 3)
            if len(self.buffer) > MAX_HEAD:
                raise Malformed("the head is larger than 1 MB")
            if not await self.more():
                return None
        head = bytes(self.buffer[: end + 4])
        del self.buffer[: end + 4]
        return head

    def _framing(self, fields: Fields) -> str:
        lengths = fields.get_all("content-length")
        codings = fields.get_all("transfer-encoding")
        if codings and (lengths or codings != ["chunked"]):
            raise Malformed(f"Content-Length {lengths} with Transfer-Encoding {codings}")
        if codings:
            return "chunked"
        if not lengths:
            return "none"
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
            raise Malformed(f"Content-Length {lengths}")
        return "length"
