"""One end of a connection, byte for byte.

asyncio's transports decide by themselves when to read, when to write and how to close. A test of a proxy must decide
that itself: not read for a while, send one byte a segment, shut one side, reset. So this works on a non-blocking socket
directly, with whatever event loop is running. TLS goes through memory buffers, which leaves the closing of the TCP
connection (with or without ``close_notify``) to the test as well.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Self, TypeAlias

__all__ = ["Address", "Wire", "connect", "listen", "socket_address"]

Address: TypeAlias = int | str | tuple[str, int]
"""A port of 127.0.0.1, the path of a Unix socket, or (host, port)."""

READ_SIZE = 65536


def socket_address(address: Address) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """The family and the address as :meth:`socket.socket.connect` wants them; host must be numeric."""
    if isinstance(address, str):
        return socket.AF_UNIX, address
    host, port = ("127.0.0.1", address) if isinstance(address, int) else address
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, port)


def listen(address: Address = 0, *, backlog: int = 128, receive_buffer: int = 0) -> socket.socket:
    """A non-blocking listening socket; port 0 takes a free one.

    ``receive_buffer`` (bytes, 0 = the system's) is what connections accepted from it inherit: a small one makes a peer
    that does not read felt early.
    """
    family, where = socket_address(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is not socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        sock.bind(where)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(address: Address, *, receive_buffer: int = 0, source: tuple[str, int] | None = None) -> socket.socket:
    """A connected non-blocking socket. ``source`` is the local address to bind first. OSError when it fails."""
    family, where = socket_address(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        if source is not None:
            sock.bind(source)
        try:
            sock.connect(where)
        except BlockingIOError:
            await _ready(sock.fileno(), set(), writing=True)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"connect to {where}") from None
    except BaseException:
        sock.close()
        raise
    return sock


Waiting: TypeAlias = "set[asyncio.Future[None]]"


def _finish(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _ready(fd: int, waiting: Waiting, *, writing: bool) -> None:
    """Returns when the descriptor is ready. Who takes the future out of ``waiting`` has taken the descriptor along."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    waiting.add(ready)
    add(fd, _finish, ready)
    try:
        await ready
    finally:
        if ready in waiting:
            waiting.discard(ready)
            remove(fd)


class Wire:
    """A connected socket with explicit reading, writing and closing. At most one task reads and one writes at a time.

    Attributes:
        bytes_in: How many bytes :meth:`receive` has returned so far.
        bytes_out: How many bytes :meth:`send` was given so far.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over and closes it in the end."""
        self._sock = sock
        self._waiting: Waiting = set()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        if sock.family is not socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for options; reading or writing it directly would mix up the two."""
        return self._sock

    @property
    def is_closed(self) -> bool:
        """Whether this end has been closed, by whatever means."""
        return self._sock.fileno() < 0

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state once :meth:`start_tls` is through: certificate, version, ALPN."""
        return self._tls

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool = False, server_name: str | None = None
    ) -> None:
        """Does the handshake; from then on all bytes are enciphered. Raises ``ssl.SSLError`` when it fails."""
        # Python 3.11.2 and 3.11.3 set it on every context: a connection that is cut would look like one that ended.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_tls()
                await self._fill_tls()
            except ssl.SSLError:
                await self._flush_tls()
                raise
            else:
                await self._flush_tls()
                break
        self._tls = tls

    async def receive(self, size: int = READ_SIZE) -> bytes:
        """The next bytes, at most ``size``; empty at the end of the peer's bytes.

        ConnectionResetError after a reset and, under TLS, where the bytes end without ``close_notify``.
        """
        if self._tls is None:
            data = await self._receive(size)
        else:
            while True:
                try:
                    data = self._tls.read(size)
                    break
                except ssl.SSLWantReadError:
                    await self._flush_tls()
                    await self._fill_tls()
                except ssl.SSLZeroReturnError:
                    data = b""
                    break
                except ssl.SSLError as error:
                    if error.reason != "UNEXPECTED_EOF_WHILE_READING" and not isinstance(error, ssl.SSLEOFError):
                        raise
                    raise ConnectionResetError("the end came without close_notify") from error
        self.bytes_in += len(data)
        return data

    async def send(self, data: bytes) -> None:
        """Sends all of it. Raises ConnectionResetError or BrokenPipeError when the peer is gone."""
        self.bytes_out += len(data)
        if self._tls is None:
            await self._send(data)
        elif data:
            self._tls.write(data)
            await self._flush_tls()

    async def send_pieces(self, data: bytes, size: int = 1, pause: float = 0.0) -> None:
        """Sends ``size`` bytes at a time; between two pieces other tasks run, for ``pause`` seconds at least.

        With a peer in the same event loop each piece is therefore a read of its own.
        """
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(pause)

    def half_close(self) -> None:
        """Ends the sending side (FIN); the peer's bytes can still be received. Under TLS without ``close_notify``."""
        self._sock.shutdown(socket.SHUT_WR)

    async def close_tls(self) -> None:
        """Sends ``close_notify``, the clean end of the bytes under TLS; the TCP connection stays."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            await self._flush_tls()

    def close(self) -> None:
        """Closes: the kernel sends a FIN, or an RST where received bytes were not read. Pending calls are aborted."""
        fd = self._sock.fileno()
        if fd < 0:
            return
        if self._waiting:
            loop = asyncio.get_running_loop()
            loop.remove_reader(fd)
            loop.remove_writer(fd)
            for ready in self._waiting:
                if not ready.done():
                    ready.set_exception(ConnectionAbortedError("this end was closed"))
            self._waiting.clear()
        self._sock.close()

    def reset(self) -> None:
        """Closes with an RST, bytes in flight are lost (SO_LINGER 0)."""
        if self.is_closed:
            return
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    async def _receive(self, size: int) -> bytes:
        while True:
            if self.is_closed:
                raise ConnectionAbortedError("this end was closed")
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                await _ready(self._sock.fileno(), self._waiting, writing=False)

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.is_closed:
                raise ConnectionAbortedError("this end was closed")
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                await _ready(self._sock.fileno(), self._waiting, writing=True)

    async def _fill_tls(self) -> None:
        data = await self._receive(READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush_tls(self) -> None:
        await self._send(self._outgoing.read())
