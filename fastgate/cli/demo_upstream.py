"""The server behind ``fastgate demo``: answers of every kind that a gateway meets, in a thread of this process.

    GET  /hello                      JSON
    any  /echo, /echo/…              what arrived: method, target, fields, body
    GET  /events?count=&interval=    server-sent events, one every ``interval`` seconds
    GET  /slow?seconds=              answers after a while
    any  /fail?status=               an error of its own
    GET  /cut                        promises 1,000 bytes, sends some of them and closes
    GET  /ws                         WebSocket echo

It reads requests as a gateway sends them (RFC 9112) and is no server for anything else.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

MAX_BODY = 1024 * 1024
MAX_FRAME = 16 * 1024 * 1024
LONGEST = 60.0  # seconds that a request may ask for

_WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class Request(NamedTuple):
    """One request, read whole."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    def number(self, name: str, default: float, most: float) -> float:
        """A number of the query, between 0 and ``most``."""
        with contextlib.suppress(ValueError):
            value = float(dict(parse_qsl(urlsplit(self.target).query)).get(name, default))
            return min(max(value, 0.0), most) if math.isfinite(value) else default
        return default

    def field(self, name: str) -> str:
        """The first field of that name, ``""`` where there is none."""
        return next((value for key, value in self.fields if key == name), "")


class DemoUpstream:
    """Runs the server for the time of a ``with`` block; ``port`` on 127.0.0.1 is any free one."""

    def __init__(self) -> None:
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(serve_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers requests until the peer leaves."""
    with contextlib.suppress(OSError, EOFError, ValueError, asyncio.CancelledError):
        while (request := await read_request(reader)) is not None and await answer(request, reader, writer):
            pass
    writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = start.split(" ")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, fields, b"")
    if request.field("transfer-encoding") == "chunked":
        return request._replace(body=b"".join([chunk async for chunk in read_chunks(reader)]))
    length = int(request.field("content-length") or 0)
    if length > MAX_BODY:
        raise ValueError("the body is too large for a demonstration")
    return request._replace(body=await reader.readexactly(length))


async def read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The data of a chunked body."""
    total = 0
    while size := int(await reader.readline(), 16):
        total += size
        if total > MAX_BODY:
            raise ValueError("the body is too large for a demonstration")
        yield (await reader.readexactly(size + 2))[:-2]
    while (await reader.readline()).strip():
        pass


async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answers; False when the connection cannot be used any more."""
    path = "/echo" if request.path.startswith("/echo/") else request.path
    if path == "/ws" and request.field("upgrade").lower() == "websocket":
        await echo_messages(request, reader, writer)
        return False
    handler = HANDLERS.get(path)
    if handler is None:
        await send_json(request, writer, 404, {"error": "the demo upstream has no such path", "path": request.path})
        return True
    return await handler(request, writer)


async def hello(request: Request, writer: asyncio.StreamWriter) -> bool:
    """A plain answer."""
    return await send_json(request, writer, 200, {"message": "hello from the upstream"})


async def echo(request: Request, writer: asyncio.StreamWriter) -> bool:
    """What arrived here, after the gateway's changes."""
    seen = {
        "method": request.method,
        "target": request.target,
        "headers": dict(request.fields),
        "body": request.body.decode("utf-8", "replace"),
    }
    return await send_json(request, writer, 200, seen)


async def events(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Server-sent events, each written when its time has come."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    count = int(request.number("count", 5, 1000))
    interval = request.number("interval", 1, LONGEST)
    for number in range(1, count + 1):
        event = f'id: {number}\ndata: {{"event": {number}, "of": {count}}}\n\n'.encode()
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        if number < count:
            await asyncio.sleep(interval)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def slow(request: Request, writer: asyncio.StreamWriter) -> bool:
    """An answer that takes its time."""
    seconds = request.number("seconds", 1, LONGEST)
    await asyncio.sleep(seconds)
    return await send_json(request, writer, 200, {"message": f"this took {seconds:g} s"})


async def fail(request: Request, writer: asyncio.StreamWriter) -> bool:
    """An error of the upstream's own, which the gateway passes on as it is."""
    status = int(request.number("status", 500, 599))
    return await send_json(request, writer, max(status, 400), {"error": "the upstream failed, as requested"})


async def cut(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Less than was promised."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nhalf of the story\n")
    await writer.drain()
    return False


HANDLERS: dict[str, Callable[[Request, asyncio.StreamWriter], Coroutine[Any, Any, bool]]] = {
    "/hello": hello,
    "/echo": echo,
    "/events": events,
    "/slow": slow,
    "/fail": fail,
    "/cut": cut,
}


async def send_json(request: Request, writer: asyncio.StreamWriter, status: int, content: dict[str, Any]) -> bool:
    """One answer with a JSON body."""
    body = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (body if request.method != "HEAD" else b""))
    await writer.drain()
    return True


async def echo_messages(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """WebSocket frames, sent back as they came (RFC 6455)."""
    accept = base64.b64encode(hashlib.sha1(request.field("sec-websocket-key").encode() + _WEBSOCKET_KEY).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
    while True:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
        if size > MAX_FRAME or not second & 0x80:
            return
        mask = int.from_bytes(await reader.readexactly(4) * (size // 4 + 1))
        data = int.from_bytes(await reader.readexactly(size)) << 8 * (4 - size % 4)
        payload = (data ^ mask).to_bytes(4 * (size // 4 + 1))[:size]
        opcode = first & 0x0F
        if opcode == 9:
            first = first & 0xF0 | 10  # a ping is answered by a pong
        if opcode != 10:
            length = (
                bytes([size])
                if size < 126
                else b"\x7e" + size.to_bytes(2)
                if size < 65536
                else b"\x7f" + size.to_bytes(8)
            )
            writer.write(bytes([first]) + length + payload)
            await writer.drain()
        if opcode == 8:
            return
