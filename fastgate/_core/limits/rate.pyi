from fastgate._core.memory.segment import Segment

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

class Limit:
    """How many requests a key may have in a span of time: TokenBucket, FixedWindow or SlidingWindowLog.

    All processes that attach one segment share its counts, and so do all limits of one kind and ``name`` in it: changed
    numbers apply to earlier counts. Without a segment a limit has its own memory. Times (``now_ns``) are
    those of ``time.monotonic_ns()``, and this is their default.

    If there is no room for a new key, the limit forgets another one: the key that has used the least share of its
    limit; limits with many keys lose keys first. ``chosen`` says that clients choose the keys (for example by a
    header field): these have separate room, so that invented keys take none from the others.
    """

    @property
    def segment(self) -> Segment: ...
    @property
    def rate(self) -> int: ...
    @property
    def chosen(self) -> bool: ...
    @property
    def per(self) -> float:
        """The span of time that ``rate`` refers to, in seconds."""
    def take(self, key: str | bytes, *, now_ns: int | None = None) -> Decision:
        """Takes one for this key, if the limit admits it. A ``str`` is the same key as its UTF-8."""
    def peek(self, key: str | bytes, *, now_ns: int | None = None) -> Decision:
        """What take() would answer, without taking: ``remaining`` includes the request that take() would count."""
    def put_back(self, key: str | bytes, *, now_ns: int | None = None) -> None:
        """Undoes an admission of take() at this time."""

class TokenBucket(Limit):
    """``burst`` (default: ``rate``) at one instant from idle, then one every ``per / rate`` seconds.

    Over any span at most ``burst + rate * span / per`` are admitted. ``entries`` is how many keys its own memory has
    room for (16 bytes each). Raises ValueError for a rate or a burst that is not a whole number of at least 1, for more
    than one request in a nanosecond, for a span of more than 366 days; SegmentError if the segment was not prepared.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        burst: int | None = None,
        *,
        segment: Segment | None = None,
        entries: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...
    @property
    def burst(self) -> int: ...

class FixedWindow(Limit):
    """At most ``rate`` in each window of ``per`` seconds; windows follow one another without a gap.

    They begin at multiples of ``per`` of the wall clock as it was when the segment was prepared. A window is at least
    0.05 seconds long and counts to 268,435,455. ``entries`` and what is raised: as for TokenBucket.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        *,
        segment: Segment | None = None,
        entries: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...

class SlidingWindowLog(Limit):
    """At most ``rate`` in any span of ``per`` seconds, wherever it begins.

    It keeps the time of each admission: ``stamps`` is how many its own memory has room for (about 11 bytes each).
    What is raised: as for TokenBucket.
    """

    def __init__(
        self,
        rate: int,
        per: float = 1.0,
        *,
        segment: Segment | None = None,
        stamps: int = 65536,
        name: str = "",
        chosen: bool = False,
    ) -> None: ...

def limits_size(entries: int) -> int:
    """Bytes of the region ``limits``: so many keys of token buckets and fixed windows, as many that clients choose."""

def logs_size(stamps: int) -> int:
    """Bytes of the region ``logs`` for so many time stamps of sliding logs, and as many of keys that clients choose."""

def prepare(segment: Segment) -> None:
    """Makes the regions of a new segment ready. To be called once, by its creator, before others attach it.

    Raises ValueError when a region is too small to hold anything. Does nothing when they are ready.
    """

def evictions(segment: Segment) -> int:
    """How many keys the limits forgot too early because memory was full, in the table and in the sliding logs."""

def lifted(segment: Segment) -> int:
    """How many of them were at their limit."""
