"""When a request is tried again: rules, pauses, deadlines, and the last answer when tries are spent."""

import time
from email.utils import formatdate

import pytest
from core.playbook import World, answer, get, post, status_of, world
from core.regions import ring

from fastgate._core.delivery.balancer import Random
from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.retry import Judgement, RetryRule

BUSY = b"503 Service Unavailable"


def trying(**rule: object) -> dict[str, dict[str, object]]:
    """One route with this retry rule; it pauses a tenth of a second at most."""
    settings = {"on": ["connect", "reset", "5xx"], "max_backoff": 0.1, "jitter": False, **rule}
    return {"/*": {"retry": RetryRule(**settings)}}  # type: ignore[arg-type]


def dated(value: bytes) -> bytes:
    """Retry-After, a date where it is given in words."""
    hours = {b"in an hour": 1, b"an hour ago": -1}.get(value)
    return value if hours is None else formatdate(time.time() + 3600 * hours, usegmt=True).encode()


def on(play: World, number: int) -> bytes:
    """What the upstream connection of this number was sent."""
    play.loop.run()
    return play.upstreams[number].taken()


def test_a_status_of_the_rule_is_tried_again_on_another_target() -> None:
    with world(trying(attempts=3), targets=3) as play:
        client = play.client()
        client.send(get())
        for _ in range(2):
            play.upstream.send(answer(b"busy", status=BUSY))
            assert client.taken() == b""
            play.pass_time(0.2)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        hosts = [on(play, number).split(b"\r\n")[1] for number in range(3)]
        assert sorted(hosts) == [b"Host: t0:80", b"Host: t1:80", b"Host: t2:80"]
        assert play.metrics()["retries"] == 2


def test_the_last_answer_is_passed_on_as_it_was_when_the_tries_are_spent() -> None:
    with world(trying(attempts=2)) as play:
        client = play.client()
        client.send(get())
        for text in (b"one", b"two"):
            play.upstream.send(answer(text, b"X-Try: " + text, status=BUSY))
            play.pass_time(0.2)
        assert client.taken() == answer(b"two", b"X-Try: two", status=BUSY)
        # Both came over the one connection, which is still there.
        assert len(play.upstreams) == 1


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_the_answer_before_is_passed_on_when_no_other_comes(pieces: int) -> None:
    kept = answer(b"the first answer", b"X-Kept: yes", status=BUSY)
    size = -(-len(kept) // pieces)
    with world(trying(attempts=2), targets=2) as play:
        client = play.client()
        client.send(get())
        assert len(play.upstreams) == 1
        play.connecting.append(ConnectionRefusedError())
        play.upstream.send(*[kept[start : start + size] for start in range(0, len(kept), size)])
        assert client.taken() == b""
        play.pass_time(0.2)
        assert client.taken() == kept
        assert not client.closed


def test_an_answer_too_long_to_keep_is_dropped_and_the_next_try_counts() -> None:
    long = answer(b"x" * 100_000, status=BUSY)
    with world(trying(attempts=2)) as play:
        client = play.client()
        client.send(get())
        first = play.upstream
        first.send(long[:50_000], long[50_000:80_000])
        assert first.aborted
        play.pass_time(0.2)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_an_answer_that_breaks_off_while_it_is_kept_is_followed_by_the_next_try() -> None:
    with world(trying(attempts=2)) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"a long one", status=BUSY)[:-3])
        play.upstream.lose()
        play.pass_time(0.2)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_request_that_is_not_idempotent_is_only_tried_again_when_the_rule_says_so() -> None:
    for allowed in (False, True):
        with world(trying(attempts=2, non_idempotent=allowed)) as play:
            client = play.client()
            client.send(post(b"body"))
            assert play.upstream.taken().endswith(b"\r\n\r\nbody")
            play.upstream.send(answer(b"busy", status=BUSY))
            play.pass_time(0.2)
            if allowed:
                assert play.upstream.taken().endswith(b"\r\n\r\nbody")
                play.upstream.send(answer(b"ok"))
            assert status_of(client.taken()) == (200 if allowed else 503)


def test_retry_after_is_obeyed() -> None:
    with world(trying(attempts=2)) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"", b"Retry-After: 2", status=BUSY))
        first = play.upstream.taken()
        assert first
        play.pass_time(1.9)
        assert play.upstream.taken() == b""
        play.pass_time(0.2)
        assert play.upstream.taken() == first
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


@pytest.mark.parametrize("value", [b"61", b"99999999999999999999999", b"in an hour"])
def test_a_retry_after_beyond_the_deadline_ends_the_tries(value: bytes) -> None:
    value = dated(value)
    for deadline in ({"read_timeout": 60}, {"total_timeout": 60}):
        rules = trying(attempts=2)
        rules["/*"].update(deadline)
        with world(rules) as play:
            client = play.client()
            client.send(get())
            play.upstream.send(answer(b"later", b"Retry-After: " + value, status=BUSY))
            assert client.taken() == answer(b"later", b"Retry-After: " + value, status=BUSY)


@pytest.mark.parametrize("value", [b"soon", b"-1", b"an hour ago"])
def test_a_retry_after_that_says_nothing_is_no_pause(value: bytes) -> None:
    value = dated(value)
    with world(trying(attempts=2)) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"", b"Retry-After: " + value, status=BUSY))
        play.pass_time(0.2)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_each_try_has_its_time() -> None:
    with world(trying(attempts=3, on=["timeout"], try_timeout=1), targets=3) as play:
        client = play.client()
        client.send(get())
        for number in range(2):
            play.pass_time(1.3)
            assert play.upstreams[number].aborted
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_try_that_takes_too_long_to_connect_is_over_too() -> None:
    with world(trying(attempts=2, on=["connect"], try_timeout=0.5), targets=2) as play:
        play.connecting.append(play.loop.create_future())
        client = play.client()
        client.send(get())
        play.pass_time(0.7)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_the_whole_exchange_has_its_deadline_also_in_a_pause() -> None:
    rules = trying(attempts=3, on=["5xx"], backoff=10.0, max_backoff=10.0, jitter=False)
    rules["/*"]["total_timeout"] = 11.0
    with world(rules) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"one", status=BUSY))
        play.pass_time(10.2)
        play.upstream.send(answer(b"two", status=BUSY))
        # The next pause would end behind the deadline.
        assert client.taken() == answer(b"two", status=BUSY)


def test_a_client_that_leaves_in_a_pause_is_not_tried_for_any_more() -> None:
    with world(trying(attempts=2, backoff=5.0, max_backoff=5.0, jitter=False)) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"", status=BUSY))
        before = len(play.upstream.taken())
        client.lose()
        play.pass_time(6)
        assert before > 0
        assert play.upstream.taken() == b""


def test_pauses_double_up_to_their_bound() -> None:
    with world(trying(attempts=4, on=["5xx"], backoff=1.0, max_backoff=3.0)) as play:
        client = play.client()
        client.send(get())
        pauses = []
        for _ in range(3):
            play.upstream.taken()
            play.upstream.send(answer(b"", status=BUSY))
            began = play.clock.now
            while not play.upstream.taken():
                play.pass_time(0.1)
            pauses.append(round((play.clock.now - began) / 1000, 1))
        assert pauses == [1.0, 2.0, 3.0]
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_jitter_spreads_the_pauses_evenly() -> None:
    pauses = []
    with world(trying(attempts=2, on=["5xx"], backoff=1.0, jitter=True, budget=1.0)) as play:
        for _ in range(200):
            client = play.client()
            client.send(get())
            play.upstream.send(answer(b"", status=BUSY))
            pauses.extend(timer.due - play.clock.now for timer in play.loop.timers if timer.callback is not None)
            play.pass_time(1.1)
            play.upstream.send(answer(b"ok"))
            client.lose()
    assert len(pauses) > 190  # none at all is one of the possible pauses
    assert max(pauses) <= 100
    assert min(pauses) < 15
    assert 35 < sum(pauses) / len(pauses) < 65


def test_no_rule_is_one_try() -> None:
    with world({"/*": {"retry": None}}) as play:
        play.connecting.append(ConnectionRefusedError())
        client = play.client()
        assert status_of(client.ask(get())) == 502


def test_the_budget_bounds_the_tries() -> None:
    with world(trying(attempts=4, on=["5xx"], backoff=0.001, max_backoff=0.001, budget=0.2)) as play:
        asked = 0
        for _ in range(100):
            client = play.client()
            client.send(get())
            while not (got := client.taken()):
                asked += 1
                play.upstream.send(answer(b"", status=BUSY))
                play.pass_time(0.1)
            assert status_of(got) == 503
            client.lose()
        assert asked <= 100 + 20 + 3
        assert asked > 100 + 15
        assert play.metrics()["retries"] == asked - 100
        assert play.metrics()["retries_denied"] > 0


def test_where_breakers_refuse_all_others_the_target_that_failed_is_tried_again() -> None:
    with world(trying(attempts=2, budget=1.0), targets=3) as play:
        targets = play.pool.targets
        play.pool.update(targets, Random(targets), play.pool.health, breaks=Judgement(["reset"]))
        for number in (0, 2):
            name, events = f"t{number}:80", ring(play.segment)
            breaker = Breaker(play.segment.rows, "backend", name, events=events, failures=1, open=60.0)
            breaker.record(breaker.admit(play.clock.now, 0), False, play.clock.now)
            assert breaker.admit(play.clock.now + 60_000, 0)    # half-open, and its one probe is under way
            targets[number].breaker = breaker
        for turn in range(20):
            client = play.client()
            client.send(get())
            assert on(play, 2 * turn).split(b"\r\n")[1] == b"Host: t1:80"
            play.upstream.lose()
            play.pass_time(0.2)
            assert on(play, 2 * turn + 1).split(b"\r\n")[1] == b"Host: t1:80"
            play.upstream.send(answer(b"ok", b"Connection: close"))
            assert client.taken() == answer(b"ok")
            client.lose()


def test_a_rule_is_what_counts_not_the_first_reason() -> None:
    with world(trying(attempts=2, on=["timeout"])) as play:
        play.connecting.append(ConnectionRefusedError())
        client = play.client()
        assert status_of(client.ask(get())) == 502


def test_going_on_to_another_target_after_a_failed_connection_is_free() -> None:
    with world(trying(attempts=2, budget=0.0), targets=2) as play:
        for _ in range(10):
            play.connecting.append(ConnectionRefusedError())
            client = play.client()
            client.send(get())
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
            client.lose()
            for upstream in play.upstreams:
                upstream.lose()
        assert play.metrics()["retries_denied"] == 0


def test_a_total_timeout_with_a_silent_target_is_held_against_it() -> None:
    passive = {"passive": Judgement(["timeout"])}
    health = {"failures": 1, "max_ejected": 0.5}
    with world({"/*": {"total_timeout": 1.0}}, targets=2, pool=passive, health=health) as play:
        client = play.client()
        client.send(get())
        play.pass_time(1.2)
        assert status_of(client.taken()) == 504
        assert [play.pool.health.target(index).status().state for index in range(2)] == ["ejected", "unknown"]
