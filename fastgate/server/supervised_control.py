"""The control plane as a worker sees it: everything is asked of the supervisor, over the control channel."""

import asyncio
import socket

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.listeners import Listener
from fastgate.gateway.listening_sockets import Listening
from fastgate.server.channel import Channel
from fastgate.server.control_messages import Asked, Event, GiveBack, Leaving, Lend, Ready, Start, Told
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.shared_memory import SharedMemoryStore
from fastgate.state.store import Store

_PATIENCE = 5.0  # how much longer than drain_delay a worker waits to be told that it may close its listeners


class SupervisedControl:
    """The `ControlPlane` of a worker. Its memory and its sockets came with `Start`, ``wakers`` after it."""

    def __init__(self, channel: Channel, start: Start, descriptors: list[int], wakers: list[int]) -> None:
        self.slot = start.slot
        self.slots = start.slots
        self.segment = Segment.attach(descriptors[0])
        self.segment.occupy(self.slot)
        self.store: Store = SharedMemoryStore(self.segment, self.slot)
        self.cache = CacheMemory.attach(descriptors[1], wakers)
        self.closing = asyncio.Event()
        self._subscribers: Subscribers | None = None
        self._untold: list[tuple[str, bytes]] | None = list(start.snapshots.items())  # None: nobody will subscribe
        self._channel = channel
        self._sockets = list(zip(start.addresses, descriptors[2:], strict=True))
        self._listeners: list[Listener] = []
        self._lent: dict[int, list[tuple[Listener, socket.socket]]] = {}

    def listeners(self, config: GatewayConfig) -> list[Listener]:
        """The listeners of this slot, as the supervisor opened them."""
        for address, descriptor in self._sockets:
            listening = Listening(address, [socket.socket(fileno=descriptor)])
            self._listeners.append(Listener(listening, 0, config))
        return self._listeners

    def subscribe(self, subscribers: Subscribers) -> None:
        """Tells them the snapshots that came with `Start`, and what the supervisor has said since."""
        untold, self._untold = self._untold or [], None
        self._subscribers = subscribers
        for topic, data in untold:
            subscribers.told(topic, data)

    def told(self, message: Told) -> None:
        """A duty of the supervisor says something."""
        if self._subscribers is not None:
            self._subscribers.told(message.topic, message.data)
        elif self._untold is not None:
            self._untold.append((message.topic, message.data))

    def ask(self, topic: str, data: bytes) -> None:
        """Asks the supervisor."""
        self._channel.send(Asked(topic, data))

    def use(self, config: GatewayConfig) -> None:
        """The supervisor knows."""

    async def end(self) -> None:
        """Nothing more is passed on."""
        self._subscribers = None

    def ready(self) -> None:
        """Tells the supervisor that this worker serves. What has not subscribed until now wants to be told nothing."""
        self._untold = None
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
