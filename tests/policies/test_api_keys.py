"""Keys of clients through a gateway: who is let in, what the others are told, what the upstream and the log see."""

import asyncio
import datetime as dt
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fastgate import Gateway, GatewayConfig
from fastgate.policies.api_keys import compile_api_keys
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway
from fastgate.testing.http_messages import RecordedResponse

SECRET = "fg_" + "Aa0-_" * 8 + "xyz"
OTHER = "fg_" + "Bb1-_" * 8 + "xyz"
REALM = 'Bearer realm="fastgate"'
INVALID = 'Bearer realm="fastgate", error="invalid_token"'
PAST = "2020-01-01T00:00:00Z"
FUTURE = "2099-01-01T00:00:00Z"


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def get(target: str = "/", *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def configured(port: int, *, key: dict[str, Any] | None = None, where: Any = None, **more: Any) -> dict[str, Any]:
    """One route that asks for a key; there is the key "team-a" with `SECRET`, and "team-b" with `OTHER`."""
    keys = {"team-a": {"hash": hash_of(SECRET), **(key or {})}, "team-b": {"hash": hash_of(OTHER)}}
    gateway = {"keys": keys, **more.pop("gateway", {})}
    config = proxy_config(port, gateway=gateway, route={"auth": {"any": ["key"]}, **more.pop("route", {})})
    return {**config, "auth": {"key": where or {}}, **more}


@asynccontextmanager
async def guarded(**settings: Any) -> AsyncIterator[tuple[RawClient, RecordingUpstream, Gateway]]:
    async with RecordingUpstream() as upstream, start_gateway(configured(upstream.port, **settings)) as gateway:
        async with RawClient(gateway.port) as client:
            yield client, upstream, gateway


def assert_refused(answer: RecordedResponse, status: int, challenge: str | None, path: str = "/") -> None:
    assert answer.status == status
    assert answer.fields.get("www-authenticate") == challenge
    assert answer.fields["content-type"] == "application/problem+json"
    assert answer.fields["cache-control"] == "no-store"
    body = json.loads(answer.body)
    assert (body["status"], body["instance"]) == (status, path)
    assert body["detail"] in ("Valid credentials are required.", "These credentials do not allow this request.")
    assert SECRET.encode() not in answer.head + answer.body


@pytest.mark.parametrize(
    "line",
    [
        f"x-api-key: {SECRET}",
        f"X-Api-Key: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bEARER   {SECRET}",
        f"api-key: {SECRET}",
    ],
)
async def test_each_place_lets_in_and_is_hidden(line: str) -> None:
    async with guarded() as (client, upstream, _):
        assert (await client.request(get("/a?b=c", line, "x-other: 1"))).status == 200
        seen = await upstream.request()
        assert SECRET.encode() not in seen.head
        assert line.partition(":")[0].lower() not in seen.fields.names
        assert (seen.target, seen.fields["x-other"]) == ("/a?b=c", "1")


async def test_who_it_is_is_known_to_limits_headers_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    route = {
        "rate_limit": {"rate": 1, "per": "1h", "key": "key"},
        "request_headers": {"set": {"x-who": "{key.id}"}},
    }
    async with guarded(route=route, gateway={"access_log": {"path": str(log)}}) as (client, upstream, _):
        statuses = [
            (await client.request(get("/", f"x-api-key: {secret}"))).status for secret in (SECRET, SECRET, OTHER)
        ]
        assert statuses == [200, 429, 200]
        assert [(await upstream.request(number)).fields["x-who"] for number in (0, 1)] == ["team-a", "team-b"]
    assert [json.loads(line)["identity"] for line in log.read_text().splitlines()] == ["team-a", "team-a", "team-b"]


async def test_the_configured_field_is_another_one() -> None:
    async with guarded(where={"header": "X-Team-Key"}) as (client, upstream, _):
        assert (await client.request(get("/", f"x-team-key: {SECRET}"))).status == 200
        assert "x-team-key" not in (await upstream.request()).fields
        assert_refused(await client.request(get("/", f"x-api-key: {SECRET}")), 401, REALM)


async def test_authorization_as_the_configured_field_takes_the_key_with_and_without_a_scheme() -> None:
    async with guarded(where={"header": "authorization"}) as (client, upstream, _):
        for number, value in enumerate((SECRET, f"Bearer {SECRET}")):
            assert (await client.request(get("/", f"Authorization: {value}"))).status == 200
            assert "authorization" not in (await upstream.request(number)).fields


@pytest.mark.parametrize(
    ("lines", "challenge"),
    [
        ((), REALM),
        (("x-api-key:",), REALM),
        (("Authorization: Bearer",), REALM),
        (("Authorization: Bearer ",), REALM),
        (("Authorization: Basic dXNlcjpwYXNz",), REALM),
        ((f"Authorization: {SECRET}",), REALM),
        ((f"Authorization: Bearer{SECRET}",), REALM),
        ((f"Connection: x-api-key\r\nx-api-key: {SECRET}",), REALM),
        ((f"x-api-key: {SECRET}x",), INVALID),
        ((f"x-api-key: {SECRET[:-1]}",), INVALID),
        ((f"x-api-key: {SECRET.lower()}",), INVALID),
        ((f"x-api-key: Bearer {SECRET}",), INVALID),
        ((f"x-api-key: {hash_of(SECRET)}",), INVALID),
        ((f"x-api-key: {SECRET}, {SECRET}",), INVALID),
        ((f"x-api-key: {SECRET}", f"x-api-key: {OTHER}"), INVALID),
        ((f"Authorization: Bearer {SECRET}", f"Authorization: Bearer {SECRET}"), INVALID),
        ((f"api-key: {SECRET}", "api-key: 1"), INVALID),
        (("x-api-key: " + "x" * 513,), INVALID),
        (("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9." + "x" * 5000,), INVALID),
        (("x-api-key: \xff\xfe",), INVALID),
    ],
)
async def test_who_is_not_let_in(lines: tuple[str, ...], challenge: str) -> None:
    async with guarded() as (client, upstream, _):
        await client.send(get("/a/b?c", *lines).decode().encode("latin-1"))
        assert_refused(await client.response(), 401, challenge, "/a/b")
        # The connection goes on, and nothing of it came to the upstream.
        assert (await client.request(get("/", f"x-api-key: {SECRET}"))).status == 200
        assert len(upstream.requests) == 1


async def test_a_secret_has_at_most_512_bytes() -> None:
    longest = "k" * 512
    async with guarded(key={"hash": hash_of(longest)}) as (client, _, _gateway):
        assert (await client.request(get("/", f"x-api-key: {longest}"))).status == 200
        assert (await client.request(get("/", f"x-api-key: {longest}k"))).status == 401


async def test_the_key_is_found_behind_what_is_none() -> None:
    async with guarded() as (client, upstream, _):
        lines = (f"x-api-key: {SECRET}x", "Authorization: Bearer a.b.c", f"api-key: {SECRET}")
        assert (await client.request(get("/", *lines))).status == 200
        fields = (await upstream.request()).fields
        # What is no key of the gateway's may be the upstream's own.
        assert (fields["x-api-key"], fields["authorization"], fields.get("api-key")) == (
            f"{SECRET}x", "Bearer a.b.c", None
        )  # fmt: skip


async def test_the_same_key_in_two_places_is_hidden_in_both() -> None:
    async with guarded(where={"query": "api_key"}) as (client, upstream, _):
        lines = (f"Authorization: Bearer {SECRET}", f"api-key: {SECRET}", f"x-other: {OTHER}")
        assert (await client.request(get(f"/?a=1&api_key={SECRET}", *lines))).status == 200
        seen = await upstream.request()
        assert SECRET.encode() not in seen.head
        assert (seen.target, seen.fields["x-other"]) == ("/?a=1", OTHER)


async def test_a_key_that_is_not_hidden_goes_on() -> None:
    async with guarded(where={"hide": False, "query": "api_key"}) as (client, upstream, _):
        for number, (target, line) in enumerate(
            [("/", f"x-api-key: {SECRET}"), ("/", f"Authorization: Bearer {SECRET}"), (f"/?api_key={SECRET}", "a: b")]
        ):
            assert (await client.request(get(target, line))).status == 200
            assert SECRET.encode() in (await upstream.request(number)).head


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (f"api_key={SECRET}", ""),
        (f"a=1&api_key={SECRET}", "?a=1"),
        (f"api_key={SECRET}&a=1", "?a=1"),
        (f"a=1&api_key={SECRET}&b=%20", "?a=1&b=%20"),
        (f"&api_key={SECRET}&", ""),
        (f"a&api%5fkey={SECRET.replace('_', '%5F')}&api_keys=1&b", "?a&api_keys=1&b"),
    ],
)
async def test_the_parameter_lets_in_and_is_taken_out(query: str, left: str) -> None:
    async with guarded(where={"query": "api_key"}) as (client, upstream, _):
        assert (await client.request(get(f"/p?{query}"))).status == 200
        assert (await upstream.request()).target == f"/p{left}"


async def test_a_plus_in_a_query_is_a_plus() -> None:
    async with guarded(where={"query": "k"}, key={"hash": hash_of("a+b/c=%d")}) as (client, _, _gateway):
        assert (await client.request(get("/?k=a+b%2fc=%25d"))).status == 200
        assert (await client.request(get("/?k=a%2Bb/c%3D%d"))).status == 200
        assert (await client.request(get("/?k=a%20b/c%3D%d"))).status == 401


@pytest.mark.parametrize(
    ("query", "challenge"),
    [
        ("api_key", REALM),
        ("api_key=", REALM),
        ("a=api_key", REALM),
        (f"xapi_key={SECRET}", REALM),
        (f"API_KEY={SECRET}", REALM),
        (f"a=1;api_key={SECRET}", REALM),
        ("api_key=%", INVALID),
        ("api_key=%6", INVALID),
        (f"api_key={OTHER}x", INVALID),
        (f"api_key={SECRET}&api_key={SECRET}", INVALID),
        ("api_key=" + "x" * 600, INVALID),
        ("api_key=" + "%41" * 600, INVALID),
    ],
)
async def test_what_is_no_key_in_a_query(query: str, challenge: str) -> None:
    async with guarded(where={"query": "api_key"}) as (client, _, _gateway):
        assert_refused(await client.request(get(f"/?{query}")), 401, challenge)


async def test_without_being_asked_for_the_query_is_not_looked_at() -> None:
    async with guarded() as (client, _, _gateway):
        assert_refused(await client.request(get(f"/?api_key={SECRET}")), 401, REALM)


@pytest.mark.parametrize("kind", ["json", "combined"])
@pytest.mark.parametrize("hide", [True, False])
async def test_the_log_never_shows_the_parameter(tmp_path: Path, kind: str, hide: bool) -> None:
    log = tmp_path / "access.log"
    gateway = {"access_log": {"path": str(log), "format": kind}, "max_body": 100}
    targets = [f"/?a=1&api_key={SECRET}", f"/?api_key={SECRET}x&b=2", f"/?api_key={SECRET}", "/?c=3"]
    settings = {"where": {"query": "api_key", "hide": hide}, "gateway": gateway}
    async with guarded(**settings) as (client, _, running):
        assert [(await client.request(get(target))).status for target in targets] == [200, 401, 200, 401]
        # Refused before the gateway knows a route, or reads the query at all.
        plain = get(targets[0])
        too_large = get(targets[0], "Content-Length: 101")
        for raw in (too_large, plain.replace(b"Host: h", b"Host: a b"), plain[:-2] + b"a b: 1\r\n\r\n"):
            async with RawClient(running.port) as other:
                assert (await other.request(raw)).status in (413, 400)
        referers = [f"https://h/a?b=1&api_key={SECRET}&c", "https://h/a?b=1"]
        for referer in referers:
            assert (await client.request(get("/", f"Referer: {referer}"))).status == 401
    text = log.read_text()
    assert SECRET not in text
    lines = text.splitlines()
    assert len(lines) == 9
    assert ("https://h/a" in lines[7], "?b" in lines[7], "https://h/a?b=1" in lines[8]) == (True, False, True)
    if kind == "json":
        assert [json.loads(line)["query"] for line in lines[:4]] == ["a=1", "b=2", None, "c=3"]
    else:
        assert [line.split('"')[1] for line in lines[:4]] == [
            f"GET {target} HTTP/1.1" for target in ("/?a=1", "/?b=2", "/", "/?c=3")
        ]


async def test_a_redirect_and_a_mirror_get_the_query_without_the_key() -> None:
    async with RecordingUpstream() as shadow, RecordingUpstream() as upstream:
        config = configured(upstream.port, where={"query": "k"}, route={"mirror": {"upstream": "shadow"}})
        config["upstreams"]["shadow"] = {"targets": [f"127.0.0.1:{shadow.port}"]}
        redirect = {"to": "https://example.com{path}", "status": 308}
        config["routes"].append({"name": "old", "path": "/old", "redirect": redirect, "auth": {"any": ["key"]}})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(get(f"/new?k={SECRET}&a=1"))).status == 200
            assert (await shadow.request()).target == "/new?a=1"
            answer = await client.request(get(f"/old?a=1&k={SECRET}"))
            assert (answer.status, answer.fields["location"]) == (308, "https://example.com/old?a=1")


@pytest.mark.parametrize("expires", ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00.0001Z"])
async def test_no_time_is_taken_for_never(expires: str) -> None:
    async with guarded(key={"expires": expires}) as (client, _, _gateway):
        assert_refused(await client.request(get("/", f"x-api-key: {SECRET}")), 401, INVALID)
    async with guarded(key={"previous": {"hash": hash_of("before"), "expires": expires}}) as (client, _, _gateway):
        assert_refused(await client.request(get("/", "x-api-key: before")), 401, INVALID)
        assert (await client.request(get("/", f"x-api-key: {SECRET}"))).status == 200


async def test_a_disabled_key_is_refused() -> None:
    async with guarded(key={"disabled": True}) as (client, _, _gateway):
        assert_refused(await client.request(get("/", f"x-api-key: {SECRET}")), 401, INVALID)
        assert (await client.request(get("/", f"x-api-key: {OTHER}"))).status == 200


async def test_an_expired_key_is_refused() -> None:
    async with guarded(key={"expires": PAST}) as (client, _, _gateway):
        assert_refused(await client.request(get("/", f"x-api-key: {SECRET}")), 401, INVALID)


async def test_a_key_expires_while_the_gateway_runs() -> None:
    until = time.time() + 0.6
    expires = dt.datetime.fromtimestamp(until, dt.UTC).isoformat()
    async with guarded(key={"expires": expires}) as (client, _, _gateway):
        assert (await client.request(get("/", f"x-api-key: {SECRET}"))).status == 200
        async with asyncio.timeout(5):
            while (answer := await client.request(get("/", f"x-api-key: {SECRET}"))).status == 200:
                assert time.time() < until + 0.1
        assert time.time() >= until - 0.05
        assert_refused(answer, 401, INVALID)


@pytest.mark.parametrize(
    ("key", "previous", "status"),
    [
        ({}, FUTURE, 200),
        ({}, PAST, 401),
        ({"expires": PAST}, FUTURE, 401),
        ({"disabled": True}, FUTURE, 401),
    ],
)
async def test_the_secret_before_the_last_rotation(key: dict[str, Any], previous: str, status: int) -> None:
    old = "the secret before"
    key = {**key, "previous": {"hash": hash_of(old), "expires": previous}}
    route = {"request_headers": {"set": {"x-who": "{key.id}"}}}
    async with guarded(key=key, route=route) as (client, upstream, _):
        assert (await client.request(get("/", f"x-api-key: {old}"))).status == status
        if status == 200:
            assert (await upstream.request()).fields["x-who"] == "team-a"


async def test_a_key_is_good_for_its_routes_only() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, key={"routes": ["all", "more"]})
        for name, more in (("admin", {"auth": {"any": ["key"]}}), ("more", {"auth": {"all": ["key"]}}), ("open", {})):
            config["routes"].append({"name": name, "path": f"/{name}", "upstream": "backend", **more})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for path, status in (("/", 200), ("/more", 200), ("/open", 200), ("/admin", 403)):
                answer = await client.request(get(path, f"x-api-key: {SECRET}"))
                assert answer.status == status
            assert_refused(answer, 403, None, "/admin")
            assert (await client.request(get("/admin", f"x-api-key: {OTHER}"))).status == 200
            assert (await client.request(get("/admin"))).status == 401


async def test_a_public_route_asks_for_nothing_where_the_others_do() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, defaults={"auth": {"any": ["key"]}})
        del config["routes"][0]["auth"]
        config["routes"].append({"name": "open", "path": "/open", "upstream": "backend", "public": True})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(get("/"))).status == 401
            assert (await client.request(get("/open"))).status == 200


async def test_a_reload_revokes_for_the_next_request_of_a_connection() -> None:
    async with guarded() as (client, upstream, gateway):
        ask = get("/", f"x-api-key: {SECRET}")
        assert (await client.request(ask)).status == 200
        await gateway.reload(GatewayConfig.from_dict(configured(upstream.port, key={"disabled": True})))
        assert (await client.request(ask)).status == 401
        await gateway.reload(GatewayConfig.from_dict(configured(upstream.port)))
        assert (await client.request(ask)).status == 200
        config = configured(upstream.port)
        del config["gateway"]["keys"]["team-a"]
        await gateway.reload(GatewayConfig.from_dict(config))
        assert_refused(await client.request(ask), 401, INVALID)
        assert (await client.request(get("/", f"x-api-key: {OTHER}"))).status == 200


async def test_a_route_that_asks_for_keys_where_there_are_none_lets_nobody_in() -> None:
    async with guarded(gateway={"keys": {}}) as (client, _, _gateway):
        assert_refused(await client.request(get("/", f"x-api-key: {SECRET}")), 401, INVALID)


def test_what_a_policy_knows_of_a_key() -> None:
    config = GatewayConfig.from_dict(configured(1, key={"tags": ["mobile"], "models": ["local"]}))
    entry = compile_api_keys(config).table.get(bytes.fromhex(hash_of(SECRET)))
    assert entry is not None
    identity = entry.identity
    assert (identity.id, identity.method, identity.claims) == ("team-a", "key", {"tags": ["mobile"]})
    assert identity.source is config.gateway.keys["team-a"]


async def test_a_body_is_not_sent_on_before_the_key_is_seen() -> None:
    async with guarded() as (client, upstream, _):
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12")
        assert (await client.response()).status == 401
        assert upstream.requests == []
