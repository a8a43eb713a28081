"""Exchanges, heads and connections are used again: nothing of one request may show in another.

Any sequence of different exchanges over one connection must give, byte by byte, what each gives in a world of its own.
"""

import re
from typing import Any, NamedTuple

from core.playbook import Transport, World, answer, chunks, get, head, post, world
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.exchange.field_values import VARIABLES, Template
from fastgate._core.exchange.views import Request, Response
from fastgate._core.policies.header_edits import Edits


class Play(NamedTuple):
    request: bytes
    response: bytes = b""
    end: str = ""
    """What the upstream does after its response: "eof", "lose" or nothing."""
    rest: bytes = b""
    """What the client sends after the answer."""


LENGTH = b"Content-Length: 10"
CHUNKED = b"Transfer-Encoding: chunked"
WEBSOCKET = (b"Connection: upgrade", b"Upgrade: websocket")

PLAYS = {
    "get": Play(get(b"/a?b=c", b"A: 1"), answer(b"hello", b"X: y")),
    "get without a query": Play(get(b"/a"), answer(b"")),
    "many fields": Play(
        get(b"/m", *[b"F-%d: %d" % (n, n) for n in range(40)]), answer(b"m", *[b"G-%d: x" % n for n in range(60)])
    ),
    "head": Play(get(b"/h", method=b"HEAD"), head(b"Content-Length: 123")),
    "post": Play(post(b"0123456789"), answer(b"ok")),
    "empty post": Play(post(b""), answer(b"ok")),
    "chunked post": Play(get(b"/c", CHUNKED, method=b"POST") + chunks(b"ab", b"cde"), answer(b"ok")),
    "long post": Play(post(b"x" * 30_000), answer(b"y" * 30_000)),
    "chunked answer": Play(get(), head(CHUNKED) + chunks(b"ab", b"cde")),
    "answer until close": Play(get(), head() + b"abc", "eof"),
    "204": Play(get(), head(status=b"204 No Content")),
    "304": Play(get(), head(b"Content-Length: 55", b'ETag: "x"', status=b"304 Not Modified")),
    "interim": Play(get(), b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + answer(b"x")),
    "no reason": Play(get(), answer(b"x", status=b"299 ")),
    "1.0": Play(get(version=b"1.0"), answer(b"x")),
    "1.0 keep-alive": Play(get(b"/", b"Connection: keep-alive", version=b"1.0"), answer(b"x")),
    "close": Play(get(b"/", b"Connection: close, X-Gone", b"X-Gone: 1"), answer(b"x")),
    "upstream closes": Play(get(), answer(b"x", b"Connection: close, X-Up", b"X-Up: 1")),
    "expect": Play(get(b"/", LENGTH, b"Expect: 100-continue", method=b"POST"), answer(b"x"), rest=b"0123456789"),
    "expect refused": Play(get(b"/refuse", LENGTH, b"Expect: 100-continue", method=b"POST")),
    "early answer": Play(get(b"/", LENGTH, method=b"POST") + b"012", answer(b"enough"), rest=b"3456789"),
    "early cut": Play(get(b"/", LENGTH, method=b"POST") + b"012", head(LENGTH) + b"x", "eof"),
    "cut": Play(get(), head(LENGTH) + b"x", "eof"),
    "lost": Play(post(b"x"), b"", "lose"),
    "bad answer": Play(get(), b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    "bad head": Play(b"GET / HTTP/1.1\r\nHost: h\r\nbad name: x\r\n\r\n"),
    "bad target": Play(get(b"/../x")),
    "bad body": Play(get(b"/", CHUNKED, method=b"POST") + b"xyz\r\n"),
    "no host": Play(b"GET / HTTP/1.1\r\n\r\n"),
    "too large": Play(get(b"/small", b"Content-Length: 100000", method=b"POST")),
    "wrong method": Play(get(b"/any", method=b"DELETE")),
    "options": Play(get(b"*", method=b"OPTIONS")),
    "health": Play(get(b"/health")),
    "absolute": Play(get(b"http://other.example:81/x?y", b"Cookie: a=b"), answer(b"x")),
    "unusual": Play(get(b"//a/./b%7e?%", b"X_Y: 1", method=b"BREW"), answer(b"x")),
    "edited": Play(get(b"/edit/7%2f8", b"Gone: 1", b"Set: 2"), answer(b"x", b"Server: up", b"Back: 1")),
    "rewritten": Play(get(b"/rewrite/x?y"), answer(b"x")),
    "hooks": Play(get(b"/hooks", b"A: 1"), answer(b"x", b"B: 2")),
    "refused": Play(get(b"/refuse")),
    "raising": Play(get(b"/raise")),
    "rescued": Play(get(b"/rescue"), b"nonsense\r\n"),
    "read": Play(post(b"0123456789", b"/read"), answer(b"x")),
    "buffered": Play(
        get(b"/buffer", CHUNKED, method=b"POST") + chunks(b"ab", b"cde"), head(CHUNKED) + chunks(b"ab", b"c")
    ),
    "tunnel refused": Play(get(b"/ws", *WEBSOCKET), answer(b"no")),
    "tunnel": Play(get(b"/ws", *WEBSOCKET), head(*WEBSOCKET, status=b"101 Switching Protocols") + b"hi", "eof"),
}


def hook(request: Request, *_: Any) -> None:
    request.headers.set("X-Hook", request.method)
    request.state["x"] = request.state.get("x", 0) + 1
    assert request.state["x"] == 1
    assert request.identity is None
    request.identity = "somebody"


async def read(request: Request) -> None:
    request.headers.set("X-Sum", str(sum(await request.body())))


def change(request: Request, response: Response) -> None:
    response.status = 202
    response.headers.set("X-Response", "1")


def wrong(request: Request) -> None:
    raise ValueError("wrong")


def routes() -> dict[str, dict[str, Any]]:
    edits = Edits(
        removed=["gone", "set"],
        added=[("Set", b"3"), ("X-Id", Template([b"<", (VARIABLES["param"], "id"), b">"]))],
    )
    return {
        "/*": {"methods": ["GET", "POST", "BREW"]},
        "/small": {"max_body": 10},
        "/edit/{id}": {"request_edits": edits, "response_edits": Edits(removed=["back"], added=[("Now", b"1")])},
        "/rewrite/*": {"rewrite": lambda path: b"/new" + path, "host_header": "client"},
        "/hooks": {"on_request": [hook], "on_response": [change]},
        "/refuse": {"on_request": [lambda request: Response(403, "no", headers={"X-No": "1"})]},
        "/raise": {"on_request": [wrong]},
        "/rescue": {"on_error": [lambda request, error: Response(200, error.cause)]},
        "/read": {"on_request": [read], "read_request": True, "buffer_request": True},
        "/buffer": {"buffer_request": True, "buffer_response": True, "on_response": [change]},
    }


def perform(scene: World, client: Transport, name: str, bytewise: bool) -> tuple[bytes, bytes, bool, bool]:
    """What the upstream and the client got, whether the client's connection ended and whether the upstream's did."""
    play = PLAYS[name]

    def pieces(data: bytes) -> list[bytes]:
        return [data[at : at + 1] for at in range(len(data))] if bytewise and len(data) < 1000 else [data]

    client.send(*pieces(play.request))
    scene.loop.run()
    upstream = next((each for each in scene.upstreams if each.has_written), None)
    got = upstream.taken() if upstream is not None else b""
    if upstream is not None:
        upstream.send(*pieces(play.response))
        if play.end and not upstream.closed:
            getattr(upstream, play.end)()
    sent = client.taken()
    if play.rest:
        client.send(play.rest)
    scene.loop.run()
    # Of a request that is not sent again a reused connection may only have been closed in time.
    return got, settled(sent), client.closed or client.eof_written, upstream is not None and upstream.closed


def settled(data: bytes) -> bytes:
    data = re.sub(rb"\r\nDate: [^\r]*GMT", b"\r\nDate: now", data)
    return re.sub(rb"[0-9a-f]{32}", b"ID", data)


def scene() -> Any:
    return world(routes(), health_path="/health", request_id="", max_header_bytes=8000, methods=["GET"])


def alone(name: str, bytewise: bool) -> tuple[bytes, bytes, bool, bool]:
    if (name, bytewise) not in KNOWN:
        with scene() as play:
            KNOWN[name, bytewise] = perform(play, play.client(), name, bytewise)
    return KNOWN[name, bytewise]


KNOWN: dict[tuple[str, bool], tuple[bytes, bytes, bool, bool]] = {}


def test_every_play_does_what_its_name_says() -> None:
    """So that the sequences below do not compare nothing with nothing."""
    for name, play in PLAYS.items():
        got, sent, _, _ = alone(name, False)
        assert bool(got) == bool(play.response or play.end), name
        assert sent.startswith(b"HTTP/1.1 "), name
    assert len({alone(name, False)[:2] for name in PLAYS}) > len(PLAYS) - 6


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(PLAYS)), st.booleans()), min_size=2, max_size=12))
def test_a_sequence_of_exchanges_gives_the_same_bytes_as_each_alone(names: list[tuple[str, bool]]) -> None:
    expected = [alone(name, bytewise) for name, bytewise in names]
    with scene() as play:
        client = play.client()
        for (name, bytewise), each in zip(names, expected, strict=True):
            if client.closed or client.eof_written:
                client = play.client()
            assert perform(play, client, name, bytewise) == each, name


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(PLAYS)), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_exchanges_that_overlap_do_not_mix(names: list[str], random: Any) -> None:
    """Several clients at once: every request is sent before any of the answers comes, and those come in any order."""
    expected = [alone(name, False) for name in names]
    with scene() as play:
        clients = [play.client() for _ in names]
        asked: list[tuple[int, Transport | None, bytes]] = []
        for number, name in enumerate(names):
            clients[number].send(PLAYS[name].request)
            play.loop.run()
            upstream = next((each for each in play.upstreams if each.has_written), None)
            asked.append((number, upstream, upstream.taken() if upstream is not None else b""))
        random.shuffle(asked)
        for number, upstream, got in asked:
            each = PLAYS[names[number]]
            if upstream is not None:
                upstream.send(each.response)
                if each.end and not upstream.closed:
                    getattr(upstream, each.end)()
            assert (got, settled(clients[number].taken())) == expected[number][:2], names[number]


def test_pipelined_exchanges_give_the_same_bytes_as_each_alone() -> None:
    names = [name for name, play in PLAYS.items() if not alone(name, False)[2] and not play.rest]
    assert len(names) > 20
    with scene() as play:
        client = play.client()
        client.send(b"".join(PLAYS[name].request for name in names))
        sent = b""
        for name in names:
            play.loop.run()
            upstream = next((each for each in play.upstreams if each.has_written), None)
            if PLAYS[name].response or PLAYS[name].end:
                assert upstream is not None
                assert upstream.taken() == alone(name, False)[0]
                upstream.send(PLAYS[name].response)
                if PLAYS[name].end and not upstream.closed:
                    getattr(upstream, PLAYS[name].end)()
            sent += client.taken()
        assert settled(sent) == b"".join(alone(name, False)[1] for name in names)
