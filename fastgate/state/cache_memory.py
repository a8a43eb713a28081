"""The memory of the response cache: made once for a host, by whoever starts the workers; mapped by those that cache.

Life of a slot: the worker opens the memory when a route of it caches, and has the slot from then on. When it is gone,
and waited for, the supervisor takes back what it held (`CacheMemory.release`); its successor opens the slot after that.
The file is always there and costs nothing until it is used: neither it nor the compiled part is touched before.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from fastgate.config.errors import ConfigError, Problem
from fastgate.config.schema.root import Root
from fastgate.config.syntax.units import format_size

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache
    from fastgate._core.memory.cache.cache_file import CacheFile
    from fastgate._core.memory.cache.cache_store import CacheStore
    from fastgate._core.memory.cache.flights import Flights
    from fastgate._core.memory.cache.purges import Purges
    from fastgate._core.memory.cache.walk import StoredRecord

_AT_MOST = 1 << 40
_SURELY = 524_288  # bytes: more than a worker needs, so that most need not be computed


class CachePurges(Struct, frozen=True):
    """What was purged since the start.

    ``tag`` counts addresses, routes and tags, and what unsafe requests have changed; ``unneeded`` what these have
    changed and nobody had asked for. Whenever ``floors_raised``, ``prefixes_merged`` or ``turns`` grows, answers may
    count as purged that were not.
    """

    tag: int
    prefix: int
    everything: int
    unneeded: int
    floors_raised: int
    prefixes_merged: int
    turns: int


class CacheFlights(Struct, frozen=True):
    """How requests for what was not stored met each other: ``led`` asked for all, ``followed`` another one.

    ``alone`` asked on their own, because the answers to their key cannot be shared; ``full``: there was no place.
    ``taken_over`` led what another one had given up.
    """

    led: int
    followed: int
    alone: int
    full: int
    taken_over: int


HINDRANCES = (
    "", "bypass", "method", "status", "type", "no_store", "request", "private", "set_cookie", "vary", "end", "length",
    "lifetime", "credential", "cookie",
)  # fmt: skip
"""Why an answer was not stored: the words of `Obstacle` in ``_core/delivery/cache/freshness.pxd``."""


class CacheStats(Struct, frozen=True):
    """What the response cache of a host holds now, and what was counted since the start.

    ``routes`` has what happened to the requests of each route, by the words of ``route_counts``, without those that are
    0; ``readers_cut`` are answers that ended early because what they were sent from had to make room.
    """

    max_bytes: int
    objects: int
    bytes: int  # of what is stored and can be found
    used_bytes: int  # of what was written, the rest of which is dead
    segments: int
    segment_size: int
    free: int  # segments
    pinned: int  # segments that answers are being sent from
    stores: int
    evictions: int  # objects
    expired: int  # objects that were past their use when their segment was freed
    refused: int  # stores: there was no room
    too_large: int  # stores
    damaged: int  # records whose check does not fit
    readers_cut: int
    flights: CacheFlights
    purges: CachePurges
    routes: dict[str, dict[str, int]]


class CacheMemory:
    """The response cache of a host. `create` and `private` make one, `attach` is for the workers of a supervisor."""

    def __init__(self, max_bytes: int, slots: int, fd: int = -1, wakers: Sequence[int] = ()) -> None:
        self.slots = slots
        self._max_bytes = max_bytes
        self._fd = fd  # of a file that was given, while it is not mapped
        self._wakers = tuple(wakers)
        self._file: CacheFile | None = None
        self._store: CacheStore | None = None  # without a slot
        self._opened: dict[int, WorkerCache] = {}
        self._closed = False

    @classmethod
    def create(cls, config: Root, slots: int) -> "CacheMemory":
        """As large as ``[cache]`` says, for so many workers. Raises ConfigError when it is too small for these."""
        problems = cache_problems(config, slots)
        if problems:
            raise ConfigError(problems)
        return cls(config.cache.max_bytes, slots)

    @classmethod
    def private(cls) -> "CacheMemory":
        """As small as can be, with one slot: for who compiles routes and serves nobody."""
        return cls(0, 1)

    @classmethod
    def attach(cls, fd: int, wakers: Sequence[int]) -> "CacheMemory":
        """That of the supervisor: its file, and the eventfds of all slots. All belong to the object from now on."""
        return cls(0, len(wakers), fd, wakers)

    # -- the file

    @property
    def file(self) -> "CacheFile":
        """The file, made or mapped when it is first asked for. Raises SegmentError for one of another version."""
        if self._closed:
            raise RuntimeError("the memory of the response cache is closed")
        if self._file is None:
            from fastgate._core.memory.cache.cache_file import CacheFile, needed

            if self._fd >= 0:
                self._file, self._fd = CacheFile.attach(self._fd), -1
            else:
                self._file = CacheFile.create(self._max_bytes or needed(self.slots), slots=self.slots)
        return self._file

    def make(self) -> None:
        """Makes the file and the eventfds now, for workers. Raises OSError when the system refuses one of them."""
        _ = self.file, self.wakers  # made when they are first asked for

    @property
    def fd(self) -> int:
        """Its descriptor, for workers."""
        return self._fd if self._fd >= 0 else self.file.fd

    @property
    def wakers(self) -> tuple[int, ...]:
        """An eventfd for each slot: it is readable when the worker of the slot is to be told something."""
        if not self._wakers:
            self._wakers = tuple(_make_wakers(self.slots))
        return self._wakers

    @property
    def was_used(self) -> bool:
        """Whether any process has opened a slot: else there is nothing to find."""
        return self._file is not None and any(map(self._viewer().was_used, range(self.slots)))

    def _viewer(self) -> "CacheStore":
        """The store as who only looks sees it."""
        if self._store is None:
            from fastgate._core.memory.cache.cache_store import CacheStore

            self._store = CacheStore(self.file)
        return self._store

    def _flights(self) -> "Flights":
        from fastgate._core.memory.cache.flights import Flights

        return Flights(self.file.region("flights"), -1, self.wakers)

    @property
    def purges(self) -> "Purges":
        """What was purged, in the shared memory."""
        from fastgate._core.memory.cache.purges import Purges

        return Purges(self.file.region("purges"))

    # -- slots

    def open(self, slot: int) -> "WorkerCache":
        """The cache of the worker of this slot: mapped when it is first asked for, the same object after that.

        Raises ValueError when another process has the slot, IndexError when there is no such slot.
        """
        found = self._opened.get(slot)
        if found is None:
            from fastgate._core.delivery.cache.worker_cache import WorkerCache

            found = self._opened[slot] = WorkerCache(self.file, slot, self.wakers)
        return found

    def give_up(self, slot: int) -> bool:
        """Gives back a slot that was opened here. False: something of it is pinned; who waits for the process does it.

        What `open` gave must not be used any more.
        """
        found = self._opened.get(slot)
        if found is not None:
            try:
                found.memory.give_up()
            except BufferError:
                return False
            del self._opened[slot]
        return True

    def release(self, slot: int) -> None:
        """Takes back what a worker held that is gone: pins, segments, fetches that others wait for. Twice does no harm.

        To be called when the process was waited for, and before its successor is started.
        """
        if self._file is not None and self._viewer().was_used(slot):
            self._viewer().recover(slot)
            self._flights().release(slot)

    def close(self) -> None:
        """Gives back all that is not in use any more; nothing of it can be opened after that."""
        if self._closed:
            return
        for slot in list(self._opened):
            self.give_up(slot)
        if not self._opened:
            # Else what is pinned may still write them.
            for each in self._wakers:
                os.close(each)
            self._wakers = ()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._file = self._store = None
        self._closed = True

    # -- for operators

    def stats(self) -> CacheStats:
        """What is stored, and what was counted in all workers. Reads no data and no index."""
        stored, flights, purges = self._viewer().stats(), self._flights().stats(), self.purges.stats()
        from fastgate._core.memory.cache.cache_counts import route_counts

        counted = route_counts(self.file.region("counts"), HINDRANCES)
        routes = {name: words for name, words in counted.items() if words}
        names = ("objects", "bytes", "used_bytes", "segments", "segment_size", "free", "pinned", "stores")
        counts = ("evictions", "expired", "refused", "too_large", "damaged")
        return CacheStats(
            max_bytes=self.file.max_bytes,
            **{name: stored[name] for name in (*names, *counts)},
            readers_cut=sum(each.get("readers_cut", 0) for each in routes.values()),
            flights=CacheFlights(flights.led, flights.followed, flights.alone, flights.full, flights.taken_over),
            purges=CachePurges(
                purges.by_tag,
                purges.by_prefix,
                purges.everything,
                purges.unneeded,
                purges.floors_raised,
                purges.prefixes_merged,
                purges.turns,
            ),
            routes=routes,
        )

    def walk(self, part: bytes) -> "Iterator[list[StoredRecord]]":
        """All that is stored under keys with ``part`` in them, in slices of less than a millisecond; most are empty."""
        if not self.was_used:
            return
        from fastgate._core.memory.cache.walk import Walk

        walk = Walk(self._viewer(), part)
        while (found := walk.step()) is not None:
            yield found


def cache_problems(config: Root, slots: int) -> list[Problem]:
    """What is wrong with ``[cache]`` for so many workers."""
    size = config.cache.max_bytes
    if _SURELY * (slots + 4) <= size <= _AT_MOST:
        return []
    if size > _AT_MOST:
        return [Problem("cache.max_bytes", f"{format_size(size)} is too large: at most {format_size(_AT_MOST)}")]
    from fastgate._core.memory.cache.cache_file import needed

    least = needed(slots)
    if size >= least:
        return []
    workers = f"{slots} workers need" if slots > 1 else "1 worker needs"
    message = f"{format_size(size)} is too small: {workers} {format_size(least)} at least"
    return [Problem(path="cache.max_bytes", message=message)]


def _make_wakers(count: int) -> list[int]:
    """Descriptors that are readable as soon as one has written to them, and never block."""
    made: list[int] = []
    try:
        while len(made) < count:
            made.append(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if hasattr(os, "eventfd") else _make_pipe())
    except BaseException:
        for each in made:
            os.close(each)
        raise
    return made


def _make_pipe() -> int:
    """Both ends of a pipe as one descriptor, for systems without eventfds."""
    with tempfile.TemporaryDirectory(prefix="fastgate-") as folder:
        path = os.path.join(folder, "waker")
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
