"""The control plane as a worker sees it: everything is asked of the supervisor, over the control channel."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.listeners import Listener
from fastgate.gateway.sockets import Listening
from fastgate.server.channel import Channel
from fastgate.server.control_messages import (
    Event,
    GiveBack,
    KeySet,
    KeySettled,
    Leaving,
    Lend,
    Ready,
    Resolved,
    Start,
    WantKey,
)
from fastgate.upstreams.members import Found

if TYPE_CHECKING:
    from fastgate.policies.jwt.key_sets import KeySets

_PATIENCE = 5.0  # how much longer than drain_delay a worker waits to be told that it may close its listeners


class SupervisedControl:
    """The `ControlPlane` of a worker. Its memory and its sockets came with `Start`."""

    def __init__(self, channel: Channel, start: Start, descriptors: list[int]) -> None:
        self.slot = start.slot
        self.slots = start.slots
        self.segment = Segment.attach(descriptors[0])
        self.segment.occupy(self.slot)
        self.closing = asyncio.Event()
        self.found: Mapping[str, Found] = start.found
        self.key_sets: Mapping[str, bytes] = start.key_sets
        self._resolved: Callable[[str, Found], None] | None = None
        self._key_sets: KeySets | None = None
        self._channel = channel
        self._sockets = list(zip(start.addresses, descriptors[1:], strict=True))
        self._listeners: list[Listener] = []
        self._lent: dict[int, list[tuple[Listener, socket.socket]]] = {}

    def listeners(self, config: GatewayConfig) -> list[Listener]:
        """The listeners of this slot, as the supervisor opened them."""
        for address, descriptor in self._sockets:
            listening = Listening(address, [socket.socket(fileno=descriptor)])
            self._listeners.append(Listener(listening, 0, config))
        return self._listeners

    def watch_upstreams(self, config: GatewayConfig, resolved: Callable[[str, Found], None]) -> None:
        """The supervisor does the work; what it finds is passed on from now on."""
        self._resolved = resolved
        for upstream, found in self.found.items():
            resolved(upstream, found)

    def take(self, message: Resolved) -> None:
        """The supervisor says what the names of an upstream resolve to."""
        self.found = {**self.found, message.upstream: message.found}
        if self._resolved is not None:
            self._resolved(message.upstream, message.found)

    def watch_key_sets(self, config: GatewayConfig, key_sets: "KeySets") -> None:
        """The supervisor does the work; what it fetches is passed on from now on."""
        self._key_sets = key_sets
        for url, document in self.key_sets.items():
            key_sets.fetched(url, document)

    def take_key_set(self, message: KeySet) -> None:
        """The supervisor has fetched another set of keys."""
        self.key_sets = {**self.key_sets, message.url: message.document}
        if self._key_sets is not None:
            self._key_sets.fetched(message.url, message.document)

    def want_key(self, url: str, kid: str) -> None:
        """Asks the supervisor."""
        self._channel.send(WantKey(url, kid))

    def key_settled(self, message: KeySettled) -> None:
        """The supervisor's answer."""
        if self._key_sets is not None:
            self._key_sets.settled(message.url, message.quiet_until)

    def changed(self, config: GatewayConfig) -> None:
        """The supervisor knows."""

    async def end(self) -> None:
        """Nothing more is passed on."""
        self._resolved = None
        self._key_sets = None

    def ready(self) -> None:
        """Tells the supervisor that this worker serves."""
        self._channel.send(Ready())

    async def may_close(self, delay: float) -> None:
        """Returns when the supervisor says so: its copies of the sockets are closed, or wait for a successor."""
        self._channel.send(Leaving())
        try:
            await asyncio.wait_for(self.closing.wait(), delay + _PATIENCE)
        except TimeoutError:
            self.event("the supervisor does not answer; closing the listening sockets", delay=delay)

    def event(self, name: str, **fields: object) -> None:
        """Tells the supervisor what happened."""
        plain: dict[str, str | int | float | bool | None] = {
            key: value if isinstance(value, str | int | float | None) else str(value) for key, value in fields.items()
        }
        self._channel.send(Event(name, plain))

    async def lend(self, message: Lend, descriptors: list[int]) -> None:
        """Accepts from the sockets of another slot too."""
        for index, descriptor in zip(message.addresses, descriptors, strict=True):
            listener = self._listeners[index]
            sock = socket.socket(fileno=descriptor)
            self._lent.setdefault(message.slot, []).append((listener, sock))
            await listener.borrow(sock)

    def give_back(self, message: GiveBack) -> None:
        """Leaves the sockets of that slot to its own worker."""
        for listener, sock in self._lent.pop(message.slot, []):
            listener.give_back(sock)
