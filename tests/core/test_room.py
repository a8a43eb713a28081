"""How many connections clients may have: what counts, which give way, whose share is used up."""

import random
from types import SimpleNamespace

import pytest
from core.playbook import Transport, World, world

from fastgate._core.wire.h1.client import ClientConnection
from fastgate._core.wire.room import Places

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def served(play: World, client: Transport) -> None:
    """A request and its answer; the connection is idle then."""
    client.send(GET)
    play.upstream.send(OK)
    assert b" 200 " in client.taken()


class Arrival:
    """A connection whose TLS handshake or PROXY header is awaited."""

    def __init__(self, play: World) -> None:
        self.aborted = False
        self.places = Places(play.engine)
        self.admitted = self.places.arrived(self)

    def abort(self) -> None:
        self.aborted = True
        self.places.left(self)


def test_the_longest_idle_connection_gives_way() -> None:
    with world() as play:
        play.engine.max_connections = 3
        clients = [play.client() for _ in range(3)]
        for client in (clients[1], clients[2], clients[0]):
            served(play, client)
            play.pass_time(1)
        new = play.client()
        served(play, new)
        assert [client.closed for client in clients] == [False, True, False]
        assert play.engine.open_connections == 3
        counters = play.metrics()
        assert (counters["given_up"], counters["refused_connections"]) == (1, 0)
        assert play.logged == [
            ("warning", "3 connections are open: closing the longest idle ones for new ones"),
        ]


def test_a_connection_with_a_request_under_way_never_gives_way() -> None:
    with world() as play:
        play.engine.max_connections = 2
        busy = [play.client() for _ in range(2)]
        for client in busy:
            client.send(GET)
        play.pass_time(5)
        assert play.client().closed
        for client, upstream in zip(busy, play.upstreams, strict=True):
            upstream.send(OK)
            assert b" 200 " in client.taken()
        assert play.metrics()["refused_connections"] == 1


def test_a_request_that_lies_unread_keeps_its_connection() -> None:
    with world() as play:
        play.engine.max_connections = 1
        client = play.client()
        served(play, client)
        client.send_unseen(b"G")
        play.pass_time(1)
        assert play.client().closed
        assert not client.closed


def test_an_answer_that_is_not_taken_keeps_its_connection() -> None:
    with world() as play:
        play.engine.max_connections = 1
        client = play.client()
        served(play, client)
        client.stop_taking()
        play.pass_time(0.2)
        assert play.client().closed
        assert not client.closed


def test_silent_connections_keep_nobody_out() -> None:
    with world() as play:
        play.engine.max_connections = 4
        silent = [play.client() for _ in range(4)]
        assert play.client().closed, "they have only just come"
        play.pass_time(1)
        for _ in range(6):
            new = play.client()
            served(play, new)
            new.lose()
        assert sum(client.closed for client in silent) == 1


def test_heads_that_do_not_end_keep_nobody_out() -> None:
    with world() as play:
        play.engine.max_connections = 4
        slow = [play.client() for _ in range(4)]
        for client in slow:
            client.send(b"GET / HT")
        play.pass_time(1)
        new = play.client()
        served(play, new)
        assert [client.aborted for client in slow].count(True) == 1
        assert play.engine.open_connections == 4


def test_arrivals_count_and_the_flood_itself_gives_way() -> None:
    with world() as play:
        play.engine.max_connections = 10
        old = play.client()
        served(play, old)
        flood = [Arrival(play) for _ in range(9)]
        assert all(each.admitted for each in flood)
        assert not Arrival(play).admitted, "they have only just come"
        play.pass_time(1)
        late = Arrival(play)
        assert late.admitted
        assert [each.aborted for each in flood] == [True] + [False] * 8
        served(play, old)
        assert play.engine.open_connections == 10
        play.engine.abort_connections()


def test_idle_connections_give_way_before_a_few_arrivals() -> None:
    with world() as play:
        play.engine.max_connections = 6
        idle = [play.client() for _ in range(4)]
        for client in idle:
            served(play, client)
        arrivals = [Arrival(play) for _ in range(2)]
        play.pass_time(1)
        assert Arrival(play).admitted
        assert sum(client.closed for client in idle) == 1
        assert not any(each.aborted for each in arrivals)
        play.engine.abort_connections()


def test_a_part_gives_way_at_once_so_that_a_look_at_all_pays() -> None:
    with world() as play:
        play.engine.max_connections = 320
        for _ in range(320):
            play.client()
        play.pass_time(1)
        play.client()
        assert play.engine.open_connections == 311
        assert play.metrics()["given_up"] == 10


def test_the_first_request_is_due_from_when_the_connection_was_accepted() -> None:
    with world(header_timeout=10.0, keepalive=75.0) as play:
        silent, slow, quick = play.client(), play.client(), play.client()
        play.pass_time(8)
        slow.send(b"GET / ")
        served(play, quick)
        play.pass_time(2.2)
        assert silent.closed
        assert silent.taken() == b""
        assert slow.taken().startswith(b"HTTP/1.1 408 ")
        play.pass_time(60)
        quick.send(b"GET / ")
        play.pass_time(9)
        assert not quick.closed
        play.pass_time(1.2)
        assert quick.taken().startswith(b"HTTP/1.1 408 ")


def client_of(play: World, address: str | None, told: str | None = None) -> Transport:
    listener = SimpleNamespace(scheme="http", port=8080)
    peer = (told, 4000) if told is not None else None
    peername = (address, 4000) if address is not None else ""
    return Transport(play, ClientConnection(play.engine, listener, peer), peername=peername)


def test_a_client_has_its_share_and_others_theirs() -> None:
    with world() as play:
        play.engine.max_per_client = 2
        mine = [client_of(play, "192.0.2.1") for _ in range(3)]
        assert [client.closed for client in mine] == [False, False, True]
        assert not client_of(play, "192.0.2.2").closed
        assert client_of(play, "::ffff:192.0.2.1").closed, "the same address in another form"
        mine[0].lose()
        mine[2].lose()
        assert not client_of(play, "192.0.2.1").closed
        assert client_of(play, "192.0.2.1").closed
        assert play.logged == [
            ("warning", "refusing new connections: 192.0.2.1 has 2 (max_connections_per_client)"),
        ]
        assert play.metrics()["refused_connections"] == 3


def test_who_has_his_share_makes_nobody_give_way() -> None:
    with world() as play:
        play.engine.max_per_client = 2
        play.engine.max_connections = 4
        others = [client_of(play, f"192.0.2.{number}") for number in (7, 8)]
        mine = [client_of(play, "192.0.2.1") for _ in range(2)]
        for client in others:
            served(play, client)
        play.pass_time(1)
        assert all(client_of(play, "192.0.2.1").closed for _ in range(5))
        assert not any(client.closed for client in (*others, *mine))
        assert play.metrics()["given_up"] == 0
        # One that is refused for want of room has taken nothing of its share; each kind of line is said.
        assert not client_of(play, "192.0.2.9").closed
        assert [line.partition(":")[2].split()[0] for _, line in play.logged] == ["192.0.2.1", "closing"]


def test_a_network_of_64_bits_is_one_client() -> None:
    with world() as play:
        play.engine.max_per_client = 1
        assert not client_of(play, "2001:db8::1").closed
        assert client_of(play, "2001:db8::ffff").closed
        assert not client_of(play, "2001:db8:0:1::1").closed
        assert not client_of(play, "fe80::1%eth0").closed
        assert client_of(play, "fe80::2%eth1").closed


def test_trusted_proxies_and_unix_sockets_have_no_share() -> None:
    with world(trusted=lambda host: host == "10.0.0.1") as play:
        play.engine.max_per_client = 1
        assert not any(client_of(play, "10.0.0.1").closed for _ in range(3))
        assert not any(client_of(play, None).closed for _ in range(3))
        told = [client_of(play, "10.0.0.1", told="192.0.2.7") for _ in range(2)]
        assert [client.closed for client in told] == [False, True], "whom the PROXY protocol names has one"


@pytest.mark.parametrize("seed", range(20))
def test_any_course_of_connections(seed: int) -> None:
    """Never more open than may be, nobody refused beside one that is idle, and every count returns to nothing."""
    draw = random.Random(seed)
    with world() as play:
        most = play.engine.max_connections = draw.randint(1, 8)
        play.engine.max_per_client = draw.choice([0, 0, 2])
        open_clients: list[Transport] = []
        busy: dict[Transport, Transport] = {}
        for _ in range(150):
            step = draw.random()
            quiet = [client for client in open_clients if client not in busy]
            if step < 0.4:
                new = client_of(play, draw.choice(["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
                open_clients.append(new)
            elif step < 0.6 and quiet:
                client = draw.choice(quiet)
                client.send(GET)
                busy[client] = play.upstream
            elif step < 0.75 and busy:
                client = draw.choice([*busy])
                busy.pop(client).send(OK)
            elif step < 0.85 and open_clients:
                draw.choice(open_clients).lose()
            else:
                play.pass_time(draw.choice([0.1, 0.6]))
            play.loop.run()
            open_clients = [client for client in open_clients if not client.closed]
            busy = {client: upstream for client, upstream in busy.items() if not client.closed}
            assert play.engine.open_connections == len(open_clients) <= most
        for client in open_clients:
            client.lose()
        play.engine.max_connections = 0
        play.engine.max_per_client = 1
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            assert not client_of(play, address).closed
