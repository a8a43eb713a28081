"""A running listener: accepts connections and makes each a protocol, until it is told to stop.

Ordinary connections are accepted by the event loop itself. With the PROXY protocol the listener accepts them, reads
exactly the header and only then hands the socket to the loop, because TLS may begin with the next byte.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from ssl import SSLContext

from fastgate.config import GatewayConfig
from fastgate.gateway.proxy_protocol import Endpoint, ProxyHeader, ProxyHeaderError
from fastgate.gateway.sockets import Listening, TCPAddress, url_of
from fastgate.gateway.trust import TrustedPeers

Factory = Callable[["Listener", Endpoint | None, Endpoint | None], asyncio.Protocol]

_log = logging.getLogger("fastgate.listeners")

_ACCEPTS_A_TURN = 64
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_WAIT_FOR_FILES = 0.1
_HANDSHAKE_GRACE = 1.0  # how long stop() waits for TLS handshakes of the last connections it accepted


class Listener:
    """One address that this process accepts connections on.

    ``address`` is (host, port) or the path of a Unix socket, ``port`` 0 for the latter, ``scheme`` "http" or "https".
    It normally has one listening socket; sockets of other slots can be lent to it while their own worker is away.
    """

    def __init__(self, listening: Listening, slot: int, config: GatewayConfig) -> None:
        gateway = config.gateway
        self.address: TCPAddress | str = listening.address
        self.port = 0 if isinstance(listening.address, str) else listening.address[1]
        self.scheme = "http" if gateway.tls is None else "https"
        self.stopped = False
        self._listening = listening
        self._own = listening.socket_of(slot)
        self._backlog = gateway.backlog
        self._proxy_protocol = gateway.proxy_protocol
        self.use(config)
        self._acceptors: dict[socket.socket, _Acceptor] = {}
        self._readers: set[_HeaderReader] = set()
        self._handing_over: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._factory: Factory | None = None
        self._context: SSLContext | None = None

    def use(self, config: GatewayConfig) -> None:
        """What may change while it listens: whom it believes, and how long it waits for a PROXY protocol header."""
        self._trusted = TrustedPeers(config.gateway.trusted_proxies)
        self._header_timeout = config.gateway.header_timeout

    @property
    def url(self) -> str:
        """``http://127.0.0.1:8080``, ``https://[::1]:8443``, ``unix:/run/fastgate.sock``."""
        return url_of(self.address, self.scheme)

    async def start(self, loop: asyncio.AbstractEventLoop, factory: Factory, context: SSLContext | None = None) -> None:
        """Begins to accept. ``factory(listener, peer, local)`` makes the protocol of each connection.

        ``peer`` and ``local`` are what a PROXY protocol header said, else None. ``context`` is for TLS.
        """
        self._loop, self._factory, self._context = loop, factory, context
        await self.borrow(self._own)

    async def borrow(self, sock: socket.socket) -> None:
        """Also accepts from this socket, which belongs to the listener from now on."""
        if self.stopped or self._loop is None or self._factory is None:
            sock.close()
            return
        if self._proxy_protocol:
            acceptor: _Acceptor = _ProxyAcceptor(self, sock)
        else:
            acceptor = _LoopAcceptor(self, sock)
        self._acceptors[sock] = acceptor
        await acceptor.start()

    def give_back(self, sock: socket.socket) -> None:
        """Stops accepting from a borrowed socket, whose queue its own worker serves again."""
        acceptor = self._acceptors.pop(sock, None)
        if acceptor is not None:
            acceptor.stop()
            sock.close()

    async def stop(self) -> None:
        """Accepts what already waits, hands it over and closes the listening sockets. May be called again."""
        if self.stopped:
            return
        self.stopped = True
        for sock, acceptor in self._acceptors.items():
            acceptor.stop()
            while True:
                client = accept(sock)
                if client is None:
                    break
                acceptor.accepted(client)
            sock.close()
        self._acceptors.clear()
        self._own.close()
        self._listening.close()
        for reader in list(self._readers):
            reader.finish()
        if self._handing_over:
            await asyncio.wait(self._handing_over, timeout=_HANDSHAKE_GRACE)

    def hand_over(self, client: socket.socket, peer: Endpoint | None, local: Endpoint | None) -> None:
        """Makes an accepted socket a connection of the event loop."""
        assert self._loop is not None
        task = self._loop.create_task(self._connect(client, peer, local))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    async def _connect(self, client: socket.socket, peer: Endpoint | None, local: Endpoint | None) -> None:
        assert self._loop is not None
        assert self._factory is not None
        factory = self._factory
        try:
            await self._loop.connect_accepted_socket(
                lambda: factory(self, peer, local),
                client,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_timeout(),
            )
        except OSError as error:  # also a TLS handshake that failed
            _log.debug("connection not established: %s", error)
            client.close()

    def _handshake_timeout(self) -> float | None:
        return self._header_timeout if self._context is not None else None

    def expects_header_from(self, client: socket.socket) -> bool:
        """Whether this peer may speak the PROXY protocol to us."""
        if client.family == socket.AF_UNIX:
            return f"unix:{self.address}" in self._trusted
        try:
            return client.getpeername()[0] in self._trusted
        except OSError:
            return False

    def __repr__(self) -> str:
        return f"<Listener {self.url}>"


def accept(sock: socket.socket) -> socket.socket | None:
    """The next connection that waits, None when there is none or it cannot be had now."""
    while True:
        try:
            client, _ = sock.accept()
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionAbortedError:
            continue
        except OSError as error:
            _log.warning("cannot accept: %s", error.strerror)
            return None
        client.setblocking(False)
        return client


class _Acceptor:
    """Takes connections from one listening socket."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        assert listener._loop is not None
        self.listener = listener
        self.sock = sock
        self.loop = listener._loop

    async def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def accepted(self, client: socket.socket) -> None:
        raise NotImplementedError


class _LoopAcceptor(_Acceptor):
    """Lets the event loop accept."""

    server: asyncio.Server

    async def start(self) -> None:
        listener = self.listener
        factory = listener._factory
        assert factory is not None
        # The loop closes what it is given, and after that we still have to empty the queue: it gets a duplicate.
        if self.sock.family == socket.AF_UNIX:
            options = {"cleanup_socket": False} if hasattr(self.loop, "print_debug_info") else {}
            self.server = await self.loop.create_unix_server(
                lambda: factory(listener, None, None),
                sock=self.sock.dup(),
                backlog=listener._backlog,
                ssl=listener._context,
                ssl_handshake_timeout=listener._handshake_timeout(),
                **options,  # type: ignore[arg-type]
            )
        else:
            self.server = await self.loop.create_server(
                lambda: factory(listener, None, None),
                sock=self.sock.dup(),
                backlog=listener._backlog,
                ssl=listener._context,
                ssl_handshake_timeout=listener._handshake_timeout(),
            )

    def stop(self) -> None:
        self.server.close()

    def accepted(self, client: socket.socket) -> None:
        self.listener.hand_over(client, None, None)


class _ProxyAcceptor(_Acceptor):
    """Accepts by itself and reads the PROXY protocol header of each connection before it hands it over."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        super().__init__(listener, sock)
        self.paused: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self.loop.add_reader(self.sock, self._readable)

    def stop(self) -> None:
        self.loop.remove_reader(self.sock)
        if self.paused is not None:
            self.paused.cancel()

    def _readable(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                client, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self.loop.remove_reader(self.sock)
                    self.paused = self.loop.call_later(_WAIT_FOR_FILES, self._go_on)
                _log.warning("cannot accept: %s", error.strerror)
                return
            client.setblocking(False)
            self.accepted(client)

    def _go_on(self) -> None:
        self.paused = None
        self.loop.add_reader(self.sock, self._readable)

    def accepted(self, client: socket.socket) -> None:
        if self.listener.expects_header_from(client):
            _HeaderReader(self.listener, self.loop, client)
        else:
            client.close()


class _HeaderReader:
    """One accepted connection whose PROXY protocol header is awaited."""

    __slots__ = ("client", "header", "listener", "loop", "timer")

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop, client: socket.socket) -> None:
        self.listener = listener
        self.loop = loop
        self.client = client
        self.header = ProxyHeader()
        self.timer = loop.call_later(listener._header_timeout, self._leave, "no PROXY protocol header in time")
        loop.add_reader(client, self._readable)
        listener._readers.add(self)

    def finish(self) -> None:
        """The listener stops: a header that is there counts, a connection without one is closed."""
        self._readable()
        if self in self.listener._readers:
            self._leave("the listener stopped")

    def _readable(self) -> None:
        try:
            waiting = self.client.recv(4096, socket.MSG_PEEK)
            if not waiting:
                self._leave("closed before a PROXY protocol header")
                return
            self.client.recv(self.header.take(waiting))
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProxyHeaderError) as error:
            self._leave(str(error))
            return
        if self.header.complete:
            self._forget()
            self.listener.hand_over(self.client, self.header.source, self.header.destination)

    def _forget(self) -> None:
        self.timer.cancel()
        self.loop.remove_reader(self.client)
        self.listener._readers.discard(self)

    def _leave(self, reason: str) -> None:
        self._forget()
        _log.debug("connection closed: %s", reason)
        self.client.close()
