"""A gateway as small as can be: answers every request with its process id. For tests of what is around a gateway."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fastgate.config import ConfigError, GatewayConfig, Problem
from fastgate.gateway.control import ControlPlane
from fastgate.gateway.listeners import Listener


class Connection(asyncio.Protocol):
    def __init__(self, gateway: "StubGateway", peer: tuple[str, int] | None) -> None:
        self.gateway = gateway
        self.peer = peer
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.gateway.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.gateway.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if path == "/slow":
                asyncio.get_running_loop().call_later(1, self.answer, path)
            else:
                self.gateway.behave(path)
                self.answer(path)

    def answer(self, path: str) -> None:
        # Two words that tell the worker, one that tells its configuration.
        body = f"{os.getpid()} {self.gateway.control.slot} {self.peer} {path} {self.gateway.name}".encode()
        close = b"Connection: close\r\n" if self.gateway.draining else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (close, len(body), body))
        if self.gateway.draining:
            self.transport.close()


class StubGateway:
    def __init__(self, config: GatewayConfig, *, control: ControlPlane) -> None:
        self.config = config
        self.control = control
        self.connections: set[Connection] = set()
        self.draining = False
        self.listeners: list[Listener] = []
        self.prepared: GatewayConfig | None = None

    @property
    def name(self) -> str:
        """Of the first route: tells which configuration is in use."""
        return self.config.routes[0].name

    def behave(self, path: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "/hang": lambda: time.sleep(60),
            "/die": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "/event": lambda: self.control.event("hello", number=7),
        }
        actions.get(path, lambda: None)()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.beat()
        self.listeners = self.control.listeners(self.config)
        for listener in self.listeners:
            await listener.start(loop, lambda listener, peer, local: Connection(self, peer))
        self.control.ready()

    def beat(self) -> None:
        self.control.segment.stamp(self.control.slot)
        asyncio.get_running_loop().call_later(0.1, self.beat)

    async def drain(self) -> None:
        await self.control.may_close(self.config.gateway.drain_delay)
        self.draining = True
        for listener in self.listeners:
            await listener.stop()
        until = time.monotonic() + self.config.gateway.drain_timeout
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await self.close()

    async def close(self) -> None:
        for listener in self.listeners:
            await listener.stop()
        for connection in list(self.connections):
            connection.transport.abort()

    def read_certificates(self) -> None:
        self.control.event("certificates", of=self.name)

    async def prepare(self, config: GatewayConfig) -> None:
        """As the name of the first route says; ``-1`` at its end is for slot 1 only."""
        assert self.prepared is None
        action, _, slot = config.routes[0].name.partition("-")
        self.control.event("preparing", of=config.routes[0].name)
        if not slot or int(slot) == self.control.slot:
            if action == "refuse":
                raise ConfigError([Problem("routes[0].path", "no good"), Problem("plugins[0].use", "is nowhere")])
            if action == "raise":
                raise RuntimeError("out of\nluck")
            if action == "hold":
                while not Path(config.plugins[0].options["until"]).exists():
                    await asyncio.sleep(0.01)
            if action == "wait":
                await asyncio.sleep(0.5)
            if action == "stuck":
                await asyncio.Event().wait()
            if action == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if action == "leave":
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.2)
        self.prepared = config

    def commit(self) -> None:
        assert self.prepared is not None
        action, _, slot = self.prepared.routes[0].name.partition("-")
        if not slot or int(slot) == self.control.slot:
            if action == "break":
                raise RuntimeError("cannot swap")
            if action == "perish":
                os.kill(os.getpid(), signal.SIGKILL)
        self.config, self.prepared = self.prepared, None

    def abort(self) -> None:
        self.prepared = None
        self.control.event("aborted")

    def reopen_logs(self) -> None:
        self.control.event("reopened")
