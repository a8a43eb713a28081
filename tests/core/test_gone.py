"""The client goes away, or everything stops, in each phase: the upstream is let go and nothing is left behind."""

import asyncio
from typing import Any

import pytest
from core.playbook import Transport, World, answer, asked, chunks, get, head, post, status_of, world


def before_a_byte(play: World, client: Transport) -> None:
    pass


def in_the_head(play: World, client: Transport) -> None:
    client.send(b"GET / HTTP/1.1\r\nHo")


def in_a_policy(play: World, client: Transport) -> None:
    client.send(get(b"/policy"))


def in_a_policy_that_waits_for_the_body(play: World, client: Transport) -> None:
    client.send(get(b"/body", b"Content-Length: 10", method=b"POST") + b"x")


def while_the_body_is_buffered(play: World, client: Transport) -> None:
    client.send(get(b"/buffer", b"Content-Length: 10", method=b"POST") + b"x")


def while_connecting(play: World, client: Transport) -> None:
    play.connecting.append(play.loop.create_future())
    client.send(get())


def in_the_queue(play: World, client: Transport) -> None:
    for _ in range(3):
        play.client().send(get())
    client.send(get())


def in_the_body(play: World, client: Transport) -> None:
    client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"x")
    assert play.upstream.taken()


def in_a_chunk(play: World, client: Transport) -> None:
    client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"5\r\nab")
    assert play.upstream.taken()


def before_the_answer(play: World, client: Transport) -> None:
    client.send(get())
    assert play.upstream.taken()


def with_requests_waiting(play: World, client: Transport) -> None:
    client.send(get() + get() + get())
    assert play.upstream.taken()


def in_the_head_of_the_answer(play: World, client: Transport) -> None:
    client.send(get())
    play.upstream.send(b"HTTP/1.1 200 OK\r\nA")


def in_a_response_policy(play: World, client: Transport) -> None:
    client.send(get(b"/answered"))
    play.upstream.send(head(b"Content-Length: 5") + b"x")


def in_the_body_of_the_answer(play: World, client: Transport) -> None:
    client.send(get())
    play.upstream.send(head(b"Content-Length: 5") + b"x")
    assert client.taken()


def in_an_early_answer(play: World, client: Transport) -> None:
    client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"x")
    play.upstream.send(head(b"Content-Length: 5") + b"x")


def after_an_early_answer(play: World, client: Transport) -> None:
    client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"x")
    play.upstream.send(answer(b"x"))


def while_lingering(play: World, client: Transport) -> None:
    assert status_of(client.ask(b"no request\r\n\r\n")) == 400


def in_an_error_policy(play: World, client: Transport) -> None:
    client.send(get(b"/failed"))
    play.upstream.eof()
    play.pass_time(0.1)
    play.upstream.eof()


def in_a_tunnel(play: World, client: Transport) -> None:
    client.send(get(b"/", b"Connection: upgrade", b"Upgrade: websocket"))
    play.upstream.send(head(b"Connection: upgrade", b"Upgrade: websocket", status=b"101 Switching Protocols"))
    assert status_of(client.taken()) == 101
    client.send(b"there")
    play.upstream.send(b"back")


def held_back(play: World, client: Transport) -> None:
    client.send(get())
    play.upstream.send(head(b"Content-Length: 50") + b"x")
    client.stop_taking()


PHASES = [
    before_a_byte, in_the_head, in_a_policy, in_a_policy_that_waits_for_the_body, while_the_body_is_buffered,
    while_connecting, in_the_queue, in_the_body, in_a_chunk, before_the_answer, with_requests_waiting,
    in_the_head_of_the_answer, in_a_response_policy, in_the_body_of_the_answer, in_an_early_answer,
    after_an_early_answer, while_lingering, in_an_error_policy, in_a_tunnel, held_back,
]


class Waiting:
    """Policies that wait for what never comes, and remember whether they were cancelled."""

    def __init__(self) -> None:
        self.play: World | None = None
        self.cancelled = 0

    async def forever(self, *_: Any) -> None:
        assert self.play is not None
        try:
            await self.play.loop.create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def body(self, request: Any) -> None:
        try:
            await request.body()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def routes(waiting: Waiting) -> dict[str, dict[str, Any]]:
    return {
        "/*": {},
        "/policy": {"on_request": [waiting.forever]},
        "/body": {"on_request": [waiting.body], "read_request": True, "buffer_request": True},
        "/buffer": {"buffer_request": True},
        "/answered": {"on_response": [waiting.forever]},
        "/failed": {"on_error": [waiting.forever]},
    }


@pytest.mark.parametrize("way", ["eof", "lose", "abort", "drain"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_the_end_in_each_phase(phase: Any, way: str) -> None:
    waiting = Waiting()
    with world(routes(waiting), pool={"max_connections": 3}) as play:
        waiting.play = play
        client = play.client()
        phase(play, client)
        upstreams = play.upstreams[:]
        if way == "eof":
            client.eof()
        elif way == "lose":
            client.lose(ConnectionResetError())
        elif way == "abort":
            play.engine.abort_connections()
        else:
            play.engine.draining = True
            play.engine.close_idle()
            play.loop.run()
            client.lose()
        play.loop.run()
        assert client.lost
        if phase not in (in_the_queue, while_lingering, before_a_byte, in_the_head):
            assert all(upstream.closed for upstream in upstreams)
        if phase in (in_a_policy, in_a_policy_that_waits_for_the_body, in_a_response_policy, in_an_error_policy):
            assert waiting.cancelled == 1
        if phase is not in_the_queue:
            assert [play.segment.rows.requests_in_flight(number) for number in range(2)] == [0, 0]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_another_client_is_served_as_if_nothing_had_been(phase: Any) -> None:
    waiting = Waiting()
    with world(routes(waiting), pool={"max_connections": 3}) as play:
        waiting.play = play
        client = play.client()
        phase(play, client)
        client.lose()
        play.loop.run()
        if phase is in_the_queue:
            play.upstream.send(answer(b"x"))
        for upstream in play.upstreams:
            upstream.taken()
        other = play.client()
        for request, line in ((get(b"/next"), b"GET /next"), (post(b"ab", b"/p"), b"POST /p")):
            other.send(request)
            upstream, got = next((each, got) for each in play.upstreams if (got := each.taken()))
            after = (b"Content-Length: 2",) if line.startswith(b"POST") else ()
            assert got == asked(line, after=after) + (b"ab" if after else b"")
            upstream.send(answer(line))
            assert other.taken() == answer(line)


@pytest.mark.parametrize("way", ["eof", "lose"])
def test_what_a_client_that_left_had_asked_for_later_is_not_done(way: str) -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/first") + post(b"do it", b"/second"))
        upstream = play.upstream
        assert upstream.taken() == asked(b"GET /first")
        getattr(client, way)()
        play.loop.run()
        assert upstream.aborted
        assert play.upstreams == [upstream]
        assert play.metrics()["requests"] == 1


def test_the_client_that_left_is_counted_as_such() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        client.eof()
        assert play.metrics()["client_gone"] == 1
        assert play.upstream.aborted
        client = play.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"x")
        client.eof()
        assert play.metrics()["client_gone"] == 1, "a request that broke off is not one that was given up"
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok"))
        client.eof()
        assert play.metrics()["client_gone"] == 1


def test_a_client_that_leaves_behind_what_it_was_sent() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Transfer-Encoding: chunked") + chunks(b"ab", last=False))
        client.eof()
        upstream = play.upstream
        assert upstream.aborted
        assert client.closed


# -- draining

def test_draining_says_close_and_keeps_no_connection() -> None:
    with world() as play:
        idle, busy, between = play.client(), play.client(), play.client()
        between.send(get())
        play.upstream.send(answer(b"x"))
        between.taken()
        busy.send(get(b"/busy"))
        play.engine.draining = True
        play.engine.close_idle()
        play.loop.run()
        assert (idle.closed, between.closed, busy.closed) == (True, True, False)
        play.upstream.send(answer(b"busy"))
        assert b"\r\nConnection: close\r\n" in busy.taken()
        assert busy.closed
        assert play.upstream.closed
        late = play.client()
        late.send(get())
        play.upstream.send(answer(b"late"))
        assert b"\r\nConnection: close\r\n" in late.taken()


def test_a_connection_on_which_a_request_has_arrived_is_not_idle() -> None:
    with world() as play:
        client = play.client()
        client.send_unseen(b"G")
        play.engine.close_idle()
        assert not client.closed
        begun = play.client()
        begun.send(b"G")
        play.engine.close_idle()
        assert not begun.closed


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    with world() as play:
        play.engine.max_connections = 2
        clients = [play.client() for _ in range(3)]
        assert [client.closed for client in clients] == [False, False, True]
        assert play.engine.open_connections == 2
        clients[0].lose()
        assert not play.client().closed
        assert play.metrics()["refused_connections"] == 1
