"""Mirrors and hedges: copies of a request that must not touch their original, whatever happens to them."""

import re
from pathlib import Path
from typing import Any

import pytest
from core.playbook import World, answer, chunks, get, head, post, status_of, world
from core.regions import ring

from fastgate._core.delivery.balancer import RoundRobin
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.delivery.mirror import Mirrored
from fastgate._core.delivery.pool import Pool, Target
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.split import Split
from fastgate._core.delivery.tries import Upstreams
from fastgate._core.policies.header_edits import Edits


def mirrored(play: World, *, sample: float = 1.0, timeout: float = 60.0, **route: Any) -> Pool:
    """Adds the route ``/m/*`` with a mirror to an upstream of its own; gives that pool."""
    target = Target(play.engine, name="m:80", host="m", port=80, number=play.segment.rows.row("shadow\0m:80"))
    health = UpstreamHealth(play.segment.rows, "shadow", ["m:80"], events=ring(play.segment))
    pool = Pool(play.engine, "shadow", [target], RoundRobin([target]), health, budgets=play.budget)
    play.route("/m/*", mirror={"pool": pool, "sample": sample, "timeout": timeout}, **route)
    play.pools.append(pool)
    return pool


# What a copy does not take over: what belongs to the one use of the exchange, what it makes of its own, what it owes,
# the answer, and what only policies before the first try look at.
ITS_OWN = {
    "engine", "runtime", "next_spare", "generation", "client", "over", "phase", "cause", "given_by", "delivery",
    "source", "due", "total_due", "started", "connected_at", "response_at", "ended", "request", "response", "is_copy",
    "facts", "debts", "places", "later", "refused_for", "body_flows", "status",
    "answer", "response_started", "response_complete", "status_changed",
    "reframed", "filters", "response_extra", "response_withheld", "carried", "response_body", "response_kept",
    "bytes_out", "interims", "preflight", "upgrading", "expects_continue", "sending_stopped", "filtering",
    "body_waiter", "body_wanted", "finish_from", "refusal_fields",
    "refusal_detail", "refusal_of", "hooks", "step", "task", "awaited", "request_view", "response_view", "error",
    "state",
}


def test_a_copy_takes_over_every_field_that_decides_about_a_try() -> None:
    core = Path(__file__).parents[2] / "fastgate" / "_core"
    text = (core / "exchange" / "exchange.pxd").read_text()
    declared = text.partition("cdef class Exchange(Timed):")[2].partition("\ncdef ")[0]
    pattern = r"^    cdef (?:readonly |const |unsigned )*[\w*]+ ?\*?(?:char )?\*?(\w+)(?:\[\w+\])? *(?:#.*)?$"
    fields = re.findall(pattern, declared, re.MULTILINE)
    assert {"identity", "client_ip", "path", "id", "debts", "generation", "refused_for"} <= set(fields)
    source = (core / "exchange" / "exchange_copies.pxi").read_text()
    made = source.partition("cdef Exchange copy_of")[2].partition("return copy")[0]
    copied = set(re.findall(r"copy\.(\w+)\b", made))
    assert sorted(set(fields) - copied - ITS_OWN) == []


def test_the_mirror_gets_the_same_request_and_nobody_its_answer() -> None:
    with world() as play:
        mirrored(play, request_edits=Edits(removed=["x-secret"], added=[("x-added", b"1")]))
        client = play.client()
        client.send(get(b"/m/1?q=2", b"X-Secret: s", b"X-Kept: k"))
        original, copy = play.upstreams
        assert original.taken().replace(b"t0:80", b"m:80") == copy.taken()
        copy.send(answer(b"from the mirror", status=b"500 Internal Server Error"))
        assert client.taken() == b""
        original.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        metrics = play.metrics()
        assert (metrics["requests"], metrics["mirrored"]) == (1, 1)
        assert (metrics["responses_2xx"], metrics["responses_5xx"]) == (1, 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_goes_to_both(chunked: bool) -> None:
    body = b"0123456789" * 3000
    with world() as play:
        mirrored(play)
        client = play.client()
        if chunked:
            client.send(get(b"/m/1", b"Transfer-Encoding: chunked", method=b"POST"))
            for start in range(0, len(body), 7000):
                client.send(chunks(body[start : start + 7000], last=False))
            client.send(chunks())
        else:
            client.send(post(body, b"/m/1")[:10_000], post(body, b"/m/1")[10_000:])
        original, copy = play.upstreams
        sent = original.taken()
        assert sent.endswith(b"0\r\n\r\n" if chunked else body)
        assert copy.taken() == sent.replace(b"t0:80", b"m:80")
        original.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        copy.send(answer(b"ok"))
        assert not copy.closed


def test_a_mirror_around_a_split_gets_a_body_that_comes_later() -> None:
    with world({"/unused": {}}) as play:
        split = Split([Upstreams(play.pool, None), Upstreams(play.pool, None)], [1, 1])
        play.route("/*", delivery=Mirrored(split, Upstreams(play.pool, None, single=True)))
        client = play.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"PUT"), b"first")
        client.send(b"later")
        original, copy = play.upstreams
        assert original.taken().endswith(b"firstlater")
        assert copy.taken().endswith(b"firstlater")
        original.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_mirror_outlives_its_original() -> None:
    with world() as play:
        pool = mirrored(play)
        client = play.client()
        client.send(get(b"/m/1"))
        original, copy = play.upstreams
        original.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        client.lose()
        copy.send(answer(b"long after")[:-3])
        copy.send(b"ter")
        assert not copy.closed
        assert pool.targets[0].idle == 1


@pytest.mark.parametrize("failure", ["refused", "reset", "silence", "nonsense", "queue"])
def test_a_mirror_that_fails_changes_nothing(failure: str) -> None:
    with world() as play:
        mirrored(play, timeout=5.0)
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"warm"))
        client.taken()
        if failure == "refused":
            play.connecting.append(ConnectionRefusedError())
        client.send(get(b"/m/1"))
        if failure != "refused":
            copy = play.upstream
            if failure == "reset":
                copy.lose(ConnectionResetError())
            elif failure == "nonsense":
                copy.send(b"SSH-2.0\r\n\r\n")
            elif failure == "silence":
                play.upstreams[0].send(answer(b"ok"))
                play.pass_time(6)
                assert copy.aborted
        if failure != "silence":
            play.upstreams[0].send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert play.metrics()["responses_5xx"] == 0


def test_a_mirror_that_takes_no_bytes_is_given_up() -> None:
    with world() as play:
        mirrored(play)
        client = play.client()
        client.send(get(b"/m/1", b"Content-Length: 400000", method=b"PUT"), b"x" * 10)
        original, copy = play.upstreams
        copy.stop_taking()
        for _ in range(39):
            client.send(b"x" * 10_000)
        client.send(b"x" * 9_990)
        assert copy.aborted
        assert len(original.taken().partition(b"\r\n\r\n")[2]) == 400_000
        original.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_mirror_without_a_connection_keeps_a_bounded_part_of_the_body() -> None:
    with world() as play:
        mirrored(play)
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"warm"))
        client.taken()
        waiting = play.loop.create_future()
        play.connecting.append(waiting)
        client.send(get(b"/m/1", b"Content-Length: 3000000", method=b"PUT"))
        for _ in range(30):
            client.send(b"x" * 100_000)
        assert len(play.upstreams[0].taken()) > 3_000_000
        assert waiting.cancelled()
        play.upstreams[0].send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_client_that_leaves_in_the_middle_of_its_body_takes_the_mirror_with_it() -> None:
    with world() as play:
        mirrored(play)
        client = play.client()
        client.send(get(b"/m/1", b"Content-Length: 100", method=b"PUT"), b"half")
        client.lose()
        assert all(upstream.aborted for upstream in play.upstreams)


def test_only_a_sample_is_copied() -> None:
    with world() as play:
        mirrored(play, sample=0.25)
        for _ in range(400):
            client = play.client()
            client.send(get(b"/m/1"))
            for upstream in play.upstreams:
                if upstream.taken():
                    upstream.send(answer(b"ok"))
            client.lose()
        assert 60 < play.metrics()["mirrored"] < 140


# -- hedges


def hedging(**rule: Any) -> dict[str, dict[str, Any]]:
    return {"/*": {"retry": RetryRule(**{"hedge_delay": 0.1, "attempts": 2, **rule})}}


def slow_first(play: World) -> Any:
    """A client whose request the first target does not answer for a while."""
    client = play.client()
    client.send(get())
    assert len(play.upstreams) == 1
    play.pass_time(0.2)
    assert len(play.upstreams) == 2
    return client


def test_a_quick_answer_needs_no_hedge() -> None:
    with world(hedging(), targets=2) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        play.pass_time(0.5)
        assert len(play.upstreams) == 1
        assert play.metrics()["hedges"] == 0


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("pieces", [1, 3])
def test_the_first_answer_wins_and_the_other_try_is_dropped(winner: int, pieces: int) -> None:
    whole = answer(b"ok" * 50, b"X-From: %d" % winner)
    size = -(-len(whole) // pieces)
    with world(hedging(), targets=2) as play:
        client = slow_first(play)
        assert play.upstreams[0].taken().replace(b"t0", b"t1") == play.upstreams[1].taken()
        play.upstreams[winner].send(*[whole[start : start + size] for start in range(0, len(whole), size)])
        assert client.taken() == whole
        assert play.upstreams[1 - winner].aborted
        assert not play.upstreams[winner].closed
        metrics = play.metrics()
        assert (metrics["requests"], metrics["responses_2xx"], metrics["hedges"]) == (1, 1, 1)
        # The connection serves the next one.
        client.send(get(b"/next"))
        play.loop.run()
        assert any(b"GET /next" in upstream.taken() for upstream in play.upstreams)


@pytest.mark.parametrize("first", [0, 1])
def test_the_failure_of_one_leaves_it_to_the_other(first: int) -> None:
    with world(hedging(), targets=2) as play:
        client = slow_first(play)
        play.upstreams[first].lose(ConnectionResetError())
        assert client.taken() == b""
        play.upstreams[1 - first].send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_when_both_have_failed_the_client_is_told() -> None:
    with world(hedging(attempts=1), targets=2) as play:
        client = slow_first(play)
        play.upstreams[0].lose(ConnectionResetError())
        play.upstreams[1].lose(ConnectionResetError())
        assert status_of(client.taken()) == 502


def test_a_streaming_answer_of_the_hedge_goes_on_under_its_original() -> None:
    with world(hedging(), targets=2) as play:
        client = slow_first(play)
        hedge = play.upstreams[1]
        hedge.send(head(b"Transfer-Encoding: chunked") + chunks(b"one", last=False))
        hedge.send(chunks(b"two", last=False))
        hedge.send(chunks(b"three"))
        assert client.taken() == head(b"Transfer-Encoding: chunked") + chunks(b"one", b"two", b"three")


def test_a_client_that_leaves_takes_the_hedge_with_it() -> None:
    with world(hedging(), targets=2) as play:
        client = slow_first(play)
        client.lose()
        assert all(upstream.aborted for upstream in play.upstreams)


def test_nothing_is_hedged_that_is_not_idempotent_or_has_one_target() -> None:
    for targets, request in ((2, post(b"x")), (1, get())):
        with world(hedging(), targets=targets) as play:
            client = play.client()
            client.send(request)
            play.pass_time(0.5)
            assert len(play.upstreams) == 1
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")


def test_hedges_are_paid_for_from_the_retry_budget() -> None:
    with world(hedging(budget=0.0), targets=2) as play:
        for number in range(6):
            client = play.client()
            client.send(get())
            play.pass_time(0.3)
            client.lose()
            assert play.metrics()["hedges"] == min(number + 1, 3)


def test_the_engine_stops_with_copies_under_way() -> None:
    with world(hedging(), targets=2) as play:
        mirrored(play)
        client = slow_first(play)
        other = play.client()
        other.send(get(b"/m/1"))
        play.engine.abort_connections()
        play.loop.run()
        assert client.lost
        assert other.lost
        assert all(upstream.closed for upstream in play.upstreams)
