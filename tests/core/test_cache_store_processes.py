"""The store of the response cache under several processes: raced, killed at any moment, and in damaged memory."""

import os

import pytest
from core.cache_workers import campaign

WRONG = ("wrong_copied", "wrong_pinned", "wrong_head", "wrong_along", "wrong_place")


def check_kills(seed: int, count: int) -> None:
    found = campaign("kills", seed, count)
    assert {name: found[name] for name in WRONG} == dict.fromkeys(WRONG, 0)
    assert found["left"] == 0, "segments or pins of the dead"
    assert found["dangling"] == 0, "words of the index that lead nowhere"
    assert found["twice"] == 0, "keys with two objects"
    assert found["lost_segments"] == 0, "segments that cannot be freed"
    assert found["store_damaged"] == 0
    # It was no idle test: they were killed in the middle of things, and lost the race for what they read now and then.
    assert found["open"] > count // 2
    busy = ("copied", "pinned", "stored", "filled", "replaced", "streamed", "read_along")
    assert min(found[name] for name in busy) > 10 * count
    assert found["scratch"] > 0, "nobody was killed while he streamed"
    assert found["store_evictions"] > 10 * count
    assert found["gone"] > 0


def test_processes_that_are_killed_leave_nothing_behind_and_nobody_reads_a_wrong_byte() -> None:
    check_kills(int.from_bytes(os.urandom(4)), 120)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_a_thousand_kills(part: int) -> None:
    check_kills(int.from_bytes(os.urandom(4)), 250)


def test_processes_that_race_and_end_by_themselves() -> None:
    found = campaign("races", int.from_bytes(os.urandom(4)), 60_000)
    assert found["statuses"] == [0, 0, 0, 0]
    assert {name: found[name] for name in WRONG} == dict.fromkeys(WRONG, 0)
    assert (found["held"], found["dangling"], found["twice"], found["damaged"]) == (0, 0, 0, 0)
    # What is counted for each segment is what is there.
    assert found["objects"] == found["counted"] > 0
    assert found["copied"] > 10_000


def test_of_two_that_store_one_key_at_the_same_instant_one_stays() -> None:
    found = campaign("together", 0, 20_000)
    assert found == {"objects": 20_000, "dangling": 0, "twice": 0, "stores": 40_000}


def test_damaged_memory_stops_and_crashes_nobody() -> None:
    """What is read may be wrong where the very bytes of a body were changed; all go on, whatever was."""
    found = campaign("damage", int.from_bytes(os.urandom(4)), 2)
    assert found["going"] == [True, True, True]
    assert found["flips"] > 1000
    assert found["damaged"] > 0
    assert found["copied"] > 1000
