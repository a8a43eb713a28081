"""What is allowed and suspicious."""

from pathlib import Path
from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.errors import render_path
from fastgate.policies.chain import find_warnings


def warnings(**keys: Any) -> list[str]:
    data = {"upstreams": {"b": {"targets": ["b:80"]}}, **keys}
    found = find_warnings(GatewayConfig.from_dict(data), data)
    return [f"{render_path(path)}: {message}" for path, message in found]


def routes(*written: dict[str, Any]) -> list[str]:
    made = [{"name": f"r{number}", "upstream": "b", **route} for number, route in enumerate(written)]
    made = [{key: value for key, value in route.items() if value is not None} for route in made]
    return warnings(routes=made)


def test_a_plain_configuration_has_none() -> None:
    assert routes({"path": "/a/*"}, {"path": "/a/b"}, {"path": "/a/{x}"}) == []


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        ({"path": "/a"}, {"path": "/a"}, False),
        ({"path": "/a/{x}"}, {"path": "/a/{y}"}, False),
        ({"path": "/a/{x}"}, {"path": "/a/{y*}"}, True),
        ({"path": "/a"}, {"path": "/a", "methods": ["GET"]}, True),
        ({"path": "/a", "methods": ["GET", "POST"]}, {"path": "/a", "methods": ["POST", "GET"]}, False),
        ({"path": "/a", "hosts": ["a.b"]}, {"path": "/a", "hosts": ["A.b."]}, False),
        ({"path": "/a", "headers": {"x": "1"}}, {"path": "/a", "headers": {"x": "2"}}, True),
        ({"path": "/*", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/*"}, {"path": "/a"}, True),
        ({"path": "/a/*", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/a/{x*}", "priority": 1}, {"path": "/a"}, True),
        ({"path": "/a/{x*}", "priority": 1}, {"path": "/a/b/c"}, False),
        ({"path": "/{x}", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/{x}", "priority": 1}, {"path": "/"}, True),
        ({"path": "/{x}", "priority": 1}, {"path": "/a/*"}, True),
        ({"path": "/*", "priority": 1, "methods": ["GET"]}, {"path": "/a"}, True),
        ({"path": "/*", "priority": 1, "methods": ["GET"]}, {"path": "/a", "methods": ["HEAD"]}, False),
        ({"path": "/*", "priority": 1, "hosts": ["*.b"]}, {"path": "/a", "hosts": ["a.b", "*.c.b"]}, False),
        ({"path": "/*", "priority": 1, "hosts": ["*.b"]}, {"path": "/a", "hosts": ["a.b", "b"]}, True),
        ({"path": "/*", "priority": 1, "headers": {"x": "*"}}, {"path": "/a", "headers": {"x": "1"}}, False),
        ({"path": "/*", "priority": 1, "query": {"x": "*"}}, {"path": "/a"}, True),
        ({"path": "~^/a", "priority": 1}, {"path": "/a"}, True),
    ],
)
def test_routes_that_no_request_reaches(first: dict[str, Any], second: dict[str, Any], reached: bool) -> None:
    said = [line for line in routes(first, second) if "no request reaches this route" in line]
    assert bool(said) is not reached
    assert all(line.startswith('routes[1]: no request reaches this route: routes[0] "r0" has') for line in said)


@pytest.mark.parametrize(
    "written",
    [
        {"rate_limit": {"rate": 5, "key": ["client_ip", "route"]}},
        {"rate_limit": [{"rate": 5, "key": "header:x"}, {"rate": 50}]},
        {"rate_limit": {"rate": 5, "algorithm": "sliding_window_log"}},
        {"retry": {"on": ["connect", "429", "timeout"], "per_try_timeout": "5s", "hedge": {"delay": "1s"}}},
        {"retry": {"attempts": 1, "per_try_timeout": "1s"}},
        {"retry": False},
        {"split": [{"upstream": "b", "weight": 3}, {"upstream": "c"}], "mirror": {"upstream": "d"}},
        {"respond": {"status": 204}, "retry": False, "response_headers": {"remove": ["server"]}},
        {"redirect": {"to": "https://{host}{path}"}},
        {"path": "/{x}", "redirect": {"to": "https://example.com/{param.x}"}},
        {"path": "/{x}", "redirect": {"to": "https://example.com?{param.x}"}},
        {"path": "/{x}", "redirect": {"to": "https://{host}{path}{param.x}"}},
    ],
)
def test_what_is_no_reason_for_a_warning(written: dict[str, Any]) -> None:
    answer = {} if {"split", "respond", "redirect"} & set(written) else {"upstream": "b"}
    made = warnings(
        routes=[{"name": "r", "path": "/a", **answer, **written}],
        upstreams={name: {"targets": [f"{name}:1"]} for name in "bcd"},
    )
    assert [line for line in made if "no route uses this upstream" not in line] == []


UPSTREAMS_WITHOUT_WARNINGS: list[dict[str, Any]] = [
    {"health": {"passive": {}}},
    {"targets": ["10.0.0.1:1", "10.0.0.2:1"], "health": {"passive": {}}, "panic_threshold": 0},
    {"targets": [{"host": "b", "port": 1, "weight": 2}, "c:1"], "balancer": "least_connections", "dns": {"refresh": 1}},
    {"balancer": "ip_hash", "hash_key": "header:x"},
    {"balancer": "consistent_hash", "hash_key": ["client_ip", "cookie:x"], "load_bound": 0},
    {"health": {"active": {"type": "tcp", "interval": 1}}},
    {"breaker": {"on": ["connect", "408", "5xx"]}},
]


@pytest.mark.parametrize("upstream", UPSTREAMS_WITHOUT_WARNINGS)
def test_what_is_no_reason_for_a_warning_about_an_upstream(upstream: dict[str, Any]) -> None:
    assert warnings_about(upstream) == []


def warnings_about(upstream: dict[str, Any]) -> list[str]:
    return warnings(
        routes=[{"name": "r", "path": "/{id}", "upstream": "b"}], upstreams={"b": {"targets": ["b:80"], **upstream}}
    )


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        (
            {"targets": ["b:1", {"host": "c", "port": 1, "weight": 2}]},
            "targets[1]: round_robin ignores weights",
        ),
        ({"hash_key": "header:x"}, "hash_key: has no effect: round_robin does not hash"),
        ({"balancer": "ip_hash", "load_bound": 2}, "load_bound: is only used with consistent_hash"),
        ({"balancer": "consistent_hash", "hash_key": "global"}, 'hash_key: "global" sends every request'),
        ({"balancer": "consistent_hash", "hash_key": "param:x"}, 'hash_key: the path of route "r" has no {x}'),
        ({"targets": ["10.0.0.1:1", "unix:/a"], "dns": {"refresh": 1}}, "dns: has no effect: no target has a name"),
        (
            {"targets": ["10.0.0.1:1"], "health": {"passive": {}}},
            "health.passive.max_ejected: 0.5 of 1 target is less than one target, so no target is ever ejected",
        ),
        (
            {"targets": ["10.0.0.1:1", "[::1]:1"], "health": {"passive": {"max_ejected": 0.4}}},
            "health.passive.max_ejected: 0.4 of 2 targets is less than one target",
        ),
        (
            {"health": {"active": {"type": "tcp", "body": "x", "path": "/a"}}},
            'health.active.type: "tcp" only connects, so these keys have no effect: path, body',
        ),
        (
            {"health": {"passive": {"on": ["reset", "4xx"]}}},
            "health.passive.on[1]: bad requests of one client can make targets",
        ),
        ({"breaker": {"on": ["404"]}}, "breaker.on[0]: bad requests of one client can make the upstream"),
        ({"panic_threshold": 0.2}, "panic_threshold: has no effect"),
        (
            {"panic_over_probes": True, "health": {"passive": {}}},
            "panic_over_probes: has no effect: without health.active no target is probed",
        ),
        (
            {"panic_over_probes": True, "panic_threshold": 0, "health": {"active": {}}},
            "panic_over_probes: has no effect: panic_threshold is 0",
        ),
    ],
)
def test_warnings_about_an_upstream(upstream: dict[str, Any], said: str) -> None:
    (line,) = warnings_about(upstream)
    assert line.startswith(f"upstreams.b.{said}")


@pytest.mark.parametrize(
    ("route", "alone"),
    [
        ({}, True),
        ({"concurrency": {"max": 4}}, True),
        ({"concurrency": {"max": 4, "key": "header:x"}}, True),
        ({"concurrency": {"max": 8, "key": "client_ip"}}, True),
        ({"concurrency": {"max": 4, "key": "client_ip"}}, False),
        ({"concurrency": {"max": 4, "key": "key"}, "auth": {"any": ["key"]}}, False),
    ],
)
def test_a_pool_that_one_client_can_fill(route: dict[str, Any], alone: bool) -> None:
    upstreams = {"b": {"targets": ["b:80"], "pool": {"max_connections": 8}}}
    made = [{"name": "r", "path": "/*", "upstream": "b", **route}]
    said = warnings(upstreams=upstreams, routes=made)
    about_pools = [line for line in said if line.startswith("upstreams.b.pool.max_connections: one client")]
    assert len(about_pools) == alone
    bounded = warnings(upstreams=upstreams, routes=made, gateway={"max_connections_per_client": 7})
    assert not any("one client" in line for line in bounded)
    assert not alone or 'can hold all 8 connections: add concurrency by client_ip to route "r"' in about_pools[0]


def test_what_a_default_says_is_warned_about_once() -> None:
    said = warnings(
        defaults={"rate_limit": {"rate": 5, "key": "cookie:x"}},
        routes=[{"name": name, "path": f"/{name}", "upstream": "b"} for name in ("one", "two")],
    )
    mend = "add a limit by client_ip or route"
    assert said == [f"defaults.rate_limit.key: clients choose cookie:x freely and can evade this limit; {mend}"]


def test_an_upstream_of_a_split_or_a_mirror_is_used() -> None:
    split = {"path": "/a", "split": [{"upstream": "b"}, {"upstream": "c"}], "mirror": {"upstream": "d"}}
    said = warnings(
        routes=[{"name": "r", **split}], upstreams={name: {"targets": [f"{name}:1"]} for name in ("b", "c", "d", "e")}
    )
    assert said == ["upstreams.e: no route uses this upstream"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"gateway": {"trusted_proxies": ["0.0.0.0/0"]}}, "gateway.trusted_proxies[0]: 0.0.0.0/0 trusts every client"),
        ({"gateway": {"proxy_protocol": True}}, "gateway.proxy_protocol: closes every connection"),
        ({"gateway": {"max_body": 0}}, "gateway.max_body: 0 lets clients send bodies of any size"),
        ({"gateway": {"field_names": "pass"}}, "gateway.field_names: many applications"),
        ({}, "routes: there are no routes"),
        ({"plugins": [{"name": "p", "use": "m:P"}]}, 'plugins[0]: no route uses the plugin "p"'),
        (
            {"upstreams": {"b": {"targets": ["b:80"]}, "c": {"targets": ["c:1"]}}},
            "upstreams.c: no route uses this upstream",
        ),
        (
            {"upstreams": {"b": {"targets": ["b:80"], "tls": {"verify": False}}}},
            "upstreams.b.tls.verify: false accepts any",
        ),
        ({"upstreams": {"b": {"targets": ["http://b"], "tls": {}}}}, "upstreams.b.tls: has no effect"),
    ],
)
def test_warnings(keys: dict[str, Any], said: str) -> None:
    assert any(line.startswith(said) for line in warnings(**keys))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"buffer_request": True, "max_body": "2MB"}, "routes[0].buffer_request: keeps up to 2MB in memory"),
        ({"body_schema": "a.json", "max_body": "2MB"}, "routes[0].body_schema: keeps up to 2MB in memory"),
        (
            {"body_schema": {"file": "a.json", "max_values": 2_000_000}},
            "routes[0].body_schema.max_values: while the gateway checks a body with so many values, its worker",
        ),
        ({"strip_prefix": "/v1"}, 'routes[0].strip_prefix: "/v1" is not a prefix of the path "/a"'),
        ({"host_header": "clinet"}, 'routes[0].host_header: "clinet" is sent as it is written; did you mean "client"?'),
        (
            {"request_headers": {"set": {"Authorization": "Bearer abc"}}},
            "routes[0].request_headers.set.Authorization: contains a secret in clear text",
        ),
        (
            {"rate_limit": {"rate": 1, "key": ["client_ip", "header:x"]}},
            "routes[0].rate_limit.key: clients choose header:x",
        ),
        (
            {"rate_limit": [{"rate": 1, "key": "header:x"}, {"rate": 1, "key": "cookie:x"}]},
            "routes[0].rate_limit[1].key: clients choose cookie:x freely",
        ),
        (
            {"rate_limit": {"rate": 9e4, "algorithm": "sliding_window_log"}},
            "routes[0].rate_limit.rate: keeps 90000 time stamps of each client: state.rate_limit_stamps has room for 2",
        ),
        (
            {"retry": {"attempts": 1, "on": ["5xx"]}},
            "routes[0].retry.attempts: 1 means only the first try, so these keys have no effect: on",
        ),
        ({"retry": {"on": ["connect", "4xx"]}}, 'routes[0].retry.on[1]: "4xx" is mostly a mistake of the request'),
        ({"retry": {"per_try_timeout": "1s"}}, "routes[0].retry.per_try_timeout: ends a try, but no other try follows"),
        (
            {"retry": {"per_try_timeout": "60s", "on": ["timeout"]}},
            "routes[0].retry.per_try_timeout: has no effect: timeouts.read is 60s",
        ),
        ({"retry": {"hedge": {"delay": "2m"}}}, "routes[0].retry.hedge.delay: has no effect: a try ends after 60s"),
        ({"mirror": {"upstream": "b"}}, "routes[0].mirror.upstream: also answers this route"),
        ({"mirror": {"upstream": "b", "sample": 0}}, "routes[0].mirror.sample: 0 copies nothing"),
        ({"upstream": None, "respond": {}, "retry": {}}, "routes[0].retry: has no effect: this route has no upstream"),
        ({"upstream": None, "redirect": {"to": "/a"}}, "routes[0].redirect.to: redirects the client to the same URL"),
        (
            {"upstream": None, "path": "/{x}", "redirect": {"to": "https://example.com{param.x}"}},
            "routes[0].redirect.to: open redirect: the author of the link chooses the host",
        ),
        (
            {"upstream": None, "path": "/{x}", "redirect": {"to": "https://www.{param.x}.com/"}},
            "routes[0].redirect.to: open redirect: the author of the link chooses the host",
        ),
        (
            {"upstream": None, "path": "/{x}", "redirect": {"to": "https://{param.x}/"}},
            "routes[0].redirect.to: open redirect: the author of the link chooses",
        ),
    ],
)
def test_warnings_about_a_route(route: dict[str, Any], said: str) -> None:
    assert any(line.startswith(said) for line in routes({"path": "/a", **route}))


NULL = 'every site can make a page whose origin is "null", and that page could read the data of users'
ANY_CHARACTER = '"." matches any character, so names that others can register may match too: write "[.]"'
HSTS = "security_headers.strict_transport_security"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"cors": {"origins": ["https://a.example"], "credentials": True}, "security_headers": True}, []),
        (
            {"cors": {"origins": ["null"], "credentials": True}},
            [f"cors.origins: {NULL}"],
        ),
        ({"cors": {"origins": ["null"]}}, []),
        (
            {"cors": {"origins": ["https://a.example", "~https://[a-z]+.example[.]com"]}},
            [f"cors.origins[1]: {ANY_CHARACTER}"],
        ),
        ({"cors": {"origins": [r"~https://[a-z]+\.example\.com", "~https://.*[.]a[.]example"]}}, []),
        (
            {"methods": ["GET", "PUT"], "cors": {"origins": "*", "methods": ["GET", "HEAD", "DELETE", "PATCH"]}},
            ["cors.methods: the route does not accept DELETE, PATCH"],
        ),
        (
            {"cors": {"origins": "*"}, "response_headers": {"set": {"Access-Control-Max-Age": "1", "x": "1"}}},
            ['response_headers.set.Access-Control-Max-Age: is never sent, because "cors" sets this field'],
        ),
        (
            {"security_headers": {"override": True}, "response_headers": {"add": {"X-Frame-Options": "DENY"}}},
            ['response_headers.add.X-Frame-Options: is never sent, because "security_headers" sets this field'],
        ),
        ({"security_headers": True, "response_headers": {"add": {"X-Frame-Options": "DENY"}}}, []),
        (
            {"security_headers": {"strict_transport_security": "max-age=31536000; preload"}},
            [f"{HSTS}: preload needs includeSubDomains and a max-age of at least 31536000"],
        ),
        (
            {"security_headers": {"strict_transport_security": "max-age=31536000; includeSubDomains; preload"}},
            [],
        ),
    ],
)
def test_rules_for_browsers(written: dict[str, Any], expected: list[str]) -> None:
    assert routes({"path": "/a", **written}) == [f"routes[0].{line}" for line in expected]


def test_rules_for_browsers_that_are_a_default_are_spoken_of_once() -> None:
    found = warnings(
        defaults={"cors": {"origins": ["null"], "credentials": True}},
        routes=[{"name": name, "path": f"/{name}", "upstream": "b"} for name in "xy"],
    )
    assert found == [f"defaults.cors.origins: {NULL}"]


KEYS = {"keys": {"a": {"hash": "a" * 64}}}
BASIC = {"users": {"a": "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"}}
UNASKED = "no route uses this method, so it protects nothing; add `auth ="


@pytest.mark.parametrize(
    ("route", "auth", "gateway", "expected"),
    [
        ({}, {}, {}, []),
        ({}, {"basic": BASIC}, {}, [f'auth.basic: {UNASKED} {{ any = ["basic"] }}` to a route']),
        ({"auth": {"any": ["basic"]}}, {"basic": BASIC}, {}, []),
        ({}, {}, KEYS, [f'gateway.keys: {UNASKED} {{ any = ["key"] }}` to a route']),
        ({}, {"key": {"hide": False}}, KEYS, [f'auth.key: {UNASKED} {{ any = ["key"] }}` to a route']),
        (
            {"auth": {"all": ["key"]}},
            {"basic": BASIC},
            KEYS,
            [f'auth.basic: {UNASKED} {{ any = ["basic"] }}` to a route'],
        ),
    ],
)
def test_ways_to_authenticate_that_no_route_asks_for(
    route: dict[str, Any], auth: dict[str, Any], gateway: dict[str, Any], expected: list[str]
) -> None:
    made = warnings(routes=[{"name": "r", "path": "/a", "upstream": "b", **route}], auth=auth, gateway=gateway)
    assert made == expected


def test_a_public_route_asks_for_nothing() -> None:
    made = warnings(
        defaults={"auth": {"any": ["key"]}},
        gateway=KEYS,
        routes=[{"name": "r", "path": "/a", "upstream": "b", "public": True}],
    )
    assert made == [f'gateway.keys: {UNASKED} {{ any = ["key"] }}` to a route']


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://id.example/keys", False),
        ("http://id.example/keys", True),
        ("http://10.0.0.1/keys", True),
        ("http://127.0.0.1:8000/keys", False),
        ("http://[::1]/keys", False),
        ("http://localhost/keys", False),
    ],
)
def test_key_sets_that_can_be_replaced_on_their_way(url: str, warned: bool) -> None:
    for auth, place in (
        ({"algorithms": ["RS256"], "jwks": url}, "auth.jwt.jwks"),
        ({"algorithms": ["RS256"], "issuers": {"a": {"issuer": "a", "jwks": url}}}, "auth.jwt.issuers.a.jwks"),
    ):
        route = {"name": "r", "path": "/a", "upstream": "b", "auth": {"any": ["jwt"]}}
        made = warnings(routes=[route], auth={"jwt": auth})
        assert made == [f"{place}: an attacker in the network can replace the keys: use https"] * warned


FORWARD = {"url": "http://127.0.0.1:9/", "response_headers": ["X-Team"]}


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (
            {"auth": {"any": ["key"]}, "rate_limit": {"rate": 1, "key": "claim:sub"}},
            'rate_limit: unknown claim "sub": not provided by "key"',
        ),
        ({"auth": {"any": ["key"]}, "rate_limit": {"rate": 1, "key": "claim:tags"}}, ""),
        ({"auth": {"any": ["key", "forward"]}, "concurrency": {"max": 1, "key": "claim:x-team"}}, ""),
        (
            {"auth": {"any": ["key", "forward"]}, "concurrency": {"max": 1, "key": "claim:team"}},
            'concurrency: unknown claim "team": not provided by "key" or "forward"',
        ),
        (
            {"auth": {"any": ["key"]}, "request_headers": {"set": {"x": "{claim.a.b}"}}},
            'request_headers.set.x: unknown claim "a.b": not provided by "key"',
        ),
        ({"auth": {"any": ["key", "jwt"]}, "request_headers": {"set": {"x": "{claim.a.b}"}}}, ""),
    ],
)
def test_claims_that_nobody_tells(route: dict[str, Any], said: str) -> None:
    jwt = {"algorithms": ["RS256"], "jwks": "https://id.example/keys"}
    others = [{"name": way, "path": f"/{way}", "upstream": "b", "auth": {"any": [way]}} for way in ("forward", "jwt")]
    routes = [{"name": "r", "path": "/a", "upstream": "b", **route}, *others]
    made = warnings(routes=routes, gateway=KEYS, auth={"forward": FORWARD, "jwt": jwt})
    assert made == ([f"routes[0].{said}"] if said else [])


def test_secrets_of_issuers_in_clear() -> None:
    clear = 'contains a secret in clear text: use { env = "NAME" } or { file = "path" }'
    shared = {"algorithms": ["HS256"], "secret": "x" * 64}
    made = [{"name": "r", "path": "/*", "upstream": "b", "auth": {"any": ["jwt"]}}]
    assert warnings(routes=made, auth={"jwt": shared}) == [f"auth.jwt.secret: {clear}"]
    issuers = {"one": {**shared, "issuer": "1"}}
    assert warnings(routes=made, auth={"jwt": {"issuers": issuers}}) == [f"auth.jwt.issuers.one.secret: {clear}"]


def test_hashes_of_different_cost(tmp_path: Path) -> None:
    made = [{"name": "r", "path": "/*", "upstream": "b", "auth": {"any": ["basic"]}}]
    four = "$2b$04$xEAZcYuLtRzfmdnbI78ZP.kxVOnBqpmRlJ0tD5yXSyg5yztHAbTSW"
    five = four.replace("$04$", "$05$")
    file = tmp_path / "htpasswd"
    file.write_text(f"bob:{five}\n")
    said = (
        "auth.basic: the hashes have different costs, so the time of an answer reveals which names exist: use one cost"
    )
    assert warnings(routes=made, auth={"basic": {"users": {"alice": four, "carol": four}}}) == []
    assert warnings(routes=made, auth={"basic": {"users": {"alice": four, "carol": five}}}) == [said]
    assert warnings(routes=made, auth={"basic": {"users": {"alice": four}, "file": str(file)}}) == [said]
    assert warnings(routes=made, auth={"basic": {"users": {"alice": four}, "file": str(tmp_path / "none")}}) == []
