"""What a policy sees and makes: fields, requests, responses."""

from collections.abc import Callable
from typing import Any

import pytest
from core.playbook import PEER, answer, asked, get, head, world
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.exchange.views import ExchangeError, Headers, Request, Response


def looked_at(look: Callable[[Request], None], request: bytes, route: str = "/*", **options: Any) -> bytes:
    """Runs ``look`` as a policy on this request; what the upstream got."""
    failures: list[BaseException] = []

    def on_request(seen: Request) -> None:
        try:
            look(seen)
        except BaseException as failure:
            failures.append(failure)
            raise

    with world({route: {"on_request": [on_request]} | options.pop("route_options", {})}, **options) as play:
        play.client().send(request)
        if failures:
            raise failures[0]
        return play.upstream.taken()


# -- requests

def test_what_a_request_says() -> None:
    def look(request: Request) -> None:
        assert request.method == "GET"
        assert request.scheme == "http"
        assert request.host == "h:81"
        assert request.raw_path == "/a/b%20c/%2F"
        assert request.path == "/a/b c//"
        assert request.query_string == "x=1&x=2&y=%41&z=&w"
        assert dict(request.query) == {"x": ["1", "2"], "y": ["A"], "z": [""], "w": [""]}
        assert dict(request.cookies) == {"a": "1", "b": "two", "c": "x=y"}
        assert request.params == {"first": "a", "rest": "b c//"}
        assert request.client_ip == PEER[0]
        assert len(request.id) == 32
        assert request.route == "/{first}/{rest*}"
        assert request.identity is None
        assert request.deadline is None
        assert request.headers.get("host") == "h:81"
        assert "GET" in repr(request)

    looked_at(
        look,
        b"GET /a/./b%20c/%2f?x=1&x=2&y=%41&z=&w HTTP/1.1\r\nHost: h:81\r\n"
        b'Cookie: a=1; b="two"; bad\r\nCookie: c=x=y; =no\r\n\r\n',
        "/{first}/{rest*}",
    )


def test_a_request_without_anything() -> None:
    def look(request: Request) -> None:
        assert (request.host, request.query_string, dict(request.query)) == ("", "", {})
        assert (dict(request.cookies), request.params, list(request.headers)) == ({}, {}, [])

    looked_at(look, b"GET / HTTP/1.0\r\n\r\n", "/")


def test_views_of_a_request_cannot_be_written_to() -> None:
    def look(request: Request) -> None:
        for name in ("method", "path", "headers", "client_ip", "state"):
            with pytest.raises(AttributeError):
                setattr(request, name, "x")

    looked_at(look, get(b"/?a=b", b"Cookie: a=b"))


def test_the_deadline_is_that_of_the_route() -> None:
    seen: list[float | None] = []
    with world({"/*": {"on_request": [lambda request: seen.append(request.deadline)], "total_timeout": 5.0}}) as play:
        play.client().send(get())
        assert seen[0] is not None
        assert 4.9 <= seen[0] - play.clock.now / 1000 <= 5.2


def test_identity_and_state_belong_to_the_exchange() -> None:
    def first(request: Request) -> None:
        assert request.identity is None
        assert request.state == {}
        request.identity = "x"
        request.state["a"] = 1

    def second(request: Request) -> None:
        assert (request.identity, request.state) == ("x", {"a": 1})

    with world({"/*": {"on_request": [first, second]}}) as play:
        client = play.client()
        for _ in range(2):
            client.send(get())
            play.upstream.send(answer(b"ok"))
        assert play.logged == []


def test_the_client_behind_trusted_proxies() -> None:
    def trusted(address: str) -> bool:
        return address.startswith(("10.", PEER[0]))

    for field, address in (
        (b"1.2.3.4", "1.2.3.4"), (b"6.6.6.6, 1.2.3.4, 10.0.0.1", "1.2.3.4"), (b"10.0.0.2, 10.0.0.1", "10.0.0.2"),
        (b"junk, 10.0.0.1", ""), (b"6.6.6.6, unknown", ""),
        (b"[2001:db8::1]:80, 10.0.0.1", "2001:db8::1"), (b"1.2.3.4:555", "1.2.3.4"),
        (b"", PEER[0]), (b"junk", ""), (b",", PEER[0]), (b"::ffff:1.2.3.4", "1.2.3.4"),
        (b"fe80::1%eth0", "fe80::1"), (b"FE80:0::1%\xe9", "fe80::1"), (b"1.2.3.4:x", ""), (b"[::1", ""),
        (b"1.2.3.4%a", ""),
    ):
        seen: list[str] = []
        request = get(b"/", b"X-Forwarded-For: " + field)
        options: dict[str, Any] = {"on_request": [lambda request, seen=seen: seen.append(request.client_ip)]}
        with world({"/*": options}, trusted=trusted) as play:
            play.client().send(request)
        with world({"/*": options}) as play:
            play.client().send(request)
        assert seen == [address, PEER[0]]


def test_a_request_id_is_taken_from_trusted_peers_only() -> None:
    for trusted in (None, lambda address: address == PEER[0]):
        cases = ((b"abc-1", True), (b"", False), (b"x" * 128, True), (b"x" * 129, False), (b"a b", False))
        for given_id, taken in cases:
            seen: list[str] = []
            options: dict[str, Any] = {"on_request": [lambda request, seen=seen: seen.append(request.id)]}
            with world({"/*": options}, trusted=trusted, request_id="X-Request-Id") as play:
                client = play.client()
                client.send(get(b"/", b"x-request-id: " + given_id))
                got = play.upstream.taken()
                assert got.lower().count(b"\r\nx-request-id: ") == 1
                play.upstream.send(answer(b"ok"))
                sent = client.taken()
            assert (seen[0].encode() == given_id) == (taken and trusted is not None)
            assert b"\r\nX-Request-Id: %b\r\n" % seen[0].encode() in got
            assert b"\r\nX-Request-Id: %b\r\n" % seen[0].encode() in sent


# -- fields

def test_fields_of_a_request() -> None:
    def look(request: Request) -> None:
        fields = request.headers
        assert fields is request.headers
        assert fields.items() == [("Host", "h"), ("A", "1"), ("b", "2"), ("a", "3"), ("E", ""), ("L", "\xe4")]
        assert list(fields) == ["Host", "A", "b", "a", "E", "L"]
        assert len(fields) == 6
        assert (fields.get("a"), fields["A"], fields.get_all("a")) == ("1", "1", ["1", "3"])
        assert (fields.get("x"), fields.get("x", 5), fields.get_all("x")) == (None, 5, [])
        assert ("B" in fields, "x" in fields, 5 in fields, "E" in fields) == (True, False, False, True)
        with pytest.raises(KeyError):
            fields["x"]
        fields["B"] = "9"
        del fields["a"]
        fields.remove("never")
        fields.add("c", " \tspaced ")
        fields.add("C", "")
        assert fields.items() == [("Host", "h"), ("E", ""), ("L", "\xe4"), ("B", "9"), ("c", "spaced"), ("C", "")]
        fields.set("c", "1")
        assert fields.get_all("C") == ["1"]

    got = looked_at(look, get(b"/", b"A: 1", b"b: 2", b"a:3", b"E:", b"L: \xe4", b"Keep-Alive: 5"))
    assert got == asked(b"GET /", b"E:", b"L: \xe4", after=(b"B: 9", b"c: 1"))


RULED = [
    "Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE",
    "Trailer", "HTTP2-Settings", "Proxy-Authorization",
]


@pytest.mark.parametrize("name", RULED)
def test_what_the_gateway_rules_cannot_be_changed(name: str) -> None:
    for headers in (Response().headers,):
        for change in (headers.set, headers.add):
            with pytest.raises(ValueError, match="policies cannot change it"):
                change(name, "x")
        with pytest.raises(ValueError, match="policies cannot change it"):
            headers.remove(name)
        with pytest.raises(ValueError, match="policies cannot change it"):
            Response(headers={name: "x"})


@pytest.mark.parametrize("name", ["Upgrade", "Proxy-Authenticate"])
def test_an_answer_may_say_what_to_upgrade_to_and_how_to_authenticate_to_a_proxy(name: str) -> None:
    answer = Response(headers={name: "x"})
    answer.headers.add(name, "y")
    assert answer.headers.get_all(name) == ["x", "y"]
    answer.headers.remove(name)
    assert name not in answer.headers


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\n", "\0", "ä", "a\n", "日本", "(a)"])
def test_what_is_no_name_is_refused(name: str) -> None:
    headers = Response().headers
    for use in (
        lambda: headers.set(name, "x"), lambda: headers.add(name, "x"), lambda: headers.get(name),
        lambda: headers.get_all(name), lambda: headers.remove(name), lambda: Response(headers={name: "x"}),
    ):
        with pytest.raises(ValueError):
            use()
    for wrong in (5, None, b"a"):
        with pytest.raises(TypeError):
            headers.get(wrong)  # type: ignore[call-overload]


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\rb", "\0", "a\x7f", "\x01", "日本", "a\u2028"])
def test_what_cannot_be_a_value_is_refused(value: str) -> None:
    headers = Response(headers={"a": "1"}).headers
    for use in (
        lambda: headers.set("a", value), lambda: headers.add("a", value), lambda: Response(headers=[("b", value)]),
        lambda: headers.__setitem__("a", value),
    ):
        with pytest.raises(ValueError):
            use()
    assert headers.items() == [("a", "1")], "a refused value leaves the field as it was"


def test_fields_that_connection_names_are_not_seen() -> None:
    def look(request: Request) -> None:
        assert "x-a" not in request.headers
        assert request.headers.items() == [("Host", "h"), ("X-B", "2")]
        request.headers.set("X-A", "mine")

    got = looked_at(look, get(b"/", b"X-A: 1", b"X-B: 2", b"Connection: x-a"))
    assert got == asked(b"GET /", b"X-B: 2", after=(b"X-A: mine",))


NAMES = st.sampled_from(["A", "a", "B", "b", "Long-Name", "x"])
VALUES = st.sampled_from(["", "1", "two words", "\xe4"])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["set", "add"]), NAMES, VALUES), st.tuples(st.just("remove"), NAMES, st.just(""))
    ),
    max_size=12,
)


def edit(headers: Headers, model: list[tuple[str, str]], edits: list[tuple[str, str, str]]) -> None:
    """The same edits to the fields and to a plain list of pairs."""
    for kind, name, value in edits:
        if kind == "add":
            headers.add(name, value)
        elif kind == "set":
            headers.set(name, value)
        else:
            headers.remove(name)
        if kind != "add":
            model[:] = [pair for pair in model if pair[0].lower() != name.lower()]
        if kind != "remove":
            model.append((name, value))
        assert headers.items() == model
        assert headers.get_all(name) == [each for other, each in model if other.lower() == name.lower()]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), EDITS)
def test_edits_against_a_list_of_pairs(pairs: list[tuple[str, str]], edits: list[tuple[str, str, str]]) -> None:
    def look(request: Request) -> None:
        edit(request.headers, model, edits)

    lines = [f"{name}: {value}".encode("latin-1").strip() for name, value in pairs]
    model = [("Host", "h"), *pairs]
    got = looked_at(look, get(b"/", *lines))
    begin, _, rest = got.partition(b"\r\n")[2].partition(b"\r\n")[2].partition(b"X-Forwarded-For")
    kept = [line for line in (begin + rest.partition(b"Port: 8080\r\n")[2]).split(b"\r\n") if line]
    assert [line.replace(b": ", b":") for line in kept] == [f"{n}:{v}".encode("latin-1") for n, v in model[1:]]
    response = Response(headers=pairs)
    edit(response.headers, list(pairs), edits)


@settings(max_examples=50, deadline=None)
@given(EDITS)
def test_edits_of_a_response_are_what_the_client_gets(edits: list[tuple[str, str, str]]) -> None:
    def look(request: Request, response: Response) -> None:
        model[:] = response.headers.items()
        edit(response.headers, model, edits)

    model: list[tuple[str, str]] = []
    with world({"/*": {"on_response": [look]}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"A: 0", b"b: 1", b"a: 2", status=b"204 No Content"))
        lines = client.taken().split(b"\r\n")[1:-2]
    assert [line.replace(b": ", b":") for line in lines] == [f"{n}:{v}".encode("latin-1") for n, v in model]


# -- responses

def test_what_a_response_is_made_of() -> None:
    plain = Response()
    assert (plain.status, plain.body(), plain.headers.items()) == (200, b"", [])
    text = Response(404, "nö")
    assert (text.status, text.body()) == (404, "nö".encode())
    assert text.headers.items() == [("Content-Type", "text/plain; charset=utf-8")]
    json = Response(200, json={"a": [1, None]})
    assert (json.body(), json.headers.items()) == (b'{"a":[1,null]}', [("Content-Type", "application/json")])
    for data in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        assert (Response(200, data).body(), Response(200, data).headers.items()) == (b"ab", [])
    typed = Response(200, "<p>", headers={"content-type": "text/html", "A": "1"})
    assert typed.headers.items() == [("content-type", "text/html"), ("A", "1")]
    assert Response(headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")]).headers.get_all("set-cookie") == ["a", "b"]
    assert Response(json=0).body() == b"0"
    assert "404" in repr(text)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, -1, 1000, "200", None, 200.0])
def test_a_status_that_is_not_final_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(status)
    response = Response()
    with pytest.raises(ValueError, match="status"):
        response.status = status
    assert response.status == 200


def test_a_body_of_another_kind_is_refused() -> None:
    for body in (5, 3.5, None, ["a"], {"a": 1}, object()):
        with pytest.raises((TypeError, ValueError)):
            Response(200, body)  # type: ignore[arg-type]


def test_an_error_says_what_happened() -> None:
    cause = ValueError("x")
    error = ExchangeError("bad_response", 502, "It was bad.", cause)
    assert (error.cause, error.status, error.detail, str(error)) == ("bad_response", 502, "It was bad.", "It was bad.")
    assert error.__cause__ is cause


def test_a_request_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        Request()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Request("x")  # type: ignore[arg-type]


def test_headers_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        Headers()


def test_responses_without_their_making_do_no_harm() -> None:
    bare = Response.__new__(Response)
    assert bare.status == 200
    with pytest.raises((TypeError, RuntimeError, AttributeError)):
        bare.headers.items()
