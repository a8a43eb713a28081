"""Looks into the store of the response cache, and does to it what only the core does. Only tests load it."""

from typing import TypeAlias

from fastgate._core.memory.cache.cache_store import CacheStore

Meta: TypeAlias = tuple[int, int, int, int, tuple[int, int, int], int, int]

def segments(store: CacheStore) -> list[tuple[str, int, int | None, int]]:
    """State, class, owner's slot (or None) and generation of each segment."""

def pins(store: CacheStore, slot: int) -> int:
    """How many pins the process of a slot has, in all segments."""

def audit(store: CacheStore) -> tuple[int, int, int, int]:
    """What the index leads to: (objects, words that lead nowhere, keys found more than once, parts of bodies)."""

def store_whole(
    store: CacheStore,
    key: bytes,
    head: bytes,
    fields: bytes,
    body: bytes,
    flags: int = 0,
    purge: int = 0,
    checked: int = 0,
    dies: int = 0,
    words: tuple[int, int, int] = (0, 0, 0),
    now: int | None = None,
    is_new: bool = False,
) -> bool:
    """Stores an object in one go."""

class Seen:
    """An object that was found, as a reader keeps it."""

    @staticmethod
    def of(store: CacheStore, key: bytes, now: int | None = None) -> Seen | None:
        """What is stored under a key; None: nothing that is of use."""

    @staticmethod
    def at(store: CacheStore, place: int, generation: int) -> Seen | None:
        """What is at a place, as `place` and `generation` said it in any process; None: it is not there any more."""

    @property
    def place(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def segment(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def parts(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def head(self) -> bytes: ...
    @property
    def fields(self) -> bytes: ...
    @property
    def meta(self) -> Meta:
        """Flags, purge, checked, dies, the three words, retry_at, frequency."""

    @property
    def filled(self) -> int | None:
        """How many bytes of the body are there; None: it was abandoned."""

    @property
    def ended(self) -> bool:
        """Whether `filled` is final."""

    def hold_part(self, position: int = 0) -> int | None:
        """Pins the segment in which a position of the body lies: its number; None: it is not there."""

    def body(self, position: int = 0, length: int | None = None) -> bytes | None:
        """A copy of the body, or of a piece; None: it is not whole any more."""

    def still(self) -> bool: ...
    def pin(self) -> bool: ...
    def unpin(self) -> None: ...
    def set_checked(self, value: int) -> None: ...
    def set_retry_at(self, value: int) -> None: ...
    def replace_head(
        self,
        head: bytes,
        fields: bytes,
        flags: int = 0,
        purge: int = 0,
        checked: int = 0,
        dies: int = 0,
        words: tuple[int, int, int] = (0, 0, 0),
        now: int | None = None,
    ) -> bool: ...

class Filler:
    """Stores an object in pieces. It has to be published or abandoned, or its process to die."""

    @staticmethod
    def begin(
        store: CacheStore,
        key: bytes,
        head: bytes,
        fields: bytes,
        length: int,
        flags: int = 0,
        purge: int = 0,
        checked: int = 0,
        dies: int = 0,
        words: tuple[int, int, int] = (0, 0, 0),
    ) -> Filler | None:
        """None: the store is full, or it is too large."""

    @staticmethod
    def stream(
        store: CacheStore,
        key: bytes,
        head: bytes,
        fields: bytes,
        most: int,
        flags: int = 0,
        purge: int = 0,
        checked: int = 0,
        dies: int = 0,
        words: tuple[int, int, int] = (0, 0, 0),
    ) -> Filler | None:
        """For a body whose length is not known. None: the store is full, or the head is too large."""

    def publish_stream(
        self,
        key: bytes,
        head: bytes,
        fields: bytes,
        flags: int = 0,
        purge: int = 0,
        checked: int = 0,
        dies: int = 0,
        words: tuple[int, int, int] = (0, 0, 0),
    ) -> tuple[int, int] | None:
        """Where it is stored: place, generation; None: it is not."""

    @property
    def place(self) -> int: ...
    @property
    def generation(self) -> int: ...
    def append(self, data: bytes) -> bool: ...
    def publish(self) -> bool: ...
    def abandon(self) -> None: ...

def release_part(store: CacheStore, segment: int) -> None:
    """What `Seen.hold_part` has pinned."""

def scratch(store: CacheStore) -> list[int]:
    """How many segments of streams that are not published each slot says that it has."""

def starve(store: CacheStore) -> None:
    """What a store says that finds no segment."""

def work(store: CacheStore, budget: int, now: int | None = None) -> None:
    """Frees segments for about so many bytes, whether or not there are too few."""

def free_all(store: CacheStore, now: int | None = None, calls: int = 100000) -> None:
    """Frees every segment that can be, as if everything had to make place."""

def time_looks(store: CacheStore, keys: bytes, width: int, order: list[int], passes: int) -> tuple[float, int]:
    """Nanoseconds of a look-up with a copy of the value, of keys of one width that lie one behind the other."""

def forge(
    seen: Seen, head_length: int | None = None, body_length: int | None = None, kind: int | None = None
) -> None:
    """Changes what a record says of itself, and gives it the check that fits."""
