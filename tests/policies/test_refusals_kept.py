"""What a refusal tells the client to do next is on the answer of `on_error` too."""

import json
from typing import Any

import pytest

from fastgate import Policy, Request, Response
from fastgate._core.exchange.refusal import Refusal
from fastgate.testing import RawClient, RecordingUpstream, start_gateway
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
ALICE = "$2b$04$xEAZcYuLtRzfmdnbI78ZP.kxVOnBqpmRlJ0tD5yXSyg5yztHAbTSW"  # of "secret"
REFUSED: dict[str, tuple[dict[str, Any], bytes, int, dict[str, str]]] = {
    "401": ({"auth": {"any": ["basic"]}}, GET, 401, {"www-authenticate": 'Basic realm="here", charset="UTF-8"'}),
    "429": ({"rate_limit": {"rate": 1, "per": "1h", "legacy_headers": True}}, GET, 429, {
        "retry-after": "3600", "ratelimit": '"default";r=0;t=3600', "ratelimit-policy": '"default";q=1;w=3600',
        "x-ratelimit-remaining": "0",
    }),
    "503": ({"upstream": "dead", "max_body": "1KB"}, GET, 502, {}),
    "415": (
        {"content_types": ["application/json"]}, b"PATCH /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 415,
        {"accept": "application/json", "accept-patch": "application/json"},
    ),
    "405": (
        {"methods": ["GET", "TRACE"]}, b"TRACE /x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", 405,
        {"allow": "GET, HEAD"},
    ),
}


class Says(Policy):
    """Answers every error as its options say, and notes what it was told."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.status = options.get("status")
        self.headers = options.get("headers", {})
        self.removed = options.get("remove", [])
        self.details: list[str] = []

    def on_error(self, request: Request, error: Any) -> Response:
        response = Response(self.status or error.status, json={"detail": error.detail}, headers=self.headers)
        for name in self.removed:
            response.headers.remove(name)
        return response


class Breaks(Policy):
    """Fails while it answers an error."""

    def on_request(self, request: Request) -> None:
        raise Refusal("unauthenticated", "No such user.", fields=[("WWW-Authenticate", "X")])

    def on_error(self, request: Request, error: Exception) -> Response:
        raise ZeroDivisionError


async def refused(kind: str, options: dict[str, Any] | None, plugin: str = "Says") -> RecordedResponse:
    route, request, _, _ = REFUSED[kind]
    async with RecordingUpstream() as upstream:
        policies = [] if options is None else [{"use": "p"}]
        config = {
            "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
            "auth": {"basic": {"users": {"alice": ALICE}, "realm": "here"}},
            "plugins": [{"name": "p", "use": f"{__name__}:{plugin}", "options": options or {}}],
            "routes": [{"name": "r", "path": "/*", "upstream": "u", "policies": policies, **route}],
            "upstreams": {"u": {"targets": [f"127.0.0.1:{upstream.port}"]}, "dead": {"targets": ["127.0.0.1:1"]}},
        }
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            if kind == "429":
                assert (await client.request(request)).status == 200
            return await client.request(request)


@pytest.mark.parametrize("kind", REFUSED)
async def test_an_answer_to_an_error_tells_what_the_gateways_own_would(kind: str) -> None:
    _, _, status, fields = REFUSED[kind]
    own = await refused(kind, None)
    answer = await refused(kind, {})
    for response in (own, answer):
        assert response.status == status
        assert {name: response.fields.get(name) for name in fields} == fields
    if kind != "405":
        assert answer.fields["content-type"] == "application/json"
    assert {name.lower() for name in own.fields.names} - {name.lower() for name in answer.fields.names} <= {
        "cache-control"
    }


async def test_what_it_says_itself_stands_alone() -> None:
    answer = await refused("401", {"headers": {"WWW-authenticate": 'Bearer realm="x"'}})
    assert answer.fields.get_all("www-authenticate") == ['Bearer realm="x"']
    answer = await refused("429", {"headers": {"retry-after": "7", "RateLimit": "mine"}})
    assert answer.fields.get_all("retry-after") == ["7"]
    assert answer.fields.get_all("ratelimit") == ["mine"]
    answer = await refused("401", {"remove": ["www-authenticate"]})
    assert answer.fields.get_all("www-authenticate") == []


async def test_what_is_no_refusal_any_more_has_none_of_it() -> None:
    for status in (200, 302):
        answer = await refused("429", {"status": status})
        assert answer.status == status
        assert answer.fields.get("retry-after") is None
        assert answer.fields.get("ratelimit") is not None
        assert (await refused("401", {"status": status})).fields.get("www-authenticate") is None


async def test_the_answer_to_a_second_error_says_nothing_of_the_first() -> None:
    answer = await refused("503", {}, "Breaks")
    assert answer.status == 500
    assert answer.fields.get("www-authenticate") is None
    assert json.loads(answer.body)["detail"] == "A policy of this route failed."


async def test_the_sentence_of_a_refusal_is_told_to_on_error() -> None:
    answer = await refused("503", {})
    assert json.loads(answer.body)["detail"] == "The upstream could not be reached."
