"""A running listener: accepts connections and makes each a protocol, until it is told to stop.

The event loop accepts. With the PROXY protocol the first protocol of a connection reads the header and hands the
transport on to the next, with the bytes that came behind the header.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from fastgate._core.wire.room import Places
from fastgate._core.wire.tls_failures import FewLines
from fastgate.config import GatewayConfig
from fastgate.gateway.listening_sockets import Listening, TCPAddress, url_of
from fastgate.gateway.proxy_protocol import HostPort, ProxyHeader, ProxyHeaderError
from fastgate.gateway.trust import TrustedPeers

Factory = Callable[["Listener", HostPort | None, HostPort | None], asyncio.Protocol]

_log = logging.getLogger("fastgate.listeners")

_ACCEPT_GRACE = 1.0  # how long stop() waits until the loop has taken the last connections over
_HEADER_GRACE = 0.1  # … and until PROXY protocol headers that are there have been read


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
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._headers: set[_ProxyHeader] = set()
        self._handing_over: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._factory: Factory | None = None
        self._places: Places | None = None
        self._refusals = FewLines(_say, "closed %d more connections without a valid PROXY protocol header")

    def use(self, config: GatewayConfig) -> None:
        """What may change while it listens: whom it believes, and how long it waits for a PROXY protocol header."""
        self._trusted = TrustedPeers(config.gateway.trusted_proxies)
        self._header_timeout = config.gateway.header_timeout

    @property
    def url(self) -> str:
        """``http://127.0.0.1:8080``, ``https://[::1]:8443``, ``unix:/run/fastgate.sock``."""
        return url_of(self.address, self.scheme)

    async def start(self, loop: asyncio.AbstractEventLoop, factory: Factory, places: Places | None = None) -> None:
        """Begins to accept. ``factory(listener, peer, local)`` makes the protocol of each connection.

        ``peer`` and ``local`` are what a PROXY protocol header said, else None. ``places`` counts connections while
        that header is awaited.
        """
        self._loop, self._factory, self._places = loop, factory, places
        await self.borrow(self._own)

    async def borrow(self, sock: socket.socket) -> None:
        """Also accepts from this socket, which belongs to the listener from now on."""
        if self.stopped or self._loop is None or self._factory is None:
            sock.close()
            return
        # The loop closes what it is given, and after that we still have to empty the queue: it gets a duplicate.
        if sock.family == socket.AF_UNIX:
            options = {"cleanup_socket": False} if hasattr(self._loop, "print_debug_info") else {}
            self._servers[sock] = await self._loop.create_unix_server(
                self._protocol,
                sock=sock.dup(),
                backlog=self._backlog,
                **options,  # type: ignore[arg-type]
            )
        else:
            self._servers[sock] = await self._loop.create_server(self._protocol, sock=sock.dup(), backlog=self._backlog)

    def give_back(self, sock: socket.socket) -> None:
        """Stops accepting from a borrowed socket, whose queue its own worker serves again."""
        server = self._servers.pop(sock, None)
        if server is not None:
            server.close()
            sock.close()

    async def stop(self) -> None:
        """Accepts what already waits, hands it over and closes the listening sockets. May be called again."""
        if self.stopped:
            return
        self.stopped = True
        for sock, server in self._servers.items():
            server.close()
            while (client := accept(sock)) is not None:
                self._hand_over(client)
            sock.close()
        self._servers.clear()
        self._own.close()
        self._listening.close()
        if self._handing_over:
            await asyncio.wait(self._handing_over, timeout=_ACCEPT_GRACE)
        if self._headers:
            await asyncio.sleep(_HEADER_GRACE)
            for header in list(self._headers):
                header.abort()

    def _protocol(self) -> asyncio.Protocol:
        """The first protocol of a connection."""
        assert self._factory is not None
        return _ProxyHeader(self) if self._proxy_protocol else self._factory(self, None, None)

    def _hand_over(self, client: socket.socket) -> None:
        """Makes an accepted socket a connection of the event loop."""
        assert self._loop is not None
        task = self._loop.create_task(self._connect(client))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    async def _connect(self, client: socket.socket) -> None:
        assert self._loop is not None
        try:
            await self._loop.connect_accepted_socket(self._protocol, client)
        except OSError as error:
            _log.debug("cannot establish the connection: %s", error)
            client.close()

    def expects_header_from(self, transport: asyncio.BaseTransport) -> bool:
        """Whether this peer may speak the PROXY protocol to us."""
        if isinstance(self.address, str):
            return f"unix:{self.address}" in self._trusted
        address = transport.get_extra_info("peername")
        return bool(address) and address[0] in self._trusted

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
            _log.warning("cannot accept a connection: %s", error.strerror)
            return None
        client.setblocking(False)
        return client


class _ProxyHeader(asyncio.Protocol):
    """The first protocol of a connection that begins with a PROXY protocol header."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.header = ProxyHeader()
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener, self.transport = self.listener, cast(asyncio.Transport, transport)
        assert listener._loop is not None
        if not listener.expects_header_from(transport):
            self._refuse("its address is not in trusted_proxies, so its PROXY protocol header is not accepted")
        elif listener._places is not None and not listener._places.arrived(self):
            self.transport.abort()
        else:
            listener._headers.add(self)
            self.timer = listener._loop.call_later(
                listener._header_timeout, self._refuse, "it sent no PROXY protocol header within header_timeout"
            )

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        if transport is None or self.timer is None:
            return
        try:
            taken = self.header.take(data)
        except ProxyHeaderError as error:
            self._refuse(f"it sent an invalid PROXY protocol header ({error})")
            return
        if not self.header.complete:
            return
        assert self.listener._factory is not None
        protocol = self.listener._factory(self.listener, self.header.source, self.header.destination)
        if self.listener._places is not None:
            self.listener._places.handed_on(self, protocol)
        self._forget()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if len(data) > taken and not transport.is_closing():
            protocol.data_received(data[taken:])

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()

    def abort(self) -> None:
        """Ends the connection now."""
        self._leave()

    def _forget(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.listener._headers.discard(self)
        if self.listener._places is not None:
            self.listener._places.left(self)

    def _refuse(self, reason: str) -> None:
        assert self.transport is not None
        assert self.listener._loop is not None
        address = self.transport.get_extra_info("peername")
        peer = address[0] if isinstance(address, tuple) else "unix:"
        now = int(self.listener._loop.time() * 1000)
        self.listener._refusals.tell((reason, peer), "info", f"closed the connection of {peer}: {reason}", now)
        self._leave()

    def _leave(self) -> None:
        self._forget()
        if self.transport is not None:
            self.transport.abort()


def _say(level: str, line: str) -> None:
    _log.log(logging.getLevelNamesMapping()[level.upper()], "%s", line)
