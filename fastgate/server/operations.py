"""What operators can do with a running gateway, with typed results. Whoever asks (the control socket) only translates.

All of it runs in the event loop of the supervisor.
"""

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Literal

from msgspec import structs

from fastgate.config.errors import quote
from fastgate.config.suggest import did_you_mean
from fastgate.server.maintenance import change_of
from fastgate.server.results import Maintained, Reloaded, Status, WorkerStatus
from fastgate.state.cache_look import Look, look
from fastgate.state.cache_memory import CacheStats
from fastgate.state.cache_purge import PurgeError, PurgeRequest

if TYPE_CHECKING:
    from fastgate.server.supervisor import GatewayServer


_log = logging.getLogger("fastgate.supervisor")


class OperationError(Exception):
    """What was asked for does not fit the gateway as it is; the message is one line."""


class Operations:
    """The operations of one gateway. ``by`` says in the log who has asked."""

    def __init__(self, server: "GatewayServer") -> None:
        self._server = server

    def status(self) -> Status:
        """What runs now."""
        server = self._server
        return Status(
            pid=os.getpid(),
            state=server.state,
            addresses=server.addresses,
            file=server.file,
            generation=server.generation,
            routes=len(server.config.routes),
            maintenance=server.switches.state(server.config),
            uptime=round(time.monotonic() - server.started, 3),
            workers=[
                WorkerStatus(
                    slot=slot.index,
                    pid=slot.process.pid if slot.process is not None else None,
                    ready=slot.ready,
                    generation=slot.process.generation if slot.process is not None else None,
                )
                for slot in server.slots
            ],
        )

    async def reload(self, *, by: str, allow_empty: bool = False) -> Reloaded:
        """Has every worker take over the configuration file, or none; returns when it is done.

        Raises ConfigError with every reason when the old configuration stays. A file without routes is refused while
        the configuration in use has some, unless ``allow_empty`` says that it is meant.
        """
        return await asyncio.wrap_future(self._server.reload(by=by, allow_empty=allow_empty))

    def maintenance(self) -> Maintained:
        """Which routes are closed."""
        status = self.status()
        return Maintained(status.generation, status.routes, status.maintenance)

    async def switch_maintenance(
        self, action: Literal["on", "off", "reset"], routes: list[str], retry_after: float | None, *, by: str
    ) -> Maintained:
        """Closes ("on") or opens ("off") routes, or leaves them to the configuration again ("reset").

        ``routes`` are names; empty: all routes. ``retry_after`` is what clients are told, in seconds; None: what the
        configuration says. Returns when every worker does as it was told. Raises OperationError for a route that is not
        there, ConfigError when nothing could be switched.
        """
        self.check_routes(routes)
        change = change_of(action, routes, retry_after)
        await asyncio.wrap_future(self._server.reloads.switch(change, by))
        return self.maintenance()

    def check_routes(self, names: list[str]) -> None:
        """Raises OperationError when one of these is not the name of a route."""
        known = [route.name for route in self._server.config.routes]
        for name in names:
            if name not in known:
                raise OperationError(f"unknown route {quote(name)}{did_you_mean(name, known)}")

    def purge(self, request: PurgeRequest, *, by: str) -> None:
        """Purges stored answers, in all workers before it returns. Raises OperationError for what cannot be purged."""
        given = {name: value for name, value in structs.asdict(request).items() if value}
        try:
            self._server.purge(**given)
        except PurgeError as error:
            raise OperationError(str(error)) from None
        said = ", ".join(name if value is True else f"{name} {quote(value)}" for name, value in given.items())
        _log.info("%s purged from the response cache: %s", by, said)

    def cache_stats(self) -> CacheStats:
        """What the response cache holds, and what was counted."""
        return self._server.cache.stats()

    async def look(self, url: str) -> Look:
        """What is stored for a URL; gives way to other work all the time. Raises OperationError for what is no URL."""
        merge_slashes = self._server.config.gateway.merge_slashes
        try:
            for found in look(self._server.cache, url, merge_slashes=merge_slashes):
                if found is not None:
                    return found
                await asyncio.sleep(0)
        except PurgeError as error:
            raise OperationError(str(error)) from None
        raise AssertionError("a look ends with what it has found")

    def drain(self, *, by: str) -> None:
        """Finishes what is in flight and ends the gateway; nothing more when it drains already."""
        if self._server.state != "draining":
            self._server.stop(by=by)
