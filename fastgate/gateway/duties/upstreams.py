"""The duty of upstreams: probes, names, retry budgets, the log of changes. Workers are told what names resolve to.

A message is what the names of some upstreams resolve to, all names of each of them; a snapshot has every upstream.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import msgpack

from fastgate.config import GatewayConfig
from fastgate.gateway.duties.contract import Duty, DutyContext, Send, Subscriber
from fastgate.upstreams.members import AddressesByName

if TYPE_CHECKING:
    from fastgate.upstreams.supervision import UpstreamControl

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(dict[str, AddressesByName]).decode


class TargetNames(Subscriber):
    """What the names of targets resolve to, as a worker is told.

    Attributes:
        found: By upstream, as far as it was known before `watch`.
    """

    def __init__(self, ask: Send) -> None:
        super().__init__(ask)
        self.found: dict[str, AddressesByName] = {}
        self._changed: Callable[[str, AddressesByName], None] = self.found.__setitem__

    def watch(self, changed: Callable[[str, AddressesByName], None]) -> None:
        """From now on ``changed(upstream, found)`` is called when the names of an upstream resolve to others."""
        self._changed = changed

    def told(self, data: bytes) -> None:
        """What the names of these upstreams resolve to now."""
        for upstream, found in _decode(data).items():
            self._changed(upstream, found)


class UpstreamsDuty(Duty):
    """Runs `UpstreamControl`."""

    topic = "upstreams"
    subscriber = TargetNames

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        self._control: UpstreamControl | None = None

    def snapshot(self) -> bytes:
        """What names have resolved to so far."""
        return _encode(self._control.found) if self._control is not None and self._control.found else b""

    def update(self, config: GatewayConfig) -> None:
        """Makes these the upstreams."""
        if self._control is None:
            from fastgate.upstreams.supervision import UpstreamControl  # on use: workers load this file too

            self._control = UpstreamControl(self.context.segment, self._resolved)
        self._control.update(config)

    def _resolved(self, upstream: str, found: AddressesByName) -> None:
        self.context.tell(_encode({upstream: found}))

    async def stop(self) -> None:
        """Ends probes and questions."""
        if self._control is not None:
            await self._control.stop()
