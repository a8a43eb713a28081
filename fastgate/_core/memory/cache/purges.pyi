from typing import NamedTuple

from fastgate._core.memory.region import Region

class PurgeStats(NamedTuple):
    """What was purged, and how often without need.

    ``number`` grows with every purge and with every turn of the presence maps. ``unneeded`` counts URIs that unsafe
    requests have changed and of which nothing was asked for. Whenever ``floors_raised``, ``prefixes_merged`` or
    ``turns`` grows, objects may count as purged that were not.
    """

    number: int
    by_tag: int
    by_prefix: int
    everything: int
    unneeded: int
    floors_raised: int
    prefixes_merged: int
    turns: int

def purges_size(store: int) -> int:
    """Bytes of the region for a store of so many bytes: for tags a sixty-fourth of it, for presence a 256th."""

class Purges:
    """The purges of a region, as one process sees them. Any number of processes may use it at once."""

    region: Region
    def __init__(self, region: Region) -> None: ...
    @property
    def number(self) -> int:
        """How many purges there were, turns of the presence maps included."""
    def tag(self, kind: str, text: bytes) -> int:
        """The hash by which what has this text is purged. Raises ValueError for an unknown kind.

        Kinds are "uri", "route", "host", "tag" and "group".
        """
    def begin(self, uri: int) -> int:
        """Marks a URI, whose request is to be sent now: the number of the object that it becomes."""
    def purge_tag(self, tag: int, *, soft: bool = False) -> None:
        """Purges what has a tag, in all processes, before it returns. Raises ValueError for 0, which tag() never is."""
    def purge_prefix(self, prefix: bytes, *, path: bool = False, soft: bool = False) -> None:
        """Purges addresses that begin with a prefix, or whose path does. An empty one purges everything.

        A prefix of more than 228 bytes is cut there.
        """
    def purge_everything(self, *, soft: bool = False) -> None:
        """Purges everything."""
    def invalidate(self, uri: int) -> bool:
        """Purges a URI that an unsafe request has changed. False: nothing of it was ever asked for, nothing to do."""
    def stats(self) -> PurgeStats:
        """What was purged, and how often without need."""
