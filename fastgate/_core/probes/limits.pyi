from typing import NoReturn

from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.rate import Limit
from fastgate._core.memory.region import Region

def siphash_13(key: bytes, text: bytes) -> int:
    """SipHash-1-3 of a text with a key of 16 bytes."""

def siphash_continued(key: bytes, text: bytes, begin: int) -> int:
    """SipHash-1-3 of a text of which so many bytes were read before, as the beginning of many."""

def siphash_2_4(key: bytes, text: bytes) -> int:
    """SipHash-2-4 of a text with a key of 16 bytes."""

def measure(limit: Limit, keys: bytes, width: int, passes: int) -> float:
    """Nanoseconds of processor time of one check with hash and clock, over passes over keys of ``width`` bytes."""

def measure_overhead(limit: Limit, keys: bytes, width: int, passes: int) -> float:
    """The same with hash and clock only: what of measure() is not the check."""

def flood(limit: Limit, key: bytes, until_ns: int, admitted: memoryview) -> int:
    """Checks one key without a pause until this time. Returns how many checks it made.

    ``admitted`` is of 64-bit words: the number of admissions, then two times for each, before and after the check. The
    limit was told the first one.
    """

def take_numbers(limit: Limit, count: int, now_ns: int) -> int:
    """Takes one for each of the keys that are the hashes of 1 to ``count``. How many were admitted."""

def flood_shares(limit: Concurrency, key: bytes, until_ns: int, board: memoryview) -> tuple[int, int]:
    """Takes and releases shares of one key without a pause until this time: how many, and the most it saw at once.

    ``board`` begins with a 64-bit word that all processes share: how many hold one now.
    """

def die_with_every_lock(limits: Region, logs: Region, shares: Region) -> NoReturn:
    """Takes all locks of the regions of limits and kills its own process."""
