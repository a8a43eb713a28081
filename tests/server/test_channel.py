"""The control channel: frames, descriptors, a peer that does not read, a peer that leaves."""

import asyncio
import contextlib
import errno
import os
import socket
import typing
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from waiting import until

from fastgate.server import control_messages
from fastgate.server.channel import Channel
from fastgate.server.control_messages import Close, Drain, Event, Failed, GiveBack, Lend, Message, Ready, Stop, Wakers

MESSAGES: list[Message] = [
    Ready(),
    Failed("why"),
    Event("name", {"count": 1, "text": "é", "nothing": None, "ratio": 0.5, "yes": True}),
    Drain(),
    Close(),
    Stop(),
    GiveBack(3),
    Lend(1, []),
]


@contextlib.contextmanager
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, socket.socketpair())
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def test_every_message_can_be_read() -> None:
    kinds = {each for each in vars(control_messages).values() if isinstance(each, type) and issubclass(each, Struct)}
    read = {each for each in get_args(Message) if issubclass(each, Struct)}
    assert kinds - {Struct, control_messages.Problem} == read


@given(st.lists(st.sampled_from(MESSAGES), max_size=20))
def test_messages_arrive_as_they_were_sent(messages: list[Message]) -> None:
    with pair() as (one, other):
        for message in messages:
            one.send(message)
        assert [other.wait() for _ in messages] == [(message, []) for message in messages]


def test_a_peer_that_is_gone_ends_the_waiting() -> None:
    with pair() as (one, other):
        one.send(Ready())
        one.close()
        assert other.wait() == (Ready(), [])
        assert other.wait() is None
        other.send(Drain())


def test_descriptors_come_with_their_message() -> None:
    with pair() as (one, other):
        reader, writer = os.pipe()
        one.send(Drain())
        one.send(Lend(1, [0, 1]), [reader, writer])
        one.send(Lend(2, [0]), [writer])
        one.send(Drain())
        os.close(reader)
        os.close(writer)
        assert other.wait() == (Drain(), [])
        first = other.wait()
        second = other.wait()
        assert first is not None
        assert second is not None
        assert (first[0], second[0]) == (Lend(1, [0, 1]), Lend(2, [0]))
        assert other.wait() == (Drain(), [])
        os.write(second[1][0], b"x")
        assert os.read(first[1][0], 10) == b"x"
        assert not any(map(os.get_inheritable, first[1] + second[1]))
        for each in first[1] + second[1]:
            os.close(each)


def test_more_descriptors_than_a_message_takes_come_with_several() -> None:
    with pair() as (one, other):
        reader, writer = os.pipe()
        one.send_all(Wakers(), [reader] * 600)
        one.send(Drain())
        os.close(reader)
        os.write(writer, b"x" * 600)
        os.close(writer)
        counts = []
        while (found := other.wait()) is not None and found[0] == Wakers():
            counts.append(len(found[1]))
            for each in found[1]:
                assert os.read(each, 1) == b"x"
                os.close(each)
        assert counts == [250, 250, 100]
        assert found == (Drain(), [])


class Crowded(socket.socket):
    """One whose user has too many descriptors under way at first."""

    refused = 0

    def sendmsg(self, *arguments: Any) -> int:
        if self.refused:
            self.refused -= 1
            raise OSError(errno.ETOOMANYREFS, "too many references: cannot splice")
        return super().sendmsg(*arguments)


@pytest.mark.parametrize("attached", [False, True])
async def test_what_the_kernel_has_no_room_for_is_sent_later(attached: bool) -> None:
    ours, theirs = socket.socketpair()
    crowded = Crowded(fileno=ours.detach())
    one, other = Channel(crowded), Channel(theirs)
    loop = asyncio.get_running_loop()
    received: list[Message] = []
    other.attach(loop, lambda message, _: received.append(message), lambda: None)
    if attached:
        one.attach(loop, lambda *_: None, lambda: None)
    crowded.refused = 2
    for message in (Ready(), Drain()):
        one.send(message)
    assert not received
    if not attached:
        one.attach(loop, lambda *_: None, lambda: None)
    await until(lambda: received == [Ready(), Drain()])
    one.send(Close())
    await until(lambda: received[2:] == [Close()])
    one.close()
    other.close()


def test_too_many_descriptors_are_refused() -> None:
    with pair() as (one, _), pytest.raises(ValueError, match="at most 250"):
        one.send(Lend(1, []), [0] * 251)


async def test_a_peer_that_does_not_read_stops_nobody() -> None:
    with pair() as (one, other):
        loop = asyncio.get_running_loop()
        received: list[Message] = []
        done = asyncio.Event()
        one.attach(loop, lambda *_: None, lambda: None)
        for number in range(200):
            one.send(Event("x" * 10_000, {"number": number}))
        reader, writer = os.pipe()
        one.send(Lend(7, [0]), [reader])

        def receive(message: Message, descriptors: list[int]) -> None:
            received.append(message)
            if isinstance(message, Lend):
                for each in descriptors:
                    os.close(each)
                assert len(descriptors) == 1
                done.set()

        other.attach(loop, receive, lambda: None)
        await asyncio.wait_for(done.wait(), 10)
        assert [message.fields["number"] for message in received if isinstance(message, Event)] == list(range(200))
        os.close(reader)
        os.close(writer)


async def test_an_attached_channel_tells_once_that_the_peer_is_gone() -> None:
    with pair() as (one, other):
        received: list[Message] = []
        gone = asyncio.Event()
        other.attach(asyncio.get_running_loop(), lambda message, _: received.append(message), gone.set)
        one.send(Ready())
        one.send(Failed("late"))
        one.close()
        await asyncio.wait_for(gone.wait(), 5)
        assert received == [Ready(), Failed("late")]
        assert other.closed


async def test_what_came_before_attaching_is_delivered() -> None:
    with pair() as (one, other):
        one.send(Ready())
        one.send(Drain())
        assert other.wait() == (Ready(), [])
        received: list[Message] = []
        other.attach(asyncio.get_running_loop(), lambda message, _: received.append(message), lambda: None)
        while not received:
            await asyncio.sleep(0)
        assert received == [Drain()]


async def test_finishing_delivers_the_last_words_of_a_process_that_died() -> None:
    with pair() as (one, other):
        received: list[Message] = []
        other.attach(asyncio.get_running_loop(), lambda message, _: received.append(message), lambda: None)
        one.send(Failed("last words"))
        one.sock.close()
        other.finish()
        assert received == [Failed("last words")]
        assert other.closed


def test_every_message_is_one_that_the_other_side_can_read() -> None:
    classes = [each for each in vars(control_messages).values() if isinstance(each, type)]
    kinds = [each for each in classes if each.__module__ == control_messages.__name__]
    assert set(kinds) == set(typing.get_args(Message))
    assert all(issubclass(kind, msgspec.Struct) for kind in kinds)
