"""An HTTP server that records what reaches it, byte for byte, and answers with exactly what it was told to."""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

from fastgate.testing.http_messages import Malformed, MessageReader, RecordedRequest
from fastgate.testing.wire import Address, Wire, listen

__all__ = ["Answer", "RecordingUpstream", "Step", "UpstreamConnection", "UpstreamExchange"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UpstreamConnection:
    """One accepted connection.

    Attributes:
        number: Its place in ``upstream.connections``.
        requests: The requests that came on it, in order.
        received: Every byte that came.
        ended: How the peer's bytes ended, "eof" or "reset"; None while they have not, as far as was read.
        malformed: Why what came was no request, if so.
    """

    def __init__(self, number: int, wire: Wire, *, keep: bool) -> None:
        self.number = number
        self.wire = wire
        self.reader = MessageReader(wire, keep=keep)
        self.requests: list[RecordedRequest] = []
        self.malformed: Malformed | None = None
        self.over = asyncio.Event()

    @property
    def received(self) -> bytes:
        """Every byte that came."""
        return bytes(self.reader.received)

    @property
    def ended(self) -> str | None:
        """How the peer's bytes ended, as far as was read."""
        return self.reader.ended

    async def wait_ended(self, timeout: float = 5.0) -> str:
        """Waits until the peer has ended the connection, and says how. TimeoutError after ``timeout`` seconds.

        Someone must be reading: the upstream does between requests, and in the step ``stall()``.
        """
        async with asyncio.timeout(timeout):
            await self.over.wait()
        return self.reader.ended or "closed here"


class UpstreamExchange:
    """What the steps of an answer work on: one request whose head has come, and the connection to answer it on."""

    def __init__(self, upstream: "RecordingUpstream", connection: UpstreamConnection, request: RecordedRequest) -> None:
        self.upstream = upstream
        self.connection = connection
        self.request = request
        self.wire = connection.wire
        self.reader = connection.reader
        self.started_at = asyncio.get_running_loop().time()

    async def send(self, data: bytes) -> None:
        """Sends the bytes as they are."""
        await self.wire.send(data)

    async def read_body(self, *, size: int = 65536, limit: int | None = None) -> bytes:
        """Reads the request's body to its end, or until there are ``limit`` bytes of it, and returns what was kept."""
        await self.reader.body(self.request, size=size, limit=limit)
        self.upstream.notice()
        return self.request.body


Step: TypeAlias = bytes | Callable[[UpstreamExchange], Awaitable[None]]
"""Bytes to send, or something to do: an ``async def`` that takes the exchange. See :mod:`fastgate.testing.steps`."""


class Answer:
    """What to do for one request: its steps in order.

    The request's body is read first, unless ``early`` is true. Afterwards the connection is kept and the next request
    awaited, unless a step closed it.
    """

    def __init__(self, *steps: Step, early: bool = False) -> None:
        """The steps, in order; with ``early`` they begin when the head has come."""
        self.steps = steps
        self.early = early

    async def play(self, exchange: UpstreamExchange) -> None:
        """Does the steps, one after the other."""
        if not self.early:
            await exchange.read_body()
        for step in self.steps:
            if isinstance(step, bytes):
                await exchange.send(step)
            else:
                await step(exchange)
            if exchange.wire.is_closed:
                break


class RecordingUpstream:
    r"""A scripted HTTP/1.1 server on a free port.

        async with RecordingUpstream() as upstream:
            upstream.script(Answer(b"HTTP/1.1 204 No Content\r\n\r\n"), Answer(early=True, reset()))
            ...
            assert upstream.requests[0].head == b"GET / HTTP/1.1\r\n…"

    Scripted answers are taken in the order in which request heads come, over all connections; when none is left,
    ``default`` answers. ``on_connect``, if set, runs for each new connection before anything is read.

    Attributes:
        default: The answer when none is scripted: 200 with the body ``ok``.
        requests: All requests whose head has come, in that order.
        connections: All accepted connections, in order.
    """

    def __init__(
        self,
        address: Address = 0,
        *,
        default: Answer | bytes = OK,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
        keep: bool = True,
    ) -> None:
        """Listens on ``address`` (port 0: a free one of 127.0.0.1). With ``keep`` false bodies are only digested.

        ``receive_buffer`` in bytes bounds what the kernel takes while no step reads.
        """
        self.default = default if isinstance(default, Answer) else Answer(default)
        self.requests: list[RecordedRequest] = []
        self.connections: list[UpstreamConnection] = []
        self.on_connect: Callable[[UpstreamConnection], Awaitable[None]] | None = None
        self._script: deque[Answer] = deque()
        self._tls = tls
        self._keep = keep
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self._notices: set[asyncio.Future[None]] = set()
        self._sock = listen(address, receive_buffer=receive_buffer)
        self._accepting = False

    @property
    def address(self) -> Address:
        """Where it listens: (host, port), or the path of the Unix socket."""
        name = self._sock.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._sock.getsockname()[1]
        return port

    def script(self, *answers: Answer | bytes) -> None:
        """Adds answers for the next requests, one each. Bytes alone are an answer that sends them."""
        self._script.extend(answer if isinstance(answer, Answer) else Answer(answer) for answer in answers)

    async def __aenter__(self) -> Self:
        self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def accept(self) -> None:
        """Begins, or goes on, to accept connections."""
        if not self._accepting:
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)
            self._accepting = True

    def pause_accepting(self) -> None:
        """Leaves new connections in the accept queue: to the peer they are open and silent."""
        if self._accepting:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._accepting = False

    def stop_listening(self) -> None:
        """Closes the listening socket: new connections are refused, accepted ones stay."""
        self.pause_accepting()
        self._sock.close()

    async def close(self) -> None:
        """Ends everything. Raises the first error that a step raised, lest a broken script pass for a quiet one."""
        self.stop_listening()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            connection.wire.close()
        if self._failed:
            raise self._failed[0]

    def notice(self) -> None:
        """Wakes those who wait for requests or connections; steps that read call it."""
        for waiting in self._notices:
            if not waiting.done():
                waiting.set_result(None)
        self._notices.clear()

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Waits until the condition holds; it is checked whenever something reached the upstream. TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition():
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._notices.add(waiting)
                await waiting

    async def request(self, index: int = 0, *, timeout: float = 5.0) -> RecordedRequest:
        """The request of that index, as soon as its head has come."""
        await self.wait_for(lambda: len(self.requests) > index, timeout)
        return self.requests[index]

    async def complete_request(self, index: int = 0, *, timeout: float = 5.0) -> RecordedRequest:
        """The request of that index, as soon as its body has come whole."""
        await self.wait_for(lambda: len(self.requests) > index and self.requests[index].complete, timeout)
        return self.requests[index]

    async def connection(self, index: int = 0, *, timeout: float = 5.0) -> UpstreamConnection:
        """The connection of that index, as soon as it has been accepted."""
        await self.wait_for(lambda: len(self.connections) > index, timeout)
        return self.connections[index]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            connection = UpstreamConnection(len(self.connections), Wire(sock), keep=self._keep)
            self.connections.append(connection)
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.notice()

    async def _serve(self, connection: UpstreamConnection) -> None:
        try:
            if self._tls is not None:
                await connection.wire.start_tls(self._tls, server_side=True)
            if self.on_connect is not None:
                await self.on_connect(connection)
            while not connection.wire.is_closed:
                request = await connection.reader.request()
                if request is None:
                    break
                connection.requests.append(request)
                self.requests.append(request)
                self.notice()
                answer = self._script.popleft() if self._script else self.default
                await answer.play(UpstreamExchange(self, connection, request))
                if not request.complete and not connection.wire.is_closed:
                    await connection.reader.body(request)
        except Malformed as error:
            connection.malformed = error
        except (ConnectionError, ssl.SSLError) as error:
            if isinstance(error, ConnectionResetError) and connection.reader.ended is None:
                connection.reader.ended = "reset"
        except Exception as error:
            self._failed.append(error)
        finally:
            connection.wire.close()
            connection.over.set()
            self.notice()
