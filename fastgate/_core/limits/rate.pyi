from fastgate._core.memory.region import Region
from fastgate._core.memory.store import RateCounter

class Decision:
    """The answer of a limit. True if it admitted the request."""

    @property
    def admitted(self) -> bool: ...
    @property
    def remaining(self) -> int:
        """How many more requests the limit would admit at this instant."""
    @property
    def reset(self) -> float:
        """Seconds until the bucket is full again, the window ends, or the oldest admission leaves the span."""
    @property
    def retry_after(self) -> float:
        """0.0 if admitted; else seconds until the limit admits the next request, in whole milliseconds."""
    def __bool__(self) -> bool: ...

class Limit(RateCounter):
    """How many requests a key may have in a span of time: TokenBucket, FixedWindow or SlidingWindowLog.

    All processes that share a region share its counts, and so do all limits of one kind and ``name`` in it: changed
    numbers apply to earlier counts. Without a region a limit has its own memory. Times (``now_ns``) are
    those of ``time.monotonic_ns()``, and this is their default.

    If there is no room for a new key, the limit forgets another one: the key that has used the least share of its
    limit; limits with many keys lose keys first. ``chosen`` says that clients choose the keys (for example by a
    header field): these have separate room, so that invented keys take none from the others.
    """

    @property
    def region(self) -> Region: ...
    @property
    def rate(self) -> int: ...
    @property
    def chosen(self) -> bool: ...
    @property
    def per(self) -> float:
        """The span of time that ``rate`` refers to, in seconds."""
    def take(self, key: str | bytes, amount: int = 1, *, now_ns: int | None = None) -> Decision:
        """Takes an amount for this key, if the limit admits it as a whole. A ``str`` is the same key as its UTF-8.

        More than the whole limit is admitted alone, where nothing of the limit is used, and uses all of it. Raises
        ValueError for an amount that is not a whole number from 1 to 2147483647.
        """
    def peek(self, key: str | bytes, amount: int = 1, *, now_ns: int | None = None) -> Decision:
        """What take() would answer, without taking: ``remaining`` includes what take() would count."""
    def put_back(self, key: str | bytes, amount: int = 1, *, now_ns: int | None = None) -> None:
        """Undoes an admission of take() at this time."""
    def adjust(
        self, key: str | bytes, taken: int, actual: int, *, taken_ns: int | None = None, now_ns: int | None = None
    ) -> None:
        """The amount that take() admitted at ``taken_ns`` turned out to be another one: less, 0 even, or more.

        More is used in any case, and those who come next wait for it. Nothing changes where the admission no longer
        counts: its window has ended, its span has passed.
        """

class TokenBucket(Limit):
    """``burst`` (default: ``rate``) at one instant from idle, then one every ``per / rate`` seconds.

    Over any span at most ``burst + rate * span / per`` are admitted. Where adjust() finds that more was used than was
    taken, the bucket owes it, up to ``overdraft``; what is beyond that is forgotten.
    ``entries`` is how many keys its own memory has room for (16 bytes each). Raises ValueError for a rate or a burst
    that is not a whole number of at least 1, for more than one in a nanosecond, for a span of more than 366 days, and
    SegmentError when the region is another one or was not prepared.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        burst: int | None = None,
        *,
        overdraft: int = 0,
        region: Region | None = None,
        entries: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...
    @property
    def burst(self) -> int: ...

class FixedWindow(Limit):
    """At most ``rate`` in each window of ``per`` seconds; windows follow one another without a gap.

    They begin at multiples of ``per`` of the wall clock as it was when the region was prepared. A window is at least
    0.05 seconds long and counts to 268,435,455. ``entries`` and what is raised: as for TokenBucket.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        *,
        region: Region | None = None,
        entries: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...

class SlidingWindowLog(Limit):
    """At most ``rate`` in any span of ``per`` seconds, wherever it begins.

    It keeps the time of each admission, an amount as so many: ``stamps`` is how many its own memory has room for (about
    11 bytes each).
    What is raised: as for TokenBucket.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        *,
        region: Region | None = None,
        stamps: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...

def limits_size(entries: int) -> int:
    """Bytes of the region ``limits``: so many keys of token buckets and fixed windows, as many that clients choose."""

def logs_size(stamps: int) -> int:
    """Bytes of the region ``logs`` for so many time stamps of sliding logs, and as many of keys that clients choose."""

def prepare(region: Region) -> None:
    """Makes the region ``limits`` or ``logs`` of a new memory ready. To be called once, by its creator, before others
    use it.

    Raises ValueError when it is too small to hold anything. Does nothing when it is ready, or of no size.
    """

def evictions(region: Region) -> int:
    """How many keys the limits forgot too early because memory was full: token buckets and fixed windows in the region
    ``limits``, sliding logs in ``logs``.
    """

def lifted(region: Region) -> int:
    """How many of them were at their limit."""
