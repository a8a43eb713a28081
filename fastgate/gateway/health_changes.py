"""Tells policies of changes in the health of upstreams: every worker reads the ring of events in shared memory."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from fastgate._core.memory.events import EventRing
from fastgate._core.memory.region import Region
from fastgate.gateway.plugins import Plugins
from fastgate.gateway.policy import HealthChange, defines
from fastgate.gateway.pools import Pools

_log = logging.getLogger("fastgate.plugins")

_LOOK_EVERY = 0.1  # seconds


class HealthChanges:
    """Passes changes on to those policies that define ``on_health_change``."""

    def __init__(self, events: Region, pools: Pools) -> None:
        self._events = events
        self._pools = pools
        self._hooks: list[Callable[[HealthChange], Awaitable[None] | None]] = []
        self._task: asyncio.Task[None] | None = None

    def use(self, plugins: Plugins) -> None:
        """Tells these policies from now on; where none wants to know, nothing runs."""
        policies = plugins.policies.values()
        self._hooks = [policy.on_health_change for policy in policies if defines(policy, "on_health_change")]
        if not self._hooks:
            self.stop()
        elif self._task is None:
            # What was before is not news.
            ring = EventRing(self._events, after=EventRing(self._events).last)
            self._task = asyncio.get_running_loop().create_task(self._tell(ring))

    def stop(self) -> None:
        """Tells nobody any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _tell(self, ring: EventRing) -> None:
        while True:
            events = ring.read()
            names = self._pools.names() if events else {}
            for event in events:
                if event.row not in names:
                    continue
                change = HealthChange(*names[event.row], event.kind, event.old, event.new, event.value)
                for hook in list(self._hooks):
                    try:
                        done = hook(change)
                        if inspect.isawaitable(done):
                            await done
                    except Exception:
                        _log.exception("%s raised", getattr(hook, "__qualname__", hook))
            await asyncio.sleep(_LOOK_EVERY)
