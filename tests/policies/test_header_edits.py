"""Edits of header fields through a gateway."""

from typing import Any

import pytest

from fastgate import Policy, Request
from fastgate._core.exchange.identity import Identity
from fastgate.config import ConfigError, GatewayConfig, Route
from fastgate.policies.header_edits import edits_of
from fastgate.testing import Answer, RawClient, RecordingUpstream, gateway_to, respond, start_gateway

OWN = {"host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id"}


def route(**options: Any) -> Route:
    config = GatewayConfig.from_dict({
        "routes": [{"name": "r", "path": "/*", "upstream": "u", **options}], "upstreams": {"u": {"targets": ["a:1"]}},
    })
    return config.routes[0]


def test_a_route_without_edits_has_none() -> None:
    assert edits_of(None) is None
    assert edits_of(route(request_headers={"set": {}}).request_headers) is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"response_headers": {"set": {"Host": "x"}}}, "Host"), ({"request_headers": {"set": {"a b": "x"}}}, "a b"),
        ({"request_headers": {"add": {"Content-Length": "x"}}}, "Content-Length"),
        ({"response_headers": {"remove": ["Transfer-Encoding"]}}, "Transfer-Encoding"),
        ({"request_headers": {"set": {"A": "x\r\nB: y"}}}, "A"),
        ({"request_headers": {"set": {"A": "{nothing}"}}}, "nothing"),
    ],
)
def test_edits_that_cannot_work_are_errors_of_the_configuration(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        route(**options)


# -- fields

Pairs = list[tuple[str, str]]


async def exchanged(fields: list[str], back: list[str], **options: Any) -> tuple[Pairs, Pairs]:
    """The fields that the upstream got and those that the client got, without what the gateway says itself."""
    async with RecordingUpstream() as upstream:
        upstream.script(respond(b"x", "200 OK", *back))
        async with gateway_to(upstream.port, route=options) as gateway, RawClient(gateway.port) as client:
            head = "\r\n".join(["GET /p/a%20b?q HTTP/1.1", "Host: h:1", *fields, "", ""])
            response = await client.request(head.encode("latin-1"))
            asked = [pair for pair in upstream.requests[0].fields.pairs if pair[0].lower() not in OWN]
            ruled = {"content-length", "date", "x-request-id"}
            return asked, [pair for pair in response.fields.pairs if pair[0].lower() not in ruled]


@pytest.mark.parametrize(
    ("edits", "before", "after"),
    [
        ({"set": {"A": "2"}}, ["A: 1", "b: x", "a: 3"], [("b", "x"), ("A", "2")]),
        ({"set": {"A": "2"}}, [], [("A", "2")]),
        ({"add": {"A": "2"}}, ["A: 1"], [("A", "1"), ("A", "2")]),
        ({"add": {"A": ["2", "3"]}}, ["A: 1"], [("A", "1"), ("A", "2"), ("A", "3")]),
        ({"remove": ["a", "Never"]}, ["A: 1", "b: 2", "a: 3"], [("b", "2")]),
        ({"set": {"A": "1"}, "add": {"a": "2"}, "remove": ["B"]}, ["b: x", "A: 0"], [("A", "1"), ("a", "2")]),
        ({"set": {"A": ""}}, ["A: 1"], [("A", "")]),
        ({"set": {"A": "\xe4"}}, [], [("A", "\xe4")]),
    ],
)
async def test_edits_of_fields_on_either_side(
    edits: dict[str, Any], before: list[str], after: Pairs
) -> None:
    asked, _ = await exchanged(before, [], request_headers=edits)
    assert asked == after
    _, got = await exchanged([], before, response_headers=edits)
    assert got == after


async def test_variables_in_values() -> None:
    edits = {"set": {"V": "<{client_ip}|{host}|{path}|{param.rest}>", "I": "{request_id}", "N": "{param.none}."}}
    try:
        asked, _ = await exchanged([], [], path="/p/{rest*}", request_headers=edits)
    except ConfigError as error:
        assert "none" in str(error)
        del edits["set"]["N"]
        asked, _ = await exchanged([], [], path="/p/{rest*}", request_headers=edits)
    fields = dict(asked)
    assert fields["V"] == "<127.0.0.1|h:1|/p/a%20b|a b>"
    assert len(fields["I"]) == 32


@pytest.mark.parametrize("side", ["request_headers", "response_headers"])
async def test_a_value_that_cannot_stand_in_a_field_is_refused(side: str) -> None:
    async with RecordingUpstream() as upstream:
        options = {"path": "/{rest*}", side: {"set": {"V": "{param.rest}"}, "add": {"W": "1"}}}
        async with gateway_to(upstream.port, route=options) as gateway:
            for target in (b"/a%0d%0aB:%20c", b"/a%0aB", b"/%0D", b"/a%7fb%01"):
                async with RawClient(gateway.port) as client:
                    await client.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
                    response = await client.response()
                    assert response.status in (400, 502)
                    assert response.fields.get("B") is None
            assert side == "response_headers" or upstream.requests == []
            async with RawClient(gateway.port) as client:
                assert (await client.request(b"GET /a%20b HTTP/1.1\r\nHost: h\r\n\r\n")).status == 200


GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_edits_apply_to_answers_of_policies_and_not_to_the_gateways_errors() -> None:
    options = {"response_headers": {"set": {"X-Set": "1"}}, "rate_limit": {"rate": 1, "per": "1h"}}
    async with gateway_to(1, route=options) as gateway, RawClient(gateway.port) as client:
        for status in (502, 429):
            response = await client.request(GET)
            assert response.status == status
            assert response.fields.get("X-Set") is None


# -- who asks


class Who(Policy):
    """Finds out who asks, as its options say."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.identity = Identity(options["id"], "test", claims=options.get("claims")) if "id" in options else None

    def on_request(self, request: Request) -> None:
        request.identity = self.identity


def known(options: dict[str, Any], port: int, **route: Any) -> dict[str, Any]:
    return {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "plugins": [{"name": "who", "use": f"{__name__}:Who", "options": options}],
        "routes": [{"name": "r", "path": "/*", "upstream": "u", "policies": [{"use": "who"}], **route}],
        "upstreams": {"u": {"targets": [f"127.0.0.1:{port}"]}},
    }


CLAIMS = {
    "sub": "ann", "n": 7, "on": True, "deep": {"er": "x"}, "a.b": "dotted", "list": ["a"], "name": "J\xf6rg \u20ac",
}


@pytest.mark.parametrize(
    ("options", "template", "value"),
    [
        ({"id": "k1"}, "{key.id}", "k1"), ({"id": "k1"}, "<{key.id}>", "<k1>"), ({"id": "k1"}, "{claim.sub}", ""),
        ({"id": "k", "claims": CLAIMS}, "{claim.sub}/{claim.n}/{claim.on}", "ann/7/true"),
        ({"id": "k", "claims": CLAIMS}, "{claim.deep.er}|{claim.a.b}", "x|dotted"),
        ({"id": "k", "claims": CLAIMS}, "[{claim.list}{claim.deep}{claim.none}]", "[]"),
        ({"id": "k", "claims": CLAIMS}, "{claim.name}", "J\xf6rg \u20ac".encode().decode("latin-1")),
        ({}, "[{key.id}{claim.sub}]", "[]"),
    ],
)
async def test_who_asks_in_values(options: dict[str, Any], template: str, value: str) -> None:
    edits = {"set": {"X-Who": template}}
    async with RecordingUpstream() as upstream:
        config = known(options, upstream.port, request_headers=edits, response_headers=edits)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            response = await client.request(GET.replace(b"\r\n\r\n", b"\r\nx-who: forged\r\n\r\n"))
            assert response.fields.get("X-Who") == value
            assert upstream.requests[0].fields.get("X-Who") == value


@pytest.mark.parametrize("claim", ["a\r\nX-Evil: 1", "a\nb", "\x00", "\x7f", "\t"])
@pytest.mark.parametrize("side", ["request_headers", "response_headers"])
async def test_a_claim_that_cannot_stand_in_a_field_is_refused(side: str, claim: str) -> None:
    async with RecordingUpstream() as upstream:
        edits = {side: {"set": {"X-Who": "{claim.sub}"}}}
        config = known({"id": "k", "claims": {"sub": claim}}, upstream.port, **edits)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            response = await client.request(GET)
            assert response.status == 400
            assert response.fields.get("X-Evil") is None
            assert len(upstream.requests) == (side == "response_headers")


@pytest.mark.parametrize("template", ["{key.id}", "a {claim.sub}"])
@pytest.mark.parametrize("side", ["request_headers", "response_headers"])
def test_who_asks_must_be_found_out_on_the_route(side: str, template: str) -> None:
    edits = {side: {"add": {"x-who": [template]}}}
    with pytest.raises(ConfigError, match=f"{side}.*is unknown here, because the route has no auth"):
        route(**edits)
    route(**edits, auth={"any": ["key"]})
    # A plugin of the route may find it out, and what is a default is for the routes that have auth.
    GatewayConfig.from_dict(known({}, 1, **edits))
    config = known({}, 1, policies=[])
    GatewayConfig.from_dict({**config, "defaults": edits})


# -- framing

EDITS = {"set": {"X-Set": "1", "Content-Type": "text/x"}, "remove": ["etag", "x-gone"], "add": {"vary": "x"}}


@pytest.mark.parametrize(
    ("method", "said", "expected"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: a\r\n\r\n", {"content-length": "5"}),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {}),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-Gone: 1\r\n\r\n", {}),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", {"content-length": "5"}),
        (
            "GET",
            respond(b"ab", "206 Partial Content", "Content-Range: bytes 0-1/9"),
            {"content-length": "2", "content-range": "bytes 0-1/9"},
        ),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            {"transfer-encoding": "chunked"},
        ),
    ],
    ids=["HEAD", "HEAD of chunks", "204", "304", "206", "chunks"],
)
async def test_edits_leave_the_framing_alone(method: str, said: bytes, expected: dict[str, str]) -> None:
    async with RecordingUpstream(default=Answer(said)) as upstream:
        async with gateway_to(upstream.port, route={"response_headers": EDITS}) as gateway:
            async with RawClient(gateway.port) as client:
                for _ in range(2):
                    response = await client.request(GET.replace(b"GET", method.encode()))
                    assert response.body == (b"ab" if b"ab" in said else b"")
                    fields = {name.lower(): value for name, value in response.fields.pairs}
                    edited = {"x-set": "1", "content-type": "text/x", "vary": "x"}
                    assert {name: fields[name] for name in fields if name not in ("date", "x-request-id")} == {
                        **expected, **edited
                    }
