"""What a gateway needs from whoever runs it: the same questions, answered in its own process or by a supervisor."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.duties.contract import Duty
from fastgate.gateway.duties.dispatch import Duties, Subscribers
from fastgate.gateway.listeners import Listener
from fastgate.gateway.listening_sockets import open_listening
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.shared_memory import SharedMemoryStore
from fastgate.state.store import Store

_log = logging.getLogger("fastgate")


class ControlPlane(Protocol):
    """The side of the control plane that a gateway sees.

    In this order: `subscribe` and then `listeners` once; `use`, and again after each reload; `ready` when every
    listener was started; `may_close` when it stops, after it began to report that it is not ready and before it stops a
    listener; `end` at last. `ask` after the first `use`.
    """

    slot: int
    slots: int
    segment: Segment
    store: Store
    """Where limits are counted."""
    cache: CacheMemory
    """The memory of the response cache; nothing of it is used before it is asked for."""

    def subscribe(self, subscribers: Subscribers) -> None:
        """From now on these are told what the duties tell; what is known already they are told now."""
        ...

    def ask(self, topic: str, data: bytes) -> None:
        """Takes a message to the duty with this topic."""
        ...

    def use(self, config: GatewayConfig) -> None:
        """The configuration that is in use from now on: the first one, or another one."""
        ...

    async def end(self) -> None:
        """The gateway is closed."""
        ...

    def listeners(self, config: GatewayConfig) -> list[Listener]:
        """The listeners of this process, bound and listening, not started. Raises ListenError."""
        ...

    def ready(self) -> None:
        """Every connection is served from now on."""
        ...

    async def may_close(self, delay: float) -> None:
        """Returns when the listening sockets may be closed: after ``delay`` seconds, in step with the other workers."""
        ...

    def event(self, name: str, **fields: object) -> None:
        """Something happened that an operator wants to know."""
        ...


class LocalControl:
    """A gateway on its own: one slot, its own memory and sockets, no supervisor. Duties run in the gateway's loop.

    ``duties`` are those that it runs; None: all. Raises ConfigError for memory that is too small.
    """

    def __init__(self, config: GatewayConfig, *, duties: Sequence[type[Duty]] | None = None) -> None:
        # On use: workers have a supervisor that does this.
        from fastgate.state.memory import make_segment

        self.slot = 0
        self.slots = 1
        self.segment = make_segment(config, 1)
        self.segment.occupy(0)
        self.store: Store = SharedMemoryStore(self.segment, 0)
        self.cache = CacheMemory.create(config, 1)
        self._kinds = duties
        self._duties: Duties | None = None
        self._subscribers: Subscribers | None = None

    def subscribe(self, subscribers: Subscribers) -> None:
        """Nothing is known yet: the duties begin with `use`."""
        self._subscribers = subscribers

    def ask(self, topic: str, data: bytes) -> None:
        """Calls the duty."""
        if self._duties is not None:
            self._duties.asked(self.slot, self._tell, topic, data)

    def use(self, config: GatewayConfig) -> None:
        """Begins the duties, or passes the change on to them."""
        if self._duties is None:
            from fastgate.gateway.duties import DUTIES

            self._duties = Duties(DUTIES if self._kinds is None else self._kinds, self.segment, self._tell)
        self._duties.update(config)

    def _tell(self, topic: str, data: bytes) -> None:
        if self._subscribers is not None:
            self._subscribers.told(topic, data)

    async def end(self) -> None:
        """Stops the duties."""
        self._subscribers = None
        if self._duties is not None:
            await self._duties.stop()

    def listeners(self, config: GatewayConfig) -> list[Listener]:
        """Opens every address of the configuration. Raises ListenError."""
        return [Listener(listening, 0, config) for listening in open_listening(config, 1)]

    def ready(self) -> None:
        """Nobody waits for it."""

    async def may_close(self, delay: float) -> None:
        """Returns after ``delay`` seconds."""
        if delay > 0:
            await asyncio.sleep(delay)

    def event(self, name: str, **fields: object) -> None:
        """Logs the event."""
        _log.info("%s%s", name, "".join(f" {key}={value}" for key, value in fields.items()))
