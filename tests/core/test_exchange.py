"""Exchanges as play-books: what arrives on either side and what must be sent, in order."""

import pytest
from core.playbook import answer, asked, chunks, closes, get, head, post, status_of, world


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# -- without a body

@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
def test_a_plain_get(whole: bool) -> None:
    with world() as play:
        client = play.client()
        request = get(b"/a/b?c=d", b"A: 1", b"Connection: keep-alive", b"B: 2")
        for _ in range(3):
            assert client.ask(*([request] if whole else bytewise(request))) == b""
            assert play.upstream.pieces() == [asked(b"GET /a/b?c=d", b"A: 1", b"B: 2")]
            response = answer(b"hello", b"X: y")
            play.upstream.send(*([response] if whole else bytewise(response)))
            assert client.taken() == response
        assert len(play.upstreams) == 1, "the connection is used again"
        assert (client.closed, play.upstream.closed) == (False, False)
        assert play.metrics()["requests"] == 3


def test_head_and_first_body_bytes_leave_in_one_write_in_both_directions() -> None:
    with world() as play:
        client = play.client()
        client.send(post(b"body"))
        assert len(play.upstream.pieces()) == 1
        play.upstream.send(answer(b"x" * 10000))
        assert len(client.pieces()) == 1


def test_a_second_exchange_at_the_same_time_gets_a_connection_of_its_own() -> None:
    with world() as play:
        one, two = play.client(), play.client()
        one.send(get(b"/1"))
        two.send(get(b"/2"))
        first, second = play.upstreams
        second.send(answer(b"two"))
        first.send(answer(b"one"))
        assert (one.taken(), two.taken()) == (answer(b"one"), answer(b"two"))


@pytest.mark.parametrize(
    ("method", "status"),
    [
        (b"HEAD", b"200 OK"), (b"HEAD", b"204 No Content"), (b"HEAD", b"304 Not Modified"), (b"HEAD", b"404 Not Found"),
        (b"GET", b"204 No Content"), (b"GET", b"304 Not Modified"),
    ],
)
def test_what_has_no_body_ends_with_its_head(method: bytes, status: bytes) -> None:
    with world() as play:
        client = play.client()
        for framing in ((b"Content-Length: 5",), (b"Transfer-Encoding: chunked",), ()):
            client.send(get(method=method))
            play.upstream.send(head(*framing, b"E: 1", status=status))
            sent = client.taken()
            assert sent.endswith(b"\r\n\r\n")
            assert b"Transfer-Encoding" not in sent
            assert (b"Content-Length: 5" in sent) == (framing == (b"Content-Length: 5",) and status[:3] != b"204")
            assert b"E: 1\r\n" in sent
        client.send(get())
        play.upstream.send(answer(b"next"))
        assert client.taken() == answer(b"next")
        assert len(play.upstreams) == 1


def test_interim_answers_are_passed_on_and_the_last_one_ends_it() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
        play.upstream.send(hints)
        assert client.taken() == hints
        play.upstream.send(*bytewise(b"HTTP/1.1 102 Processing\r\n\r\n" + hints + answer(b"ok")))
        assert client.taken() == b"HTTP/1.1 102 Processing\r\n\r\n" + hints + answer(b"ok")
        client.send(get())
        play.upstream.send(hints * 20 + answer(b"ok"))
        assert client.taken() == hints * 8 + answer(b"ok")
        client.send(get(version=b"1.0"))
        play.upstream.send(hints + answer(b"ok"))
        assert b"103" not in client.taken()


def test_an_http_1_0_client_gets_no_chunks_and_a_close() -> None:
    with world() as play:
        client = play.client()
        client.send(get(version=b"1.0"))
        play.upstream.send(head(b"Transfer-Encoding: chunked") + chunks(b"ab", b"cd"))
        sent = client.taken()
        assert sent.endswith(b"\r\n\r\nabcd")
        assert closes(sent)
        assert b"Transfer-Encoding" not in sent
        assert client.closed
        client = play.client()
        client.send(get(b"/", b"Connection: keep-alive", version=b"1.0"))
        play.upstream.send(answer(b"abcd"))
        assert b"Connection: keep-alive\r\n" in client.taken()
        assert not client.closed


def test_connection_close_is_obeyed_on_either_side() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Connection: close"))
        play.upstream.send(answer(b"bye"))
        assert closes(client.taken())
        assert client.closed
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"x", b"Connection: close"))
        assert client.taken() == answer(b"x")
        assert (client.closed, play.upstream.closed) == (False, True)


# -- request bodies

@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
def test_a_body_with_a_length_goes_on_as_it_comes(whole: bool) -> None:
    with world() as play:
        client = play.client()
        request = post(b"0123456789", b"/p", b"A: 1")
        client.send(*([request] if whole else bytewise(request)))
        got = play.upstream.pieces()
        assert b"".join(got) == asked(b"POST /p", b"A: 1", after=(b"Content-Length: 10",)) + b"0123456789"
        assert len(got) == (1 if whole else 11)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert not play.upstream.closed


def test_the_pieces_of_a_body_are_not_held_back() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 6", method=b"PUT"))
        assert play.upstream.taken() == asked(b"PUT /", after=(b"Content-Length: 6",))
        for piece in (b"ab", b"c", b"def"):
            client.send(piece)
            assert play.upstream.taken() == piece


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
def test_a_chunked_body_is_framed_anew(whole: bool) -> None:
    with world() as play:
        client = play.client()
        request = get(b"/c", b"Transfer-Encoding: chunked", b"Trailer: T", method=b"POST")
        request += b"3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nT: x\r\n\r\n"
        client.send(*([request] if whole else bytewise(request)))
        got = play.upstream.taken()
        begin = asked(b"POST /c", after=(b"Transfer-Encoding: chunked",))
        assert got == begin + (chunks(b"abcdefg") if whole else chunks(*bytewise(b"abcdefg")))
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert not play.upstream.closed


def test_an_empty_chunked_body() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"0\r\n\r\n")
        assert play.upstream.taken() == asked(b"POST /", after=(b"Transfer-Encoding: chunked",)) + b"0\r\n\r\n"


def test_large_pieces_are_passed_on_without_a_copy() -> None:
    with world() as play:
        client = play.client()
        large = b"x" * 100_000
        client.send(get(b"/", b"Content-Length: 100000", method=b"POST"))
        play.upstream.taken()
        client.send(large)
        assert play.upstream.pieces()[0] is large
        play.upstream.send(head(b"Content-Length: 100000"))
        client.taken()
        play.upstream.send(large)
        assert client.pieces()[0] is large


def test_a_large_chunk_is_framed_around_its_piece() -> None:
    with world() as play:
        client = play.client()
        large = b"x" * 50_000
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), chunks(large, last=False), b"0\r\n\r\n")
        assert play.upstream.taken().endswith(chunks(large))
        play.upstream.send(head(), large)
        play.upstream.eof()
        assert client.taken().endswith(b"\r\n\r\n" + chunks(large))


def test_a_malformed_body_is_the_clients_fault_and_ends_both_connections() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunks(b"ab", last=False))
        upstream = play.upstream
        sent = client.ask(b"xyz\r\n")
        assert status_of(sent) == 400
        assert closes(sent)
        assert upstream.aborted
        client.send(b"more")
        assert len(play.upstreams) == 1


def test_a_body_that_is_malformed_from_the_start_goes_nowhere() -> None:
    with world() as play:
        client = play.client()
        sent = client.ask(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"xyz\r\n")
        assert (status_of(sent), play.upstreams) == (400, [])


def test_expect_is_answered_here_when_a_target_is_there() -> None:
    with world() as play:
        client = play.client()
        waiting = play.loop.create_future()
        play.connecting.append(waiting)
        assert client.ask(get(b"/", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST")) == b""
        waiting.set_result(None)
        assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert play.upstream.taken() == asked(b"POST /", after=(b"Content-Length: 2",))
        client.send(b"ok")
        assert play.upstream.taken() == b"ok"
        play.upstream.send(answer(b"1"))
        assert client.taken() == answer(b"1")
        assert status_of(client.ask(get(b"/", b"Expect: magic"))) == 417


def test_a_body_over_the_limit_is_refused_before_or_while_it_is_read() -> None:
    with world({"/*": {"max_body": 10}}) as play:
        client = play.client()
        assert status_of(client.ask(get(b"/", b"Content-Length: 11", method=b"POST"))) == 413
        assert play.upstreams == []
        client = play.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunks(b"0123456789", last=False))
        assert play.upstream.taken().endswith(b"0123456789\r\n")
        sent = client.ask(chunks(b"x", last=False))
        assert status_of(sent) == 413
        assert play.upstream.aborted


# -- response bodies

@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
def test_a_chunked_answer_is_framed_anew(whole: bool) -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        response = head(b"Transfer-Encoding: chunked", b"X: y") + b"3;a\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n"
        play.upstream.send(*([response] if whole else bytewise(response)))
        begin = head(b"X: y", b"Transfer-Encoding: chunked")
        assert client.taken() == begin + (chunks(b"abcde") if whole else chunks(*bytewise(b"abcde")))
        assert not play.upstream.closed


def test_each_read_of_an_answer_is_a_write() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Transfer-Encoding: chunked", b"Content-Type: text/event-stream"))
        client.taken()
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):
            play.upstream.send(chunks(piece, last=False))
            assert client.pieces() == [chunks(piece, last=False)]
        play.upstream.send(b"0\r\n\r\n")
        assert client.taken() == b"0\r\n\r\n"


def test_an_answer_that_ends_at_close_becomes_chunked_and_ends_at_eof_only() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head() + b"abc")
        play.upstream.send(b"def")
        assert client.taken() == head(b"Transfer-Encoding: chunked") + chunks(b"abc", b"def", last=False)
        play.upstream.eof()
        assert client.taken() == b"0\r\n\r\n"
        assert not client.closed
        assert play.upstream.closed
        client.send(get())
        assert len(play.upstreams) == 2
        play.upstream.send(head() + b"abc")
        play.upstream.lose(ConnectionResetError())
        assert client.taken() == head(b"Transfer-Encoding: chunked") + chunks(b"abc", last=False)
        assert client.closed


def test_a_cut_answer_never_looks_complete() -> None:
    with world() as play:
        for begin, version in (
            (head(b"Content-Length: 10") + b"abc", b"1.1"),
            (head(b"Transfer-Encoding: chunked") + chunks(b"abc", last=False), b"1.1"),
            (head(b"Transfer-Encoding: chunked") + chunks(b"abc", last=False), b"1.0"),
        ):
            for way in ("eof", "lose"):
                client = play.client()
                client.send(get(version=version))
                upstream = play.upstream
                upstream.send(begin)
                getattr(upstream, way)()
                assert not client.taken().endswith(b"0\r\n\r\n")
                assert client.closed
                assert (client.lingers, client.aborted) == ((True, False) if version == b"1.1" else (False, True))


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
        b"nonsense\r\n",
        b"HTTP/1.1 200 OK\nA: b\r\n", b"HTTP/1.1 099 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
)
def test_a_malformed_answer_is_502_and_never_asked_for_again(response: bytes) -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(response)
        assert status_of(client.taken()) == 502
        assert play.upstream.aborted
        assert (len(play.upstreams), client.closed) == (1, False)


def test_bytes_behind_an_answer_end_the_connection_to_the_upstream() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert client.taken() == answer(b"ok")
        assert play.upstream.closed
        client.send(get())
        assert len(play.upstreams) == 2


def test_bytes_that_nobody_asked_for_end_a_resting_connection() -> None:
    with world() as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"ok"))
        client.taken()
        play.upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert play.upstream.closed
        client.send(get())
        play.upstream.send(answer(b"new"))
        assert client.taken() == answer(b"new")


# -- order

def test_a_hundred_pipelined_requests_are_answered_in_order() -> None:
    with world() as play:
        client = play.client()
        client.send(b"".join(get(b"/%d" % number) for number in range(100)))
        for number in range(100):
            assert play.upstream.taken() == asked(b"GET /%d" % number)
            play.upstream.send(answer(b"%d" % number))
            assert client.taken() == answer(b"%d" % number)
        assert len(play.upstreams) == 1


def test_pipelined_requests_that_are_answered_at_once_are_a_loop_that_yields() -> None:
    depth = 5000
    with world(health_path="/health") as play:
        client = play.client()
        before = play.loop.turns
        sent = client.ask(get(b"/health") * depth)
        assert sent.count(b"HTTP/1.1 200 OK\r\n") == depth
        assert play.loop.turns - before >= depth // 32


def test_pipelined_requests_with_bodies_are_told_apart() -> None:
    with world() as play:
        client = play.client()
        client.send(
            post(b"GET /not HTTP/1.1\r\n\r\n", b"/1") + get(b"/2", b"Transfer-Encoding: chunked", method=b"PUT")
            + chunks(b"PUT /not HTTP/1.1\r\n\r\n") + get(b"/3")
        )
        for line in (b"POST /1", b"PUT /2", b"GET /3"):
            assert play.upstream.taken().startswith(line + b" HTTP/1.1\r\n")
            play.upstream.send(answer(line))
            assert client.taken() == answer(line)


def test_pipelined_bytes_while_an_exchange_is_under_way_are_bounded() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/first"))
        assert play.upstream.taken() == asked(b"GET /first")
        client.send(get(b"/second", b"A: " + b"x" * 30_000) * 3)
        assert not client.reading
        play.upstream.send(answer(b"1"))
        client.taken()
        for number in range(3):
            assert play.upstream.taken().startswith(b"GET /second")
            play.upstream.send(answer(b"%d" % number))
            assert client.taken() == answer(b"%d" % number)
        assert client.reading


def test_what_follows_a_refused_head_is_never_read_as_a_request() -> None:
    with world() as play:
        client = play.client()
        sent = client.ask(b"GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n" + get(b"/smuggled"))
        assert status_of(sent) == 400
        assert closes(sent)
        assert client.ask(get(b"/more")) == b""
        assert play.upstreams == []
        assert client.eof_written or client.closed


def test_one_empty_line_before_a_request_is_forgiven() -> None:
    with world() as play:
        for pieces in ([b"\r\n" + get()], bytewise(b"\r\n" + get())):
            client = play.client()
            client.send(*pieces)
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
            client.send(*pieces)
            play.upstream.send(answer(b"again"))
            assert client.taken() == answer(b"again")
        for bad in (b"\r\n\r\n" + get(), b"\n" + get(), b"\r" + get()):
            for pieces in ([bad], bytewise(bad)):
                assert status_of(play.client().ask(*pieces)) == 400


# -- early answers

def test_an_answer_before_the_whole_body_stops_the_sending() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 20", method=b"POST") + b"0123")
        upstream = play.upstream
        upstream.taken()
        upstream.send(answer(b"enough"))
        sent = client.taken()
        assert sent == answer(b"enough")
        client.send(b"456789")
        assert upstream.taken() == b""
        assert upstream.closed
        client.send(b"0123456789" + get(b"/next"))
        assert play.upstream.taken() == asked(b"GET /next")
        play.upstream.send(answer(b"next"))
        assert client.taken() == answer(b"next")


def test_an_early_answer_that_goes_on_while_the_body_comes() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 8", method=b"POST") + b"0123")
        play.upstream.taken()
        play.upstream.send(head(b"Content-Length: 4") + b"ab")
        client.send(b"4567")
        assert play.upstream.taken() == b""
        play.upstream.send(b"cd")
        assert client.taken() == head(b"Content-Length: 4") + b"abcd"
        client.send(get(b"/next"))
        assert play.upstream.taken() == asked(b"GET /next")


def test_a_long_rest_of_a_body_ends_the_connection_after_the_answer() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 1000000", method=b"POST") + b"0123")
        play.upstream.send(answer(b"enough"))
        assert closes(client.taken())
        assert client.eof_written
        assert not client.closed, "a plain close would make the client lose the answer"
        client.send(b"x" * 60_000)
        assert not client.closed
        play.pass_time(5.2)
        assert client.closed


@pytest.mark.parametrize("size", [900_000_000, 60_000], ids=["lingering", "draining"])
def test_an_answered_client_may_go_on_sending_for_a_while(size: int) -> None:
    """At most 30 s in all and 5 s without a byte, however much it is."""
    with world() as play:
        silent, slow, fast = play.client(), play.client(), play.client()
        for client in (silent, slow, fast):
            client.send(get(b"/none", b"Content-Length: %d" % size, method=b"POST") + b"x")
            play.upstream.send(answer(b"enough"))
            assert client.taken().endswith(b"enough")
        play.pass_time(4)
        assert not silent.closed
        for _ in range(6):
            slow.send(b"x")
            if size > 1_000_000:
                fast.send(b"x" * 1_000_000)
            play.pass_time(4)
        # The one whose body seemed short gets its chance to see the end, too.
        assert silent.closed
        assert not slow.closed
        play.pass_time(3)
        assert slow.closed
        if size > 1_000_000:
            assert fast.closed


def test_a_chunked_rest_is_dropped_up_to_64_kb() -> None:
    with world() as play:
        client = play.client()
        client.send(get(b"/none", b"Transfer-Encoding: chunked", method=b"POST") + chunks(b"ab", last=False))
        play.upstream.send(answer(b"enough"))
        assert client.taken() == answer(b"enough")
        client.send(chunks(b"x" * 60_000))
        client.send(get(b"/next"))
        play.upstream.send(answer(b"next"))
        assert client.taken() == answer(b"next")
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunks(b"ab", last=False))
        play.upstream.send(answer(b"enough"))
        client.send(chunks(b"x" * 60_000, b"x" * 10_000, last=False))
        assert client.eof_written
