"""The cache of a host for Python: bytes under keys of bytes, which several processes share."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeVar, overload

from fastgate._core.memory.cache.cache_store import CacheStore

T = TypeVar("T")

class PinnedValue:
    """A value where it lies in the store, not copied. It stays as it is until close(), whatever becomes of its key.

    It has the buffer protocol, so that ``memoryview(value)`` and ``socket.send(value)`` read from the store itself; a
    large value may lie in several ``parts``. Use it as a context manager, or drop it: it is closed with its last
    reference. What is pinned for long keeps a segment of the store from being freed.
    """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def parts(self) -> tuple[memoryview, ...]:
        """The value as a sequence of read-only buffers, which together are all of it."""

    def close(self) -> None:
        """Lets the store have its memory back. BufferError: a memoryview of it is still in use."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class ValuePart:
    """One of the parts of a value that lies in several."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

class SharedCache:
    """A cache of bytes in memory that processes share: one file of a fixed size, which costs nothing until it is used.

    What is used is kept, what is not makes place (S3-FIFO): a scan over many keys does not throw out what is asked for
    often. A process may die at any moment without harm to the others.
    """

    store: CacheStore

    @staticmethod
    def create(max_bytes: int = 268435456, *, slots: int = 1, slot: int | None = 0) -> SharedCache:
        """A new cache, empty, of at most ``max_bytes`` with all its tables.

        ``slots`` is how many processes can store at once; this one takes ``slot``, or with None none of them: then it
        can only read, delete and recover. ValueError: max_bytes is too small for so many slots.
        """

    @staticmethod
    def attach(fd: int, *, slot: int | None = None) -> SharedCache:
        """The cache behind a descriptor that was inherited or received, which belongs to the object from now on.

        SegmentError: it is not a cache of this version. ValueError: another process has the slot. IndexError: no such
        slot. In each case the descriptor is left alone.
        """

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, copied; None: there is none, or its time is over."""

    def pin(self, key: bytes) -> PinnedValue | None:
        """The value of a key where it lies, see `PinnedValue`; None: there is none. RuntimeError: there is no slot."""

    def put(
        self,
        key: bytes,
        value: bytes | bytearray | memoryview,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        since: int | None = None,
    ) -> bool:
        """Stores a value, ``ttl`` seconds from now on at most, until one of its ``tags`` is purged, or until it has to
        make place.

        ``since`` is the moment() at which the value began to be made: a purge that came later holds for it. Without it
        that is now. What was stored with a later moment stays as it is.

        False: it is not stored: it was purged meanwhile, or the store is full of what is in use, or the value is larger
        than a quarter of it. What was stored under the key before is then gone. ValueError: a key of more than 65,535
        bytes, more than 64 tags, a ttl that is not more than 0, or a moment that has not yet come. RuntimeError: this
        process has no slot.
        """

    def moment(self) -> int:
        """What `put` takes as ``since``: ask for it before you read what a value is made of."""

    def purge(self, tag: str) -> None:
        """Nothing that has the tag is found from now on, in any process, and nothing that began to be made before.

        It takes no longer for a full cache. Another process that purges at the same instant may be waited for; no other
        call waits, and a process that is killed holds up nobody.
        """

    def purge_everything(self) -> None:
        """The same for all values, with tags or without. Unlike clear() it holds for what is put with an earlier
        moment too.
        """

    def delete(self, key: bytes) -> bool:
        """Removes a key; whether it was there."""

    @overload
    def pop(self, key: bytes) -> bytes | None:
        """Removes a key and returns its value. Of several processes that do so one gets it, the others the default."""

    @overload
    def pop(self, key: bytes, default: T) -> bytes | T: ...
    def clear(self) -> None:
        """Nothing that was stored is found from now on, in any process. It takes no longer for a full cache."""

    def make_room(self) -> None:
        """For a process with nothing else to do: frees memory for what will be stored, about 0.2 ms at most."""

    def recover(self, slot: int) -> None:
        """Gives back what a process that died had in its slot, which another one may take then.

        The process must be surely gone: waited for. Any process may call it, and more than once. IndexError: no such
        slot.
        """

    def stats(self) -> dict[str, int]:
        """Numbers: what is stored (objects, bytes, segments by state) and what was counted since it was made."""

    def close(self) -> None:
        """Gives the slot back. BufferError: something is pinned. Reading works on."""

    @property
    def fd(self) -> int:
        """The descriptor of its file, for other processes; -1: none, since this system has no such files."""

    @property
    def size(self) -> int:
        """Bytes of its file: at most max_bytes. What was never used takes no memory."""

    @property
    def slots(self) -> int:
        """How many processes can store."""

    @property
    def slot(self) -> int | None:
        """The slot of this process; None: it can only read and delete."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def __contains__(self, key: bytes) -> bool: ...
