"""The fake transport: it offers what uvloop's offers, and tells its protocol when a real one would."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import uvloop.loop

from fastgate.testing.transport import FakeTransport


class Diary(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.keep_open = keep_open

    def connection_made(self, transport: Any) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", error))


class Turns:
    """A loop that runs when it is told to."""

    def __init__(self) -> None:
        self.ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.ready.append((callback, args))

    def run(self) -> None:
        while self.ready:
            callback, args = self.ready.popleft()
            callback(*args)


def connection(**options: Any) -> tuple[Turns, Diary, FakeTransport]:
    turns, diary = Turns(), Diary(keep_open=options.pop("keep_open", False))
    transport = FakeTransport(diary, turns.call_soon, **options)
    assert diary.told == ["made"]
    diary.told.clear()
    return turns, diary, transport


def test_it_has_all_that_uvloops_transport_has() -> None:
    offered = {name for name in dir(uvloop.loop.TCPTransport) if not name.startswith("_")}
    assert {"write", "pause_reading", "get_write_buffer_size"} <= offered
    _, _, transport = connection()
    assert offered <= set(dir(transport))


def test_what_arrives_while_nobody_reads_is_told_when_reading_goes_on() -> None:
    turns, diary, transport = connection(keep_open=True)
    transport.send(b"a", b"b")
    transport.pause_reading()
    transport.send(b"c")
    transport.eof()
    assert (diary.told, transport.is_reading()) == ([b"a", b"b"], False)
    transport.resume_reading()
    assert diary.told == [b"a", b"b"], "not in the call itself"
    turns.run()
    assert diary.told == [b"a", b"b", b"c", "eof"]
    assert not transport.closed


def test_a_protocol_that_pauses_between_two_pieces_gets_the_second_later() -> None:
    turns, diary, transport = connection()
    diary.data_received = lambda data: (diary.told.append(data), transport.pause_reading())  # type: ignore[assignment]
    transport.send(b"a", b"b")
    assert diary.told == [b"a"]
    transport.resume_reading()
    turns.run()
    assert diary.told == [b"a", b"b"]


def test_the_peers_end_closes_unless_the_protocol_goes_on() -> None:
    turns, diary, transport = connection()
    transport.eof()
    assert transport.is_closing()
    turns.run()
    assert diary.told == ["eof", ("lost", None)]
    transport.send(b"late")
    assert diary.told == ["eof", ("lost", None)]


@pytest.mark.parametrize(("way", "unsent", "lost"), [
    ("close", 0, True), ("close", 7, False), ("abort", 0, True), ("abort", 7, True),
])  # fmt: skip
def test_closing_waits_for_what_is_unsent_and_aborting_does_not(way: str, unsent: int, lost: bool) -> None:
    turns, diary, transport = connection()
    transport.unsent = unsent
    assert transport.get_write_buffer_size() == unsent
    getattr(transport, way)()
    getattr(transport, way)()
    assert diary.told == [], "a protocol is never told in the call itself"
    turns.run()
    assert (diary.told, transport.lost) == (([("lost", None)], True) if lost else ([], False))
    assert (transport.closed, transport.aborted) == (True, way == "abort")


def test_a_connection_is_lost_once_and_with_its_error() -> None:
    turns, diary, transport = connection(settle=None)
    error = ConnectionResetError()
    transport.lose(error)
    transport.close()
    transport.abort()
    turns.run()
    assert diary.told == [("lost", error)]
    assert transport.get_protocol() is None


def test_pressure_is_told_as_the_test_has_it() -> None:
    _, diary, transport = connection()
    transport.stop_taking()
    transport.take_on()
    assert diary.told == ["pause", "resume"]


def test_what_is_written_is_kept_write_by_write() -> None:
    _, _, transport = connection()
    transport.write(b"a")
    transport.writelines([b"b", b"c"])
    assert (transport.writes, transport.has_written, transport.pieces()) == (2, True, [b"a", b"bc"])
    transport.write(b"d")
    assert (transport.taken(), transport.taken(), transport.has_written) == (b"d", b"", False)
    assert transport.mistakes == []


@pytest.mark.parametrize("end", ["close", "abort", "write_eof", "lose"])
def test_a_write_behind_the_end_is_a_mistake(end: str) -> None:
    mistakes: list[str] = []
    _, _, transport = connection(mistakes=mistakes)
    getattr(transport, end)()
    transport.write(b"late")
    assert (transport.taken(), mistakes) == (b"", ["written after the end: b'late'"])


@pytest.mark.parametrize("data", [b"", bytearray(b"a")])
def test_a_write_of_nothing_or_of_something_else_is_a_mistake(data: Any) -> None:
    _, _, transport = connection()
    transport.write(data)
    assert len(transport.mistakes) == 1


def test_limits_follow_from_each_other_as_asyncios_do() -> None:
    _, _, transport = connection()
    assert transport.get_write_buffer_limits() == (16_384, 65_536)
    transport.set_write_buffer_limits(high=100)
    assert transport.get_write_buffer_limits() == (25, 100)
    transport.set_write_buffer_limits(low=10)
    assert transport.get_write_buffer_limits() == (10, 40)


def test_addresses_socket_and_what_it_was_given() -> None:
    turns, _, transport = connection(peername=("192.0.2.1", 5), extra={"sslcontext": "theirs"})
    assert transport.get_extra_info("peername") == ("192.0.2.1", 5)
    assert transport.get_extra_info("sslcontext") == "theirs"
    assert transport.get_extra_info("ssl_object", "none") == "none"
    shown = transport.get_extra_info("socket")
    assert transport.get_extra_info("socket") is shown
    with socket.socket(fileno=socket.dup(shown.fileno())) as own:
        own.setblocking(False)
        with pytest.raises(BlockingIOError):
            own.recv(1)
        transport.send_unseen(b"x")
        assert own.recv(1) == b"x"
        transport.hang_up_unseen()
        assert own.recv(1) == b""
    assert transport.lingers
    shown.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
    assert not transport.lingers
    transport.lose()
    turns.run()
    assert shown.fileno() == -1


def test_another_protocol_is_told_from_then_on() -> None:
    _, first, transport = connection()
    second = Diary()
    transport.set_protocol(second)
    transport.send(b"a")
    assert (first.told, second.told, transport.get_protocol()) == ([], [b"a"], second)
