"""Tells policies of changes in the health of upstreams: every worker reads the ring of events in shared memory."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from fastgate._core.events import EventRing, StateEvent
from fastgate._core.shm import Segment
from fastgate.gateway.plugins import Plugins
from fastgate.gateway.policy import HealthChange, defines
from fastgate.gateway.pools import Pools

_log = logging.getLogger("fastgate.plugins")

_LOOK_EVERY = 0.1  # seconds


class HealthChanges:
    """Passes changes on to those policies that define ``on_health_change``."""

    def __init__(self, segment: Segment, pools: Pools) -> None:
        self._pools = pools
        self._segment = segment
        self._ring = EventRing(segment)
        self._untold: deque[StateEvent] = deque()
        self._task: asyncio.Task[None] | None = None

    def use(self, plugins: Plugins) -> None:
        """Tells these policies from now on; where none wants to know, nothing runs."""
        hooks = [policy.on_health_change for policy in plugins.policies.values() if defines(policy, "on_health_change")]
        if self._task is None:  # who comes new is not told the past
            self._ring = EventRing(self._segment, after=self._ring.last)
        self.stop()
        if hooks:
            self._task = asyncio.get_running_loop().create_task(self._tell(hooks))

    def stop(self) -> None:
        """Tells nobody any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _tell(self, hooks: Sequence[Callable[[HealthChange], Awaitable[None] | None]]) -> None:
        while True:
            self._untold.extend(self._ring.read())
            names = self._pools.names() if self._untold else {}
            while self._untold:  # a reload may come in between; those that it leaves are told of the rest
                event = self._untold.popleft()
                if event.row not in names:
                    continue
                change = HealthChange(*names[event.row], event.kind, event.old, event.new, event.value)
                for hook in hooks:
                    try:
                        done = hook(change)
                        if inspect.isawaitable(done):
                            await done
                    except Exception:
                        _log.exception("%s raised", getattr(hook, "__qualname__", hook))
            await asyncio.sleep(_LOOK_EVERY)
