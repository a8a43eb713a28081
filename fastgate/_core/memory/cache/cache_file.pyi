"""The file of the response cache: one for a host, of a fixed size, mapped by every process that caches."""

from fastgate._core.memory.region import Region

MOST_SLOTS: int
MOST_BYTES: int

def needed(slots: int) -> int:
    """The smallest ``max_bytes`` with which a store for so many slots works. ValueError: not 1 to 4096 slots."""

def least_segments(slots: int) -> int:
    """With how many segments a store for so many slots works: each slot has two open ones and one that it frees."""

class CacheFile:
    """The file of a response cache, made by create() or attach(). Unmapped, its descriptor closed, with the last that
    uses it.

    ``segments`` of ``segment_size`` bytes hold what is stored.
    """

    slots: int
    segments: int
    segment_size: int
    max_bytes: int

    @staticmethod
    def create(max_bytes: int, *, slots: int = 1) -> CacheFile:
        """A new, empty file of at most ``max_bytes``, for ``slots`` processes that store and pin.

        ValueError: not 1 to 4096 slots, or too small for so many: the message says how much is needed. OSError: the
        system refuses the memory.
        """

    @staticmethod
    def attach(fd: int) -> CacheFile:
        """The file behind an inherited descriptor, which from now on belongs to the object.

        SegmentError: it is not the file of a cache, or not sealed, or of another layout than this program knows; the
        descriptor is left alone.
        """

    def region(self, name: str) -> Region:
        """A part of the file by its name. SegmentError: there is none of this name."""

    @property
    def size(self) -> int:
        """Bytes of the file; those that were never written cost nothing."""

    @property
    def fd(self) -> int:
        """Its descriptor; -1: none, since this system has no such files: the memory is of this process alone."""
