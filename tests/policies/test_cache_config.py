"""The key ``cache`` of a route: what is made of it, where it stands, and what decides under what an answer is found."""

import asyncio
import copy
import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from policies.compiling import compile_routes

from fastgate import Policy
from fastgate._core.delivery.cache.cached import Cached
from fastgate._core.delivery.cache.rules import DROPPED_BY_DEFAULT, NEVER_STORED, TTL_STATUSES, CacheRules
from fastgate._core.probes import cache_rules
from fastgate.cli import main
from fastgate.config import Cache, ConfigError, GatewayConfig, GatewayTable, Route
from fastgate.config.schema import cache as schema
from fastgate.config.schema.auth import METHODS as WAYS
from fastgate.config.schema.auth import Auth
from fastgate.config.schema.described import struct_fields
from fastgate.gateway.building import find_problems
from fastgate.gateway.gateway import Gateway
from fastgate.policies import cache as policy
from fastgate.policies.chain import tell_policies
from fastgate.testing import RawClient, RecordingUpstream, respond, start_gateway

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
HASH = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
UPSTREAMS = {name: {"targets": [f"{name}.example:80"]} for name in ("b", "c", "d")}
PLAIN: dict[str, Any] = {"upstreams": UPSTREAMS, "routes": [{"name": "r", "path": "/a/*", "upstream": "b"}]}


class Plugin(Policy):
    def on_request(self, request: Any) -> None: ...


def configured(*, cache: Any = True, **route: Any) -> dict[str, Any]:
    """A configuration with one route that caches."""
    data = copy.deepcopy(PLAIN)
    data["routes"][0].update(cache=cache, **route)
    for key in ("upstream",) if {"split", "respond"} & set(route) else ():
        del data["routes"][0][key]
    return data


async def compiled(data: Mapping[str, Any]) -> list[Any]:
    """The deliveries of all routes of a configuration."""
    routes = await compile_routes(GatewayConfig.from_dict(data), Plugin)
    return [route.delivery for route in routes]


async def cached(data: Mapping[str, Any]) -> Any:
    """The cache of the first route."""
    delivery = (await compiled(data))[0]
    while not isinstance(delivery, Cached):
        delivery = delivery.inner
    return delivery


def outline(delivery: Any) -> Any:
    """The names of deliveries, the outermost first."""
    name = type(delivery).__name__
    if name == "Split":
        return [name, [outline(way) for way in delivery.ways]]
    return [name, *outline(delivery.inner)] if hasattr(delivery, "inner") else [name]


# -- where it stands


INSIDE = ["Cached", "Mirrored", "Upstreams"]
SPLIT = [{"upstream": "b", "weight": 1}, {"upstream": "c", "weight": 3}]


async def test_each_way_of_a_split_has_its_own() -> None:
    data = configured(split=SPLIT, mirror={"upstream": "d"}, fallback={"body": "x"})
    delivery = (await compiled(data))[0]
    assert outline(delivery) == ["Fallback", "Split", [INSIDE, INSIDE]]
    ways = delivery.inner.ways
    assert [way.upstream for way in ways] == [b"b", b"c"]
    assert ways[0].cache is ways[1].cache
    assert ways[0].namespace != ways[1].namespace
    # What is around the split hears of each way.
    assert [way.outer for way in ways] == [delivery, delivery]
    assert ways[0].inner.copies is ways[1].inner.copies


async def test_without_a_split_there_is_one() -> None:
    delivery = (await compiled(configured(mirror={"upstream": "d"}, fallback={"body": "x"})))[0]
    assert outline(delivery) == ["Fallback", *INSIDE]
    assert (delivery.inner.upstream, delivery.inner.route) == (None, b"r")


async def test_a_route_without_it_has_none() -> None:
    data = copy.deepcopy(PLAIN)
    assert outline((await compiled(data))[0]) == ["Upstreams"]
    data["defaults"] = {"cache": True}
    data["routes"] += [
        {"name": "off", "path": "/off", "upstream": "b", "cache": False},
        {"name": "fixed", "path": "/fixed", "respond": {"body": "x"}},
    ]
    made = await compiled(data)
    assert [outline(each) for each in made] == [["Cached", "Upstreams"], ["Upstreams"], ["Fixed"]]
    assert [type(each.changes).__name__ for each in (made[0].inner, made[1])] == ["NoneType", "Invalidating"]


async def test_a_mirror_gets_copies_and_a_fallback_answers_around_it() -> None:
    async with RecordingUpstream(default=respond(b"stable")) as stable, RecordingUpstream() as shadow:
        async with RecordingUpstream(default=respond(b"down", "503 Service Unavailable")) as broken:
            ports = {"b": stable.port, "c": broken.port, "d": shadow.port}
            data = configured(split=SPLIT, mirror={"upstream": "d"}, fallback={"body": "instead"}, retry=False)
            data["upstreams"] = {name: {"targets": [f"127.0.0.1:{port}"]} for name, port in ports.items()}
            data["gateway"] = {"port": 0, "access_log": {"path": ""}}
            data["routes"][0].update(path="/*")
            async with start_gateway(data) as gateway, RawClient(gateway.port) as client:
                seen = {(await client.request(GET)).body for _ in range(40)}
                while len(shadow.requests) < 40:
                    await asyncio.sleep(0.01)
    assert seen == {b"stable", b"instead"}


async def test_a_start_that_fails_leaves_nothing_open() -> None:
    data = configured(policies=[{"use": "p"}])
    data["gateway"], data["plugins"] = {"port": 0}, [{"name": "p", "use": "missing.module:P"}]
    gc.collect()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConfigError):
        await Gateway(GatewayConfig.from_dict(data)).start()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


# -- what is made of the table


EVERY: dict[str, Any] = {
    "methods": ["GET", "HEAD", "POST"],
    "max_key_body": "1KB",
    "key": ["header:X-Tenant", "identity"],
    "query": {"except": ["utm_*"], "sort": True},
    "drop": ["x-a"],
    "vary": ["x-b"],
    "vary_except": ["user-agent"],
    "targeted": ["CDN-Cache-Control"],
    "ttl": {"200": "1m", "4xx": "1s"},
    "heuristic": 0.1,
    "honor": "response",
    "private": True,
    "shared": False,
    "set_cookie": "strip",
    "bypass": ["cookie:session"],
    "max_object": "2MB",
    "stale_while_revalidate": "30s",
    "stale_if_error": "1h",
    "retry_stale": "2s",
    "collapse": False,
    "hit_for_miss": "3s",
    "collapse_timeout": "250ms",
    "tags": ["shop"],
    "cache_status": False,
    "etag": True,
}


async def test_every_key_reaches_the_rules() -> None:
    assert set(EVERY) == {field.encode_name for field in struct_fields(Cache)}
    rules = (await cached(configured(cache=EVERY, auth={"any": ["key"]}))).rules
    assert (rules.methods, rules.max_key_body) == ((b"GET", b"HEAD", b"POST"), 1024)
    assert [part.name for part in rules.key] == [b"x-tenant", b""]
    assert (rules.filters_query, rules.only, rules.patterns, rules.sort) == (True, False, (b"utm_*",), True)
    assert (rules.drop, rules.vary, rules.vary_except) == ((b"x-a",), (b"x-b",), (b"user-agent",))
    assert (rules.targeted, rules.heuristic, rules.honor) == ((b"cdn-cache-control",), 0.1, "response")
    assert (rules.private, rules.shared, rules.set_cookie) == (True, False, "strip")
    assert ([part.name for part in rules.bypass], rules.max_object) == ([b"session"], 2 << 20)
    assert (rules.stale_while_revalidate, rules.stale_if_error, rules.retry_stale) == (30_000, 3_600_000, 2_000)
    assert (rules.collapse, rules.hit_for_miss, rules.collapse_timeout) == (False, 3_000, 250)
    assert (rules.tags, rules.cache_status, rules.etag) == (("shop",), False, True)


@pytest.mark.parametrize(
    ("ttl", "status", "seconds"),
    [
        ("1m", 200, 60),
        ("1m", 404, 0),
        ({"4xx": "3s", "404": 2}, 404, 2),
        ({"4xx": "3s", "404": 2}, 410, 3),
        (None, 200, 0),
    ],
)
def test_a_ttl_is_for_its_statuses(ttl: Any, status: int, seconds: int) -> None:
    config = GatewayConfig.from_dict(configured(cache={} if ttl is None else {"ttl": ttl}))
    assert config.routes[0].cache
    rules = policy.compile_rules(config.routes[0].cache)
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n".encode()
    assert cache_rules.judge(rules, GET, answer)["lifetime"] == seconds * 1000


def test_the_defaults_are_those_of_the_core() -> None:
    made, plain = policy.compile_rules(Cache()), CacheRules()
    names = [name for name in dir(CacheRules) if not name.startswith("_") and name != "key"]
    assert len(names) > 20
    assert {name: getattr(made, name) for name in names} == {name: getattr(plain, name) for name in names}
    assert (made.key, plain.key) == ((), ())
    assert tuple(Cache().drop) == DROPPED_BY_DEFAULT
    assert tuple(map(str, NEVER_STORED)) == schema.NEVER_STORED
    # The page says for which statuses a ttl is that is one duration.
    said = next(field for field in struct_fields(Cache) if field.name == "ttl").type
    assert ", ".join(map(str, TTL_STATUSES[:-1])) + f" and {TTL_STATUSES[-1]}" in str(said)


async def test_only_and_no_parameters_at_all() -> None:
    rules = (await cached(configured(cache={"query": {"only": []}}))).rules
    assert (rules.filters_query, rules.only, rules.patterns, rules.sort) == (True, True, (), False)
    rules = (await cached(configured(cache={"query": {"sort": True}}))).rules
    assert (rules.filters_query, rules.sort) == (False, True)


DURATIONS = ("stale_while_revalidate", "stale_if_error", "retry_stale", "hit_for_miss", "collapse_timeout")
REFUSED: list[dict[str, Any]] = [
    {"methods": ["PUT"]},
    {"methods": ["get"]},
    {"methods": ["HEAD"]},
    *({"key": [part]} for part in ("x", "header", "header:", "header:a b", "cookie:", "cookie:a b", "identity:x")),
    {"key": ["param:"]},
    {"bypass": ["client_ip"]},
    {"bypass": ["cookie:a b"]},
    {"query": {"only": ["a"], "except": ["b"]}},
    {"query": {"every": ["a"]}},
    *({name: ["a b"]} for name in ("drop", "vary", "vary_except", "targeted")),
    *({"vary_except": [name]} for name in ("Cookie", "authorization", "Accept-Encoding")),
    {"targeted": ["Cache-Control"]},
    *({"ttl": {status: 1}} for status in ("206", "304", "429", "1xx", "600", "20", "x")),
    *({"ttl": {"200": seconds}} for seconds in (-1, True, 2**32)),
    *({"heuristic": share} for share in (-0.1, 1.1)),
    {"honor": "request"},
    {"set_cookie": "drop"},
    *(
        {name: seconds}
        for name in ("ttl", *DURATIONS)
        for seconds in (-1, 2**32)
    ),
]


@pytest.mark.parametrize("cache", REFUSED, ids=str)
def test_what_the_core_refuses_a_check_finds(cache: dict[str, Any]) -> None:
    key = next(iter(cache))
    with pytest.raises(ValueError) as refused:
        CacheRules(**cache)
    assert str(refused.value).startswith((f"{key}: ", "key: ") if key == "bypass" else f"{key}: ")
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(configured(cache=cache))
    assert [each.path for each in caught.value.problems if not each.path.startswith(f"routes[0].cache.{key}")] == []


async def test_what_the_core_refuses_is_told_with_its_key() -> None:
    config = GatewayConfig.from_dict(configured())
    broken = msgspec.structs.replace(config.routes[0], cache=msgspec.structs.replace(Cache(), heuristic=2.0))
    problems = await find_problems(msgspec.structs.replace(config, routes=[broken]))
    assert [(each.path, each.message) for each in problems] == [
        ("routes[0].cache.heuristic", "2.0 is not a valid share; it is 0 to 1")
    ]


# -- where clients send credentials


BASIC = {"basic": {"users": {"a": HASH}}}
JWT: dict[str, Any] = {"jwt": {"algorithms": ["HS256"], "secret": "s" * 32}}
FORWARD: dict[str, Any] = {"forward": {"url": "http://127.0.0.1:1/v"}}


@pytest.mark.parametrize(
    ("methods", "auth", "fields"),
    [
        (["key"], {}, {"x-api-key", "api-key", "authorization"}),
        (["key"], {"key": {"header": "X-Team"}}, {"x-team", "api-key", "authorization"}),
        (["basic"], BASIC, {"authorization"}),
        (["jwt"], JWT, {"authorization"}),
        (["jwt"], {"jwt": {**JWT["jwt"], "from": ["cookie:t", "header:X-T"]}}, {"cookie", "x-t"}),
        (["key", "jwt"], JWT, {"x-api-key", "api-key", "authorization"}),
        (["forward"], FORWARD, {"authorization", "cookie"}),
    ],
)
async def test_which_fields_have_credentials(methods: Any, auth: Any, fields: set[str]) -> None:
    data = configured(auth={"any": methods})
    assert {name.decode() for name in (await cached({**data, "auth": auth})).credentials} == fields


async def test_a_route_without_authentication_has_no_credentials() -> None:
    data = {**configured(public=True), "defaults": {"auth": {"any": ["basic"]}}, "auth": BASIC}
    assert (await cached(data)).credentials == ()


async def test_the_field_of_the_request_id() -> None:
    data = configured()
    assert (await cached(data)).request_id == b"x-request-id"
    assert (await cached({**data, "gateway": {"request_id": "X-Trace"}})).request_id == b"x-trace"
    assert (await cached({**data, "gateway": {"request_id": ""}})).request_id is None


# -- under what an answer is found


BASE: dict[str, Any] = {
    **configured(auth={"any": ["key", "jwt", "basic", "forward"]}, policies=[{"use": "p"}], cache={}),
    "auth": {
        **BASIC,
        "jwt": {**JWT["jwt"], "claims_to_headers": {"sub": "x-sub"}},
        "forward": {
            **FORWARD["forward"],
            "response_headers": ["x-user", "x-team", "x-plan", "x-site", "x-role"],
            "identity_header": "x-user",
        },
        "key": {"header": "x-key"},
    },
    "plugins": [{"name": "p", "use": "m:P", "options": {"a": 1}}, {"name": "q", "use": "m:Q"}],
}
"""What each of the following changes one thing of."""

KEYS_OF_CACHE = {
    "methods": (["GET"], True),
    "max_key_body": (1, False),
    "key": (["header:x"], True),
    "query": ({"sort": True}, True),
    "drop": ([], True),
    "vary": (["x"], True),
    "vary_except": (["x"], True),
    "targeted": ([], True),
    "ttl": (60, False),
    "heuristic": (0.1, False),
    "honor": ("response", True),
    "private": (True, True),
    "shared": (True, True),
    "set_cookie": ("strip", True),
    "bypass": (["cookie:a"], True),
    "max_object": (1, False),
    "stale_while_revalidate": (1, False),
    "stale_if_error": (1, False),
    "retry_stale": (2, False),
    "collapse": (False, False),
    "hit_for_miss": (1, False),
    "collapse_timeout": (1, False),
    "tags": (["a"], True),
    "cache_status": (False, False),
    "etag": (True, False),
}
KEYS_OF_ROUTE = {
    "name": ("other", True),
    "path": ("/b/*", True),
    "hosts": (["h.example"], True),
    "methods": (["GET"], True),
    "headers": ({"x": "1"}, True),
    "query": ({"x": "1"}, True),
    "priority": (1, True),
    "upstream": ("c", True),
    "mirror": ({"upstream": "d"}, False),
    "maintenance": ({"enabled": True}, False),
    "ip": ({"allow": ["::1"]}, False),
    "cors": ({"origins": ["https://a.example"]}, False),
    "rate_limit": ({"rate": 1}, False),
    "concurrency": ({"max": 1}, False),
    "auth": ({"any": ["key", "jwt", "basic"]}, True),
    "fault_injection": ({"abort": 500}, False),
    "content_types": (["text/plain"], False),
    "policies": ([{"use": "q"}], True),
    "strip_prefix": ("/a", True),
    "add_prefix": ("/x", True),
    "rewrite": ({"pattern": "a", "to": "b"}, True),
    "request_headers": ({"remove": ["x"]}, True),
    "response_headers": ({"remove": ["x"]}, False),
    "fallback": ({"body": "x"}, False),
    "envelope": (True, True),
    "compression": ({"encodings": ["gzip"]}, False),
    "deprecation": ({"since": "2026-01-01"}, False),
    "security_headers": (True, False),
    "encoded_backslash": ("keep", False),
    "host_header": ("client", True),
    "retry": (False, False),
    "timeouts": ({"read": 1}, False),
    "max_body": (1, False),
    "min_rate": (1, False),
    "half_close": ("serve", False),
    "buffer_request": (True, False),
    "trailers": (True, True),
    "upgrades": (False, False),
}
SPECIAL = {"cache", "split", "respond", "redirect", "public", "body_schema"}
"""Keys of a route that have tests of their own, or no cache beside them."""
KEYS_OF_GATEWAY = {
    "forwarded": (True, True),
    "via": (True, True),
    "request_id": ("x-trace", True),
    "field_names": ("pass", True),
    "trusted_proxies": (["10.0.0.0/8"], True),
    "host": ("::1", False),
    "port": (1, False),
    "workers": (2, False),
    "proxy_protocol": (True, False),
    "server_header": ("x", False),
    "max_header_bytes": (2048, False),
    "max_headers": (10, False),
    "max_body": (5, False),
    "merge_slashes": (False, False),
    "keepalive": (1, False),
    "error_format": ("html", False),
    "health_path": ("/h", False),
    "min_rate": (1, False),
    "drain_timeout": (1, False),
    "keys": ({"k": {"hash": "0" * 64}}, False),
}
KEYS_OF_AUTH = {
    ("key", "header"): ("x-other", True),
    ("key", "query"): ("k", True),
    ("key", "hide"): (False, True),
    ("basic", "hide"): (False, True),
    ("basic", "users"): ({"b": HASH}, False),
    ("basic", "realm"): ("x", False),
    ("jwt", "secret"): ("t" * 32, False),
    ("jwt", "issuer"): ("https://i.example", True),
    ("jwt", "audience"): (["a"], False),
    ("jwt", "from"): (["cookie:t"], True),
    ("jwt", "claims_to_headers"): ({"email": "x-sub"}, True),
    ("jwt", "leeway"): (1, False),
    ("forward", "url"): ("http://127.0.0.1:2/v", True),
    ("forward", "timeout"): (1, False),
    ("forward", "request_headers"): (["cookie"], True),
    ("forward", "response_headers"): (["x-name"], True),
    ("forward", "identity_header"): ("x-team", True),
    ("forward", "client_headers"): ([], False),
}


def changed(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The base with another value at one place."""
    data: Any = copy.deepcopy(BASE)
    inner = data
    for key in place[:-1]:
        inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
    inner[place[-1]] = value
    return data


CHANGES = [
    *((("routes", 0, "cache", key), *row) for key, row in KEYS_OF_CACHE.items()),
    *((("routes", 0, key), *row) for key, row in KEYS_OF_ROUTE.items()),
    *((("gateway", key), *row) for key, row in KEYS_OF_GATEWAY.items()),
    *((("auth", *keys), *row) for keys, row in KEYS_OF_AUTH.items()),
    (("plugins", 0, "use"), "m:Other", True),
    (("plugins", 0, "options"), {"a": 2}, True),
    (("plugins", 0, "budget"), 1, False),
    (("plugins", 1, "options"), {"b": 2}, False),
    (("upstreams", "b", "targets"), ["other.example:1"], False),
    (("upstreams", "b", "balancer"), "random", False),
    (("upstreams", "c", "targets"), ["other.example:1"], False),
    (("defaults",), {"host_header": "client"}, True),
    (("defaults",), {"timeouts": {"read": 3}}, False),
]


@pytest.mark.parametrize(("place", "value", "other"), CHANGES, ids=lambda value: str(value)[:60])
async def test_what_changes_the_place_of_what_is_stored(place: Any, value: Any, other: bool) -> None:
    before, after = await cached(BASE), await cached(changed(place, value))
    assert len(before.namespace) == 16
    assert (before.namespace != after.namespace) is other


def test_every_key_is_in_a_table() -> None:
    assert set(KEYS_OF_CACHE) == {field.encode_name for field in struct_fields(Cache)}
    assert set(KEYS_OF_ROUTE) | SPECIAL == {field.encode_name for field in struct_fields(Route)}
    assert {key for key, row in KEYS_OF_CACHE.items() if row[1]} == set(policy.KEYED)
    assert set(policy.ASKED_OF_ALL) == {key for key, row in KEYS_OF_GATEWAY.items() if row[1]}
    assert set(KEYS_OF_GATEWAY) <= {field.encode_name for field in struct_fields(GatewayTable)}
    assert set(policy.METHODS) == set(WAYS) == set(Auth.__struct_fields__)


def issuers(*made: tuple[str, str]) -> dict[str, Any]:
    jwks = {name: {"issuer": "https://i.example", "jwks": f"https://{host}/jwks"} for name, host in made}
    return {"jwt": {"algorithms": ["RS256"], "issuers": jwks}}


def jwks(host: str) -> dict[str, Any]:
    return {"jwt": {"algorithms": ["RS256"], "jwks": f"https://{host}/jwks"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (jwks("a.example"), jwks("b.example")),
        (issuers(("one", "a.example")), issuers(("two", "a.example"))),
        (issuers(("one", "a.example")), issuers(("one", "b.example"))),
        ({"certificate": {}}, {"certificate": {"subject": "san_uri"}}),
    ],
)
async def test_who_names_the_client_changes_the_place(before: Any, after: Any) -> None:
    data = configured(auth={"any": list(before)})
    tls = {"certificates": [{"cert": "a", "key": "b"}], "client_auth": "required", "client_ca": "c"}
    data["gateway"] = {"tls": tls}
    first, second = await cached({**data, "auth": before}), await cached({**data, "auth": after})
    assert first.namespace != second.namespace
    assert (await cached({**data, "auth": before})).namespace == first.namespace


async def test_another_route_changes_nothing() -> None:
    base = (await cached(BASE)).namespace
    data = copy.deepcopy(BASE)
    data["routes"].append({"name": "new", "path": "/new", "upstream": "b", "trailers": True, "cache": {"ttl": 1}})
    assert (await cached(data)).namespace == base
    data["routes"].reverse()
    made = await compiled(data)
    assert [each.namespace == base for each in made] == [False, True]


async def test_a_route_that_becomes_public_is_another() -> None:
    data = configured(cache={})
    data["auth"] = {"forward": {**FORWARD["forward"], "response_headers": ["x-user"]}}
    open_to_all = (await cached(data)).namespace
    # Now the gateway removes what clients send as x-user.
    data["routes"][0]["public"] = True
    assert (await cached(data)).namespace != open_to_all


async def test_a_schema_for_bodies_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    plain = (await cached(configured(content_types=["application/json"]))).namespace
    checked = configured(content_types=["application/json"], body_schema=str(tmp_path / "s.json"))
    assert (await cached(checked)).namespace == plain


async def test_weights_and_new_ways_of_a_split_change_nothing() -> None:
    async def of(*ways: tuple[str, int]) -> list[bytes]:
        split = [{"upstream": name, "weight": weight} for name, weight in ways]
        return [way.namespace for way in (await compiled(configured(split=split)))[0].ways]

    first = await of(("b", 1), ("c", 1))
    assert await of(("b", 9), ("c", 1)) == first
    assert (await of(("d", 1), ("b", 9), ("c", 1)))[1:] == first


@pytest.mark.parametrize("seed", ["1", "2"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    """Workers share the store, and each has hashes of strings of its own."""
    command = "import asyncio, policies.test_cache_config as t; print(asyncio.run(t.cached(t.BASE)).namespace.hex())"
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
    made = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=True, env=environ
    )
    assert made.stdout.strip() == asyncio.run(cached(BASE)).namespace.hex()


# -- what is told


@pytest.mark.parametrize(
    ("cache", "told"),
    [
        ({}, ["cache by upstream"]),
        ({"ttl": "90s"}, ["cache 90s"]),
        ({"ttl": {"200": "1m", "404": "5s"}}, ["cache 200 60s, 404 5s, else by upstream"]),
        ({"shared": True}, ["cache by upstream", "cache shared by all clients"]),
        ({"private": True}, ["cache by upstream", "cache for each client"]),
        (
            {"stale_while_revalidate": "30s", "stale_if_error": "1h"},
            ["cache by upstream", "stale 30s while it is renewed", "stale 1h if it fails"],
        ),
    ],
)
def test_what_routes_tells(cache: Any, told: list[str]) -> None:
    data = configured(cache=cache, auth={"any": ["key"]})
    assert tell_policies(GatewayConfig.from_dict(data).routes[0])[1:] == told


def test_routes_tells_that_plugins_run_for_hits(tmp_path: Path) -> None:
    data = {**configured(policies=[{"use": "p"}]), "plugins": [{"name": "p", "use": "m:P"}]}
    file = tmp_path / "f.json"
    file.write_bytes(msgspec.json.encode(data))
    shown = CliRunner().invoke(main, ["routes", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "p, cache by upstream, plugins run on every hit" in shown.output


def test_a_route_without_an_upstream_tells_nothing() -> None:
    data = {**PLAIN, "defaults": {"cache": True}, "routes": [{"name": "r", "path": "/", "respond": {"body": "x"}}]}
    assert tell_policies(GatewayConfig.from_dict(data).routes[0]) == []
