"""The memory of the response cache: made when it is needed, shared with workers, taken back from dead ones."""

import errno
import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest
from server.cache_keeper import Told, key_of, store
from server.harness import environment

from fastgate._core.memory.cache.cache_file import needed
from fastgate._core.probes import flight_probe
from fastgate._core.probes.cache_probe import Seen
from fastgate.config import ConfigError, GatewayConfig
from fastgate.state.cache_memory import CacheMemory, cache_problems

MB = 1 << 20


def settings(max_bytes: int = 8 * MB) -> GatewayConfig:
    return GatewayConfig.from_dict({"cache": {"max_bytes": max_bytes}})


@pytest.fixture
def memory() -> Iterator[CacheMemory]:
    memory = CacheMemory.create(settings(), 2)
    yield memory
    memory.close()


def worker_of(memory: CacheMemory) -> CacheMemory:
    """The same memory as another process gets it."""
    return CacheMemory.attach(os.dup(memory.fd), [os.dup(each) for each in memory.wakers])


def blocks(memory: CacheMemory) -> int:
    return os.fstat(memory.fd).st_blocks


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as error:
        assert error.errno == errno.EBADF
        return False
    return True


def is_readable(fd: int) -> bool:
    return select.select([fd], [], [], 0)[0] == [fd]


def test_a_slot_is_opened_once(memory: CacheMemory) -> None:
    cache = memory.open(1)
    assert memory.open(1) is cache
    assert (cache.slot, cache.memory.slot, cache.flights.slot) == (1, 1, 1)
    worker = worker_of(memory)
    with pytest.raises(ValueError, match="slot 1 belongs to process"):
        worker.open(1)
    other = worker.open(0)
    assert store(cache, b"/a")
    assert Seen.of(other.memory, key_of(b"/a"))
    worker.close()
    with pytest.raises(IndexError):
        memory.open(2)


def test_the_file_costs_a_page_until_it_is_used(memory: CacheMemory) -> None:
    memory.make()
    before = blocks(memory)
    assert before * 512 <= 3 * 4096
    for slot in range(2):
        memory.release(slot)
    assert list(memory.walk(b"")) == []
    # Of the rows of slots that were looked at.
    assert blocks(memory) - before <= 4096 // 512
    store(memory.open(0), b"/a")
    memory.release(1)
    assert blocks(memory) > before


def test_what_a_worker_had_is_taken_back_once_it_is_gone(memory: CacheMemory) -> None:
    worker = worker_of(memory)
    cache = worker.open(0)
    other = memory.open(1)
    assert store(cache, b"/a")
    seen = Seen.of(cache.memory, key_of(b"/a"))
    assert seen is not None
    assert seen.pin()
    how, ticket = flight_probe.enter(cache.flights, 5)
    assert how == "lead"
    assert memory.stats().pinned == 1
    for _ in range(2):
        memory.release(0)
        assert memory.stats().pinned == 0
        assert flight_probe.look(other.flights, ticket)[0] == "given up"
        assert is_readable(memory.wakers[1])
    successor = worker_of(memory)
    assert store(successor.open(0), b"/b")
    assert all(Seen.of(other.memory, key_of(path)) for path in (b"/a", b"/b"))
    successor.close()


def test_the_first_store_of_a_worker_throws_nothing_out(memory: CacheMemory) -> None:
    for number in range(8):
        worker = worker_of(memory)
        assert store(worker.open(0), b"/%d" % number)
        worker.close()
    assert memory.stats().objects == 8
    assert memory.stats().evictions == 0


def test_a_slot_that_is_given_up_can_be_opened_elsewhere(memory: CacheMemory) -> None:
    cache = memory.open(0)
    assert memory.give_up(0)
    assert cache.memory.slot is None
    worker = worker_of(memory)
    assert worker.open(0)
    worker.close()
    assert memory.give_up(0)  # twice does no harm
    assert memory.open(0).slot == 0


def test_what_is_pinned_keeps_its_slot_and_its_descriptors() -> None:
    memory = CacheMemory.create(settings(), 1)
    wakers = memory.wakers
    cache = memory.open(0)
    store(cache, b"/a")
    seen = Seen.of(cache.memory, key_of(b"/a"))
    assert seen is not None
    assert seen.pin()
    assert not memory.give_up(0)
    memory.close()
    assert is_open(wakers[0])
    seen.unpin()
    os.close(wakers[0])


def test_closing_closes_all_descriptors() -> None:
    memory = CacheMemory.create(settings(), 3)
    worker = worker_of(memory)
    unmapped = worker_of(memory)
    descriptors = [memory.fd, *memory.wakers, worker.fd, *worker.wakers, unmapped.fd, *unmapped.wakers]
    assert not any(os.get_inheritable(each) for each in descriptors)
    worker.open(2)
    for each in (memory, worker, unmapped):
        each.close()
        each.close()
        with pytest.raises(RuntimeError, match="closed"):
            each.open(0)
    assert [each for each in descriptors if is_open(each)] == []


def test_without_eventfds_one_process_is_woken_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd")
    monkeypatch.delattr(os, "memfd_create")
    memory = CacheMemory.private()
    cache = memory.open(0)
    assert memory.fd == -1
    (waker,) = memory.wakers
    assert not os.get_inheritable(waker)
    how, ticket = flight_probe.enter(cache.flights, 5)
    _, same = flight_probe.enter(cache.flights, 5)
    follower = Told(cache.flights, same)
    heard: list[str] = []
    follower.heard = heard
    follower.look()
    assert (how, follower.wait(), is_readable(waker)) == ("lead", True, False)
    assert flight_probe.give_up(cache.flights, ticket)
    while is_readable(waker):
        cache.woken()
    assert heard == ["given up"]
    memory.close()
    assert not is_open(waker)


def test_what_is_counted(memory: CacheMemory) -> None:
    cache = memory.open(0)
    for number in range(5):
        assert store(cache, b"/%d" % number)
    flight_probe.enter(cache.flights, 1)
    memory.purges.purge_everything()
    memory.purges.purge_prefix(b"/a", path=True)
    stats = memory.stats()
    assert (stats.objects, stats.stores, stats.max_bytes, stats.pinned) == (5, 5, 8 * MB, 0)
    assert 500 < stats.bytes == stats.used_bytes
    assert (stats.flights.led, stats.flights.followed) == (1, 0)
    assert (stats.purges.tag, stats.purges.prefix, stats.purges.everything) == (0, 1, 1)


@pytest.mark.parametrize("slots", [1, 2, 9, 64, 1024])
def test_memory_that_is_too_small_is_an_error_that_says_what_is_needed(slots: int) -> None:
    least = needed(slots)
    assert cache_problems(settings(least), slots) == []
    (problem,) = cache_problems(settings(least - 1), slots)
    workers = "1 worker needs" if slots == 1 else f"{slots} workers need"
    assert problem.path == "cache.max_bytes"
    assert problem.message.startswith(f"{least - 1}B is too small: {workers} ")
    with pytest.raises(ConfigError, match="at least"):
        CacheMemory.create(settings(least - 1), slots)
    made = CacheMemory.create(settings(least), slots)
    assert made.file.slots == slots
    made.close()


def test_it_loads_nothing_of_the_core_before_it_is_used() -> None:
    program = """
import sys
from fastgate.config import GatewayConfig
from fastgate.state.cache_memory import CacheMemory
CacheMemory.create(GatewayConfig.from_dict({}), 4)
CacheMemory.attach(-1, [])
print([name for name in sys.modules if name.startswith("fastgate._core") and "cache" in name])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True, env=environment()
    )
    assert done.stdout.strip() == "[]"
