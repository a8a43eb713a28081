"""A worker's side of a reload, message by message."""

import asyncio
import gc
import socket
from collections.abc import Iterator

import pytest

from fastgate.config import ConfigError, GatewayConfig, Problem
from fastgate.server.channel import Channel
from fastgate.server.config_stream import cut
from fastgate.server.control_messages import Abort, Commit, Committed, ConfigPart, Message, Prepare, Prepared, Refused
from fastgate.server.preparation import Preparation


def named(name: str) -> GatewayConfig:
    return GatewayConfig.from_dict(
        {"routes": [{"name": name, "path": "/", "upstream": "u"}], "upstreams": {"u": {"targets": ["h:1"]}}}
    )


class Recorder:
    """A gateway that writes down what it is told; a route's name says what ``prepare`` and ``commit`` do."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.go_on = asyncio.Event()
        self.preparing = asyncio.Event()

    async def prepare(self, config: GatewayConfig) -> None:
        name = self.name = config.routes[0].name
        self.told.append(f"prepare {name}")
        self.preparing.set()
        try:
            if name == "slow":
                await self.go_on.wait()
            if name == "reluctant":
                try:
                    await self.go_on.wait()
                finally:
                    await asyncio.sleep(0.01)
                    self.told.append("prepare ends")
        finally:
            self.preparing.clear()
        if name == "refused":
            raise ConfigError([Problem("a", "b")])

    def commit(self) -> None:
        if self.name == "broken":
            raise RuntimeError("no")
        self.told.append("commit")

    def abort(self) -> None:
        self.told.append("abort")


class Side:
    def __init__(self, ours: Channel, theirs: Channel) -> None:
        self.theirs = theirs
        self.gateway = Recorder()
        self.broken = 0
        self.preparation = Preparation(ours, self.gateway, self.breaks)  # type: ignore[arg-type]

    def breaks(self) -> None:
        self.broken += 1

    def tell(self, *messages: Prepare | ConfigPart | Commit | Abort) -> None:
        for message in messages:
            self.preparation.receive(message)

    def prepare(self, name: str, generation: int) -> None:
        parts = cut(named(name), generation)
        self.tell(Prepare(generation, len(parts)), *parts)

    async def answer(self) -> Message:
        received = await asyncio.to_thread(self.theirs.wait)
        assert received is not None
        return received[0]


@pytest.fixture
def side() -> Iterator[Side]:
    ours, theirs = map(Channel, socket.socketpair())
    yield Side(ours, theirs)
    ours.close()
    theirs.close()
    gc.enable()


async def test_prepared_then_committed(side: Side) -> None:
    side.prepare("new", 2)
    assert not gc.isenabled()
    assert await side.answer() == Prepared(2)
    side.tell(Commit(2))
    assert await side.answer() == Committed(2)
    assert side.gateway.told == ["prepare new", "commit"]
    assert gc.isenabled()
    gc.unfreeze()


async def test_refused_then_aborted(side: Side) -> None:
    side.prepare("refused", 2)
    assert await side.answer() == Refused(2, [Problem("a", "b")])
    side.tell(Abort(2))
    assert side.gateway.told == ["prepare refused", "abort"]
    assert gc.isenabled()
    side.tell(Commit(2), Abort(2))
    assert side.gateway.told == ["prepare refused", "abort"]


async def test_what_is_cancelled_is_aborted_before_the_next_begins(side: Side) -> None:
    side.prepare("reluctant", 2)
    await side.gateway.preparing.wait()
    side.tell(Abort(2))
    side.prepare("new", 3)
    assert await side.answer() == Prepared(3)
    assert side.gateway.told == ["prepare reluctant", "prepare ends", "abort", "prepare new"]
    side.tell(Abort(3))


async def test_what_is_cancelled_before_it_begins_is_aborted_too(side: Side) -> None:
    """Where all of it and the abort lie in one read of the channel."""
    side.prepare("never", 2)
    side.tell(Abort(2))
    assert side.gateway.told == ["abort"]
    side.prepare("new", 3)
    assert await side.answer() == Prepared(3)
    side.tell(Abort(3))


async def test_an_abort_while_parts_are_missing_leaves_nothing(side: Side) -> None:
    parts = cut(named("new"), 2)
    side.tell(Prepare(2, len(parts)), *parts[:-1])
    await asyncio.sleep(0)
    side.tell(Abort(2), parts[-1])
    side.prepare("other", 3)
    assert await side.answer() == Prepared(3)
    assert side.gateway.told[-1] == "prepare other"
    assert "prepare new" not in side.gateway.told
    side.tell(Abort(3))


async def test_one_that_is_overtaken_by_the_next_is_aborted(side: Side) -> None:
    side.prepare("slow", 2)
    await side.gateway.preparing.wait()
    side.prepare("new", 3)
    assert await side.answer() == Prepared(3)
    assert side.gateway.told == ["prepare slow", "abort", "prepare new"]
    side.tell(Commit(2))
    assert "commit" not in side.gateway.told
    side.tell(Commit(3))
    assert await side.answer() == Committed(3)
    gc.unfreeze()


async def test_a_commit_that_fails_is_not_confirmed(side: Side) -> None:
    side.prepare("broken", 2)
    assert await side.answer() == Prepared(2)
    side.tell(Commit(2))
    assert side.broken == 1
    assert gc.isenabled()
    gc.unfreeze()
