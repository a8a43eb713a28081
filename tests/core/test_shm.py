"""The shared-memory segment: by itself, and between processes."""

import fcntl
import mmap
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.memory.histogram import Histogram
from fastgate._core.memory.segment import Segment, SegmentError
from fastgate._core.probes.shared import add_in_flight


def run_with(segment: Segment, program: str) -> "subprocess.Popen[str]":
    """Another process that runs this program with ``segment`` attached."""
    opening = (
        "import os\n"
        "from fastgate._core.memory.segment import Segment\n"
        "from fastgate._core.probes.shared import add_in_flight\n"
    )
    text = f"{opening}segment = Segment.attach({segment.fd})\n{program}"
    return subprocess.Popen(
        [sys.executable, "-c", text],
        pass_fds=[segment.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def output_of(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return output


def test_a_new_segment_is_all_zeros() -> None:
    segment = Segment.create(slots=3, targets=10)
    assert (segment.slots, segment.targets) == (3, 10)
    metrics = segment.metrics()
    assert metrics.pop("latency") == metrics.pop("upstream_latency") == Histogram()
    assert set(metrics.values()) == {0}
    assert [segment.heartbeat(slot) for slot in range(3)] == [0, 0, 0]


def test_what_one_process_writes_another_one_reads() -> None:
    segment = Segment.create(slots=2, targets=10)
    program = """
segment.occupy(1)
segment.count(1, "requests", 41)
add_in_flight(segment.rows, segment.rows.row("backend 127.0.0.1:80"), 1, 3)
print(os.getpid(), segment.rows.row("backend 127.0.0.1:80"))
"""
    pid, index = map(int, output_of(run_with(segment, program)).split())
    segment.count(0, "requests", 1)
    assert segment.metrics()["requests"] == 42
    assert segment.metrics(slot=1)["requests"] == 41
    assert segment.rows.row("backend 127.0.0.1:80") == index
    assert segment.rows.requests_in_flight(index) == 3
    assert segment.pid(1) == pid
    assert segment.starts(1) == 1
    assert 0 <= Segment.now() - segment.heartbeat(1) < 30_000


def test_the_words_of_a_killed_worker_are_zeroed_and_its_counters_stay() -> None:
    segment = Segment.create(slots=2, targets=4)
    program = """
segment.occupy(0)
add_in_flight(segment.rows, 2, 0, 5)
segment.count(0, "accepted", 7)
segment.count(0, "closed", 4)
print("ready", flush=True)
input()
"""
    process = run_with(segment, program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    add_in_flight(segment.rows, 2, 1, 1)
    assert segment.rows.requests_in_flight(2) == 6
    process.send_signal(signal.SIGKILL)
    process.communicate()
    segment.release(0)
    assert segment.rows.requests_in_flight(2) == 1
    metrics = segment.metrics()
    assert (metrics["accepted"], metrics["closed"]) == (7, 7)
    assert (segment.pid(0), segment.heartbeat(0), segment.starts(0)) == (0, 0, 1)


def test_processes_that_enter_the_same_targets_at_once_agree() -> None:
    segment = Segment.create(slots=1, targets=256)
    program = """
import sys
input()
print(*[segment.rows.row(f"target {number}") for number in range(200)])
"""
    processes = [run_with(segment, program) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {output_of(process) for process in processes}
    assert len(answers) == 1
    assert len(set(answers.pop().split())) == 200


@settings(max_examples=50)
@given(st.lists(st.text(max_size=8), max_size=30))
def test_a_target_has_one_index_and_an_index_one_target(names: list[str]) -> None:
    segment = Segment.create(targets=32)
    indices = {name: segment.rows.row(name) for name in names}
    assert len(set(indices.values())) == len(indices)
    assert all(0 <= index < 32 for index in indices.values())
    assert {name: segment.rows.row(name) for name in names} == indices


def test_a_full_table_says_so_and_still_finds_what_it_has() -> None:
    segment = Segment.create(targets=3)
    indices = [segment.rows.row(name) for name in "abc"]
    with pytest.raises(SegmentError, match="table of 3 targets is full"):
        segment.rows.row("d")
    assert [segment.rows.row(name) for name in "abc"] == indices


def test_counting_up_in_every_slot_loses_nothing() -> None:
    segment = Segment.create(slots=4)
    program = "segment.occupy({0})\nfor _ in range(100_000): segment.count({0}, 'requests')"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(output_of, [run_with(segment, program.format(slot)) for slot in range(4)]))
    assert segment.metrics()["requests"] == 400_000


def test_the_file_can_be_neither_shrunk_nor_grown_nor_unsealed() -> None:
    segment = Segment.create()
    for size in (0, segment.size * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(segment.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_memory_is_taken_when_it_is_used() -> None:
    segment = Segment.create(slots=64, targets=100_000)
    assert segment.size > 50_000_000
    assert os.fstat(segment.fd).st_blocks * 512 < 65536


def test_only_a_sealed_memory_file_is_attached() -> None:
    descriptor = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 1 << 20)
    with pytest.raises(SegmentError, match="not sealed"):
        Segment.attach(descriptor)
    reader, writer = os.pipe()
    with pytest.raises(SegmentError, match="not a memory file"):
        Segment.attach(reader)
    for each in (descriptor, reader, writer):
        os.close(each)


def overwritten(offset: int, value: int) -> Callable[[int], None]:
    def write(descriptor: int) -> None:
        with mmap.mmap(descriptor, 4096) as memory:
            struct.pack_into("=I", memory, offset, value)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (overwritten(0, 1), "not a segment"),
        (overwritten(4, 99), "layout 99 of the segment is not"),
        (overwritten(16, 7), "contradicts its size"),
        (overwritten(20, 1_000_000), "contradicts its size"),
        (overwritten(48, 7), "has no region 'workers': two versions of fastgate"),
        (overwritten(64, 9), "layout 9 of the region 'workers' is not 1: two versions of fastgate"),
        (overwritten(72, 7), "contradicts its size"),
    ],
)
def test_another_layout_is_refused(damage: Callable[[int], None], message: str) -> None:
    segment = Segment.create(slots=2)
    damage(segment.fd)
    with pytest.raises(SegmentError, match=message):
        Segment.attach(os.dup(segment.fd))


def test_a_refused_descriptor_stays_open() -> None:
    segment = Segment.create()
    overwritten(0, 1)(segment.fd)
    descriptor = os.dup(segment.fd)
    with pytest.raises(SegmentError):
        Segment.attach(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(("slots", "targets"), [(0, 1), (4097, 1), (1, 0), (1, 1_048_577)])
def test_sizes_have_limits(slots: int, targets: int) -> None:
    with pytest.raises(ValueError, match="1 to 4096 slots"):
        Segment.create(slots=slots, targets=targets)


def test_slots_and_targets_outside_the_segment_are_refused() -> None:
    segment = Segment.create(slots=2, targets=2)
    for call in (segment.heartbeat, segment.stamp, segment.occupy, segment.release, segment.pid, segment.starts):
        for slot in (-1, 2):
            with pytest.raises(IndexError):
                call(slot)
    for target, slot in [(2, 0), (-1, 0), (0, 2), (0, -1)]:
        with pytest.raises(IndexError):
            add_in_flight(segment.rows, target, slot, 1)
    with pytest.raises(IndexError):
        segment.rows.requests_in_flight(2)
    with pytest.raises(IndexError):
        segment.metrics(slot=2)
    with pytest.raises(KeyError):
        segment.count(0, "no such counter")


def test_a_segment_is_made_by_its_two_constructors_only() -> None:
    with pytest.raises(TypeError, match=r"Segment\.create"):
        Segment()
