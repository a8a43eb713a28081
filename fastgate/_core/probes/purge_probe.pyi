from fastgate._core.memory.cache.purges import Purges

def look(
    purges: Purges, number: int, tags: list[int], address: bytes = b"", path: int = 0, checked: int | None = None
) -> tuple[str, int]:
    """The state of an object, "valid", "stale" or "purged", and at which number it is checked now."""

def buckets_of(purges: Purges, tag: int) -> list[tuple[int, tuple[int, int], dict[int, tuple[int, int]]]]:
    """Both buckets of a tag: number, floors, and the tags in it with their numbers; hard first, soft second."""

def rules_of(purges: Purges) -> dict[tuple[bytes, bool], tuple[int, int]]:
    """The rules of prefixes: text and whether it is one of paths; hard and soft number."""

def everything_of(purges: Purges) -> tuple[int, int]:
    """The hard and the soft number of everything."""

def sizes_of(purges: Purges) -> tuple[int, int, int]:
    """Buckets, bytes of a map, and where the last of them ends in the region."""

def damage(purges: Purges, offset: int, data: bytes) -> None:
    """Overwrites what lies there: below 88 the words of the head, from there on rules, tags, floors and maps."""

def flood_purges(
    purges: Purges, seed: int, until_ns: int, every: int, keys: int, board: memoryview
) -> tuple[int, int, int, int]:
    """Purges, fetches and reads without a pause until this time; one of ``every`` steps is a purge of one of the keys,
    which are at most 800; with few of them now and then of everything. At least 300 purges, if it can.

    How many purges, fetches, records that were valid, and among these the ones that were older than a purge that had
    returned before. ``board`` is of 64-bit words that all processes share: a version of each of 800 keys, then the
    version at the last purge of each that has returned.
    """

def measure_looks(purges: Purges, tags: list[int], count: int, checked: bool) -> tuple[float, int]:
    """Nanoseconds of processor time of one look: at an object that was checked since the last purge, or was not."""
