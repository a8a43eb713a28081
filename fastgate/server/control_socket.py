"""The control socket: ``fastgate reload``, ``maintenance``, ``cache`` and ``status`` talk to a running gateway over it.

One connection, one request: a line of JSON with a ``command``, answered by a line of JSON with ``ok``. The
socket lies in the run-time directory with mode 0600, and peers other than its user and root are turned away.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, ValidationError, convert, to_builtins

from fastgate.config import ConfigError
from fastgate.server.operations import OperationError, Operations
from fastgate.server.results import Maintained, Reloaded, Status
from fastgate.server.run_dir import is_served, make_run_dir, peer_of, socket_path
from fastgate.state.cache_look import Look
from fastgate.state.cache_memory import CacheStats
from fastgate.state.cache_purge import PurgeRequest

Command = Callable[[dict[str, Any], str], Awaitable[Struct | dict[str, Any]]]
"""Gets the request and who makes it, and gives the fields of the answer; raises OperationError, or ConfigError for a
refused reload.
"""

_LONGEST = 65536
_PATIENCE = 5.0  # for a request to be complete


class ControlSocket:
    """Answers operators until it is closed. ``commands`` are what can be asked, by name."""

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
            user = peer_of(writer.get_extra_info("socket"))
            if _may_ask(user):
                answer = await self._answer(line, name_of(user))
            else:
                answer = {"ok": False, "error": "only the user of the gateway and root may use the control socket"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # it went away, or is nobody who speaks this
        finally:
            writer.close()

    async def _answer(self, line: bytes, by: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = request["command"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"ok": False, "error": 'not a valid request: send a line like {"command": "status"}'}
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"ok": False, "error": f"unknown command; the commands are {', '.join(self._commands)}"}
        try:
            return {"ok": True, **to_builtins(await command(request, by))}
        except ConfigError as error:
            return {"ok": False, "problems": to_builtins(error.problems)}
        except (OperationError, ValidationError) as error:
            return {"ok": False, "error": str(error)}


def commands(operations: Operations) -> dict[str, Command]:
    """What can be asked over the socket: each translates the request, and calls an operation."""

    async def reload(request: dict[str, Any], by: str) -> Reloaded:
        return await operations.reload(by=by, allow_empty=convert(request, _Reload).allow_empty)

    async def status(_: dict[str, Any], by: str) -> Status:
        return operations.status()

    async def drain(_: dict[str, Any], by: str) -> dict[str, Any]:
        operations.drain(by=by)
        return {}

    async def maintenance(request: dict[str, Any], by: str) -> Maintained:
        asked = convert(request, _Maintenance)
        if asked.action == "status":
            operations.check_routes(asked.routes)
            return operations.maintenance()
        asker = f"`fastgate maintenance {asked.action}` of {by}"
        return await operations.switch_maintenance(asked.action, asked.routes, asked.retry_after, by=asker)

    async def purge(request: dict[str, Any], by: str) -> dict[str, Any]:
        asked = convert({name: value for name, value in request.items() if name != "command"}, PurgeRequest)
        operations.purge(asked, by=by)
        return {}

    async def cache_stats(_: dict[str, Any], by: str) -> CacheStats:
        return operations.cache_stats()

    async def look(request: dict[str, Any], by: str) -> Look:
        return await operations.look(convert(request, _Look).url)

    return {
        "reload": reload,
        "status": status,
        "drain": drain,
        "maintenance": maintenance,
        "purge": purge,
        "cache_stats": cache_stats,
        "look": look,
    }


class _Reload(Struct):
    """What is asked of a reload."""

    allow_empty: bool = False


class _Maintenance(Struct):
    """What is asked of maintenance."""

    action: Literal["on", "off", "reset", "status"]
    routes: list[str] = []
    retry_after: float | None = None


class _Look(Struct):
    """For which URL."""

    url: str


def _may_ask(user: int | None) -> bool:
    """Whether the peer is our user or root. Where the system does not tell, the mode of the socket has to do."""
    return user in (os.geteuid(), 0, None)


def name_of(user: int | None) -> str:
    """How the log calls the user at the other end of the control socket.

    Names are not looked up: a directory service that does not answer would hold up the supervisor.
    """
    if user is None:
        return "an operator"
    return "root (uid 0)" if user == 0 else f"the gateway's user (uid {user})"
