"""Requests whose fields are those of one before are not read again: what they get must be what they get when they are.

Each request of a generated course is sent over one connection, behind others that are like it or nearly, and again on a
connection of its own, where every head is read.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from core.playbook import Transport, World, answer, world
from core.test_reuse import settled
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.exchange.problems import ProblemDetails
from fastgate._core.exchange.route import Runtime
from fastgate._core.probes.repeated_heads import read_and_repeated
from fastgate._core.wire.h1.client import ClientConnection

FIELDS = [
    b"Host: h\r\nUser-Agent: me\r\nAccept: */*\r\n",
    b"Host: h\r\nUser-Agent: ME\r\nAccept: */*\r\n",
    b"HOST: h\r\nuser-agent: me\r\nAccept: */*\r\n",
    b"Host:h\r\nUser-Agent:\t me \r\nAccept: */*\r\n",
    b"Host: h\r\nHost: h\r\nAccept: a, b, cd\r\n",
    b"User-Agent: me\r\nAccept: */*\r\nHost: h\r\n",
    b"User-Agent: me\r\nAccept: */*\r\nHosts: h\r\n",
    b"Host: h\r\nConnection: X-A\r\nX-A: 1\r\n",
    b"Host: h\r\nConnection: close\r\n",
    b"Host: h\r\nConnection: clone\r\n",
    b"Host: h\r\nConnection: keep-alive\r\n",
    b"Host: h\r\nProxy-Connection: keep-alive\r\n",
    b"Host: h\r\nContent-Length: 0\r\n",
    b"Host: h\r\nContent-Length: x\r\n",
    b"Host: h\r\nContent-Length: 3\r\n",
    b"Host: h\r\nTransfer-Encoding: chunked\r\n",
    b"Host: h\r\nExpect: 100-continue\r\n",
    b"Host: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    b"Host: h\r\nX_Y: 1\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n",
    b"Host: h\r\nbad name: x\r\n",
    b"Host: h\r\nA: b\r\n c: d\r\n",
    b"Host: h\r\nA: b\nc: d\r\n",
    b"Host: h\r\nA: \x00\r\n",
    b"Host: h\r\nA: \xe4\r\nCookie: a=b; c=d\r\nCookie: e=f\r\n",
    b"Host: h\r\n" + b"".join(b"F-%d: %d\r\n" % (number, number) for number in range(70)),
    b"Host: h\r\nLong: " + b"x" * 4200 + b"\r\n",
    b"",
]
TARGETS = [
    b"/", b"/a", b"/b", b"/a?b=c", b"/a/../b", b"/%7e%zz", b"//a", b"/a;b,c!$'()*+@:~_-.=&", b"/a#b", b"/a\\b",
    b"/a\xe4", b"/a b", b"/[a]{b}|c\"<>^`", b"*", b"http://h/a", b"http://other/a", b"h:80", b"a", b"",
    b"/" + b"x" * 2047, b"/" + b"x" * 2048, b"/" + b"x" * 8192, b"/a\x00", b"/a\r\n", b"/a\t",
]  # fmt: skip
METHODS = [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"get", b"BREW", b"GE T", b""]
VERSIONS = [
    b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" HTTP/2.0", b"  HTTP/1.1", b"",
    b" http/1.1",
]  # fmt: skip

REQUEST = st.builds(
    lambda method, target, version, fields: method + b" " + target + version + b"\r\n" + fields + b"\r\n",
    st.sampled_from(METHODS), st.sampled_from(TARGETS), st.sampled_from(VERSIONS), st.sampled_from(FIELDS),
)  # fmt: skip
LIKE_IT = st.builds(
    lambda target, fields: b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n",
    st.sampled_from(TARGETS), st.sampled_from(FIELDS),
)  # fmt: skip


def scene(**options: Any) -> Any:
    return world({"/*": {"methods": ["GET", "POST", "BREW"]}}, **options)


def answered(play: World, client: Transport, request: bytes, delivery: str) -> tuple[bytes, bytes, bool]:
    """What the upstream and the client got, and whether the connection has ended."""
    if delivery == "bytes" and len(request) < 600:
        client.send(*[request[at : at + 1] for at in range(len(request))])
    elif delivery == "halves":
        client.send(request[: len(request) // 2], request[len(request) // 2 :])
    else:
        client.send(request)
    play.loop.run()
    upstream = next((each for each in play.upstreams if each.has_written), None)
    got = upstream.taken() if upstream is not None else b""
    if upstream is not None and not upstream.closed:
        upstream.send(answer(b"" if got.startswith(b"HEAD") else b"x"))
        play.loop.run()
    return got, settled(client.taken()), client.closed or client.eof_written


def alone(request: bytes) -> tuple[bytes, bytes, bool]:
    if request not in KNOWN:
        with scene() as play:
            KNOWN[request] = answered(play, play.client(), request, "whole")
    return KNOWN[request]


KNOWN: dict[bytes, tuple[bytes, bytes, bool]] = {}


def read_fully(request: bytes) -> bool:
    """Whether nothing of it is left for the next: only then can another one follow it in this course."""
    return not (b"Content-Length: 3" in request or b"chunked" in request or b"Upgrade" in request)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.one_of(REQUEST, LIKE_IT), min_size=1, max_size=3),
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(TARGETS), st.sampled_from(["whole", "whole", "halves", "bytes"])
        ),
        min_size=2, max_size=9,
    ),
    st.booleans(),
)  # fmt: skip
def test_each_request_of_a_course_gets_what_it_gets_alone(
    requests: list[bytes], course: list[tuple[int, bytes, str]], alike: bool
) -> None:
    if alike:
        fields = requests[0].partition(b"\r\n")[2]
        requests = [each.partition(b"\r\n")[0] + b"\r\n" + fields for each in requests]
    with scene() as play:
        client = play.client()
        for which, target, delivery in course:
            request = requests[which % len(requests)]
            start, _, rest = request.partition(b"\r\n")
            words = start.split(b" ")
            if len(words) == 3:
                # The same fields around another target.
                request = b" ".join([words[0], target, words[2]]) + b"\r\n" + rest
            if client.closed or client.eof_written:
                client = play.client()
            assert answered(play, client, request, delivery) == alone(request)
            if not read_fully(request):
                client = play.client()


@settings(max_examples=5000, deadline=None)
@given(
    st.sampled_from(FIELDS), st.one_of(st.none(), st.sampled_from(FIELDS)), st.sampled_from(TARGETS),
    st.sampled_from(METHODS), st.one_of(st.none(), st.sampled_from(METHODS)), st.sampled_from(VERSIONS),
    st.integers(0, 2), st.booleans(),
)  # fmt: skip
def test_a_head_that_is_not_read_says_what_it_says_when_it_is(
    fields: bytes, other: bytes | None, target: bytes, method: bytes, another: bytes | None, version: bytes, names: int,
    cut: bool,
) -> None:  # fmt: skip
    """``other`` fields and ``another`` method: of the second head, if they are not the same."""
    first = method + b" /first/target HTTP/1.1\r\n" + fields + b"\r\n"
    second = (another or method) + b" " + target + version + b"\r\n" + (other or fields) + b"\r\n"
    second = second[:-1] if cut else second
    found = read_and_repeated(first, second, names, len(second))
    if found is None:
        return
    read, repeated = found
    if repeated is None:
        # Whatever is plain is known.
        plain = target in (b"/", b"/a", b"/b", b"/a?b=c")
        alike = other in (None, fields) and another in (None, method) and version == b" HTTP/1.1"
        assert not (plain and alike and not cut)
        return
    assert repeated == read
    assert read_and_repeated(first, second, names, len(second) - 1) == (read, None)
    longer = read_and_repeated(first, second + b"more", names, len(second))
    assert longer is not None
    assert longer[1] == read


def get(target: bytes, *fields: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (target, b"".join(each + b"\r\n" for each in fields))


def matched(play: World) -> int:
    repeats: Any = play.engine.repeats
    return repeats.matched if repeats is not None else 0


def test_the_third_request_with_the_same_fields_is_not_read_again() -> None:
    with scene() as play:
        client = play.client()
        for number, known in enumerate([0, 0, 1, 2, 3]):
            got, sent, _ = answered(play, client, get(b"/%d?x" % number, b"A: 1"), "whole")
            assert got.startswith(b"GET /%d?x HTTP/1.1\r\nHost: t0:80\r\nA: 1\r\n" % number)
            assert sent.endswith(b"\r\n\r\nx")
            assert matched(play) == known
        # Another connection learns it for itself, and has the same place.
        client = play.client()
        for known in [3, 3, 4]:
            answered(play, client, get(b"/", b"A: 1"), "whole")
            assert matched(play) == known


def test_pipelined_requests_are_known_too() -> None:
    with scene() as play:
        client = play.client()
        client.send(b"".join(get(b"/%d" % number) for number in range(6)))
        for number in range(6):
            play.loop.run()
            upstream = next(each for each in play.upstreams if each.has_written)
            assert upstream.taken().startswith(b"GET /%d HTTP" % number)
            upstream.send(answer(b"x"))
        assert matched(play) == 4


def test_a_client_whose_fields_are_always_others_is_let_be() -> None:
    with scene() as play:
        client = play.client()
        for number in range(40):
            got, _, _ = answered(play, client, get(b"/", b"Trace: %02d" % number), "whole")
            assert b"\r\nTrace: %02d\r\n" % number in got
        for _ in range(4):
            answered(play, client, get(b"/", b"Trace: 00"), "whole")
        assert matched(play) == 0
        # Not for good.
        for _ in range(300):
            answered(play, client, get(b"/", b"Trace: 00"), "whole")
        assert matched(play) > 50


def test_of_two_kinds_of_requests_the_one_that_is_known_stays_known() -> None:
    with scene() as play:
        client = play.client()
        for _ in range(2):
            answered(play, client, get(b"/"), "whole")
        for _ in range(30):
            assert b"More: 1" in answered(play, client, get(b"/", b"More: 1"), "whole")[0]
            assert b"More" not in answered(play, client, get(b"/"), "whole")[0]
        assert matched(play) == 30


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_header_bytes": 64}, b"431"), ({"max_headers": 2}, b"431"), ({"field_names": "reject"}, b"400")],
)
def test_a_reload_reads_anew(limits: dict[str, Any], code: bytes) -> None:
    request = get(b"/", b"A_B: 1", b"C: 2", b"D: %b" % (b"x" * 40))
    with scene(field_names="pass") as play:
        client = play.client()
        for _ in range(4):
            assert answered(play, client, request, "whole")[1].startswith(b"HTTP/1.1 200")
        assert matched(play) == 2
        options = {"request_id": "", "server_header": "", "problems": [ProblemDetails()]} | limits
        play.engine.use(Runtime(router=play.router, **options))
        assert answered(play, client, request, "whole")[1].startswith(b"HTTP/1.1 " + code)
        assert matched(play) == 0


def test_a_target_of_any_length_is_held_to_the_limit_of_the_head() -> None:
    with scene(max_header_bytes=200) as play:
        client = play.client()
        room = 200 - len(get(b"/"))
        for _ in range(3):
            answered(play, client, get(b"/"), "whole")
        assert matched(play) == 1
        assert answered(play, client, get(b"/" + b"x" * room), "whole")[1].startswith(b"HTTP/1.1 200")
        assert matched(play) == 2
        assert answered(play, client, get(b"/x" + b"x" * room), "whole")[1].startswith(b"HTTP/1.1 431")


def test_many_kinds_of_requests_take_each_other_s_places_and_nothing_else() -> None:
    with scene() as play:
        clients = [play.client() for _ in range(600)]
        for turn in range(4):
            for number, client in enumerate(clients):
                got, _, _ = answered(play, client, get(b"/%d" % turn, b"Who: %03d" % number), "whole")
                assert got.startswith(b"GET /%d HTTP" % turn)
                assert b"\r\nWho: %03d\r\n" % number in got
        assert 0 < matched(play) < 1200


def test_who_lost_its_place_to_others_has_one_again() -> None:
    with scene() as play:
        client = play.client()
        for turn in range(12):
            for _ in range(5):
                answered(play, client, get(b"/", b"Mine: 1"), "whole")
            other = play.client()
            for number in range(600):
                answered(play, other, get(b"/", b"Other: %02d%03d" % (turn, number // 2)), "whole")
        before = matched(play)
        for _ in range(5):
            answered(play, client, get(b"/", b"Mine: 1"), "whole")
        assert matched(play) - before >= 3


def test_what_a_policy_takes_away_from_one_is_there_in_the_next() -> None:
    dropped: list[bytes] = []

    def hook(request: Any) -> None:
        dropped.append(bytes(request.headers.get("A", ""), "ascii"))
        request.headers.remove("A")

    with world({"/*": {"on_request": [hook]}}) as play:
        client = play.client()
        for _ in range(5):
            got, _, _ = answered(play, client, get(b"/", b"A: 1"), "whole")
            assert b"A: 1" not in got
        assert dropped == [b"1"] * 5
        assert matched(play) == 3


def test_the_peer_of_a_second_connection_is_its_own() -> None:
    """What is kept is the head alone: who sent it, is asked each time."""
    with scene() as play:
        for number in (1, 2):
            listener = SimpleNamespace(scheme="http", port=8080)
            client = Transport(play, ClientConnection(play.engine, listener), peername=(f"192.0.2.{number}", 9))
            for _ in range(3):
                got, _, _ = answered(play, client, get(b"/"), "whole")
                assert b"\r\nX-Forwarded-For: 192.0.2.%d\r\n" % number in got
        assert matched(play) == 2
