"""A server that publishes a set of keys, well or badly."""

import asyncio
import json
import ssl
from typing import Any, Self

import jwt
from policies.tokens import claims, jwk, private_key


class KeyServer:
    """Answers every request with its set. ``fetches`` counts them; ``open`` is cleared to keep answers back."""

    def __init__(self, *kids: str, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.fetches = 0
        self.fields = ""
        self.status = "200 OK"
        self.body: bytes | None = None
        self.raw: bytes | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.port = port
        self.targets: list[str] = []
        self._fetched = asyncio.Event()
        self._context = context
        self.publish(*kids)

    def publish(self, *kids: str, **members: Any) -> None:
        """From now on the set has the keys of these names, each another one."""
        self._keys = [jwk(key_of(kid), **({"kid": kid} if kid else {}), **members) for kid in kids]

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://localhost:{self.port}/keys?a=b"

    async def fetched(self, times: int, within: float = 5.0) -> None:
        """Waits until it was asked so often in all."""
        async with asyncio.timeout(within):
            while self.fetches < times:
                self._fetched.clear()
                await self._fetched.wait()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.targets.append(head.split(b" ")[1].decode())
            self.fetches += 1
            self._fetched.set()
            body = json.dumps({"keys": self._keys}).encode() if self.body is None else self.body
            await self.open.wait()
            length = f"Content-Length: {len(body)}\r\n"
            writer.write(self.raw or f"HTTP/1.1 {self.status}\r\n{length}{self.fields}\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def key_of(kid: str) -> Any:
    return private_key("Ed25519", sum(kid.encode()))


def token_of(kid: str, **more: Any) -> str:
    """A token that this key has signed, and names; "" has a key without a name."""
    return jwt.encode(claims(**more), key_of(kid), "EdDSA", headers={"kid": kid} if kid else None)
