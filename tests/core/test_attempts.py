"""Tries: stale connections, connects that fail, the pool and its queue, and every deadline on the way."""

import errno
import socket
import ssl

import pytest
from core.playbook import answer, asked, chunks, closes, get, head, post, status_of, world

from fastgate._core.delivery.retry import Judgement


def rest(play, body: bytes = b"ok") -> None:  # type: ignore[no-untyped-def]
    """Leaves one connection resting in the pool."""
    client = play.client()
    client.send(get())
    play.upstream.send(answer(body))
    client.lose()
    play.upstream.taken()


# -- a pooled connection that died

@pytest.mark.parametrize("way", ["eof", "lose"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
def test_a_stale_connection_is_replaced_once_for_idempotent_methods(method: bytes, way: str) -> None:
    with world() as play:
        rest(play)
        stale = play.upstream
        client = play.client()
        client.send(get(b"/again", method=method))
        assert stale.taken() == asked(method + b" /again")
        getattr(stale, way)()
        assert play.upstream is not stale
        assert play.upstream.taken() == asked(method + b" /again")
        play.upstream.send(answer() if method == b"HEAD" else answer(b"fresh"))
        assert status_of(client.taken()) == 200
        assert (play.metrics()["replays"], play.metrics()["upstream_connects"]) == (1, 2)


def test_a_fresh_connection_that_is_closed_without_an_answer_is_tried_once_more() -> None:
    with world() as play:
        rest(play)
        client = play.client()
        client.send(get())
        play.upstream.eof()
        play.upstream.eof()
        play.pass_time(0.1)
        assert len(play.upstreams) == 3
        play.upstream.eof()
        assert status_of(client.taken()) == 502
        play.pass_time(2)
        assert len(play.upstreams) == 3


def test_a_stale_connection_is_not_replaced_once_bytes_of_an_answer_have_come() -> None:
    with world() as play:
        rest(play)
        client = play.client()
        client.send(post(b"x"))
        play.upstream.send(b"HTTP/1.1 200")
        play.upstream.eof()
        assert status_of(client.taken()) == 502
        assert len(play.upstreams) == 1


def test_a_request_that_is_not_idempotent_is_not_sent_twice() -> None:
    with world() as play:
        rest(play)
        client = play.client()
        client.send(post(b"body"))
        assert play.upstream.taken().endswith(b"body")
        play.upstream.eof()
        assert status_of(client.taken()) == 502
        assert len(play.upstreams) == 1


def test_a_request_that_is_not_idempotent_takes_no_connection_that_is_known_to_be_gone() -> None:
    with world() as play:
        rest(play)
        stale = play.upstream
        stale.hang_up_unseen()
        client = play.client()
        client.send(post(b"body"))
        assert play.upstream is not stale
        assert stale.taken() == b""
        assert play.upstream.taken().endswith(b"body")
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


@pytest.mark.parametrize("size", [256, 20_000, 60_000])
def test_a_body_that_was_kept_is_sent_again(size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    for request, expected in (
        (post(body, method=b"PUT"), asked(b"PUT /", after=(b"Content-Length: %d" % len(body),)) + body),
        (
            get(b"/", b"Transfer-Encoding: chunked", method=b"PUT") + chunks(body),
            asked(b"PUT /", after=(b"Transfer-Encoding: chunked",)) + chunks(body),
        ),
    ):
        with world() as play:
            rest(play)
            client = play.client()
            client.send(request[:100], request[100:])
            play.upstream.taken()
            play.upstream.lose()
            got = play.upstream.taken()
            assert len(play.upstreams) == 2
            assert got[: expected.index(b"\r\n\r\n")] == expected[: expected.index(b"\r\n\r\n")]
            assert unchunked(got) == unchunked(expected)
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")


def unchunked(data: bytes) -> bytes:
    begin, _, body = data.partition(b"\r\n\r\n")
    if b"chunked" not in begin:
        return body
    carried = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            assert body == b"\r\n"
            return carried
        carried += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def test_a_body_too_long_to_keep_is_not_sent_again() -> None:
    with world() as play:
        rest(play)
        client = play.client()
        client.send(get(b"/", b"Content-Length: 200000", method=b"PUT"), b"x" * 40_000, b"x" * 40_000)
        play.upstream.lose()
        assert status_of(client.taken()) == 502
        assert len(play.upstreams) == 1


# -- connecting

@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionRefusedError("refused"), 502), (TimeoutError(), 502), (OSError(113, "no route"), 502),
        (ssl.SSLError(1, "verify failed"), 502), (socket.gaierror(-2, "unknown"), 503),
    ],
)
def test_a_connect_that_fails_is_tried_twice_for_any_method(error: OSError, status: int) -> None:
    for request in (get(), post(b"body")):
        with world() as play:
            play.connecting.append(error)
            client = play.client()
            client.send(request)
            play.pass_time(0.1)
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
            assert play.metrics()["upstream_failures"] == 1
        with world() as play:
            play.connecting.extend([error, error, error])
            client = play.client()
            client.send(request)
            play.pass_time(0.1)
            sent = client.taken()
            assert status_of(sent) == status
            assert (b"\r\nRetry-After: " in sent) == (status == 503)
            assert len(play.connecting) == 1
            assert b"t0" not in sent
            assert not client.closed


def test_the_second_try_goes_to_another_target() -> None:
    with world(targets=3) as play:
        play.connecting.append(ConnectionRefusedError())
        client = play.client()
        client.send(get())
        assert play.upstream.taken() == asked(b"GET /", host=b"t1:80")


def test_targets_take_turns() -> None:
    with world(targets=2) as play:
        client = play.client()
        for number in range(4):
            client.send(get())
            assert play.upstreams[number % 2].taken() == asked(b"GET /", host=b"t%d:80" % (number % 2))
            play.upstreams[number % 2].send(answer(b"ok"))


def test_a_connect_that_takes_too_long() -> None:
    with world({"/*": {"connect_timeout": 1.0}}) as play:
        waiting = [play.loop.create_future() for _ in range(2)]
        play.connecting.extend(waiting)
        client = play.client()
        client.send(get())
        play.pass_time(1.2)
        assert waiting[0].cancelled()
        assert client.taken() == b""
        play.pass_time(1.2)
        assert status_of(client.taken()) == 502
        assert (play.upstreams, play.pool.open) == ([], 0)


def test_a_connection_that_is_there_too_late_is_not_lost() -> None:
    with world({"/*": {"total_timeout": 1.0, "connect_timeout": 0.0}}) as play:
        waiting = play.loop.create_future()
        play.connecting.append(waiting)
        client = play.client()
        client.send(get())
        play.pass_time(1.2)
        assert status_of(client.taken()) == 504
        play.loop.run()
        assert play.pool.open == 0


# -- the pool

def test_who_finds_no_connection_waits_in_line() -> None:
    with world(pool={"max_connections": 1, "queue": 2}) as play:
        clients = [play.client() for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(get(b"/%d" % number))
        sent = clients[3].taken()
        assert status_of(sent) == 503
        assert b"\r\nRetry-After: " in sent
        for number in range(3):
            assert play.upstream.taken() == asked(b"GET /%d" % number)
            play.upstream.send(answer(b"%d" % number))
            assert clients[number].taken() == answer(b"%d" % number)
        assert len(play.upstreams) == 1


def test_who_waits_too_long_is_refused_and_who_leaves_gives_up_the_place() -> None:
    with world(pool={"max_connections": 1, "queue": 8, "queue_timeout": 1.0}) as play:
        clients = [play.client() for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(get(b"/%d" % number))
        clients[1].lose()
        play.pass_time(1.2)
        assert [status_of(client.taken()) for client in clients[2:]] == [503, 503]
        assert clients[0].taken() == b""
        play.upstream.send(answer(b"0"))
        assert clients[0].taken() == answer(b"0")
        clients[2].send(get(b"/later"))
        play.upstream.taken()
        play.upstream.send(answer(b"later"))
        assert clients[2].taken() == answer(b"later")


@pytest.mark.parametrize("seen", [False, True])
def test_a_request_that_waited_takes_no_connection_that_is_known_to_be_gone_either(seen: bool) -> None:
    """The end of the connection came with the answer: in the same turn of the loop, or the socket alone knows yet."""
    with world(pool={"max_connections": 1, "queue": 2}) as play:
        one, two = play.client(), play.client()
        one.send(get(b"/1"))
        two.send(post(b"body", b"/2"))
        first = play.upstream
        first.taken()
        if seen:
            first.send_and_close(answer(b"1"))
        else:
            first.hang_up_unseen()
            first.send(answer(b"1"))
        assert one.taken() == answer(b"1")
        assert first.taken() == b""
        assert play.upstream is not first
        assert play.upstream.taken().endswith(b"body")
        play.upstream.send(answer(b"2"))
        assert two.taken() == answer(b"2")


def test_a_request_whose_body_may_not_be_kept_takes_no_connection_that_is_known_to_be_gone() -> None:
    """Idempotent, but what it has sent by the time that the connection fails may be more than is kept."""
    with world() as play:
        rest(play)
        stale = play.upstream
        stale.hang_up_unseen()
        client = play.client()
        client.send(get(b"/", b"Content-Length: 200000", method=b"PUT"), b"x" * 100_000)
        assert play.upstream is not stale
        assert stale.taken() == b""
        client.send(b"x" * 100_000)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_answer_too_many_behind_a_body_is_nobody_elses(field: bytes) -> None:
    """An upstream that takes the body of a request for another request answers twice."""
    body = b"5\r\nabcde\r\n0\r\n\r\n" if field.startswith(b"T") else b"abcde"
    with world() as play:
        one, two = play.client(), play.client()
        one.send(get(b"/1", field, method=b"POST") + body)
        first = play.upstream
        first.taken()
        first.send(answer(b"1"))
        first.send_unseen(answer(b"evil"))
        assert one.taken() == answer(b"1")
        two.send(get(b"/2"))
        assert play.upstream is not first
        assert first.taken() == b""
        play.upstream.send(answer(b"2"))
        assert two.taken() == answer(b"2")


def test_neither_open_nor_idle_connections_have_a_bound_by_default() -> None:
    with world() as play:
        clients = [play.client() for _ in range(1100)]
        for _ in range(2):
            for client in clients:
                client.send(get())
            for upstream in play.upstreams:
                upstream.send(answer(b"ok"))
            assert all(client.taken() == answer(b"ok") for client in clients)
        assert len(play.upstreams) == 1100
        # Those that are not needed are closed after idle_timeout.
        for _ in range(10):
            clients[0].send(get())
            play.upstreams[-1].send(answer(b"ok"))
            play.pass_time(1)
        assert play.pool.open == 1


@pytest.mark.parametrize("left", [1, 0])
def test_without_a_file_for_a_connection_the_idle_ones_give_theirs(left: int) -> None:
    eager = {"passive": Judgement(["connect"])}
    with world(targets=2, health={"failures": 1, "eject": 60}, pool=eager) as play:
        client = play.client()
        for _ in range(2):
            client.send(get())
            play.upstream.send(answer(b"warm"))
            client.taken()
        busy = play.client()
        busy.send(get())  # takes the one to t0, so that the next to t0 needs another
        client.send(get())
        play.upstreams[1].send(answer(b"warm"))
        client.taken()
        play.connecting.extend([OSError(errno.EMFILE, "Too many open files")] * (2 - left))
        client.send(get())
        play.pass_time(0.1)
        assert play.upstreams[1].closed
        if left:
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
        else:
            sent = client.taken()
            assert status_of(sent) == 503
            assert b"\r\nRetry-After: 1\r\n" in sent
            assert any("too many open files" in line for _, line in play.logged)
        # Nothing of it is held against the target.
        assert not any(play.pool.health.target(index).status().ejections for index in range(2))


def test_a_place_comes_free_when_a_connection_is_lost() -> None:
    with world(pool={"max_connections": 1}) as play:
        one, two = play.client(), play.client()
        one.send(post(b"x", b"/1"))
        two.send(get(b"/2"))
        play.upstream.lose()
        assert status_of(one.taken()) == 502
        assert len(play.upstreams) == 2
        assert play.upstream.taken() == asked(b"GET /2")


def test_a_place_comes_free_when_a_connect_fails() -> None:
    with world(pool={"max_connections": 1}) as play:
        waiting = play.loop.create_future()
        play.connecting.append(waiting)
        one, two = play.client(), play.client()
        one.send(get(b"/1"))
        two.send(get(b"/2"))
        waiting.set_exception(ConnectionRefusedError())
        play.loop.run()
        for _ in range(2):
            play.pass_time(0.1)
            upstream = play.upstream
            path = b"/1" if b"GET /1 " in upstream.taken() else b"/2"
            upstream.send(answer(path))
        assert (one.taken(), two.taken()) == (answer(b"/1"), answer(b"/2"))


def test_a_connect_in_vain_leaves_no_place_taken() -> None:
    with world(pool={"max_connections": 1}) as play:
        waiting = play.loop.create_future()
        play.connecting.append(waiting)
        one, two = play.client(), play.client()
        one.send(get(b"/1"))
        two.send(get(b"/2"))
        one.lose()
        assert waiting.cancelled()
        assert play.upstream.taken() == asked(b"GET /2")
        play.upstream.send(answer(b"2"))
        assert two.taken() == answer(b"2")


@pytest.mark.parametrize("way", ["eof_received", "abort"])
def test_a_client_that_leaves_in_the_turn_in_which_it_asked(way: str) -> None:
    with world(pool={"max_connections": 2}) as play:
        for _ in range(5):
            client = play.client()
            client.get_protocol().data_received(get())
            getattr(client.get_protocol(), way)()
            client.lose()
        play.loop.run()
        assert play.pool.open == 0
        client = play.client()
        client.send(get(b"/next"))
        assert play.upstream.taken() == asked(b"GET /next")


def test_resting_connections_are_closed_after_their_time() -> None:
    with world(pool={"idle_timeout": 4.0}) as play:
        rest(play)
        play.pass_time(3.9)
        assert not play.upstream.closed
        play.pass_time(0.3)
        assert play.upstream.closed
        for fields, seconds in (((b"Keep-Alive: timeout=10",), 9), ((b"Keep-Alive: timeout=2, max=5",), 1)):
            client = play.client()
            client.send(get())
            play.upstream.send(answer(b"x", *fields))
            play.pass_time(seconds - 0.1)
            assert not play.upstream.closed
            play.pass_time(0.3)
            assert play.upstream.closed
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"x", b"Keep-Alive: timeout=1"))
        assert play.upstream.closed


def test_a_connection_serves_so_many_requests() -> None:
    with world(pool={"max_requests": 2}) as play:
        client = play.client()
        for number in range(5):
            client.send(get())
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
            assert len(play.upstreams) == number // 2 + 1


def test_only_so_many_connections_rest() -> None:
    with world(pool={"max_idle": 1}) as play:
        clients = [play.client() for _ in range(3)]
        for client in clients:
            client.send(get())
        for upstream in play.upstreams:
            upstream.send(answer(b"ok"))
        assert [upstream.closed for upstream in play.upstreams] == [False, True, True]


# -- deadlines

def test_a_head_that_takes_too_long() -> None:
    with world(header_timeout=10.0, keepalive=75.0) as play:
        client = play.client()
        client.send(b"GET / HT")
        play.pass_time(9)
        assert client.taken() == b""
        client.send(b"TP/1.1\r\n")
        play.pass_time(1.2)
        sent = client.taken()
        assert status_of(sent) == 408
        assert closes(sent)
        play.pass_time(5.2)
        assert client.closed


def test_a_connection_without_a_request_is_closed_without_a_word() -> None:
    with world(header_timeout=10.0, keepalive=75.0) as play:
        client = play.client()
        play.pass_time(9)
        assert not client.closed
        play.pass_time(1.2)
        assert (client.taken(), client.closed) == (b"", True)
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok"))
        play.pass_time(74)
        assert not client.closed
        play.pass_time(1.2)
        assert client.closed


def test_a_body_that_stalls() -> None:
    with world(body_timeout=30.0) as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"POST"))
        for _ in range(5):
            play.pass_time(29)
            client.send(b"x")
        upstream = play.upstream
        play.pass_time(30.2)
        assert status_of(client.taken()) == 408
        assert upstream.aborted


def test_an_upstream_that_does_not_answer() -> None:
    with world({"/*": {"read_timeout": 5.0}}) as play:
        client = play.client()
        client.send(get())
        play.pass_time(4.9)
        assert client.taken() == b""
        play.pass_time(0.3)
        assert status_of(client.taken()) == 504
        assert (play.upstream.aborted, client.closed, len(play.upstreams)) == (True, False, 1)


def test_the_time_to_answer_begins_when_the_request_is_sent() -> None:
    with world({"/*": {"read_timeout": 5.0}}, body_timeout=30.0) as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 2", method=b"POST"))
        play.pass_time(20)
        client.send(b"x")
        play.pass_time(20)
        assert client.taken() == b""
        client.send(b"x")
        play.pass_time(5.2)
        assert status_of(client.taken()) == 504


def test_an_answer_that_stops() -> None:
    with world({"/*": {"idle_timeout": 5.0}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Content-Length: 10") + b"x")
        for _ in range(3):
            play.pass_time(4.8)
            play.upstream.send(b"x")
        client.taken()
        play.pass_time(5.2)
        assert client.closed
        assert play.upstream.aborted


def test_the_whole_exchange_has_a_deadline() -> None:
    for begun in (False, True):
        with world({"/*": {"total_timeout": 10.0, "read_timeout": 60.0}}) as play:
            client = play.client()
            client.send(get())
            play.pass_time(9)
            if begun:
                play.upstream.send(head(b"Content-Length: 10") + b"x")
                client.taken()
            assert client.taken() == b""
            play.pass_time(1.2)
            sent = client.taken()
            assert (sent == b"") if begun else (status_of(sent) == 504)
            assert client.closed == begun
            assert play.upstream.aborted


def test_a_client_that_takes_nothing() -> None:
    with world({"/*": {"write_timeout": 5.0, "idle_timeout": 60.0}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Content-Length: 100") + b"x")
        client.taken()
        client.unsent = 100_000
        client.stop_taking()
        assert not play.upstream.reading
        for _ in range(3):
            play.pass_time(4)
            client.unsent -= 100
        assert not client.closed
        play.pass_time(7.5)
        assert (client.closed, client.lingers, play.upstream.aborted) == (True, False, True)


def test_an_upstream_that_takes_nothing() -> None:
    with world({"/*": {"write_timeout": 5.0, "read_timeout": 60.0}}, body_timeout=30.0) as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 1000", method=b"POST") + b"x")
        play.upstream.unsent = 100_000
        play.upstream.stop_taking()
        assert not client.reading
        play.pass_time(7.5)
        assert status_of(client.taken()) == 504
        assert play.upstream.aborted


def test_back_pressure_is_taken_away_again() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Content-Length: 4") + b"ab")
        client.stop_taking()
        play.upstream.send(b"cd")
        assert client.taken().endswith(b"ab")
        client.take_on()
        assert client.taken() == b"cd"
        client.send(get(b"/", b"Content-Length: 4", method=b"POST") + b"ab")
        play.upstream.stop_taking()
        client.send(b"cd")
        assert play.upstream.taken().endswith(b"ab")
        play.upstream.take_on()
        assert play.upstream.taken() == b"cd"
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_an_answer_that_is_complete_while_the_client_takes_nothing() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        client.stop_taking()
        play.upstream.get_protocol().data_received(answer(b"ok"))
        play.upstream.taken()
        client.take_on()
        assert client.taken() == answer(b"ok")
        client.send(get(b"/next"))
        assert play.upstream.taken().endswith(asked(b"GET /next"))
        assert play.upstream.reading
