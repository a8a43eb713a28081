"""What the cache of a route stores, how long it is fresh, and what a request may say about that: over real sockets."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cache.looking import ETAG, FRESH, MODIFIED, Row, age_of, answering, date, is_hit, near, status_of, validating
from cache.support import ask, caching

from fastgate.testing import CutShort, RecordedRequest, UpstreamExchange

MANY = ", ".join(f"x-{number}" for number in range(17))

STORED = {
    # statuses
    "200": Row(True),
    "200 without a lifetime": Row(False, {}),
    "204": Row(True, status=204, body=b""),
    "301 with a lifetime": Row(True, status=301),
    "302 with a lifetime": Row(True, status=302),
    "404 with a lifetime": Row(True, status=404),
    "500 with a lifetime": Row(True, status=500),
    "599, which nobody knows": Row(True, status=599),
    "599 that has to be understood": Row(False, {"Cache-Control": "max-age=60, must-understand"}, status=599),
    "a status that is understood outweighs no-store": Row(
        True, {"Cache-Control": "max-age=60, no-store, must-understand"}
    ),
    "206": Row(False, {**FRESH, "Content-Range": "bytes 0-8/9"}, status=206),
    "428": Row(False, status=428),
    "429": Row(False, status=429),
    "431": Row(False, status=431),
    "511": Row(False, status=511),
    # directives
    "no-store": Row(False, {"Cache-Control": "max-age=60, no-store"}),
    "No-Store in another case": Row(False, {"Cache-Control": "max-age=60, NO-STORE"}),
    "no-store with a value": Row(False, {"Cache-Control": "max-age=60, no-store=1"}),
    "no-store in quotes is none": Row(True, {"Cache-Control": 'max-age=60, x="no-store"'}),
    "private": Row(False, {"Cache-Control": "max-age=60, private"}),
    "private without names": Row(False, {"Cache-Control": 'max-age=60, private=""'}),
    "private with names": Row(True, {"Cache-Control": 'max-age=60, private="x-a"', "X-A": "1"}),
    "public without a lifetime": Row(False, {"Cache-Control": "public"}),
    "a directive that nobody knows": Row(True, {"Cache-Control": "max-age=60, unheard-of=7"}),
    "max-age=0": Row(False, {"Cache-Control": "max-age=0"}),
    # kinds of answers
    "event stream": Row(False, {**FRESH, "Content-Type": "text/event-stream; charset=utf-8"}),
    "parts that replace each other": Row(False, {**FRESH, "Content-Type": "Multipart/X-Mixed-Replace; boundary=a"}),
    "Vary with a star": Row(False, {**FRESH, "Vary": "accept, *"}),
    "Vary with too many names": Row(False, {**FRESH, "Vary": MANY}),
    "too large": Row(False, cache={"max_object": 100}, body=b"x" * 101),
    "as large as may be": Row(True, cache={"max_object": 100}, body=b"x" * 100),
    "no body": Row(True, body=b""),
    # Set-Cookie
    "Set-Cookie": Row(False, {**FRESH, "Set-Cookie": "a=1"}),
    "Set-Cookie, stripped": Row(True, {**FRESH, "Set-Cookie": "a=1"}, cache={"set_cookie": "strip"}),
    "Set-Cookie, stored": Row(True, {**FRESH, "Set-Cookie": "a=1"}, cache={"set_cookie": "store"}),
    # Authorization
    "Authorization": Row(False, asked={"Authorization": "Bearer x"}),
    "Authorization, public": Row(True, {"Cache-Control": "max-age=60, public"}, asked={"Authorization": "Bearer x"}),
    "Authorization, s-maxage": Row(True, {"Cache-Control": "s-maxage=60"}, asked={"Authorization": "Bearer x"}),
    "Authorization, must-revalidate": Row(
        True, {"Cache-Control": "max-age=60, must-revalidate"}, asked={"Authorization": "Bearer x"}
    ),
    "Authorization, shared, forwarded": Row(False, cache={"shared": True}, asked={"Authorization": "Bearer x"}),
    "Authorization, ttl": Row(False, {}, cache={"ttl": "60s"}, asked={"Authorization": "Bearer x"}),
    "Authorization, ttl, public": Row(
        True, {"Cache-Control": "public"}, cache={"ttl": "60s"}, asked={"Authorization": "Bearer x"}
    ),
    # Cookie
    "Cookie": Row(True, asked={"Cookie": "a=1"}),
    "Cookie, ttl": Row(False, {}, cache={"ttl": "60s"}, asked={"Cookie": "a=1"}),
    "Cookie, ttl, public": Row(True, {"Cache-Control": "public"}, cache={"ttl": "60s"}, asked={"Cookie": "a=1"}),
    "Cookie in the key, ttl": Row(True, {}, cache={"ttl": "60s", "key": ["cookie:a"]}, asked={"Cookie": "a=1"}),
    "another Cookie in the key, ttl": Row(
        False, {}, cache={"ttl": "60s", "key": ["cookie:b"]}, asked={"Cookie": "a=1"}
    ),
    "Cookie, heuristic": Row(False, {"Last-Modified": MODIFIED}, cache={"heuristic": 0.1}, asked={"Cookie": "a=1"}),
    # the route's own
    "ttl": Row(True, {}, cache={"ttl": "60s"}),
    "ttl and no-store": Row(False, {"Cache-Control": "no-store"}, cache={"ttl": "60s"}),
    "ttl and private": Row(False, {"Cache-Control": "private"}, cache={"ttl": "60s"}),
    "ttl and 404": Row(False, {}, status=404, cache={"ttl": "60s"}),
    "ttl table": Row(True, {}, status=404, cache={"ttl": {"404": "60s"}}),
    "ttl table by class": Row(True, {}, status=502, cache={"ttl": {"5xx": "60s"}}),
    "ttl table without the status": Row(False, {}, cache={"ttl": {"404": "60s"}}),
    "ttl does not outweigh": Row(False, {"Cache-Control": "max-age=0"}, cache={"ttl": "60s"}),
    "ttl and an Expires that is past": Row(False, {"Expires": "0"}, cache={"ttl": "60s"}),
    "bypass by a field": Row(False, cache={"bypass": ["header:x-preview"]}, asked={"X-Preview": ""}),
    "bypass by a cookie": Row(False, cache={"bypass": ["cookie:sid"]}, asked={"Cookie": "a=1; sid=2"}),
    "bypass by what is not there": Row(True, cache={"bypass": ["cookie:sid"]}, asked={"Cookie": "a=1; xsid=2"}),
    "honor false without ttl": Row(False, cache={"honor": False}),
    "honor false with ttl": Row(True, {"Cache-Control": "max-age=0"}, cache={"honor": False, "ttl": "60s"}),
    "honor false and no-store": Row(False, {"Cache-Control": "no-store"}, cache={"honor": False, "ttl": "60s"}),
    "honor false and private": Row(False, {"Cache-Control": "private"}, cache={"honor": False, "ttl": "60s"}),
    "honor false and Authorization": Row(False, cache={"honor": False, "ttl": "60s"}, asked={"Authorization": "x y"}),
    # what the request says
    "no-store by the client": Row(False, asked={"Cache-Control": "no-store"}),
    "no-store by the client, ignored": Row(True, cache={"honor": "response"}, asked={"Cache-Control": "no-store"}),
}


@pytest.mark.parametrize("row", STORED.values(), ids=STORED)
async def test_what_is_stored(row: Row) -> None:
    async with caching(answering(row.status, row.fields, row.body), row.cache) as (origin, gateway):
        first = await ask(gateway.port, "/a?b=c", fields=row.asked)
        assert (first.status, first.body) == (row.status, row.body)
        assert first.fields.get_all("set-cookie") == [v for k, v in row.fields.items() if k == "Set-Cookie"]
        assert not is_hit(first)
        assert ("stored" in status_of(first)) == row.stored
        assert "age" not in first.fields
        second = await ask(gateway.port, "/a?b=c", fields=row.asked)
        assert (second.status, second.body) == (row.status, row.body)
        assert is_hit(second) == row.stored
        assert len(origin.asked) == (1 if row.stored else 2)


async def test_what_of_an_answer_is_stored() -> None:
    fields = {
        "Cache-Control": 'max-age=60, private="x-mine", no-cache="x-checked"', "X-Mine": "1", "X-Checked": "2",
        "Connection": "x-hop", "X-Hop": "3", "Proxy-Authenticate": "Basic", "Proxy-Authentication-Info": "4",
        "Set-Cookie": "a=1", "X-Request-Id": "5", "Age": "7", "X-Kept": "6", "Content-Type": "text/plain",
    }  # fmt: skip
    async with caching(answering(200, fields), {"set_cookie": "strip"}) as (_, gateway):
        first = await ask(gateway.port)
        assert {"x-mine", "x-checked", "set-cookie", "x-kept"} <= set(first.fields.names)
        hit = await ask(gateway.port)
    assert is_hit(hit)
    gone = {"x-mine", "x-checked", "x-hop", "proxy-authenticate", "proxy-authentication-info", "set-cookie"}
    assert not gone & set(hit.fields.names)
    assert hit.fields["x-kept"] == "6"
    assert hit.fields["content-type"] == "text/plain"
    assert hit.fields.get("x-request-id") != "5"
    assert near(-age_of(hit), -7)
    assert hit.fields["content-length"] == str(len(hit.body))


async def test_a_stored_cookie_is_given_to_others_only_where_the_route_says_so() -> None:
    async with caching(answering(200, {**FRESH, "Set-Cookie": "a=1"}), {"set_cookie": "store"}) as (_, gateway):
        await ask(gateway.port)
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert hit.fields["set-cookie"] == "a=1"


# -- bodies

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"


def sends(*pieces: bytes, close: bool = False, apart: bool = True) -> Callable[[UpstreamExchange], Awaitable[None]]:
    """These bytes, ``apart``: each read by itself; then perhaps the end of the connection."""

    async def play(exchange: UpstreamExchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            if apart:
                await asyncio.sleep(0.002)
        if close:
            exchange.wire.close()

    return play


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = b"".join(b"%08d" % number for number in range(12500))

BODIES = {
    "one chunk": (sends(HEAD + CHUNKED + b"4\r\nbody\r\n0\r\n\r\n"), b"body"),
    "chunks in many pieces": (sends(HEAD, CHUNKED, b"2\r\nbo", b"\r\n", b"2\r", b"\ndy\r\n", b"0\r\n\r\n"), b"body"),
    "no chunk": (sends(HEAD + CHUNKED + b"0\r\n\r\n"), b""),
    "trailers": (sends(HEAD + CHUNKED + b"4\r\nbody\r\n0\r\nX-After: 1\r\n\r\n"), b"body"),
    "length in pieces": (sends(HEAD + b"Content-Length: 4\r\n\r\n", b"b", b"od", b"y"), b"body"),
    "large, with its length": (sends(HEAD + b"Content-Length: 100000\r\n\r\n" + LARGE), LARGE),
    "large, in chunks": (sends(HEAD + CHUNKED, b"186a0\r\n" + LARGE + b"\r\n0\r\n\r\n"), LARGE),
    "bytes behind the end": (sends(HEAD + b"Content-Length: 4\r\n\r\nbody!", close=True), b"body"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_whole_bodies(case: str) -> None:
    play, body = BODIES[case]
    async with caching() as (origin, gateway):
        origin.play = play
        first = await ask(gateway.port)
        assert (first.status, first.body) == (200, body)
        for _ in range(2):
            hit = await ask(gateway.port)
            assert is_hit(hit)
            assert hit.body == body
            assert hit.fields["content-length"] == str(len(body))
            assert "transfer-encoding" not in hit.fields
            assert "x-after" not in [*hit.fields.names, *hit.trailers.names]
        assert len(origin.asked) == 1


CUT = {
    "in its length": sends(HEAD + b"Content-Length: 40\r\n\r\nbody", close=True),
    "large, in its length": sends(HEAD + b"Content-Length: 100001\r\n\r\n" + LARGE, close=True),
    "in a chunk": sends(HEAD + CHUNKED + b"8\r\nbody", close=True),
    "before the last chunk": sends(HEAD + CHUNKED + b"4\r\nbody\r\n", close=True),
    "large, before the last chunk": sends(HEAD + CHUNKED + b"186a0\r\n" + LARGE + b"\r\n", close=True),
    "in the trailers": sends(HEAD + CHUNKED + b"4\r\nbody\r\n0\r\nX-After:", close=True),
}


@pytest.mark.parametrize("case", CUT)
async def test_cut_bodies_are_never_stored_nor_given_as_whole(case: str) -> None:
    async with caching() as (origin, gateway):
        origin.play = CUT[case]
        for _ in range(2):
            try:
                answer = await ask(gateway.port)
            except CutShort:
                continue
            assert answer.status == 502
        assert len(origin.asked) >= 2


UNSTORED = {
    "ends with the connection": (sends(HEAD + b"\r\nbody", close=True), 200, b"body"),
    "ends with the connection, 1.0": (
        sends(b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nbody", close=True), 200, b"body",
    ),
    "two lengths": (sends(HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!", close=True), 502, None),
    "length and chunks": (
        sends(HEAD + b"Content-Length: 3\r\n" + CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", close=True), None, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSTORED)
async def test_bodies_whose_end_is_not_sure_are_not_stored(case: str) -> None:
    play, status, body = UNSTORED[case]
    async with caching() as (origin, gateway):
        origin.play = play
        for _ in range(2):
            answer = await ask(gateway.port)
            assert status is None or answer.status == status
            assert body is None or answer.body == body
        assert len(origin.asked) >= 2


@pytest.mark.parametrize("apart", [True, False], ids=["in pieces", "at once"])
async def test_a_chunked_body_that_outgrows_what_may_be_stored_reaches_its_client_whole(apart: bool) -> None:
    async with caching(cache={"max_object": 20000}) as (origin, gateway):
        chunks = [b"2710\r\n" + LARGE[at : at + 10000] + b"\r\n" for at in range(0, 100000, 10000)]
        origin.play = sends(HEAD + CHUNKED, *chunks, b"0\r\n\r\n", apart=apart)
        for _ in range(2):
            answer = await ask(gateway.port)
            assert not is_hit(answer)
            assert answer.body == LARGE
        assert len(origin.asked) == 2


# -- freshness

LIVES = {
    "max-age": ({"Cache-Control": "max-age=60"}, {}, 60),
    "s-maxage first": ({"Cache-Control": "max-age=10, s-maxage=100"}, {}, 100),
    "max-age before Expires": ({"Cache-Control": "max-age=60", "Expires": "0"}, {}, 60),
    "Expires": ({"Date": "@0", "Expires": "@300"}, {}, 300),
    "Expires in another form": ({"Date": "@0", "Expires": "Sunday, 06-Nov-94 08:49:37 GMT"}, {}, None),
    "an Expires in a zone of its own": ({"Date": "@0", "Expires": "@300 CET"}, {}, None),
    "targeted": ({"Cache-Control": "max-age=10", "Fastgate-Cache-Control": "max-age=200"}, {}, 200),
    "targeted without a lifetime": ({"Cache-Control": "max-age=10", "Fastgate-Cache-Control": "public"}, {}, None),
    "targeted, invalid": ({"Cache-Control": "max-age=10", "Fastgate-Cache-Control": "max-age=200, ;"}, {}, 10),
    "targeted, empty": ({"Cache-Control": "max-age=10", "Fastgate-Cache-Control": ""}, {}, 10),
    "targeted by another": ({"Cache-Control": "max-age=10", "CDN-Cache-Control": "max-age=200"}, {}, 10),
    "the first that is targeted": (
        {"Cache-Control": "max-age=10", "CDN-Cache-Control": "max-age=200", "Fastgate-Cache-Control": "max-age=300"},
        {"targeted": ["cdn-cache-control", "fastgate-cache-control"]}, 200,
    ),
    "targeted by none": (
        {"Cache-Control": "max-age=10", "Fastgate-Cache-Control": "max-age=200"}, {"targeted": []}, 10,
    ),
    "quoted": ({"Cache-Control": 'max-age="60"'}, {}, 60),
    "the smaller of two": ({"Cache-Control": "max-age=60, max-age=30"}, {}, 30),
    "no number of seconds": ({"Cache-Control": "max-age=1.5"}, {}, None),
    "too large": ({"Cache-Control": "max-age=99999999999999999999"}, {}, 2**31),
    "Age": ({"Cache-Control": "max-age=60", "Age": "20"}, {}, 40),
    "the first of several Ages": ({"Cache-Control": "max-age=60", "Age": "20, 30"}, {}, 40),
    "an Age below 0": ({"Cache-Control": "max-age=60", "Age": "-1"}, {}, 60),
    "an Age that is no number": ({"Cache-Control": "max-age=60", "Age": "1.5"}, {}, 60),
    "Date that has passed": ({"Cache-Control": "max-age=60", "Date": "@-20"}, {}, 40),
    "Date to come": ({"Cache-Control": "max-age=60", "Date": "@20"}, {}, 60),
    "ttl": ({}, {"ttl": "70s"}, 70),
    "ttl by status": ({}, {"ttl": {"200": "70s", "2xx": "80s"}}, 70),
    "ttl does not outweigh": ({"Cache-Control": "max-age=60"}, {"ttl": "70s"}, 60),
    "ttl alone": ({"Cache-Control": "max-age=60"}, {"ttl": "70s", "honor": False}, 70),
    "heuristic": ({"Date": "@0", "Last-Modified": "@-1000"}, {"heuristic": 0.1}, 100),
    "heuristic of at most a day": ({"Date": "@0", "Last-Modified": MODIFIED}, {"heuristic": 0.1}, 86400),
    "ttl before heuristic": ({"Date": "@0", "Last-Modified": "@-1000"}, {"heuristic": 0.1, "ttl": "70s"}, 70),
    "a lifetime before heuristic": (
        {"Date": "@0", "Last-Modified": "@-1000", "Cache-Control": "max-age=60"}, {"heuristic": 0.1}, 60,
    ),
}  # fmt: skip


def dated(value: str) -> str:
    """With a date in the place of ``@`` and seconds from now."""
    offset, _, zone = value.removeprefix("@").partition(" ")
    return date(int(offset)).replace("GMT", zone or "GMT") if value.startswith("@") else value


@pytest.mark.parametrize("case", LIVES)
async def test_how_long_an_answer_is_fresh(case: str) -> None:
    given, cache, lasts = LIVES[case]
    fields = {name: dated(value) for name, value in given.items()}
    async with caching(answering(200, fields), cache) as (origin, gateway):
        await ask(gateway.port)
        second = await ask(gateway.port)
        if lasts is None:
            assert not is_hit(second)
            assert len(origin.asked) == 2
        else:
            assert is_hit(second)
            assert near(status_of(second)["ttl"], lasts)
            assert len(origin.asked) == 1


# -- what requests say

YOUNG = {"Cache-Control": "max-age=60", "Age": "20", "ETag": ETAG}
OLD = {"Cache-Control": "max-age=60", "Age": "70", "ETag": ETAG}
GUARDED = {"Cache-Control": "max-age=60, {}", "Age": "70", "ETag": ETAG}

SAID = {
    "nothing": (YOUNG, {}, {}, "hit"),
    "no-cache": (YOUNG, {"Cache-Control": "no-cache"}, {}, "request"),
    "no-cache, ignored": (YOUNG, {"Cache-Control": "no-cache"}, {"honor": "response"}, "hit"),
    "Pragma": (YOUNG, {"Pragma": "no-cache"}, {}, "request"),
    "Pragma, ignored": (YOUNG, {"Pragma": "no-cache"}, {"honor": "response"}, "hit"),
    "Pragma beside Cache-Control": (YOUNG, {"Pragma": "no-cache", "Cache-Control": "max-age=100"}, {}, "hit"),
    "max-age that is too short": (YOUNG, {"Cache-Control": "max-age=10"}, {}, "request"),
    "max-age=0": (YOUNG, {"Cache-Control": "max-age=0"}, {}, "request"),
    "max-age that suffices": (YOUNG, {"Cache-Control": "max-age=30"}, {}, "hit"),
    "min-fresh that is too long": (YOUNG, {"Cache-Control": "min-fresh=50"}, {}, "request"),
    "min-fresh that is there": (YOUNG, {"Cache-Control": "min-fresh=30"}, {}, "hit"),
    "only-if-cached": (YOUNG, {"Cache-Control": "only-if-cached"}, {}, "hit"),
    "stale": (OLD, {}, {}, "stale"),
    "max-stale": (OLD, {"Cache-Control": "max-stale"}, {}, "hit"),
    "max-stale that suffices": (OLD, {"Cache-Control": "max-stale=60"}, {}, "hit"),
    "max-stale that is too short": (OLD, {"Cache-Control": "max-stale=5"}, {}, "stale"),
    "max-stale, ignored": (OLD, {"Cache-Control": "max-stale"}, {"honor": "response"}, "stale"),
    "max-stale against must-revalidate": ("must-revalidate", {"Cache-Control": "max-stale"}, {}, "stale"),
    "max-stale against proxy-revalidate": ("proxy-revalidate", {"Cache-Control": "max-stale"}, {}, "stale"),
    "max-stale against s-maxage": ("s-maxage=60", {"Cache-Control": "max-stale"}, {}, "stale"),
    "max-stale against no-cache": ("no-cache", {"Cache-Control": "max-stale"}, {}, "stale"),
}


@pytest.mark.parametrize("case", SAID)
async def test_what_a_request_says(case: str) -> None:
    fields, asked, cache, wanted = SAID[case]
    if isinstance(fields, str):
        fields = {**GUARDED, "Cache-Control": GUARDED["Cache-Control"].format(fields)}
    async with caching(validating(fields), cache) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, fields=asked)
        assert (answer.status, answer.body) == (200, b"whole")
        said = status_of(answer)
        if wanted == "hit":
            assert "hit" in said
            assert len(origin.asked) == 1
            assert (said["ttl"] < 0) == (fields is OLD)
            assert near(-age_of(answer), -int(fields["Age"]))
        else:
            assert said["fwd"] == wanted
            assert said["fwd-status"] == 304
            assert len(origin.asked) == 2
            assert origin.asked[1].fields["if-none-match"] == ETAG


@pytest.mark.parametrize("stored", [False, True], ids=["nothing", "stale"])
async def test_only_if_cached_is_answered_by_the_gateway(stored: bool) -> None:
    async with caching(validating(OLD)) as (origin, gateway):
        if stored:
            await ask(gateway.port)
        answer = await ask(gateway.port, fields={"Cache-Control": "only-if-cached"})
        assert answer.status == 504
        assert "only-if-cached" in answer.json()["detail"]
        assert len(origin.asked) == stored


async def test_only_if_cached_is_ignored_where_requests_do_not_count() -> None:
    async with caching(answering(200, FRESH), {"honor": "response"}) as (origin, gateway):
        assert (await ask(gateway.port, fields={"Cache-Control": "only-if-cached"})).status == 200
        assert len(origin.asked) == 1


async def test_no_cache_without_a_validator_gets_and_stores_a_new_answer() -> None:
    async with caching(answering(200, FRESH)) as (origin, gateway):
        assert (await ask(gateway.port)).body == b"answer 1"
        assert (await ask(gateway.port, fields={"Cache-Control": "no-cache"})).body == b"answer 2"
        assert (await ask(gateway.port)).body == b"answer 2"
        assert len(origin.asked) == 2


# -- Age and Cache-Status


async def test_cache_status_comes_behind_that_of_the_upstream() -> None:
    async with caching(answering(200, {**FRESH, "Cache-Status": "inner; hit", "Age": "5"})) as (_, gateway):
        first, hit = await ask(gateway.port, "/x"), await ask(gateway.port, "/x")
    assert first.fields.get_all("cache-status")[0] == hit.fields.get_all("cache-status")[0] == "inner; hit"
    ttl = status_of(first)["ttl"]
    assert near(ttl, 55)
    assert first.fields.get_all("cache-status")[1:] == [f"fastgate; fwd=uri-miss; fwd-status=200; ttl={ttl}; stored"]
    assert hit.fields.get_all("cache-status")[1:] == [f"fastgate; hit; ttl={status_of(hit)['ttl']}"]
    assert hit.fields.get_all("age") == [str(age_of(hit))]


async def test_cache_status_can_be_left_out() -> None:
    async with caching(answering(200, FRESH), {"cache_status": False}) as (origin, gateway):
        for _ in range(2):
            assert "cache-status" not in (await ask(gateway.port)).fields
        await ask(gateway.port, method="DELETE")
        assert "cache-status" not in (await ask(gateway.port, method="PATCH")).fields
        assert [request.method for request in origin.asked] == ["GET", "DELETE", "PATCH"]


WORDS = {
    "method": ("PUT", {}, {}),
    "unknown method": ("BREW", {}, {}),
    "lower case": ("get", {}, {}),
    "bypass": ("GET", {"X-Preview": "1"}, {"bypass": ["header:x-preview"]}),
    "If-Match": ("GET", {"If-Match": '"v1"'}, {}),
    "If-Unmodified-Since": ("GET", {"If-Unmodified-Since": MODIFIED}, {}),
}


@pytest.mark.parametrize("case", WORDS)
async def test_what_passes_by(case: str) -> None:
    """What is stored is fresh, and yet the upstream is asked, with the request as it is."""
    method, fields, cache = WORDS[case]
    async with caching(answering(200, {**FRESH, "ETag": ETAG}), cache) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, method=method, fields=fields)
        assert answer.body == b"answer 2"
        assert status_of(answer)["fwd"] == ("bypass" if method == "GET" else "method")
        assert "stored" not in status_of(answer)
        request: RecordedRequest = origin.asked[1]
        assert request.method == method
        assert all(request.fields[name] == fields[name] for name in fields)


async def test_a_strong_etag_is_made_for_what_has_none() -> None:
    async with caching(answering(200, FRESH), {"etag": True}) as (origin, gateway):
        await ask(gateway.port)
        hit = await ask(gateway.port)
        tag = hit.fields["etag"]
        assert tag.startswith('"')
        assert (await ask(gateway.port)).fields["etag"] == tag
        assert (await ask(gateway.port, fields={"If-None-Match": tag})).status == 304
        part = await ask(gateway.port, fields={"Range": "bytes=0-1", "If-Range": tag})
        assert (part.status, part.body) == (206, b"an")
        assert len(origin.asked) == 1


async def test_an_etag_that_is_there_stays() -> None:
    async with caching(answering(200, {**FRESH, "ETag": 'W/"mine"'}), {"etag": True}) as (_, gateway):
        await ask(gateway.port)
        assert (await ask(gateway.port)).fields["etag"] == 'W/"mine"'
