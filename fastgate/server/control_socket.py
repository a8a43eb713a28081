"""The control socket: ``fastgate reload``, ``maintenance`` and ``status`` talk to a running gateway over it.

One connection, one request: a line of JSON with a ``command``, answered by a line of JSON with ``ok``. The
socket lies in the run-time directory with mode 0600, and peers other than its user and root are turned away.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, ValidationError, convert, to_builtins

from fastgate.config import ConfigError
from fastgate.config.errors import quote
from fastgate.config.suggest import did_you_mean
from fastgate.server.maintenance import change_of
from fastgate.server.run_dir import is_served, make_run_dir, peer_of, socket_path

if TYPE_CHECKING:
    from fastgate.server.supervisor import GatewayServer

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_LONGEST = 65536
_PATIENCE = 5.0  # for a request to be complete


class ControlSocket:
    """Answers operators until it is closed. ``commands`` get the request, and give the fields of the answer."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._inode = (0, 0)

    async def open(self) -> None:
        """Begins to answer. Raises OSError with the reason why it cannot."""
        path = socket_path(make_run_dir(), os.getpid())
        if is_served(path):
            raise OSError(f"{path} is in use")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mask = os.umask(0o177)
            try:
                sock.bind(str(path))
            finally:
                os.umask(mask)
            self._path = path
            status = os.lstat(path)
            self._inode = (status.st_dev, status.st_ino)
            sock.setblocking(False)
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=_LONGEST)
        except BaseException:
            sock.close()
            self.close()
            raise

    def close(self) -> None:
        """Answers no more, and removes the socket."""
        if self._server is not None:
            self._server.close()
        if self._path is None:
            return
        try:
            status = os.lstat(self._path)
            if (status.st_dev, status.st_ino) == self._inode:
                os.unlink(self._path)
        except OSError:
            pass

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Read in any case: who has sent what nobody read loses the answer.
            line = await asyncio.wait_for(reader.readline(), _PATIENCE)
            if _may_ask(writer.get_extra_info("socket")):
                answer = await self._answer(line)
            else:
                answer = {"ok": False, "error": "only the user of the gateway and root may ask"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # it went away, or is nobody who speaks this
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = request["command"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"ok": False, "error": 'a request is a line like {"command": "status"}'}
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"ok": False, "error": f"no such command; there are {', '.join(self._commands)}"}
        try:
            return {"ok": True, **await command(request)}
        except ValidationError as error:
            return {"ok": False, "error": str(error)}


def commands(server: "GatewayServer") -> dict[str, Command]:
    """What operators can ask of a gateway."""

    async def reload(request: dict[str, Any]) -> dict[str, Any]:
        allow_empty = convert(request, _Reload).allow_empty
        try:
            done = await asyncio.wrap_future(server.reload(by="an operator", allow_empty=allow_empty))
        except ConfigError as error:
            return {"ok": False, "problems": to_builtins(error.problems)}
        return done._asdict()

    async def status(_: dict[str, Any]) -> dict[str, Any]:
        return server.status()

    async def drain(_: dict[str, Any]) -> dict[str, Any]:
        if server.status()["state"] != "draining":
            server.stop()
        return {}

    async def maintenance(request: dict[str, Any]) -> dict[str, Any]:
        asked = convert(request, _Maintenance)
        known = [route.name for route in server.config.routes]
        for name in asked.routes:
            if name not in known:
                return {"ok": False, "error": f"no route {quote(name)}{did_you_mean(name, known)}"}
        if asked.action != "status":
            change = change_of(asked.action, asked.routes, asked.retry_after)
            try:
                await asyncio.wrap_future(server.switch(change, by=f"`fastgate maintenance {asked.action}`"))
            except ConfigError as error:
                return {"ok": False, "problems": to_builtins(error.problems)}
        told = server.status()
        return {name: told[name] for name in ("generation", "routes", "maintenance")}

    return {"reload": reload, "status": status, "drain": drain, "maintenance": maintenance}


class _Reload(Struct):
    """What is asked of a reload."""

    allow_empty: bool = False


class _Maintenance(Struct):
    """What is asked of maintenance."""

    action: Literal["on", "off", "reset", "status"]
    routes: list[str] = []
    retry_after: float | None = None


def _may_ask(peer: socket.socket) -> bool:
    """Whether the peer is our user or root. Where the system does not tell, the mode of the socket has to do."""
    return peer_of(peer) in (os.geteuid(), 0, None)
