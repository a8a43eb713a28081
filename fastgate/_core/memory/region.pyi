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
