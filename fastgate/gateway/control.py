"""What a gateway needs from whoever runs it: the same questions, answered in its own process or by a supervisor."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.listeners import Listener
from fastgate.gateway.sockets import open_listening
from fastgate.upstreams.members import Found

if TYPE_CHECKING:
    from fastgate.policies.jwt.fetching import KeySetControl
    from fastgate.policies.jwt.key_sets import KeySets
    from fastgate.upstreams.control import UpstreamControl

_log = logging.getLogger("fastgate")


class ControlPlane(Protocol):
    """The side of the control plane that a gateway sees.

    In this order: `listeners` once, `ready` when every listener was started; `may_close` when it stops, after
    it began to report that it is not ready and before it stops a listener; `end` at last. `changed` after each reload.
    """

    slot: int
    slots: int
    segment: Segment
    found: Mapping[str, Found]
    """What the names of each upstream had resolved to when this process began."""
    key_sets: Mapping[str, bytes]
    """The published sets of keys, by URL, as they were when this process began."""

    def watch_upstreams(self, config: GatewayConfig, resolved: Callable[[str, Found], None]) -> None:
        """From now on ``resolved(upstream, found)`` is told when names resolve to other addresses."""
        ...

    def watch_key_sets(self, config: GatewayConfig, key_sets: "KeySets") -> None:
        """From now on these are told of sets that are fetched, and get an answer to `want_key`."""
        ...

    def want_key(self, url: str, kid: str) -> None:
        """A token names a key that is not in the set at this URL ("": it names none, and none fits)."""
        ...

    def changed(self, config: GatewayConfig) -> None:
        """Another configuration is in use."""
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
    """A gateway on its own: one slot, its own memory and sockets, no supervisor."""

    def __init__(self, config: GatewayConfig) -> None:
        # On use, here and below: workers have a supervisor that does this.
        from fastgate.state.memory import make_segment

        self.slot = 0
        self.slots = 1
        self.segment = make_segment(config, 1)
        self.segment.occupy(0)
        self.found: Mapping[str, Found] = {}
        self.key_sets: Mapping[str, bytes] = {}
        self._limit_watch: asyncio.Task[None] | None = None
        self._upstreams: UpstreamControl | None = None
        self._key_sets: KeySets | None = None
        self._key_set_control: KeySetControl | None = None

    def watch_upstreams(self, config: GatewayConfig, resolved: Callable[[str, Found], None]) -> None:
        """Does the supervisor's work for upstreams in this loop."""
        from fastgate.upstreams.control import UpstreamControl

        self._upstreams = UpstreamControl(self.segment, resolved)
        self._upstreams.update(config)

    def watch_key_sets(self, config: GatewayConfig, key_sets: "KeySets") -> None:
        """Does the supervisor's work for sets of keys in this loop."""
        self._key_sets = key_sets
        self._fetch_key_sets(config)

    def _fetch_key_sets(self, config: GatewayConfig) -> None:
        if self._key_set_control is None and self._key_sets is not None and config.auth.jwt is not None:
            from fastgate.policies.jwt.fetching import KeySetControl

            self._key_set_control = KeySetControl(self._key_sets.fetched)
        if self._key_set_control is not None:
            self._key_set_control.update(config)

    def want_key(self, url: str, kid: str) -> None:
        """Has it fetched in this loop."""
        assert self._key_set_control is not None
        assert self._key_sets is not None
        self._key_set_control.want(url, kid, self._key_sets.settled)

    def changed(self, config: GatewayConfig) -> None:
        """Passes the change on to that work."""
        if self._upstreams is not None:
            self._upstreams.update(config)
        self._fetch_key_sets(config)

    async def end(self) -> None:
        """Stops that work."""
        if self._limit_watch is not None:
            self._limit_watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._limit_watch
        if self._key_set_control is not None:
            await self._key_set_control.stop()
        if self._upstreams is not None:
            await self._upstreams.stop()

    def listeners(self, config: GatewayConfig) -> list[Listener]:
        """Opens every address of the configuration. Raises ListenError."""
        return [Listener(listening, 0, config) for listening in open_listening(config, 1)]

    def ready(self) -> None:
        """Nobody waits for it."""
        from fastgate.state.watch import LimitWatch

        self._limit_watch = asyncio.get_running_loop().create_task(LimitWatch(self.segment).run())

    async def may_close(self, delay: float) -> None:
        """Returns after ``delay`` seconds."""
        if delay > 0:
            await asyncio.sleep(delay)

    def event(self, name: str, **fields: object) -> None:
        """Logs the event."""
        _log.info("%s%s", name, "".join(f" {key}={value}" for key, value in fields.items()))
