"""Security headers through a gateway: what is sent, when, and what becomes of an application's own."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tls.authorities import Files

from fastgate import Policy, Request, Response
from fastgate.config import ConfigError, GatewayConfig
from fastgate.policies.security_headers import security_fields
from fastgate.testing import Answer, RawClient, RecordingUpstream, close, gateway_to, respond, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "content-security-policy": "base-uri 'self'; frame-ancestors 'self'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin-allow-popups",
    "cross-origin-resource-policy": "same-site",
}
HSTS = {"strict-transport-security": "max-age=31536000"}
NAMES = {*DEFAULTS, *HSTS}


@asynccontextmanager
async def stand(
    headers: Any, *said: str, status: str = "200 OK", answer: Answer | None = None, gateway: Any = None, **route: Any
) -> AsyncIterator[RawClient]:
    async with RecordingUpstream(default=answer or respond(b"", status, *said)) as upstream:
        options = {"security_headers": headers, **route}
        async with gateway_to(upstream.port, route=options, gateway=gateway) as running:
            async with RawClient(running.port) as client:
                yield client


def security(answer: Any) -> dict[str, str]:
    """The security headers of an answer; each is there once."""
    names = [name for name in answer.fields.names if name in NAMES]
    assert len(names) == len(set(names)), names
    return {name: answer.fields[name] for name in names}


async def test_true_is_all_of_them() -> None:
    async with stand(True) as client:
        assert security(await client.request(GET)) == DEFAULTS


async def test_a_route_without_them_has_none() -> None:
    for off in (
        False,
        dict.fromkeys(
            [
                "strict_transport_security",
                "content_type_options",
                "frame_options",
                "referrer_policy",
                "permissions_policy",
                "content_security_policy",
                "cross_origin_opener_policy",
                "cross_origin_resource_policy",
            ],
            False,
        ),
    ):
        async with stand(off, "X-Frame-Options: DENY") as client:
            assert security(await client.request(GET)) == {"x-frame-options": "DENY"}


async def test_a_table_has_other_values_and_leaves_out_what_is_false() -> None:
    headers = {"frame_options": "DENY", "content_security_policy": False, "referrer_policy": "no-referrer"}
    async with stand(headers) as client:
        expected = {**DEFAULTS, "x-frame-options": "DENY", "referrer-policy": "no-referrer"}
        del expected["content-security-policy"]
        assert security(await client.request(GET)) == expected


OWN = ["X-FRAME-OPTIONS: DENY", "content-security-policy: default-src 'none'", "Referrer-Policyx: a"]


async def test_what_an_application_says_itself_stays() -> None:
    async with stand(True, *OWN) as client:
        own = {"x-frame-options": "DENY", "content-security-policy": "default-src 'none'"}
        assert security(await client.request(GET)) == {**DEFAULTS, **own}


async def test_several_policies_of_an_application_stay() -> None:
    async with stand(True, "Content-Security-Policy: a", "Content-Security-Policy: b") as client:
        answer = await client.request(GET)
        assert answer.fields.get_all("content-security-policy") == ["a", "b"]


async def test_override_puts_the_gateways_values_in_their_place() -> None:
    headers = {"override": True, "referrer_policy": False}
    async with stand(headers, *OWN, "x-frame-options: X", "Referrer-Policy: origin") as client:
        answer = await client.request(GET)
        assert security(answer) == {**DEFAULTS, "referrer-policy": "origin"}
        assert answer.fields["referrer-policyx"] == "a"


async def test_edits_of_the_route_count_as_the_applications() -> None:
    edits = {"set": {"X-Frame-Options": "DENY"}, "remove": ["referrer-policy"]}
    async with stand(True, "Referrer-Policy: origin", response_headers=edits) as client:
        assert security(await client.request(GET)) == {**DEFAULTS, "x-frame-options": "DENY"}
    async with stand({"override": True}, response_headers=edits) as client:
        assert security(await client.request(GET)) == DEFAULTS


PROXY = {"trusted_proxies": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("gateway", "field", "secure"),
    [
        (PROXY, "X-Forwarded-Proto: https", True),
        (PROXY, "X-Forwarded-Proto: HTTPS, http", True),
        (PROXY, "X-Forwarded-Proto: http, https", False),
        (PROXY, "X-Forwarded-Proto: http", False),
        (PROXY, "X-Forwarded-Proto:", False),
        (PROXY, "X-Forwarded-For: 192.0.2.1", False),
        ({}, "X-Forwarded-Proto: https", False),
    ],
)
async def test_hsts_goes_to_clients_that_came_by_https(gateway: Any, field: str, secure: bool) -> None:
    request = f"GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n".encode()
    for own in ((), ("X-Frame-Options: SAMEORIGIN",)):
        async with stand(True, *own, gateway=gateway) as client:
            assert security(await client.request(request)) == {**DEFAULTS, **(HSTS if secure else {})}


async def test_hsts_over_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    certificate = files.issue("a", "a.test")
    tls = {"certificates": [{"cert": certificate.cert, "key": certificate.key}]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files.authority.configure_trust(context)
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway={"tls": tls}, route={"security_headers": True}) as gateway:
            async with RawClient(gateway.port, tls=context, server_name="a.test") as client:
                answer = await client.request(GET.replace(b"h\r", b"a.test\r"))
                assert security(answer) == {**DEFAULTS, **HSTS}


async def test_override_takes_hsts_of_an_application_away_over_http() -> None:
    async with stand({"override": True}, "Strict-Transport-Security: max-age=1") as client:
        assert security(await client.request(GET)) == DEFAULTS
    async with stand({}, "Strict-Transport-Security: max-age=1") as client:
        assert security(await client.request(GET))["strict-transport-security"] == "max-age=1"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "206 Partial Content", "404 Not Found"])
async def test_answers_of_every_status(status: str) -> None:
    async with stand(True, status=status) as client:
        for _ in range(2):
            answer = await client.request(GET)
            assert (answer.status, security(answer)) == (int(status[:3]), DEFAULTS)


async def test_errors_of_the_gateway_have_them() -> None:
    async with stand(True, answer=Answer(close()), retry=False, rate_limit={"rate": 1, "per": "1h"}) as client:
        for status in (502, 429):
            answer = await client.request(GET)
            assert (answer.status, security(answer)) == (status, DEFAULTS)
    async with stand(True, max_body=1) as client:
        answer = await client.request(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
        assert (answer.status, security(answer)) == (413, DEFAULTS)


class Frames(Policy):
    """Answers, with a frame policy of its own."""

    def on_request(self, request: Request) -> Response:
        return Response(403, "no", headers={"X-Frame-Options": "DENY"})


async def test_answers_of_policies_and_of_routes_have_them() -> None:
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "defaults": {"security_headers": True},
        "plugins": [{"name": "frames", "use": f"{__name__}:Frames"}],
        "routes": [
            {"name": "a", "path": "/", "policies": [{"use": "frames"}], "respond": {"status": 200}},
            {"name": "b", "path": "/b", "redirect": {"to": "/c"}},
            {"name": "c", "path": "/c", "respond": {"headers": {"referrer-policy": "origin"}}},
            {"name": "d", "path": "/d", "respond": {}, "security_headers": False},
        ],
    }
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        for target, expected in (
            (b"/", {**DEFAULTS, "x-frame-options": "DENY"}),
            (b"/b", DEFAULTS),
            (b"/c", {**DEFAULTS, "referrer-policy": "origin"}),
            (b"/d", {}),
        ):
            answer = await client.request(GET.replace(b" / ", b" " + target + b" "))
            assert security(answer) == expected, target


async def test_they_stand_beside_cors() -> None:
    async with stand(True, cors={"origins": "https://app.example"}) as client:
        answer = await client.request(GET.replace(b"\r\n\r\n", b"\r\nOrigin: https://app.example\r\n\r\n"))
        assert (security(answer), answer.fields["access-control-allow-origin"]) == (DEFAULTS, "https://app.example")
        asked = b"\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
        preflight = GET.replace(b"GET", b"OPTIONS").replace(b"\r\n\r\n", asked)
        answer = await client.request(preflight)
        assert (answer.status, security(answer)) == (204, DEFAULTS)


# -- configuration


def route(headers: Any) -> Any:
    given = {"name": "r", "path": "/", "upstream": "u", "security_headers": headers}
    return GatewayConfig.from_dict({"routes": [given], "upstreams": {"u": {"targets": ["a:1"]}}}).routes[0]


def test_false_is_none_and_an_empty_table_is_all() -> None:
    assert route(False).security_headers is None
    assert security_fields(route(False)) is None
    assert route({}).security_headers == route(True).security_headers
    assert dict(route(True).security_headers.fields()).keys() == {
        "Strict-Transport-Security",
        "X-Content-Type-Options",
        "X-Frame-Options",
        "Referrer-Policy",
        "Permissions-Policy",
        "Content-Security-Policy",
        "Cross-Origin-Opener-Policy",
        "Cross-Origin-Resource-Policy",
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("strict_transport_security", "max-age=63072000; includeSubDomains; preload"),
        ("strict_transport_security", 'max-age="1";includesubdomains'),
        ("strict_transport_security", "max-age=0"),
        ("frame_options", "deny"),
        ("referrer_policy", "no-referrer, strict-origin-when-cross-origin"),
        ("permissions_policy", 'geolocation=(self "https://a.example"), camera=*, fullscreen=self'),
        ("content_security_policy", "default-src 'self'; script-src 'nonce-abc' https:; upgrade-insecure-requests;"),
        ("cross_origin_opener_policy", 'same-origin; report-to="x"'),
        ("cross_origin_resource_policy", "cross-origin"),
    ],
)
def test_values_that_browsers_understand(key: str, value: str) -> None:
    assert getattr(route({key: value}).security_headers, key) == value


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ("yes", "expected true, false or a table"),
        ({"hsts": "max-age=1"}, 'did you mean "strict_transport_security"'),
        ({"strict_transport_security": "includeSubDomains"}, "needs one max-age"),
        ({"strict_transport_security": "max-age=1; subdomains"}, "is not a valid directive"),
        ({"frame_options": "ALLOW-FROM https://a"}, "frame-ancestors"),
        ({"frame_options": "NONE"}, "expected"),
        ({"content_type_options": "sniff"}, 'did you mean "nosniff"'),
        ({"referrer_policy": "no-referrer, noreferrer"}, 'did you mean "no-referrer"'),
        ({"permissions_policy": "camera 'none'"}, "is not a valid permission"),
        ({"content_security_policy": "default-src self"}, "in single quotes"),
        ({"content_security_policy": "img-src *;\r\nx: y"}, "control character"),
        ({"cross_origin_opener_policy": "same-site"}, "expected"),
    ],
)
def test_values_that_no_browser_understands_are_errors_of_the_configuration(headers: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        route(headers)
