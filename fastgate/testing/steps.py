"""What an upstream can be told to do: the steps of an :class:`~fastgate.testing.upstream.Answer`."""

import asyncio

from fastgate.testing.upstream import Step, UpstreamExchange

__all__ = [
    "EventStream",
    "close",
    "echo",
    "echo_stream",
    "half_close",
    "pause",
    "pieces",
    "read_body",
    "read_slowly",
    "reflect",
    "reset",
    "respond",
    "stall",
    "wait_for",
]


def respond(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """A response with a Content-Length and the given ``"Name: value"`` fields."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def pieces(data: bytes, size: int = 1, wait: float = 0.0) -> Step:
    """Sends ``size`` bytes at a time, ``wait`` seconds apart."""

    async def step(exchange: UpstreamExchange) -> None:
        await exchange.wire.send_pieces(data, size, wait)

    return step


def pause(seconds: float) -> Step:
    """Does nothing for that long, reading included."""

    async def step(exchange: UpstreamExchange) -> None:
        await asyncio.sleep(seconds)

    return step


def wait_for(event: asyncio.Event) -> Step:
    """Goes on when the event is set; nothing is read before."""

    async def step(exchange: UpstreamExchange) -> None:
        await event.wait()

    return step


def read_body(limit: int | None = None) -> Step:
    """Reads the request's body to its end or until there are ``limit`` bytes; for answers that begin early."""

    async def step(exchange: UpstreamExchange) -> None:
        await exchange.read_body(limit=limit)

    return step


def read_slowly(size: int, wait: float, limit: int | None = None) -> Step:
    """Reads the request's body ``size`` bytes at a time, ``wait`` seconds apart; for answers that begin early."""

    async def step(exchange: UpstreamExchange) -> None:
        reached = 0
        while not exchange.request.complete and exchange.reader.ended is None and (limit is None or reached < limit):
            reached += size
            await exchange.read_body(size=size, limit=reached)
            await asyncio.sleep(wait)

    return step


def stall() -> Step:
    """Says nothing more and reads on until the peer ends the connection; what comes is kept in ``received``."""

    async def step(exchange: UpstreamExchange) -> None:
        while await exchange.reader.more():
            exchange.upstream.notice()
        exchange.wire.close()

    return step


def close() -> Step:
    """Closes the connection: a FIN after what was sent."""

    async def step(exchange: UpstreamExchange) -> None:
        exchange.wire.close()

    return step


def half_close() -> Step:
    """Ends the sending side (FIN) and stays to read."""

    async def step(exchange: UpstreamExchange) -> None:
        exchange.wire.half_close()

    return step


def reset() -> Step:
    """Ends the connection by RST; what was sent may be lost with it."""

    async def step(exchange: UpstreamExchange) -> None:
        exchange.wire.reset()

    return step


async def echo(exchange: UpstreamExchange) -> None:
    """A step that answers with the request's body."""
    await exchange.send(respond(await exchange.read_body()))


async def reflect(exchange: UpstreamExchange) -> None:
    """A step that answers with the request itself as the body: its head as it came, then its content."""
    body = await exchange.read_body()
    await exchange.send(respond(exchange.request.head + body))


async def echo_stream(exchange: UpstreamExchange) -> None:
    """A step, for an early answer, that sends each read of the request's body back at once, as a chunk."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = 0
    while not exchange.request.complete and exchange.reader.ended is None:
        body = await exchange.read_body(limit=sent + 1)
        if piece := body[sent:]:
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent = len(body)
    await exchange.send(b"0\r\n\r\n")


class EventStream:
    r"""A stream of server-sent events that the test itself drives; as a step it stays until :meth:`end`.

        stream = EventStream()
        upstream.script(Answer(stream))
        await stream.send(b"data: 1\n\n")      # returns when the event is on the wire
        await stream.end()

    Sent chunked, one chunk an event; with ``chunked`` false it ends with the connection.
    """

    def __init__(self, *, chunked: bool = True) -> None:
        """A stream that has not begun."""
        self._chunked = chunked
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._exchange: UpstreamExchange | None = None

    async def __call__(self, exchange: UpstreamExchange) -> None:
        """Sends the head and stays until the end."""
        framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b"Connection: close\r\n"
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" + framing + b"\r\n"
        )
        self._exchange = exchange
        self._begun.set()
        await self._ended.wait()
        if self._chunked:
            await exchange.send(b"0\r\n\r\n")
        else:
            exchange.wire.close()

    async def send(self, event: bytes) -> None:
        """Sends an event, once there is a request for the stream."""
        await self._begun.wait()
        assert self._exchange is not None
        await self._exchange.send(b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event)

    async def end(self) -> None:
        """Ends the stream, cleanly."""
        await self._begun.wait()
        self._ended.set()
