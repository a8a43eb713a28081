"""Which requests share a stored answer, and what the upstream is asked for it."""

import pytest
from cache.looking import ETAG, FRESH, answering, is_hit, status_of
from cache.support import Fields, Origin, ask, caching
from policies.passwords import ALICE, BOB, credential

from fastgate.testing import RawClient, RecordedRequest, proxy_config, start_gateway

TRUSTED = {"trusted_proxies": ["127.0.0.1"]}


def echoing(vary: str = "", lives: Fields = FRESH):
    """Every answer says how many there were."""
    return answering(200, {**lives, **({"Vary": vary} if vary else {})})


async def asked_twice(port: int, first: tuple[str, Fields], second: tuple[str, Fields]) -> bool:
    """Whether the second request gets what was stored for the first."""
    one = await ask(port, first[0], fields=first[1])
    assert not is_hit(one)
    other = await ask(port, second[0], fields=second[1])
    assert is_hit(other) == (one.body == other.body)
    return is_hit(other)


KEYS = {
    # address
    "the same": ({}, ("/a", {}), ("/a", {}), True),
    "path": ({}, ("/a", {}), ("/b", {}), False),
    "case of the path": ({}, ("/a", {}), ("/A", {}), False),
    "encoding of the path": ({}, ("/a%2Fb", {}), ("/a/b", {}), False),
    "query": ({}, ("/a?b=1", {}), ("/a?b=2", {}), False),
    "empty query": ({}, ("/a", {}), ("/a?", {}), False),
    "order of the query": ({}, ("/a?b=1&c=2", {}), ("/a?c=2&b=1", {}), False),
    "host": ({}, ("/a", {}), ("/a", {"Host": "other.com"}), False),
    "port": ({}, ("/a", {"Host": "example.com:81"}), ("/a", {"Host": "example.com:82"}), False),
    "scheme of a proxy": ({}, ("/a", {"X-Forwarded-Proto": "http"}), ("/a", {"X-Forwarded-Proto": "https"}), False),
    "host of a proxy": ({}, ("/a", {"X-Forwarded-Host": "b.com"}), ("/a", {"X-Forwarded-Host": "c.com"}), False),
    "Forwarded of a proxy": ({}, ("/a", {"Forwarded": "proto=http"}), ("/a", {"Forwarded": "proto=https"}), False),
    "port of a proxy": (
        {}, ("/a", {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"}),
        ("/a", {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "2"}), False,
    ),
    "client": ({}, ("/a", {"X-Forwarded-For": "10.0.0.1"}), ("/a", {"X-Forwarded-For": "10.0.0.2"}), True),
    # parts
    "header": ({"key": ["header:x-a"]}, ("/a", {"X-A": "1"}), ("/a", {"X-A": "2"}), False),
    "header, the same": ({"key": ["header:x-a"]}, ("/a", {"X-A": "1"}), ("/a", {"x-a": "1", "X-B": "2"}), True),
    "header, absent and empty": ({"key": ["header:x-a"]}, ("/a", {}), ("/a", {"X-A": ""}), False),
    "cookie": ({"key": ["cookie:a"]}, ("/a", {"Cookie": "a=1; b=1"}), ("/a", {"Cookie": "b=1; a=2"}), False),
    "cookie, the same": ({"key": ["cookie:a"]}, ("/a", {"Cookie": "a=1; b=1"}), ("/a", {"Cookie": "b=2; a=1"}), True),
    "cookie twice": ({"key": ["cookie:a"]}, ("/a", {"Cookie": "a=1; a=2"}), ("/a", {"Cookie": "a=1; a=3"}), False),
    "two parts are not one": (
        {"key": ["header:x-a", "header:x-b"]},
        ("/a", {"X-A": "12", "X-B": "3"}), ("/a", {"X-A": "1", "X-B": "23"}), False,
    ),
    "client_ip": (
        {"key": ["client_ip"]}, ("/a", {"X-Forwarded-For": "10.0.0.1"}), ("/a", {"X-Forwarded-For": "10.0.0.2"}), False,
    ),
    "client_ip, the same": (
        {"key": ["client_ip"]}, ("/a", {"X-Forwarded-For": "10.0.0.1"}), ("/a", {"X-Forwarded-For": "10.0.0.1"}), True,
    ),
    # query
    "only": ({"query": {"only": ["b"]}}, ("/a?b=1&c=2", {}), ("/a?c=3&b=1", {}), True),
    "only, another": ({"query": {"only": ["b"]}}, ("/a?b=1&c=2", {}), ("/a?b=2", {}), False),
    "except": ({"query": {"except": ["utm_*"]}}, ("/a?b=1&utm_x=2", {}), ("/a?utm_y=7&b=1", {}), True),
    "except, encoded": ({"query": {"except": ["utm_*"]}}, ("/a?b=1&utm%5fx=2", {}), ("/a?b=1", {}), True),
    "sort": ({"query": {"sort": True}}, ("/a?b=1&c=2", {}), ("/a?c=2&b=1", {}), True),
    "sort, one name": ({"query": {"sort": True}}, ("/a?b=1&b=2", {}), ("/a?b=2&b=1", {}), False),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
async def test_which_requests_share_an_answer(case: str) -> None:
    cache, first, second, shared = KEYS[case]
    async with caching(echoing(), cache, gateway=TRUSTED) as (_, gateway):
        assert await asked_twice(gateway.port, first, second) == shared


async def test_scheme_and_host_that_nobody_trusts_are_in_no_key() -> None:
    fields = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.com", "Forwarded": "host=evil.com"}
    async with caching(echoing()) as (origin, gateway):
        assert await asked_twice(gateway.port, ("/a", fields), ("/a", {}))
        assert origin.asked[0].fields["x-forwarded-host"] == "example.com"
        assert origin.asked[0].fields["x-forwarded-proto"] == "http"


async def test_a_parameter_of_the_path_is_a_part_of_the_key() -> None:
    route = {"path": "/{tenant}/{rest*}", "rewrite": {"pattern": ".*", "to": "/same"}}
    async with caching(echoing(), {"key": ["param:tenant"]}, route=route) as (_, gateway):
        assert not await asked_twice(gateway.port, ("/a/x", {}), ("/b/x", {}))
        assert is_hit(await ask(gateway.port, "/a/x"))


QUERIES = {
    "only": ({"only": ["b", "sort_*"]}, "/a?x=1&b=2&sort_by=3&utm_a=4", "/a?b=2&sort_by=3"),
    "only nothing": ({"only": []}, "/a?x=1&b=2", "/a"),
    "except": ({"except": ["utm_*", "x"]}, "/a?x=1&b=2&utm_a=4&c", "/a?b=2&c"),
    "except all": ({"except": ["*"]}, "/a?x=1", "/a"),
    "encoded": ({"except": ["utm_*"]}, "/a?%75tm_a=1&b=%20", "/a?b=%20"),
    "sort": ({"sort": True}, "/a?c=1&b=2&a=3&b=1", "/a?a=3&b=2&b=1&c=1"),
    "as it is": (None, "/a?c=1&&b=%7e&?", "/a?c=1&&b=%7e&?"),
}


@pytest.mark.parametrize("case", QUERIES)
async def test_the_upstream_gets_no_parameter_that_the_key_leaves_out(case: str) -> None:
    query, target, forwarded = QUERIES[case]
    async with caching(echoing(), {} if query is None else {"query": query}) as (origin, gateway):
        await ask(gateway.port, target)
        assert origin.asked[0].target == forwarded
        assert is_hit(await ask(gateway.port, target))


DROPPED = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]


async def test_fields_that_choose_another_resource_are_not_forwarded() -> None:
    fields = dict.fromkeys(DROPPED, "/other")
    async with caching(echoing()) as (origin, gateway):
        assert await asked_twice(gateway.port, ("/a", fields), ("/a", {}))
        assert not {name.lower() for name in DROPPED} & set(origin.asked[0].fields.names)
        await ask(gateway.port, method="POST", fields=fields)
        assert not {name.lower() for name in DROPPED} & set(origin.asked[1].fields.names)


async def test_drop_replaces_the_list() -> None:
    async with caching(echoing(), {"drop": ["x-mine"]}) as (origin, gateway):
        await ask(gateway.port, fields={"X-Mine": "1", "X-Original-URL": "/b"})
        assert "x-mine" not in origin.asked[0].fields
        assert origin.asked[0].fields["x-original-url"] == "/b"


async def test_a_head_changes_nothing_by_what_the_key_leaves_out() -> None:
    """What is asked for a HEAD may update what GET stored: so it must not see more than the key has."""

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        lives = FRESH if request.method == "HEAD" else {"Cache-Control": "max-age=60", "Age": "70"}
        return 200, {**lives, "ETag": ETAG, "X-Target": request.target}, b"0123456789"

    async with caching(handler, {"query": {"except": ["utm_*"]}}) as (_, gateway):
        await ask(gateway.port, "/a?b=1")
        await ask(gateway.port, "/a?b=1&utm_x=evil", "HEAD")
        for _ in range(2):
            assert "evil" not in (await ask(gateway.port, "/a?b=1")).fields["x-target"]


@pytest.mark.parametrize("location", ["/a?b=1", "/a?b=1&utm_x=evil"])
async def test_a_post_leaves_nothing_for_get_that_the_key_does_not_tell_from_others(location: str) -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        return 200, {**FRESH, "Content-Location": location}, request.target.encode()

    async with caching(handler, {"query": {"except": ["utm_*"]}}) as (_, gateway):
        await ask(gateway.port, "/a?b=1&utm_x=evil", "POST", body=b"1")
        assert b"evil" not in (await ask(gateway.port, "/a?b=1")).body


# -- Vary

VARIES = {
    "the same": ("x-a", {}, {"X-A": "1"}, {"X-A": "1", "X-B": "2"}, True),
    "another": ("x-a", {}, {"X-A": "1"}, {"X-A": "2"}, False),
    "absent": ("x-a", {}, {"X-A": "1"}, {}, False),
    "empty is not absent": ("x-a", {}, {"X-A": ""}, {}, False),
    "absent both": ("x-a", {}, {}, {}, True),
    "several": ("X-A , x-b", {}, {"X-A": "1", "X-B": "2"}, {"X-A": "1", "X-B": "3"}, False),
    "white space around commas": ("x-a", {}, {"X-A": "1, 2"}, {"X-A": "1,2"}, True),
    "white space in quotes": ("x-a", {}, {"X-A": '"1, 2"'}, {"X-A": '"1,2"'}, False),
    "codings": ("accept-encoding", {}, {"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": "BR;q=0.5,gzip"}, True),
    "other codings": (
        "accept-encoding",
        {},
        {"Accept-Encoding": "gzip, br"},
        {"Accept-Encoding": "gzip, br;q=0"},
        False,
    ),
    "languages": ("accept-language", {}, {"Accept-Language": "de, EN"}, {"Accept-Language": "DE,en"}, True),
    "order of languages": ("accept-language", {}, {"Accept-Language": "de, en"}, {"Accept-Language": "en, de"}, False),
    "cookies": ("cookie", {}, {"Cookie": "a=1"}, {"Cookie": "a=2"}, False),
    "vary of the route": ("", {"vary": ["x-a"]}, {"X-A": "1"}, {"X-A": "2"}, False),
    "vary of both": ("x-b", {"vary": ["x-a"]}, {"X-A": "1", "X-B": "1"}, {"X-A": "1", "X-B": "2"}, False),
    "vary_except": ("x-a", {"vary_except": ["x-a"]}, {"X-A": "1"}, {"X-A": "2"}, True),
    "vary_except of one": (
        "x-a, x-b",
        {"vary_except": ["x-a"]},
        {"X-A": "1", "X-B": "1"},
        {"X-A": "2", "X-B": "2"},
        False,
    ),
}


@pytest.mark.parametrize("case", VARIES)
async def test_vary(case: str) -> None:
    vary, cache, first, second, shared = VARIES[case]
    async with caching(echoing(vary), cache) as (origin, gateway):
        assert await asked_twice(gateway.port, ("/a", first), ("/a", second)) == shared
        # Both are there now, each for its own.
        assert is_hit(await ask(gateway.port, "/a", fields=first))
        assert is_hit(await ask(gateway.port, "/a", fields=second))
        assert len(origin.asked) == (1 if shared else 2)


async def test_another_variant_is_a_vary_miss() -> None:
    async with caching(echoing("x-a")) as (_, gateway):
        assert status_of(await ask(gateway.port, fields={"X-A": "1"}))["fwd"] == "uri-miss"
        assert status_of(await ask(gateway.port, fields={"X-A": "2"}))["fwd"] == "vary-miss"


async def test_answers_that_vary_by_different_fields() -> None:
    """The record of the address names all of them from then on; no client gets an answer that others select."""

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        name = "x-b" if request.fields.get("x-a") == "2" else "x-a"
        seen = f"{request.fields.get('x-a')} {request.fields.get('x-b')}"
        return 200, {**FRESH, "Vary": name}, seen.encode()

    async with caching(handler) as (_, gateway):
        for _ in range(2):
            for a, b in ("11", "22", "12", "21", "23", "13"):
                answer = await ask(gateway.port, fields={"X-A": a, "X-B": b})
                seen = answer.body.decode().split()
                assert seen[0] == a, "x-a selects"
                assert a != "2" or seen[1] == b, "x-b selects"


async def test_vary_is_about_what_the_upstream_gets() -> None:
    route = {"request_headers": {"set": {"x-a": "same"}}}
    async with caching(echoing("x-a"), route=route) as (origin, gateway):
        assert await asked_twice(gateway.port, ("/a", {"X-A": "1"}), ("/a", {"X-A": "2"}))
        assert origin.asked[0].fields["x-a"] == "same"


async def test_an_answer_that_varies_by_the_clients_address_is_not_stored() -> None:
    async with caching(echoing("x-forwarded-for"), gateway=TRUSTED) as (_, gateway):
        for _ in range(2):
            assert not is_hit(await ask(gateway.port, fields={"X-Forwarded-For": "10.0.0.1"}))


# -- methods with a body

BODIES = {
    "the same": ("/a", {}, b"1", True),
    "another body": ("/a", {}, b"2", False),
    "another type": ("/a", {"Content-Type": "text/plain"}, b"1", False),
    "another address": ("/b", {}, b"1", False),
    "no body": ("/a", {}, b"", False),
}


@pytest.mark.parametrize("method", ["POST", "QUERY"])
@pytest.mark.parametrize("case", BODIES)
async def test_methods_with_a_body(method: str, case: str) -> None:
    target, fields, body, shared = BODIES[case]
    async with caching(echoing(), {"methods": ["GET", "POST", "QUERY"]}) as (origin, gateway):
        given = {"Content-Type": "application/json"}
        assert not is_hit(await ask(gateway.port, "/a", method, given, b"1"))
        answer = await ask(gateway.port, target, method, {**given, **fields}, body)
        assert is_hit(answer) == shared
        assert [request.body for request in origin.asked] == ([b"1"] if shared else [b"1", body])
        assert not is_hit(await ask(gateway.port, "/a"))
        assert not is_hit(await ask(gateway.port, "/a", "POST" if method == "QUERY" else "QUERY", given, b"1"))


@pytest.mark.parametrize("method", ["POST", "QUERY"])
async def test_bodies_in_pieces_and_in_chunks(method: str) -> None:
    async with caching(echoing(), {"methods": ["GET", "POST", "QUERY"]}) as (origin, gateway):
        assert not is_hit(await ask(gateway.port, "/a", method, {"Content-Type": "x/y"}, b"12345678"))
        start = f"{method} /a HTTP/1.1\r\nHost: example.com\r\nContent-Type: x/y\r\n".encode()
        for text in (
            start + b"Content-Length: 8\r\n\r\n12345678",
            start + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n",
        ):
            async with RawClient(gateway.port) as client:
                await client.send_pieces(text, 7)
                assert is_hit(await client.response(method))
        assert len(origin.asked) == 1


async def test_a_body_that_is_too_large_for_the_key_passes_by() -> None:
    async with caching(echoing(), {"methods": ["GET", "POST"], "max_key_body": 100}) as (origin, gateway):
        for size, hit in ((100, True), (101, False), (300000, False)):
            body = bytes(size)
            first = await ask(gateway.port, "/a", "POST", body=body)
            assert not is_hit(first)
            assert is_hit(await ask(gateway.port, "/a", "POST", body=body)) == hit
            assert origin.asked[-1].body == body


async def test_a_get_with_a_body_passes_by() -> None:
    async with caching(echoing()) as (origin, gateway):
        for body in (b"1", b"2"):
            assert not is_hit(await ask(gateway.port, "/a", body=body))
        assert [request.body for request in origin.asked] == [b"1", b"2"]


# -- identities

BASIC = {"auth": {"any": ["basic"]}}
USERS = {"alice": ALICE, "bob": BOB}
PASSWORDS = {"alice": "secret", "bob": "other"}


async def by_users(cache: Fields, answer: Fields, users: str = "alice bob alice bob", hide: bool = True) -> list[bytes]:
    """The bodies that these users get, one after the other."""
    async with Origin(answering(200, answer)) as origin:
        config = proxy_config(origin.port, route={**BASIC, "cache": cache})
        config["auth"] = {"basic": {"users": USERS, "hide": hide}}
        async with start_gateway(config) as gateway:
            return [
                (await ask(gateway.port, fields={"Authorization": credential(user, PASSWORDS[user])})).body
                for user in users.split()
            ]


IDENTITIES = {
    "for nobody": ({}, FRESH, True, "1234"),
    "public": ({}, {"Cache-Control": "public, max-age=60"}, True, "1111"),
    "private": ({"private": True}, {"Cache-Control": "private, max-age=60"}, True, "1212"),
    "private, forwarded": ({"private": True}, {"Cache-Control": "private, max-age=60"}, False, "1212"),
    "private, also what is public": ({"private": True}, {"Cache-Control": "public, max-age=60"}, True, "1212"),
    "private answer without private": ({"key": ["identity"]}, {"Cache-Control": "private, max-age=60"}, True, "1234"),
    "identity in the key": ({"key": ["identity"]}, FRESH, True, "1212"),
    "identity in the key, ttl": ({"key": ["identity"], "ttl": "60s"}, {}, True, "1212"),
    "ttl": ({"ttl": "60s"}, {}, True, "1234"),
    "shared": ({"shared": True}, FRESH, True, "1111"),
    "shared, ttl": ({"shared": True, "ttl": "60s"}, {}, True, "1111"),
    "shared, forwarded": ({"shared": True}, FRESH, False, "1234"),
    "shared, private answer": ({"shared": True}, {"Cache-Control": "private, max-age=60"}, True, "1234"),
    "subject": ({"key": ["claim:sub"]}, FRESH, True, "1234"),
}


@pytest.mark.parametrize("case", IDENTITIES)
async def test_who_gets_what_was_stored_for_whom(case: str) -> None:
    cache, answer, hide, numbers = IDENTITIES[case]
    assert await by_users(cache, answer, hide=hide) == [b"answer " + number.encode() for number in numbers]
