"""Upgrades between fake transports: who may, when the tunnel begins, what passes through it and how it ends."""

import pytest
from core.playbook import answer, asked, get, head, post, status_of, world

ASK = (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
SWITCH = head(
    b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Accept: y", status=b"101 Switching Protocols"
)


def test_a_tunnel_passes_bytes_both_ways_until_one_side_ends() -> None:
    for ending in ("client eof", "client lost", "upstream eof", "upstream lost"):
        with world() as play:
            client = play.client()
            client.send(get(b"/ws", *ASK))
            got = play.upstream.taken()
            assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in got
            assert b"\r\nSec-WebSocket-Key: x\r\n" in got
            play.upstream.send(SWITCH)
            sent = client.taken()
            assert status_of(sent) == 101
            assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in sent
            assert b"\r\nSec-WebSocket-Accept: y\r\n" in sent
            for number in range(3):
                client.send(b"GET / HTTP/1.1\r\n\r\n%d" % number, b"\0" * 3)
                assert play.upstream.taken() == b"GET / HTTP/1.1\r\n\r\n%d\0\0\0" % number
                play.upstream.send(b"back %d" % number)
                assert client.taken() == b"back %d" % number
            who, how = ending.split()
            side = client if who == "client" else play.upstream
            side.eof() if how == "eof" else side.lose()
            play.loop.run()
            assert (client.closed, play.upstream.closed) == (True, True), ending


def test_bytes_that_come_before_the_switch_wait_for_it() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/ws", *ASK) + b"early ", b"bird")
        assert b"early" not in play.upstream.taken()
        play.upstream.send(SWITCH + b"first")
        assert client.taken().endswith(b"\r\n\r\nfirst")
        assert play.upstream.taken() == b"early bird"


def test_an_upgrade_that_is_refused_is_an_ordinary_answer() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/ws", *ASK))
        play.upstream.send(answer(b"no", status=b"403 Forbidden"))
        assert client.taken() == answer(b"no", status=b"403 Forbidden")
        client.send(get(b"/next"))
        assert play.upstream.taken().endswith(asked(b"GET /next"))


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/", b"Connection: upgrade", b"Upgrade: h2c"), get(b"/", b"Upgrade: websocket"),
        get(b"/", b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: websocket"),
        get(b"/", *ASK, version=b"1.0"), post(b"x", b"/", *ASK), get(b"/", *ASK, b"Content-Length: 0"),
        get(b"/", b"Connection: upgrade", b"Upgrade: websocket, h2c"), get(b"/", *ASK, method=b"HEAD"),
    ],
)
def test_every_other_upgrade_is_removed_and_its_answer_cannot_switch(request_: bytes) -> None:
    with world() as play:
        client = play.client()
        client.send(request_)
        assert b"pgrade" not in play.upstream.taken()
        play.upstream.send(SWITCH)
        assert status_of(client.taken()) == 502
        assert play.upstream.aborted


def test_a_switch_to_another_protocol_is_a_bad_answer() -> None:
    for fields in ((b"Connection: upgrade", b"Upgrade: other"), (b"Connection: upgrade",)):
        with world() as play:
            client = play.client()
            client.send(get(b"/ws", *ASK))
            play.upstream.send(head(*fields, status=b"101 Switching Protocols"))
            assert status_of(client.taken()) == 502


def test_a_route_names_what_may_be_upgraded_to() -> None:
    with world({"/*": {"upgrades": ["mqtt"]}}) as play:
        client = play.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: MQTT"))
        play.upstream.send(head(b"Connection: upgrade", b"Upgrade: mqtt", status=b"101 Switching Protocols"))
        assert status_of(client.taken()) == 101
        other = play.client()
        other.send(get(b"/", *ASK))
        assert b"pgrade" not in play.upstream.taken()


def test_a_tunnel_has_back_pressure_both_ways() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/ws", *ASK))
        play.upstream.send(SWITCH)
        client.taken()
        play.upstream.taken()
        for one, other in ((client, play.upstream), (play.upstream, client)):
            one.stop_taking()
            assert not other.reading
            other.send(b"held")
            assert one.taken() == b""
            one.take_on()
            assert one.taken() == b"held"


def test_a_tunnel_in_which_nothing_passes_ends() -> None:
    with world({"/*": {"idle_timeout": 5.0}}) as play:
        client = play.client()
        client.send(get(b"/ws", *ASK))
        play.upstream.send(SWITCH)
        for _ in range(3):
            play.pass_time(4)
            client.send(b"ping")
            play.pass_time(4)
            play.upstream.send(b"pong")
        assert not client.closed
        play.pass_time(5.3)
        assert (client.closed, play.upstream.closed) == (True, True)


def test_a_tunnel_outlives_the_runtime_it_began_in() -> None:
    with world() as play, world() as other:
        client = play.client()
        client.send(get(b"/ws", *ASK))
        play.upstream.send(SWITCH)
        client.taken()
        play.upstream.taken()
        play.engine.use(other.engine.runtime)
        client.send(b"still")
        assert play.upstream.taken() == b"still"
