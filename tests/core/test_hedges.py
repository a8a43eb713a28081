"""Hedges as tries: they are counted, their targets are not asked again, and the time of their original ends both."""

from typing import Any

import pytest
from core.playbook import Finishing, Transport, World, answer, get, status_of, world

from fastgate._core.delivery.retry import RetryRule
from fastgate._core.probes.ends import Notes

RULE = {"hedge_delay": 0.1, "budget": 1.0, "backoff": 0.01, "on": ["connect", "reset", "timeout", "5xx"]}


def asked_of(play: World) -> list[str]:
    """The targets that a request went to, in order."""
    return [host_of(each) for each in play.upstreams]


def host_of(upstream: Transport) -> str:
    return upstream.taken().partition(b"Host: ")[2].partition(b":")[0].decode()


@pytest.mark.parametrize(("attempts", "targets"), [(1, 3), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4)])
def test_a_hedge_is_one_of_the_tries_and_each_target_is_asked_once(attempts: int, targets: int) -> None:
    """All are silent: each try ends by its own time, the hedge with the first."""
    rule = RetryRule(**RULE, attempts=attempts, try_timeout=0.3)
    with world({"/*": {"retry": rule}}, targets=targets) as play:
        client = play.client()
        client.send(get())
        play.pass_time(5)
        assert status_of(client.taken()) == 504
        hosts = asked_of(play)
        # A hedge does not need an attempt that is left.
        tries = max(attempts, 2)
        assert len(hosts) == tries
        assert len({*hosts[:targets]}) == min(tries, targets)
        assert play.metrics()["hedges"] == 1


@pytest.mark.parametrize("first", ["first", "hedge"])
@pytest.mark.parametrize("how", ["lost", "503"])
def test_two_that_fail_are_two_tries(first: str, how: str) -> None:
    with world({"/*": {"retry": RetryRule(**RULE, attempts=3)}}, targets=3) as play:
        client = play.client()
        client.send(get())
        play.pass_time(0.15)
        one, other = play.upstreams if first == "first" else play.upstreams[::-1]
        for upstream in (one, other):
            if how == "lost":
                upstream.lose()
            else:
                upstream.send(answer(b"no", status=b"503 Busy"))
        play.pass_time(0.1)
        assert len({*asked_of(play)}) == len(play.upstreams) == 3
        play.upstream.send(answer(b"third"))
        assert client.taken() == answer(b"third")


@pytest.mark.parametrize("winner", [0, 1])
def test_the_log_counts_both(winner: int) -> None:
    seen: list[int] = []
    counts = Finishing(lambda _, outcome: seen.append(outcome.attempts))
    options = {"retry": RetryRule(**RULE, attempts=2), "on_request": [counts]}
    with world({"/*": options}, targets=2) as play:
        client = play.client()
        client.send(get())
        play.pass_time(0.15)
        play.upstreams[winner].send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert seen == [2]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("waited", [0.12, 0.15, 0.6, 0.95])
def test_the_time_of_all_ends_with_504_whatever_failed_before(failing: int, waited: float) -> None:
    diary: list[Any] = []
    options = {"retry": RetryRule(**RULE, attempts=2), "total_timeout": 1.0}
    with world({"/*": options}, targets=2) as play:
        play.engine.runtime.observers = [Notes(diary, "observer")]
        client = play.client()
        client.send(get())
        play.pass_time(waited)
        play.upstreams[failing].lose()
        play.pass_time(0.02)
        assert client.taken() == b""
        play.pass_time(2)
        assert status_of(client.taken()) == 504
        assert diary[0][1] == "total_timeout"
