"""What comes back late, to an exchange that is over or serves another request by then: timers, tasks, other tries."""

import asyncio
from typing import Any

import pytest
from core.playbook import Transport, World, answer, get, post, status_of, world

from fastgate._core.delivery.retry import RetryRule
from fastgate._core.exchange.views import Request, Response


def hedging(**rule: Any) -> dict[str, dict[str, Any]]:
    return {"/*": {"retry": RetryRule(**{"hedge_delay": 0.2, "attempts": 2, "budget": 1.0, **rule})}}


def warm(play: World, targets: int) -> list[Transport]:
    """A pooled connection to each target."""
    client = play.client()
    for _ in range(targets):
        client.send(get(b"/warm"))
        play.upstream.send(answer(b"warm"))
        assert client.taken() == answer(b"warm")
    client.lose()
    for upstream in play.upstreams:
        assert upstream.taken().startswith(b"GET /warm ")
    return play.upstreams[:]


def asked(play: World, line: bytes) -> list[Transport]:
    """The connections to upstreams that got this request since the last look."""
    play.loop.run()
    return [upstream for upstream in play.upstreams for _ in range(upstream.taken().count(line))]


def test_the_timer_of_a_try_on_a_stale_connection_starts_no_second_hedge() -> None:
    with world(hedging(), targets=3) as play:
        first, *_ = warm(play, 3)
        client = play.client()
        client.send(get(b"/alice"))
        play.pass_time(0.1)
        first.lose()  # without an answer: replayed on a new connection
        play.pass_time(0.5)
        assert play.metrics()["replays"] == 1
        assert play.metrics()["hedges"] == 1
        play.upstream.send(answer(b"for alice"))
        assert client.taken() == answer(b"for alice")


def test_the_timer_of_a_try_on_a_stale_connection_fires_in_nobody_elses_exchange() -> None:
    with world({**hedging(), "/pay": {"retry": None}}, targets=2) as play:
        first, *_ = warm(play, 2)
        client = play.client()
        client.send(get(b"/stale"))
        play.pass_time(0.1)
        first.lose()
        [replayed] = [each for each in asked(play, b"GET /stale") if not each.closed]
        replayed.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        other = play.client()
        other.send(post(b"10 EUR", b"/pay"))
        play.pass_time(1)
        [paid] = asked(play, b"POST /pay")
        paid.send(answer(b"paid"))
        assert other.taken() == answer(b"paid")
        assert play.metrics()["hedges"] == 0


def test_an_orphaned_hedge_cannot_answer_another_client() -> None:
    with world(hedging(), targets=3) as play:
        first, second, third = warm(play, 3)
        client = play.client()
        client.send(get(b"/alice"))
        play.pass_time(0.1)
        first.lose()
        play.pass_time(1)
        waiting = [each for each in asked(play, b"GET /alice") if not each.closed]
        waiting[0].send(answer(b"for alice"))
        assert client.taken() == answer(b"for alice")
        # Another client's request in the same exchange, while what is left of the first may still answer.
        other = play.client()
        other.send(get(b"/bob"))
        for each in waiting[1:]:
            if not each.closed:
                each.send(answer(b"for alice"))
        assert other.taken() == b""
        for each in asked(play, b"GET /bob"):
            each.send(answer(b"for bob"))
        assert other.taken() == answer(b"for bob")
        assert [each.closed for each in (second, third)].count(True) <= 1


async def forever(*_: Any) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("swallows", [False, True])
def test_a_policy_that_is_given_up_does_not_disturb_what_is_said_of_it(swallows: bool) -> None:
    """The task of a request's policy ends after the one of ``on_error`` has begun to wait."""
    waiting: list[asyncio.Future[None]] = []

    async def slow(request: Request) -> Response | None:
        try:
            waiting.append(play.loop.create_future())
            await waiting[-1]
        except asyncio.CancelledError:
            if not swallows:
                raise
        return Response(200, "granted")

    async def sorry(request: Request, error: Any) -> Response:
        waiting.append(play.loop.create_future())
        await waiting[-1]
        return Response(503, f"sorry: {error.cause}")

    routes = {"/*": {"on_request": [slow], "on_error": [sorry], "total_timeout": 1.0}}
    with world(routes) as play:
        client = play.client()
        client.send(get())
        play.pass_time(2)
        assert client.taken() == b""
        assert len(waiting) == 2
        assert waiting[0].cancelled()
        waiting[1].set_result(None)
        said = client.taken()
        assert status_of(said) == 503
        assert said.endswith(b"sorry: total_timeout")
        assert (play.errors, play.logged) == ([], [])


def test_a_client_that_leaves_while_an_error_is_looked_at_ends_that_too() -> None:
    waiting: list[asyncio.Future[None]] = []

    async def wait(*_: Any) -> None:
        waiting.append(play.loop.create_future())
        await waiting[-1]

    with world({"/*": {"on_request": [wait], "on_error": [wait], "total_timeout": 1.0}}) as play:
        client = play.client()
        client.send(get())
        play.pass_time(2)
        client.lose()
        play.loop.run()
        assert [future.cancelled() for future in waiting] == [True, True]


@pytest.mark.parametrize("spare", [False, True])
def test_a_task_that_ends_after_its_exchange_does_nothing(spare: bool) -> None:
    """The client leaves while a policy waits that will not be cancelled; the next client is not touched by its end."""
    waiting: list[asyncio.Future[None]] = []

    async def stubborn(request: Request) -> Response:
        future = play.loop.create_future()
        waiting.append(future)
        while not future.done() or future.cancelled():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                future = play.loop.create_future()
                waiting.append(future)
        return Response(200, "for the one who left")

    with world({"/late": {"on_request": [stubborn]}, "/*": {}}) as play:
        if spare:
            warm(play, 1)
        client = play.client()
        client.send(get(b"/late"))
        play.loop.run()
        client.lose()
        play.loop.run()
        other = play.client()
        other.send(get(b"/bob"))
        waiting[-1].set_result(None)
        assert other.taken() == b""
        play.upstream.send(answer(b"for bob"))
        assert other.taken() == answer(b"for bob")
