"""What an exchange owes is settled once, the last owed first, however the exchange ends and whatever is raised."""

import random
from typing import Any

import pytest
from core.playbook import World, answer, by_chance, get, post, status_of, world

from fastgate._core.probes.debts import Marks, Owes, Waits

NAMES = ("first", "!second", "third")


def owing(diary: list[Any], **route: Any) -> dict[str, dict[str, Any]]:
    return {"/*": {"gates": [Owes(diary, *NAMES)], "connect_timeout": 0, "read_timeout": 0, **route}}


def settled(diary: list[Any]) -> list[str]:
    return [name for name, _, _, _ in diary]


def complained(play: World) -> list[str]:
    return [message for level, message in play.logged if level == "error"]


def test_debts_are_settled_when_the_answer_is_through() -> None:
    diary: list[Any] = []
    with world(owing(diary)) as play:
        client = play.client()
        client.send(get())
        assert diary == []
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        # The head can still be read then: it has one field.
        assert diary == [("third", "ok", True, 1), ("!second", "ok", True, 1), ("first", "ok", True, 1)]
        assert complained(play) == ["Owed could not be settled: !second"]
        play.logged.clear()
        assert client.ask(get()) == b""
        play.upstream.send(answer())
        assert settled(diary) == ["third", "!second", "first"] * 2


def test_two_gates_settle_in_reverse() -> None:
    diary: list[Any] = []
    with world({"/*": {"gates": [Owes(diary, "a", "b"), Owes(diary, "c")]}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer())
        assert settled(diary) == ["c", "b", "a"]


END = {
    "answered": "ok", "client gone": "client_gone", "upstream lost": "upstream_reset", "timed out": "read_timeout",
    "too long": "total_timeout", "refused": "body_too_large", "hook raised": "policy_failed",
    "response cut": "response_cut",
}  # fmt: skip


def end(play: World, how: str, client: Any) -> None:
    """Lets one exchange end in this way."""
    client.send(post(b"x" * 100) if how == "refused" else get())
    if how in ("refused", "hook raised"):
        return
    if how == "client gone":
        client.lose()
    elif how == "upstream lost":
        play.upstream.lose()
    elif how in ("timed out", "too long"):
        play.pass_time(10)
    elif how == "response cut":
        play.upstream.send(answer(b"whole")[:-2])
        play.upstream.lose()
    else:
        play.upstream.send(answer(b"ok"))


def route_for(how: str) -> dict[str, Any]:
    def raises(_: object) -> None:
        raise ValueError("mine")

    match how:
        case "timed out":
            return {"read_timeout": 5}
        case "too long":
            return {"total_timeout": 5}
        case "refused":
            return {"max_body": 10}
        case "hook raised":
            return {"on_request": [raises]}
        case _:
            return {"retry": None}


@pytest.mark.parametrize("how", END)
def test_every_end_settles_once(how: str) -> None:
    diary: list[Any] = []
    with world(owing(diary, **route_for(how))) as play:
        client = play.client()
        end(play, how, client)
        if how == "refused":
            # The length is looked at before the first step: nothing was owed yet.
            assert diary == []
        else:
            assert settled(diary) == ["third", "!second", "first"]
            assert {(cause, over) for _, cause, over, _ in diary} == {(END[how], True)}
        assert len(complained(play)) == (0 if how == "refused" else 1) + (how == "hook raised")


def test_generated_courses_settle_each_debt_once() -> None:
    """Exchanges that end in a chance order of ways, pipelined and beside each other: as many settled as were owed."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(300):
        diary: list[Any] = []
        with world(owing(diary, retry=None, read_timeout=5)) as play:
            by_chance(play, chance)
            play.logged.clear()
            begun = play.metrics()["requests"]
        assert len(diary) == 3 * begun, f"seed {seed}"
        assert settled(diary) == ["third", "!second", "first"] * begun, f"seed {seed}"


def test_a_stamp_is_on_every_answer() -> None:
    def refuses(_: object) -> None:
        raise ValueError("mine")

    with world({"/": {"stamps": [Marks("X-A", "1"), Marks("X-B", "2")]},
                "/no": {"stamps": [Marks("X-A", "1")], "on_request": [refuses]}}) as play:  # fmt: skip
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok"))
        assert b"\r\nX-A: 1\r\nX-B: 2\r\n" in client.taken()
        refused = client.ask(get(b"/no"))
        assert status_of(refused) == 500
        assert b"\r\nX-A: 1\r\n" in refused
        assert complained(play)


def test_a_step_that_waits_goes_on_is_left_or_is_late() -> None:
    diary: list[str] = []
    step = Waits(diary, 5000)
    with world({"/*": {"gates": [step]}}) as play:
        client = play.client()
        client.send(get())
        assert play.upstreams == []
        step.go_on()
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        client.send(get())
        play.pass_time(6)
        assert status_of(client.taken()) == 503
        assert diary == ["left"]
        client = play.client()
        client.send(get())
        client.lose()
        assert diary == ["left", "left"]


def test_a_step_that_waits_is_left_before_hooks_see_the_error() -> None:
    diary: list[str] = []

    def notes(*_: object) -> None:
        diary.append("hook")

    with world({"/*": {"gates": [Waits(diary, 5000)], "on_error": [notes]}}) as play:
        client = play.client()
        client.send(get())
        play.pass_time(6)
        assert status_of(client.taken()) == 503
        assert diary == ["left", "hook"]
