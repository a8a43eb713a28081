"""The store of the response cache: objects of bytes under keys of bytes, which all processes of a host share."""

from fastgate._core.memory.cache.cache_file import CacheFile

class CacheStore:
    """A process's view of the store in a file.

    ``slot`` is which of the file's slots it has: only with one can it store and pin, and only one process may have it
    at a time. Without, it looks and copies. ValueError: another process has the slot. IndexError: no such slot.
    """

    file: CacheFile

    def __init__(self, file: CacheFile, slot: int | None = None) -> None: ...
    @property
    def slot(self) -> int | None:
        """Its slot; None: it can only look and copy."""

    @property
    def pinned(self) -> int:
        """How many segments this process holds, each as often as it holds it."""

    def give_up(self) -> None:
        """Gives the slot back; from then on it looks and copies. BufferError: something is pinned."""

    def recover(self, slot: int) -> None:
        """Gives back what a process that is gone had in its slot. Any process may do it, and more than once.

        The process must be surely gone (waited for), and its successor not yet started. IndexError: no such slot.
        """

    def was_used(self, slot: int) -> bool:
        """Whether a process ever had a slot: if not, nothing is to be recovered. IndexError: no such slot."""

    def make_room(self) -> None:
        """Frees segments if there are too few, for about 0.2 ms at most."""

    def clear(self) -> None:
        """Nothing that is stored, or is being stored, is found from now on, in any process."""

    def stats(self) -> dict[str, int]:
        """What is stored and what was counted. Reads no data and no index."""

    @staticmethod
    def now() -> int:
        """The clock of the store: CLOCK_BOOTTIME in milliseconds."""
