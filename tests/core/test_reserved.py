"""Connections to upstreams that a client has authenticated: whatever ends around them."""

import pytest
from core.playbook import World, answer, get, status_of, world
from core.test_copies import hedging, mirrored

CREDENTIALS = b"Authorization: NTLM TlRMTVNTUAAB"


def log_in(play: World):  # type: ignore[no-untyped-def]
    """A client with a connection of its own."""
    client = play.client()
    client.send(get(b"/", CREDENTIALS))
    play.upstream.send(answer(b"ok"))
    assert client.taken() == answer(b"ok")
    return client, play.upstream


@pytest.mark.parametrize("way", ["eof", "lose"])
def test_it_ends_with_its_client(way: str) -> None:
    with world() as play:
        client, connection = log_in(play)
        getattr(client, way)()
        play.loop.run()
        assert connection.closed
        assert play.pool.open == 0


def test_a_client_that_leaves_in_the_middle_leaves_nothing() -> None:
    with world() as play:
        client, connection = log_in(play)
        client.send(get())
        client.lose()
        assert connection.aborted


def test_an_upstream_that_ends_it_is_asked_anew() -> None:
    with world() as play:
        client, connection = log_in(play)
        connection.eof()
        client.send(get())
        assert play.upstream is not connection
        play.upstream.send(answer(b"who?", b"WWW-Authenticate: NTLM", status=b"401 Unauthorized"))
        assert status_of(client.taken()) == 401


def test_it_is_not_used_for_a_target_that_is_no_longer_one() -> None:
    with world(targets=2) as play:
        client, connection = log_in(play)
        play.pool.health.target(0).drain(play.clock.now)
        client.send(get())
        assert connection.closed
        assert play.upstream is not connection
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_it_has_no_deadline_and_the_requests_are_counted_as_any() -> None:
    with world() as play:
        client, connection = log_in(play)
        play.pass_time(60)
        client.send(get())
        connection.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert play.metrics()["upstream_connects"] == 1
        assert play.metrics()["upstream_reuses"] == 1


def test_a_mirror_of_such_a_request_leaves_no_connection_to_anybody() -> None:
    with world() as play:
        pool = mirrored(play)
        client = play.client()
        client.send(get(b"/m/1", CREDENTIALS))
        for upstream in play.upstreams[:2]:
            upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert pool.targets[0].idle == 0


def test_such_a_request_is_not_hedged() -> None:
    with world(hedging(), targets=2) as play:
        client = play.client()
        client.send(get(b"/", CREDENTIALS))
        play.pass_time(1)
        assert play.metrics()["hedges"] == 0
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_credentials_that_a_policy_keeps_from_the_upstream_bind_nothing() -> None:
    def hide(request):  # type: ignore[no-untyped-def]
        del request.headers["authorization"]

    with world({"/*": {"on_request": [hide]}}) as play:
        log_in(play)
        other = play.client()
        other.send(get())
        assert len(play.upstreams) == 1
        play.upstream.send(answer(b"ok"))
        assert other.taken() == answer(b"ok")
