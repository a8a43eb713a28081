from types import TracebackType
from typing import Literal, Self

from fastgate._core.memory.region import Region
from fastgate._core.memory.store import ShareCounter

class Concurrency(ShareCounter):
    """At most ``max`` requests of a key at once, over all workers of a region; up to ``queue`` more may wait.

    ``slot`` is the worker's own: each process that shares a region has another one. All limits of one ``name`` in it
    count together. Without a region a limit has memory of its own, with room for ``entries`` keys at once. A request
    whose key finds no room is counted together with those of another key of this limit. With ``chosen`` (clients choose
    the keys) the room is apart from that of other limits.

    With ``minimum`` the limit is adaptive: it moves between that and ``max`` with the latencies that release() is told.
    Raises ValueError for numbers that make no sense, IndexError for a slot that the region does not have, SegmentError
    when it is another one or was not prepared.
    """

    def __init__(
        self,
        max: int,
        *,
        queue: int = 0,
        minimum: int | None = None,
        region: Region | None = None,
        slot: int = 0,
        entries: int = 1024,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...
    @property
    def region(self) -> Region: ...
    @property
    def slot(self) -> int: ...
    @property
    def max(self) -> int: ...
    @property
    def queue(self) -> int: ...
    @property
    def minimum(self) -> int:
        """The least that an adaptive limit may be; 0 = the limit is always ``max``."""
    @property
    def chosen(self) -> bool: ...
    def take(self, key: str | bytes, amount: int = 1) -> Share | None:
        """One more request of this key: its Share, or None when there are as many as there may be.

        It counts as ``amount``; one that is larger than the limit is let in alone. Raises ValueError for an amount that
        is not a whole number from 1 to 2147483647.
        """
    def wait(self, key: str | bytes, amount: int = 1) -> Share | None:
        """A place in the queue of this key, a Share that promote() turns into a running one; None when it is full.

        In the queue it counts as one request, whatever its amount.
        """
    def running(self, key: str | bytes) -> int:
        """How much of this key is under way in all workers."""
    def waiting(self, key: str | bytes) -> int:
        """How many requests of this key wait in all workers."""
    def limit(self, key: str | bytes) -> int:
        """How many requests of this key may be under way at once now."""

class Share:
    """One request that runs or waits under a limit; as a context manager it is released at the end."""

    @property
    def state(self) -> Literal["running", "waiting", "released"]: ...
    def promote(self) -> bool:
        """Whether what waited is running now. Raises ValueError when it does not wait."""
    def release(self, latency: float | None = None, *, dropped: bool = False, now_ns: int | None = None) -> None:
        """Ends the request or the waiting; once, again it does nothing.

        ``latency`` in seconds is what an adaptive limit learns from; ``dropped`` says that the request timed out or was
        refused for overload.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

def shares_size(entries: int, slots: int) -> int:
    """Bytes of the region ``shares`` for so many keys at once, as many that clients choose, and so many slots."""

def prepare_shares(region: Region) -> None:
    """Makes the region of a new memory ready. To be called once, by its creator, before others use it.

    Raises ValueError when it is too small to hold anything. Does nothing when it is ready, or of no size.
    """

def release_slot(region: Region, slot: int) -> None:
    """Gives back all that the worker of this slot held or waited for. To be called when its process is gone."""

def merged(region: Region) -> int:
    """How many requests were counted together with those of other keys, because there was no room for their own."""
