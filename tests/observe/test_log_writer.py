"""The access log's writer: whole lines, in order, never in the way of a request, whatever becomes of the file."""

import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgate.config import ConfigError
from fastgate.observe import access_log
from fastgate.observe.access_log import LogWriter


def line(number: int, size: int = 20) -> bytes:
    return b"%0*d\n" % (size - 1, number)


def eventually(condition: Callable[[], object], seconds: float = 5) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@contextlib.contextmanager
def piped_stdout() -> Iterator[int]:
    """Standard output is a pipe; gives its reading end. (Not a fixture: pytest moves descriptor 1 after set-up.)"""
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(reader)


def test_lines_are_written_in_order_and_soon(path: Path) -> None:
    writer = LogWriter(str(path))
    for number in range(1000):
        assert writer.append(line(number))
    eventually(lambda: path.read_bytes() == b"".join(map(line, range(1000))), access_log.FLUSH_INTERVAL + 0.5)
    writer.close()
    assert writer.dropped == 0


def test_closing_writes_what_waits(path: Path) -> None:
    writer = LogWriter(str(path))
    writer.append(line(1) + line(2), 2)
    writer.close()
    assert path.read_bytes() == line(1) + line(2)
    assert not writer.append(line(3))


def test_it_appends_to_what_is_there(path: Path) -> None:
    path.write_bytes(line(0))
    writer = LogWriter(str(path))
    writer.append(line(1))
    writer.close()
    assert path.read_bytes() == line(0) + line(1)
    assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0


def test_lines_that_are_gathered_elsewhere_are_collected(path: Path) -> None:
    gathered = [line(1), line(2)]
    writer = LogWriter(str(path))
    writer.collect = lambda: gathered and writer.append(b"".join(gathered), 2) and gathered.clear()
    writer.wake()
    eventually(lambda: path.read_bytes() == line(1) + line(2))
    gathered.append(line(3))
    writer.close()
    assert path.read_bytes() == line(1) + line(2) + line(3)


def test_reopening_follows_a_rename(path: Path) -> None:
    writer = LogWriter(str(path))
    writer.append(line(1))
    eventually(lambda: path.read_bytes() == line(1))
    path.rename(path.with_suffix(".1"))
    writer.reopen()
    eventually(path.exists)
    writer.append(line(2))
    writer.close()
    assert path.with_suffix(".1").read_bytes() == line(1)
    assert path.read_bytes() == line(2)


def test_a_reopening_that_fails_keeps_the_old_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = LogWriter(str(path))
    aside = path.with_suffix(".1")
    path.rename(aside)
    path.mkdir()
    writer.reopen()
    writer.append(line(1))
    eventually(lambda: aside.read_bytes() == line(1))
    writer.close()
    assert "cannot open the file: Is a directory" in caplog.text


def test_above_the_bound_lines_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The reader takes nothing, then everything."""
    with piped_stdout() as stdout:
        capacity = 200_000
        writer = LogWriter("-", capacity=capacity)
        taken = [number for number in range(30_000) if writer.append(line(number))]
        assert capacity * 0.9 < len(taken) * 20 < capacity + 70_000
        assert writer.dropped == 30_000 - len(taken)
        received = bytearray()
        reading = threading.Thread(target=drain, args=(stdout, received, len(taken) * 20))
        reading.start()
        reading.join(5)
        assert bytes(received) == b"".join(map(line, taken))
        eventually(lambda: f"too slow for the traffic; dropped {writer.dropped} lines" in caplog.text)
        assert writer.append(line(1))
        writer.close()


def drain(fd: int, into: bytearray, size: int) -> None:
    while len(into) < size:
        into += os.read(fd, 65536)


def test_a_reader_that_has_stopped_does_not_hold_up_closing(caplog: pytest.LogCaptureFixture) -> None:
    with piped_stdout():
        writer = LogWriter("-")
        for number in range(20_000):
            writer.append(line(number))
        before = time.monotonic()
        writer.close(timeout=0.2)
        assert time.monotonic() - before < 2
        assert "lines that could not be written" in caplog.text
        assert writer.dropped > 15_000


def test_the_flags_of_standard_output_are_left_alone() -> None:
    with piped_stdout() as stdout:
        writer = LogWriter("-")
        writer.append(line(1))
        assert os.read(stdout, 100) == line(1)
        assert os.get_blocking(1)
        writer.close()
        os.fstat(1)


def test_a_non_blocking_standard_output_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with piped_stdout() as stdout:
        os.set_blocking(1, False)
        writer = LogWriter("-")
        lines = [line(number) for number in range(20_000)]
        for one in lines:
            writer.append(one)
        received = bytearray()
        drain(stdout, received, 400_000)
        writer.close()
        assert bytes(received) == b"".join(lines)
        assert not caplog.records


def test_lines_of_two_writers_on_one_pipe_do_not_mix() -> None:
    with piped_stdout() as stdout:
        writers = [LogWriter("-"), LogWriter("-")]
        for number in range(3000):
            for which, writer in enumerate(writers):
                writer.append(b"%c" % (65 + which) * 150 + b"%05d\n" % number)
        received = bytearray()
        drain(stdout, received, 2 * 3000 * 156)
        for writer in writers:
            writer.close()
        lines = received.splitlines()
        for which in b"AB":
            assert [one for one in lines if one[0] == which] == [
                b"%c" % which * 150 + b"%05d" % number for number in range(3000)
            ]


def test_a_broken_pipe_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.01)
    with piped_stdout() as stdout:
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), stdout)
        writer = LogWriter("-", capacity=100)
        writer.append(line(1))
        eventually(lambda: "Broken pipe; trying again" in caplog.text)
        for number in range(10):
            writer.append(line(number))
        assert writer.dropped == 6
        writer.close()
    assert writer.dropped == 11
    assert [record.getMessage().partition(":")[2] for record in caplog.records] == [
        " Broken pipe; trying again",
        " lost 5 lines that could not be written",
    ]


def test_a_full_disk_is_said_once_and_survived(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes half a line, then nothing, then everything."""
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(access_log, "FLUSH_INTERVAL", 0.01)
    caplog.set_level(logging.INFO, "fastgate.access_log")
    room = 10
    tries = 0
    real_write = os.write

    def write(fd: int, data: memoryview) -> int:
        nonlocal room, tries
        tries += 1
        if room <= 0:
            raise OSError(28, "No space left on device")
        written = real_write(fd, data[:room])
        room -= written
        return written

    monkeypatch.setattr(access_log.os, "write", write)
    writer = LogWriter(str(path), capacity=60)
    taken = [number for number in range(5) if writer.append(line(number))]
    eventually(lambda: tries > 3)
    assert writer.append(line(100)) is False
    room = 10**6
    eventually(lambda: "writing again; 3 lines were lost" in caplog.text)
    writer.close()
    assert path.read_bytes() == b"".join(map(line, taken))
    assert len(caplog.records) == 2


def test_a_torn_line_is_not_continued_in_another_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "FLUSH_INTERVAL", 0.01)
    room = 10
    real_write = os.write

    def write(fd: int, data: memoryview) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(28, "No space left on device")
        written = real_write(fd, data[:room])
        room -= written
        return written

    monkeypatch.setattr(access_log.os, "write", write)
    writer = LogWriter(str(path))
    writer.append(line(1) + line(2), 2)
    eventually(lambda: room == 0)
    path.rename(path.with_suffix(".1"))
    room = 10**6
    writer.reopen()
    writer.close()
    assert path.with_suffix(".1").read_bytes() == line(1)[:10]
    assert path.read_bytes() == line(2)
    assert writer.dropped == 1


def test_a_fifo_may_get_its_reader_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.01)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = LogWriter(str(fifo))
    writer.append(line(1))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    received = bytearray()
    eventually(lambda: received.extend(os.read(reader, 100)) or received)
    assert received == line(1)
    writer.close()
    os.close(reader)


@pytest.mark.parametrize(
    ("wrong", "reason"), [("nowhere/access.log", "No such file or directory"), ("", "Is a directory")]
)
def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path, wrong: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LogWriter(str(tmp_path / wrong))
    (problem,) = caught.value.problems
    assert problem.path == "gateway.access_log.path"
    assert problem.message == f"cannot open {tmp_path / wrong}: {reason}"
