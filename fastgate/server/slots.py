"""Slots for workers, and who accepts the connections of a slot whose own worker is away.

Each slot has its own queue of connections. The kernel spreads new connections over all queues, also those that nobody
empties; so a slot that has been without a ready worker for a second is lent to another one until its own is back.
"""

import logging
import time
from typing import TYPE_CHECKING

from fastgate.gateway.listening_sockets import Listening
from fastgate.server.control_messages import GiveBack, Lend
from fastgate.server.process import WorkerProcess

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("fastgate.supervisor")

LEND_AFTER = 1.0  # seconds that a slot may be without a ready worker


class Slot:
    """One place for a worker, and what is known about who was there."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: WorkerProcess | None = None
        self.failures = 0  # in a row
        self.ready = False
        self.without_since = time.monotonic()  # a ready worker
        self.lent_to: int | None = None
        self.respawn: asyncio.TimerHandle | None = None
        self.waits = ""  # how its worker ended, while it is not yet replaced


class Lending:
    """Keeps every slot's queue served: by its own worker, else by another one. Unix sockets have one queue anyway."""

    def __init__(self, loop: "asyncio.AbstractEventLoop", slots: list[Slot], listening: list[Listening]) -> None:
        self._loop = loop
        self._slots = slots
        self._listening = listening
        self._ended = False
        for slot in slots:
            loop.call_later(LEND_AFTER, self._lend, slot)

    def is_ready(self, slot: Slot) -> None:
        """The slot has a worker again, which can also take what others lack."""
        slot.ready = True
        if slot.lent_to is not None:
            borrower = self._slots[slot.lent_to].process
            slot.lent_to = None
            if borrower is not None:
                borrower.channel.send(GiveBack(slot.index))
        for other in self._slots:
            self._lend(other)

    def is_not_ready(self, slot: Slot) -> None:
        """Nobody accepts what comes to this slot now, nor what was lent to it."""
        if slot.ready:
            slot.ready = False
            slot.without_since = time.monotonic()
            self._loop.call_later(LEND_AFTER, self._lend, slot)
        for other in self._slots:
            if other.lent_to == slot.index:
                other.lent_to = None
                self._lend(other)

    def end(self) -> None:
        """The gateway stops: nothing is lent any more."""
        self._ended = True

    def _lend(self, slot: Slot) -> None:
        waited = time.monotonic() - slot.without_since >= LEND_AFTER * 0.9
        if slot.ready or slot.lent_to is not None or self._ended or not waited:
            return
        addresses = [index for index, each in enumerate(self._listening) if not each.shared]
        ready = [other for other in self._slots if other.ready]
        if not ready or not addresses:
            return
        borrower = min(ready, key=lambda each: sum(other.lent_to == each.index for other in self._slots))
        assert borrower.process is not None
        slot.lent_to = borrower.index
        descriptors = [self._listening[index].socket_of(slot.index).fileno() for index in addresses]
        borrower.process.channel.send(Lend(slot.index, addresses), descriptors)
        _log.warning("worker %d is not ready; worker %d accepts its connections", slot.index, borrower.index)
