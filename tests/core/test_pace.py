"""Clients that are waited for and are slow: how long, and how slow, they may be."""

from typing import Any

import pytest
from core.playbook import Transport, World, answer, chunks, get, head, status_of, world

LENGTH = b"Content-Length: 1000000"
RATE = 1024
PACED: dict[str, dict[str, Any]] = {"/*": {"min_rate": RATE}}


def upload(play: World, path: bytes = b"/", *fields: bytes) -> Transport:
    client = play.client()
    client.send(get(path, LENGTH, *fields, method=b"POST"))
    return client


def ends(play: World) -> list[str]:
    return [line for _, line in play.logged]


def test_a_body_that_trickles_is_given_up_after_ten_seconds() -> None:
    with world(PACED, body_timeout=30.0) as play:
        client = upload(play)
        for _ in range(5):
            client.send(b"x")
            assert client.taken() == b""
            play.pass_time(2)
        play.pass_time(0.2)
        sent = client.taken()
        assert status_of(sent) == 408
        assert b"arrived too slowly" in sent
        assert play.upstream.aborted


def test_a_body_that_comes_at_the_rate_may_take_its_time() -> None:
    with world(PACED, body_timeout=30.0) as play:
        client = upload(play)
        for second in range(100):
            # In bursts: only the average over ten seconds counts.
            if second % 5 == 0:
                client.send(b"x" * (RATE * 6))
            play.pass_time(1)
            assert client.taken() == b""
        play.upstream.send(answer(b"early"))
        assert client.taken().endswith(b"early")


@pytest.mark.parametrize(("gateway", "route"), [(RATE, 0), (0, None)])
def test_where_no_rate_is_asked_for_only_time_counts(gateway: int, route: int | None) -> None:
    with world({"/*": {"min_rate": gateway if route is None else route}}, min_rate=gateway, body_timeout=5.0) as play:
        client = upload(play)
        for _ in range(20):
            client.send(b"x")
            play.pass_time(3)
        assert client.taken() == b""
        play.pass_time(5.2)
        assert status_of(client.taken()) == 408


def test_a_route_may_ask_for_more_than_the_gateway() -> None:
    with world({"/*": {"min_rate": 100_000}}, min_rate=0, body_timeout=30.0) as play:
        client = upload(play)
        for _ in range(11):
            client.send(b"x" * 50_000)
            play.pass_time(1)
        assert status_of(client.taken()) == 408


def test_time_in_which_the_upstream_is_waited_for_does_not_count() -> None:
    """It takes no more of the body: the client is held, and when it is let go its time begins anew."""
    with world(PACED, body_timeout=30.0) as play:
        client = upload(play)
        client.send(b"x" * 10)
        play.upstream.stop_taking()
        play.pass_time(40)
        play.upstream.take_on()
        play.pass_time(9)
        assert client.taken() == b""
        client.send(b"x" * (RATE * 10))
        play.pass_time(9)
        assert client.taken() == b""
        play.pass_time(5)
        assert status_of(client.taken()) == 408


def test_a_client_that_waits_for_100_is_not_waited_for() -> None:
    """Connecting takes longer than a body may stall: that is not the client's fault."""
    with world({"/*": {"connect_timeout": 60.0}}, min_rate=RATE, body_timeout=5.0) as play:
        connecting = play.loop.create_future()
        play.connecting.append(connecting)
        client = upload(play, b"/", b"Expect: 100-continue")
        play.pass_time(30)
        assert client.taken() == b""
        connecting.set_result(None)
        assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
        play.pass_time(4)
        assert client.taken() == b""
        play.pass_time(2)
        assert status_of(client.taken()) == 408


# -- answers

def download(play: World, kind: bytes = b"text/plain", path: bytes = b"/") -> tuple[Transport, Transport]:
    """A client that takes no more of an answer, and the upstream that sends it."""
    client = play.client()
    client.send(get(path))
    upstream = play.upstream
    upstream.send(head(b"Transfer-Encoding: chunked", b"Content-Type: " + kind) + chunks(b"x" * 100_000, last=False))
    client.taken()
    client.unsent = 100_000
    client.stop_taking()
    return client, upstream


def test_a_client_that_takes_next_to_nothing_is_reset_after_ten_seconds() -> None:
    with world(PACED, min_rate=RATE) as play:
        client, upstream = download(play)
        for _ in range(11):
            client.unsent -= 100
            play.pass_time(1)
        play.pass_time(1.2)
        assert (client.lingers, client.aborted, upstream.aborted) == (False, True, True)


def test_a_client_that_takes_enough_may_take_its_time() -> None:
    with world({"/*": {"min_rate": RATE, "write_timeout": 60.0}}) as play:
        client, upstream = download(play)
        for _ in range(30):
            client.unsent -= 1100
            play.pass_time(1)
        assert not client.closed
        assert not upstream.closed


UNWATCHED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "events": (b"text/event-stream; charset=utf-8", {"min_rate": RATE}),
    "a route that asks for nothing": (b"text/plain", {"min_rate": 0}),
}


@pytest.mark.parametrize(("kind", "route"), UNWATCHED.values(), ids=UNWATCHED)
def test_who_is_not_asked_for_a_rate_is_still_asked_for_a_byte(kind: bytes, route: dict[str, Any]) -> None:
    with world({"/*": {"write_timeout": 20.0, **route}}, min_rate=RATE) as play:
        client, upstream = download(play, kind)
        for _ in range(30):
            client.unsent -= 10
            play.pass_time(1)
        assert not client.closed
        play.pass_time(21.2)
        assert client.aborted
        assert upstream.aborted


def test_a_tunnel_is_not_asked_for_a_rate() -> None:
    upgrade = (b"Connection: upgrade", b"Upgrade: websocket")
    with world({"/*": {"min_rate": RATE}}) as play:
        client = play.client()
        client.send(get(b"/", *upgrade))
        play.upstream.send(head(*upgrade, status=b"101 Switching Protocols") + b"x" * 1000)
        client.unsent = 1000
        client.stop_taking()
        for _ in range(30):
            client.unsent -= 10
            play.pass_time(1)
        assert not client.closed


def test_what_lies_unsent_when_a_connection_closes_is_asked_for_the_rate_too() -> None:
    with world(PACED, min_rate=RATE) as play:
        client = play.client()
        client.send(get(b"/", b"Connection: close"))
        client.unsent = 100_000
        play.upstream.send(answer(b"x" * 100_000))
        for _ in range(12):
            client.unsent -= 100
            play.pass_time(1)
        assert client.aborted
