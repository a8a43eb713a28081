"""A TCP proxy that breaks connections on command."""

import asyncio
import contextlib
from typing import Self

from fastgate.testing.wire import Address, Wire, connect, listen

__all__ = ["Direction", "FaultProxy"]


class Direction:
    """One direction of a :class:`FaultProxy`: what is to go wrong with the bytes that flow that way.

    Commands hold for the connections that are there and for those that come, from the moment they are given. Counts of
    bytes are those of one connection, from its beginning.

    Attributes:
        piece: Bytes forwarded at a time, 0 for as they come.
        wait: Seconds between two pieces.
    """

    def __init__(self) -> None:
        """A direction that forwards faithfully."""
        self.piece = 0
        self.wait = 0.0
        self._limit: int | None = None
        self._at_limit = "cut"
        self._flowing = asyncio.Event()
        self._flowing.set()

    def trickle(self, piece: int = 1, wait: float = 0.0) -> None:
        """Forwards ``piece`` bytes at a time, ``wait`` seconds apart."""
        self.piece, self.wait = piece, wait

    def stall(self) -> None:
        """Stops forwarding, and reading, until :meth:`resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """Goes on after :meth:`stall`."""
        self._flowing.set()

    def cut_after(self, count: int) -> None:
        """Closes both connections (FIN) when ``count`` bytes have been forwarded."""
        self._limit, self._at_limit = count, "cut"

    def reset_after(self, count: int) -> None:
        """Resets both connections (RST) when ``count`` bytes have been forwarded."""
        self._limit, self._at_limit = count, "reset"

    def half_close_after(self, count: int) -> None:
        """Ends this direction (FIN) when ``count`` bytes have been forwarded; the other one stays."""
        self._limit, self._at_limit = count, "half close"

    def stall_after(self, count: int) -> None:
        """Stops forwarding when ``count`` bytes have been forwarded; both connections stay."""
        self._limit, self._at_limit = count, "stall"

    def heal(self) -> None:
        """Forwards faithfully again; what has been closed stays closed."""
        self.piece, self.wait, self._limit = 0, 0.0, None
        self.resume()

    async def pump(self, source: Wire, sink: Wire) -> None:
        """Forwards until the bytes of ``source`` end or a command ends it; a FIN goes on as a FIN, an RST as an RST."""
        forwarded = 0
        while True:
            await self._flowing.wait()
            if self._limit is not None and forwarded >= self._limit and await self._end(source, sink):
                return
            left = 65536 if self._limit is None else max(1, self._limit - forwarded)
            try:
                data = await source.receive(min(self.piece or 65536, left))
            except ConnectionResetError:
                sink.reset()
                source.close()
                return
            await self._flowing.wait()
            if not data:
                with contextlib.suppress(OSError):
                    sink.half_close()
                return
            await sink.send(data)
            forwarded += len(data)
            if self.wait:
                await asyncio.sleep(self.wait)

    async def _end(self, source: Wire, sink: Wire) -> bool:
        if self._at_limit == "stall":
            self._limit = None
            self.stall()
            return False
        if self._at_limit == "half close":
            sink.half_close()
        elif self._at_limit == "reset":
            sink.reset()
            source.reset()
        else:
            sink.close()
            source.close()
        return True


class FaultProxy:
    """A proxy between two peers that forwards, until a test gives it a fault.

        async with FaultProxy(upstream.port) as proxy:
            proxy.to_client.cut_after(100)
            ...  # talk to proxy.port

    Attributes:
        to_target: What flows from the clients to the target.
        to_client: What flows back.
        accepted: How many connections have been accepted.
    """

    def __init__(self, target: Address, address: Address = 0) -> None:
        """Listens on ``address`` (port 0: a free one of 127.0.0.1) and connects each client to ``target``."""
        self.target = target
        self.to_target = Direction()
        self.to_client = Direction()
        self.accepted = 0
        self._sock = listen(address)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wires: set[Wire] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def open_connections(self) -> int:
        """How many clients are connected through it now."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends everything."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_all(self) -> None:
        """Resets every connection, on both sides, now."""
        for wire in list(self._wires):
            wire.reset()

    def close_all(self) -> None:
        """Closes every connection, on both sides, now."""
        for wire in list(self._wires):
            wire.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            self.accepted += 1
            task = asyncio.get_running_loop().create_task(self._forward(Wire(sock)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, client: Wire) -> None:
        pair = {client}
        self._wires.add(client)
        try:
            target = Wire(await connect(self.target))
            pair.add(target)
            self._wires.add(target)
            ways = (self.to_target.pump(client, target), self.to_client.pump(target, client))
            for ended in await asyncio.gather(*ways, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, OSError):
                    raise ended
        except OSError:
            client.reset()
        finally:
            for wire in pair:
                wire.close()
            self._wires -= pair
