"""Observers: each is told once of every exchange that is over, those of the runtime with which the exchange began."""

from typing import Any

from core.playbook import answer, get, status_of, world

from fastgate._core.exchange.route import Runtime
from fastgate._core.probes.ends import Notes


def test_observers_are_told_whatever_one_of_them_raises() -> None:
    diary: list[Any] = []
    with world() as play:
        play.engine.runtime.observers = [Notes(diary, "a"), Notes(diary, "!b"), Notes(diary, "c")]
        assert status_of(play.client().ask(b"GET /\r\n\r\n")) == 400
        assert diary == [(name, "bad_start_line", True, True, 0, None) for name in ("a", "!b", "c")]
        assert ("error", "Notes failed at the end of a request: !b") in play.logged
        play.errors.clear()


def test_an_exchange_tells_the_observers_of_its_time() -> None:
    before: list[Any] = []
    after: list[Any] = []
    with world() as play:
        play.engine.runtime.observers = [Notes(before, "before")]
        client, other = play.client(), play.client()
        client.send(get())
        play.engine.use(Runtime(router=play.router, request_id="", server_header="", observers=[Notes(after, "after")]))
        first = play.upstream
        other.send(get())
        play.upstream.send(answer(b"ok"))
        assert ([each[0] for each in before], [each[0] for each in after]) == ([], ["after"])
        first.send(answer(b"ok"))
        assert ([each[0] for each in before], [each[0] for each in after]) == (["before"], ["after"])
