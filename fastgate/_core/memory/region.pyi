class SegmentError(Exception):
    """Shared memory cannot be used: another layout, damaged, not sealed, or full."""

class Mapping:
    """Memory that is mapped; unmapped, and its descriptor closed, with the object."""

    size: int

class Region:
    """A part of shared memory with a name; made by whoever has the memory.

    ``version`` is that of its layout, ``slots`` how many worker slots the memory is made for.
    """

    name: str
    version: int
    size: int
    slots: int

def memory_file(name: str, size: int) -> int:
    """The descriptor of a new file in memory, sealed against another size; -1: this system has none (macOS), so that
    one process has its memory alone. OSError: it is refused.
    """

def check_sealed(fd: int) -> None:
    """SegmentError: the descriptor is no file in memory, or one that could be made smaller under its users."""
