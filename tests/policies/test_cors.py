"""CORS through a gateway: who may read answers, what is answered to preflights, and that every answer says it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastgate import Policy, Request, Response
from fastgate.config import ConfigError, GatewayConfig
from fastgate.policies.cors import cross_origin
from fastgate.testing import Answer, RawClient, RecordingUpstream, close, gateway_to, respond, stall, start_gateway
from fastgate.testing.http_messages import RecordedResponse

APP = "https://app.example"
ALLOW = "Access-Control-Allow-Origin"


def ask(*fields: str, method: str = "GET", target: str = "/", origin: str | None = APP) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *([f"Origin: {origin}"] if origin is not None else []), *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def preflight(method: str = "PUT", *fields: str, target: str = "/", origin: str | None = APP) -> bytes:
    return ask(f"Access-Control-Request-Method: {method}", *fields, method="OPTIONS", target=target, origin=origin)


def allowed(answer: RecordedResponse) -> str | None:
    """The origin that may read it; that it may depend on the origin is said once, wherever it does."""
    origin = answer.fields.get(ALLOW)
    vary = [name.strip().lower() for line in answer.fields.get_all("vary") for name in line.split(",")]
    assert vary.count("origin") == (0 if origin == "*" else 1), answer.fields
    return origin


@asynccontextmanager
async def stand(
    cors: Any, *, answer: Answer | bytes | None = None, gateway: Any = None, **route: Any
) -> AsyncIterator[tuple[RecordingUpstream, RawClient]]:
    async with RecordingUpstream(**({"default": answer} if answer is not None else {})) as upstream:
        async with gateway_to(upstream.port, route={"cors": cors, **route}, gateway=gateway) as running:
            async with RawClient(running.port) as client:
                yield upstream, client


# -- origins

ORIGINS = [
    (
        "https://app.example",
        [APP],
        [APP + ":443", "http://app.example", APP + ":8443", "https://x.app.example", "null"],
    ),
    ("HTTPS://App.Example:443", [APP], ["HTTPS://App.Example", APP + ":443"]),
    ("http://localhost:3000", ["http://localhost:3000"], ["http://localhost", "http://localhost:30000"]),
    ("http://[0:0::1]:80", ["http://[::1]"], ["http://[0:0::1]"]),
    ("chrome-extension://abcdef", ["chrome-extension://abcdef"], ["chrome-extension://abcdeg"]),
    (
        "https://*.app.example",
        ["https://a.app.example", "https://a.b-1.app.example"],
        [
            APP,
            "https://evilapp.example",
            "https://.app.example",
            "https://a..app.example",
            "http://a.app.example",
            "https://a.app.example:8443",
            "https://a.app.example.evil.test",
            "https://evil.test/.app.example",
            "https://evil.test?.app.example",
            "https://u@a.app.example",
            "https://a.appxexample",
        ],
    ),
    (
        "https://*.app.example:8443",
        ["https://a.app.example:8443"],
        ["https://a.app.example", "https://a.app.example:443"],
    ),
    (
        r"~https?://localhost(:\d+)?",
        ["http://localhost", "https://localhost:1"],
        ["http://localhost:", "http://localhost:1/", "xhttp://localhost"],
    ),
    ("null", ["null"], ["https://null", ""]),
]


@pytest.mark.parametrize(("listed", "taken", "others"), ORIGINS, ids=[each[0] for each in ORIGINS])
async def test_which_origins_may_read_the_answers(listed: str, taken: list[str], others: list[str]) -> None:
    async with stand({"origins": listed}) as (upstream, client):
        for _ in range(2):
            for origin in taken:
                answer = await client.request(ask(origin=origin))
                assert (answer.status, allowed(answer)) == (200, origin)
            for origin in others:
                answer = await client.request(ask(origin=origin))
                assert (answer.status, allowed(answer)) == (200, None), origin
        answer = await client.request(ask(origin=None))
        assert (answer.status, allowed(answer)) == (200, None)
        answer = await client.request(ask(f"Origin: {taken[0]}", origin=taken[0]))
        assert (answer.status, allowed(answer)) == (200, None), "two origins are none"
        # CORS is no access control: all of these were served.
        assert len(upstream.requests) == 2 * (len(taken) + len(others)) + 2


async def test_every_origin_needs_no_vary() -> None:
    async with stand({"origins": "*"}) as (_, client):
        for origin in (APP, "null", None):
            answer = await client.request(ask(origin=origin))
            assert allowed(answer) == "*"
            assert "vary" not in answer.fields


async def test_what_patterns_say_is_remembered_within_bounds() -> None:
    async with stand({"origins": ["https://*.app.example", APP]}) as (_, client):
        for number in range(1100):
            await client.send(ask(origin=f"https://n{number}.app.example"))
            assert allowed(await client.response()) == f"https://n{number}.app.example"
        assert allowed(await client.request(ask())) == APP
        assert allowed(await client.request(ask(origin=f"https://{'a.' * 500}app.example"))) is None


async def test_credentials_exposed_fields_and_what_the_upstream_says() -> None:
    cors = {"origins": [APP], "credentials": True, "expose": ["x-total", "x-page"]}
    said = respond(
        b"x",
        "200 OK",
        f"{ALLOW}: https://other.example",
        "Access-Control-Allow-Credentials: false",
        f"{ALLOW}: *",
        "ACCESS-CONTROL-EXPOSE-HEADERS: x-secret",
        "Access-Control-Max-Age: 9",
        "Vary: Accept-Encoding",
    )
    async with stand(cors, answer=said) as (_, client):
        answer = await client.request(ask())
        assert allowed(answer) == APP
        assert answer.fields["Access-Control-Allow-Credentials"] == "true"
        assert answer.fields["Access-Control-Expose-Headers"] == "x-total, x-page"
        assert "Access-Control-Max-Age" not in answer.fields
        assert sorted(answer.fields.get_all("Vary")) == ["Accept-Encoding", "Origin"]
        answer = await client.request(ask(origin="https://other.example"))
        assert [name for name in answer.fields.names if name.startswith("access-control")] == []


@pytest.mark.parametrize("said", ["Origin", "Accept, origin", "*", "Accept ,\tORIGIN , X"])
async def test_a_vary_that_says_it_already_is_enough(said: str) -> None:
    async with stand({"origins": [APP]}, answer=respond(b"x", "200 OK", f"Vary: {said}")) as (_, client):
        assert (await client.request(ask())).fields.get_all("vary") == [said]


@pytest.mark.parametrize("said", ["Original", "X-Origin", "Accept, Orig", ""])
async def test_a_vary_of_another_field_is_not(said: str) -> None:
    async with stand({"origins": [APP]}, answer=respond(b"x", "200 OK", f"Vary: {said}")) as (_, client):
        assert sorted((await client.request(ask())).fields.get_all("vary")) == sorted([said, "Origin"])


async def test_exposing_all_with_credentials_names_the_fields_of_the_answer() -> None:
    cors = {"origins": [APP], "expose": "*"}
    said = respond(b"x", "200 OK", "X-Total: 3", "Set-Cookie: a=b", "x-total: 4")
    limit = {"rate": 9, "per": "1h"}
    async with stand(cors, answer=said) as (_, client):
        assert (await client.request(ask())).fields["Access-Control-Expose-Headers"] == "*"
    added = {"add": {"X-Added": "1"}}
    async with stand({**cors, "credentials": True}, answer=said, rate_limit=limit, response_headers=added) as (
        _,
        client,
    ):
        answer = await client.request(ask())
        names = answer.fields["Access-Control-Expose-Headers"].split(", ")
        assert {"x-total", "x-added", "content-length", "date", "ratelimit", "x-request-id"} <= set(names)
        assert "set-cookie" not in names
        assert len(names) == len(set(names))


async def test_a_route_that_hides_the_origin_from_its_upstream() -> None:
    async with stand({"origins": [APP]}, request_headers={"remove": ["origin"]}) as (upstream, client):
        assert allowed(await client.request(ask())) == APP
        assert "origin" not in upstream.requests[0].fields


# -- preflights

ASKED = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


async def test_a_preflight_is_answered_here() -> None:
    cors = {
        "origins": [APP],
        "methods": ["GET", "PUT"],
        "headers": ["X-A", "content-type"],
        "max_age": "5m",
        "credentials": True,
    }
    async with stand({**cors, "expose": ["x-b"]}) as (upstream, client):
        answer = await client.request(preflight("PUT", "Access-Control-Request-Headers: content-type,x-a"))
        assert (answer.status, answer.body, answer.fields.get("content-length")) == (204, b"", None)
        fields = {name: value for name, value in answer.fields.pairs if name.startswith(("Access", "Vary"))}
        assert fields == {
            ALLOW: APP,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "PUT",
            "Access-Control-Allow-Headers": "content-type, x-a",
            "Access-Control-Max-Age": "300",
            "Vary": ASKED,
        }
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("request_", "methods", "headers"),
    [
        (preflight("DELETE"), None, None),
        (preflight("HEAD"), "HEAD", None),
        (preflight("put"), None, None),
        (preflight("PUT", "Access-Control-Request-Headers: x-a, x-b , X-C"), "PUT", "x-a, x-c"),
        (
            preflight("PUT", "Access-Control-Request-Headers: x-a", "Access-Control-Request-Headers: x-c"),
            "PUT",
            "x-a, x-c",
        ),
        (preflight("PUT", "Access-Control-Request-Headers: x-b"), "PUT", None),
        (preflight("PUT", "Access-Control-Request-Headers: ,, a b, x-a"), "PUT", "x-a"),
    ],
)
async def test_what_is_not_allowed_is_left_out(request_: bytes, methods: str | None, headers: str | None) -> None:
    cors = {"origins": [APP], "methods": ["GET", "PUT"], "headers": ["x-a", "x-c"]}
    async with stand(cors) as (upstream, client):
        answer = await client.request(request_)
        assert (answer.status, allowed(answer)) == (204, APP)
        assert answer.fields.get("Access-Control-Allow-Methods") == methods
        assert answer.fields.get("Access-Control-Allow-Headers") == headers
        assert upstream.requests == []


async def test_a_preflight_from_another_origin_gets_an_answer_that_allows_nothing() -> None:
    async with stand({"origins": [APP]}) as (upstream, client):
        for origin in ("https://evil.example", "null"):
            answer = await client.request(preflight(origin=origin))
            assert answer.status == 204
            assert [name for name in answer.fields.names if name.startswith("access-control")] == []
            assert answer.fields["vary"] == ASKED
        assert upstream.requests == []


async def test_everything_allowed_is_answered_by_name() -> None:
    for credentials in (False, True):
        cors = {"origins": ["~https://a.*" if credentials else "*"], "credentials": credentials, "max_age": 0}
        async with stand(cors) as (_, client):
            asked = preflight(
                "PATCH", "Access-Control-Request-Headers: authorization, x-any", origin="https://a.example"
            )
            answer = await client.request(asked)
            assert answer.fields[ALLOW] == ("https://a.example" if credentials else "*")
            assert answer.fields["Access-Control-Allow-Methods"] == "PATCH"
            assert answer.fields["Access-Control-Allow-Headers"] == "authorization, x-any"
            assert answer.fields["Access-Control-Max-Age"] == "0"
            assert answer.fields["Vary"] == (ASKED if credentials else ASKED.removeprefix("Origin, "))


@pytest.mark.parametrize(
    ("enabled", "asked", "expected"), [(True, "true", "true"), (True, "no", None), (False, "true", None)]
)
async def test_private_networks(enabled: bool, asked: str, expected: str | None) -> None:
    async with stand({"origins": [APP], "private_network": enabled}) as (_, client):
        answer = await client.request(preflight("GET", f"Access-Control-Request-Private-Network: {asked}"))
        assert answer.fields.get("Access-Control-Allow-Private-Network") == expected
        assert answer.fields["vary"] == ASKED + (", Access-Control-Request-Private-Network" if enabled else "")


def table(*routes: dict[str, Any], port: int = 1) -> dict[str, Any]:
    return {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [{"name": f"r{number}", "path": "/x", "upstream": "u", **each} for number, each in enumerate(routes)],
        "upstreams": {"u": {"targets": [f"127.0.0.1:{port}"]}},
    }


async def test_a_preflight_is_matched_as_the_method_that_it_asks_for() -> None:
    other = "https://other.example"
    async with RecordingUpstream() as upstream:
        config = table(
            {"methods": ["GET"], "cors": {"origins": [APP]}},
            {"methods": ["PUT"], "cors": {"origins": [other], "max_age": 7}},
            {"methods": ["POST"]},
            {"methods": ["OPTIONS"], "response_headers": {"set": {"x-own": "1"}}},
            port=upstream.port,
        )
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert allowed(await client.request(preflight("GET", target="/x"))) == APP
            assert allowed(await client.request(preflight("PUT", target="/x"))) is None
            answer = await client.request(preflight("PUT", target="/x", origin=other))
            assert (allowed(answer), answer.fields["Access-Control-Max-Age"]) == (other, "7")
            assert upstream.requests == []
            # A method whose route has no rules, or that has no route, and what is no preflight: OPTIONS as any other.
            for request in (
                preflight("POST", target="/x"),
                preflight("DELETE", target="/x"),
                preflight("GET", target="/x", origin=None),
                ask(method="OPTIONS", target="/x"),
                preflight("G(T", target="/x"),
                preflight("", target="/x"),
            ):
                answer = await client.request(request)
                assert (answer.status, answer.fields.get("x-own"), answer.fields.get(ALLOW)) == (200, "1", None)
            assert len(upstream.requests) == 6


async def test_without_a_route_for_options_what_is_no_preflight_is_refused() -> None:
    async with start_gateway(table({"methods": ["GET"], "cors": {"origins": [APP]}})) as gateway:
        async with RawClient(gateway.port) as client:
            assert (await client.request(preflight("PUT", target="/x"))).status == 405
            assert (await client.request(preflight("GET", target="/y"))).status == 404
            assert (await client.request(ask(method="OPTIONS", target="/x"))).status == 405
            assert (await client.request(preflight("GET", target="/x"))).status == 204
            # The connection is still good, also after a preflight with a body.
            assert (await client.request(preflight("GET", "Content-Length: 2", target="/x") + b"ab")).status == 204
            assert (await client.request(preflight("GET", target="/x"))).status == 204


async def test_a_preflight_for_trace_is_none() -> None:
    async with stand({"origins": [APP]}) as (upstream, client):
        assert (await client.request(preflight("TRACE"))).status == 200
        assert upstream.requests[0].method == "OPTIONS"


async def test_a_preflight_is_not_counted_by_limits() -> None:
    limit = {"rate": 1, "per": "1h"}
    async with stand({"origins": [APP]}, rate_limit=limit) as (_, client):
        for _ in range(3):
            answer = await client.request(preflight("GET"))
            assert (answer.status, answer.fields.get("ratelimit")) == (204, None)
        assert (await client.request(ask())).status == 200
        answer = await client.request(ask())
        assert (answer.status, allowed(answer)) == (429, APP)
        assert (await client.request(preflight("GET"))).status == 204


async def test_a_preflight_needs_no_credentials_and_no_policy_sees_it() -> None:
    plugin = {"name": "deny", "use": f"{__name__}:Deny"}
    async with RecordingUpstream() as upstream:
        config = table({"cors": {"origins": [APP]}, "policies": [{"use": "deny"}]}, port=upstream.port)
        async with start_gateway({**config, "plugins": [plugin]}) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(preflight("GET", target="/x"))).status == 204
            answer = await client.request(ask(target="/x"))
            assert (answer.status, allowed(answer)) == (401, APP)
            assert answer.fields.get("x-policy") == "1"
            assert upstream.requests == []


class Deny(Policy):
    """Refuses everybody, and has an opinion on CORS."""

    def on_request(self, request: Request) -> Response:
        return Response(401, "no", headers={ALLOW: "*", "x-policy": "1"})


# -- every answer says it

GONE = Answer(close())


@pytest.mark.parametrize(
    ("status", "answer", "keys"),
    [
        (502, GONE, {"retry": False}),
        (413, None, {"max_body": 1}),
        (504, Answer(stall()), {"timeouts": {"read": "50ms"}, "retry": False}),
        (400, None, {"path": "/{rest*}", "request_headers": {"set": {"x": "{param.rest}"}}}),
        (204, respond(b"", "204 No Content"), {}),
        (304, respond(b"", "304 Not Modified", 'ETag: "a"'), {}),
        (206, respond(b"ab", "206 Partial Content", "Content-Range: bytes 0-1/9"), {}),
        (302, respond(b"", "302 Found", "Location: /y"), {}),
        (500, respond(b"x", "500 Internal Server Error"), {}),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_answers_of_every_kind(status: int, answer: Any, keys: dict[str, Any]) -> None:
    async with stand({"origins": [APP]}, answer=answer, **keys) as (_, client):
        request = ask()
        if status == 413:
            request = ask("Content-Length: 2", method="POST") + b"ab"
        elif status == 400:
            request = ask(target="/%0d%0aa")
        got = await client.request(request)
        assert (got.status, allowed(got)) == (status, APP)


async def test_no_share_left_says_it_too() -> None:
    held = asyncio.Event()

    async def hold(exchange: Any) -> None:
        await held.wait()
        await exchange.send(respond(b"x"))

    async with stand({"origins": [APP]}, answer=Answer(hold), concurrency={"max": 1}) as (upstream, first):
        await first.send(ask())
        await upstream.request(0)
        async with RawClient(first.address) as second:
            answer = await second.request(ask())
            assert (answer.status, allowed(answer)) == (503, APP)
        held.set()
        assert allowed(await first.response()) == APP


async def test_answers_without_an_upstream() -> None:
    cors = {"origins": [APP]}
    for keys in ({"respond": {"body": "x", "headers": {ALLOW: "*"}}}, {"redirect": {"to": "/y"}}):
        config = table({"cors": cors, "upstream": "u", **keys})
        del config["routes"][0]["upstream"]
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            answer = await client.request(ask(target="/x"))
            assert (answer.status in (200, 308), allowed(answer)) == (True, APP)
            assert (await client.request(preflight(target="/x"))).status == 204


async def test_head_keeps_its_length() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with stand({"origins": [APP]}, answer=said) as (_, client):
        answer = await client.request(ask(method="HEAD"))
        assert (answer.fields["content-length"], answer.body, allowed(answer)) == ("5", b"", APP)
        assert (await client.request(ask(method="HEAD"))).status == 200


async def test_streams_stay_streams() -> None:
    go = asyncio.Event()

    async def stream(exchange: Any) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await exchange.send(b"9\r\ndata: 1\n\n\r\n")
        await go.wait()
        await exchange.send(b"0\r\n\r\n")

    async with stand({"origins": [APP]}, answer=Answer(stream)) as (_, client):
        await client.send(ask())
        answer = await client.head()
        assert allowed(answer) == APP
        assert await client.body(answer, limit=9) == b"data: 1\n\n"
        go.set()
        assert await client.body(answer) == b"data: 1\n\n"


UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGVzdA=="]


async def test_upgrades_are_passed_as_they_are() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: 1\r\n\r\n"
    refuse = respond(b"no", "403 Forbidden")

    async def accept(exchange: Any) -> None:
        await exchange.send(switch + b"hi")
        await exchange.reader.more()

    async with stand({"origins": [APP]}) as (upstream, client):
        upstream.script(Answer(accept), Answer(refuse))
        await client.send(ask(*UPGRADE, origin="https://evil.example"))
        answer = await client.head()
        assert answer.status == 101
        assert set(answer.fields.names) == {"upgrade", "connection", "x-a"}
        assert await client.receive(2) == b"hi"
        client.close()
        async with RawClient(client.address) as second:
            answer = await second.request(ask(*UPGRADE))
            assert (answer.status, allowed(answer)) == (403, APP)


async def test_a_client_that_leaves_in_a_preflight_with_a_body() -> None:
    async with stand({"origins": [APP]}) as (upstream, client):
        await client.send(preflight("GET", "Content-Length: 10") + b"ab")
        assert (await client.response()).status == 204
        client.reset()
        async with RawClient(client.address) as second:
            assert allowed(await second.request(ask())) == APP
        assert len(upstream.requests) == 1


# -- configuration


def rules(cors: Any) -> Any:
    data = {
        "routes": [{"name": "r", "path": "/", "upstream": "u", "cors": cors}],
        "upstreams": {"u": {"targets": ["a:1"]}},
    }
    return GatewayConfig.from_dict(data).routes[0]


def test_what_is_there_without_being_written() -> None:
    cors = rules({"origins": "HTTPS://App.Example:443"}).cors
    assert (cors.origins, cors.methods, cors.headers, cors.expose) == ([APP], ["*"], ["*"], [])
    assert (cors.credentials, cors.max_age, cors.private_network) == (False, 600.0, False)
    assert cross_origin(rules(False)) is None


@pytest.mark.parametrize(
    ("cors", "reason"),
    [
        ({"origins": ["*"], "credentials": True}, "every site could read"),
        ({"origins": [APP, "~.*"], "credentials": True}, "every site could read"),
        ({"origins": ["~https?://.+"], "credentials": True}, "every site could read"),
        ({"origins": ["https://app.example/"]}, 'write "https://app.example"'),
        ({"origins": ["app.example"]}, 'write "https://app.example"'),
        ({"origins": []}, "empty list"),
        ({}, "is missing"),
        ({"origins": ["*"], "max_age": 1.5}, "whole number"),
    ],
)
def test_rules_that_cannot_work_are_errors_of_the_configuration(cors: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        rules(cors)


async def test_a_default_can_be_replaced_and_switched_off() -> None:
    async with RecordingUpstream() as upstream:
        config = table(
            {}, {"path": "/off", "cors": False}, {"path": "/own", "cors": {"origins": "*"}}, port=upstream.port
        )
        config["defaults"] = {"cors": {"origins": [APP]}}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert allowed(await client.request(ask(target="/x"))) == APP
            assert ALLOW not in (await client.request(ask(target="/off"))).fields
            assert allowed(await client.request(ask(target="/own"))) == "*"
            assert (await client.request(preflight(target="/off"))).status == 200
