"""Edits of fields that the gateway sends itself: `set` leaves one, `remove` leaves none, whoever gives the answer."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from fastgate import Policy, Request, Response
from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import Answer, RawClient, RecordingUpstream, gateway_to, respond, start_gateway

GET = b"GET /x HTTP/1.1\r\nHost: example.test\r\n%b\r\n"
ID = "x-request-id"


class Answers(Policy):
    """Answers every request by itself, and errors too."""

    def on_request(self, request: Request) -> Response:
        return Response(200, "mine", headers={"Date": "never", "server": "mine"})


class Helps(Policy):
    def on_error(self, request: Request, error: Exception) -> Response:
        return Response(503, "sorry")


class Edits(Policy):
    """Does in Python what the options of a route do."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def edit(self, headers: Any) -> None:
        for name, value in self.options.get("set", {}).items():
            headers.set(name, value)
        for name in self.options.get("remove", ()):
            headers.remove(name)


class EditsRequests(Edits):
    def on_request(self, request: Request) -> None:
        self.edit(request.headers)


class EditsResponses(Edits):
    def on_response(self, request: Request, response: Response) -> None:
        self.edit(response.headers)


SAYS_ALL = respond(b"{}", "200 OK", "Date: then", "Server: up", "Via: 1.1 up", "X-Request-Id: up", "content-type: a/b")
PROXIED = {"upstream": "u"}
KINDS: dict[str, dict[str, Any]] = {
    "proxied": PROXIED,
    "proxied, says all": {**PROXIED, "says": SAYS_ALL},
    "respond": {"respond": {"body": "x"}},
    "respond, says all": {"respond": {"body": "x", "headers": {"Date": "then", "server": "x", ID: "y", "Via": "z"}}},
    "redirect": {"redirect": {"to": "/y"}},
    "plugin": {**PROXIED, "policies": [{"use": "answers"}]},
    "error": {"upstream": "dead"},
    "refusal": {**PROXIED, "auth": {"any": ["basic"]}},
    "on_error": {"upstream": "dead", "policies": [{"use": "helps"}]},
    "maintenance": {**PROXIED, "maintenance": {"enabled": True}},
    "filtered": {**PROXIED, "compression": {"min_size": 0}, "says": SAYS_ALL},
}
QUOTAS = ("ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def configured(kind: str, upstream: RecordingUpstream, **route: Any) -> dict[str, Any]:
    options = {**KINDS[kind], **route}
    options.pop("says", None)
    return {
        "gateway": {
            "host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, "via": True, **options.pop("gateway", {}),
        },
        "auth": {"basic": {"users": {"a": "$2b$04$xEAZcYuLtRzfmdnbI78ZP.kxVOnBqpmRlJ0tD5yXSyg5yztHAbTSW"}}},
        "plugins": [
            {"name": name.lower(), "use": f"{__name__}:{name}", "options": options.pop(name, {})}
            for name in ("Answers", "Helps", "EditsResponses")
        ],
        "routes": [{"name": "r", "path": "/*", **options}],
        "upstreams": {"u": {"targets": [f"127.0.0.1:{upstream.port}"]}, "dead": {"targets": ["127.0.0.1:1"]}},
    }


async def answered(kind: str, lines: bytes = b"", **route: Any) -> Any:
    says = KINDS[kind].get("says", respond(b"{}", "200 OK", "Content-Type: a/b"))
    async with RecordingUpstream(default=Answer(says)) as upstream:
        async with start_gateway(configured(kind, upstream, **route)) as gateway, RawClient(gateway.port) as client:
            return await client.request(GET % lines)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Date", "server", "VIA", "X-Request-ID", "content-type"])
async def test_one_where_it_is_set_and_none_where_it_is_removed(kind: str, name: str) -> None:
    response = await answered(kind, response_headers={"set": {name: "mine"}})
    assert response.fields.get_all(name) == ["mine"]
    response = await answered(kind, response_headers={"remove": [name]})
    assert response.fields.get_all(name) == []
    assert response.fields.get_all("content-length") == [str(len(response.body))]


@pytest.mark.parametrize("kind", ["proxied", "proxied, says all", "respond", "respond, says all", "redirect", "plugin"])
@pytest.mark.parametrize("name", ["Date", "server", "VIA", "X-Request-ID", "content-type"])
async def test_a_plugin_sets_one_and_removes_all(kind: str, name: str) -> None:
    policies = {"policies": [*KINDS[kind].get("policies", []), {"use": "editsresponses"}]}
    response = await answered(kind, EditsResponses={"set": {name: "mine"}}, **policies)
    assert response.fields.get_all(name) == ["mine"]
    response = await answered(kind, EditsResponses={"remove": [name]}, **policies)
    assert response.fields.get_all(name) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_there_is_one_of_each_without_edits(kind: str) -> None:
    response = await answered(kind)
    for name in ("date", "server", ID):
        proxied_server = name == "server" and kind == "proxied"
        assert len(response.fields.get_all(name)) == (0 if proxied_server else 1), name


@pytest.mark.parametrize("kind", ["proxied", "respond", "plugin", "error"])
@pytest.mark.parametrize("name", QUOTAS)
async def test_quotas_can_be_edited(kind: str, name: str) -> None:
    limit = {"rate": 5, "per": "1h", "legacy_headers": True}
    whole = await answered(kind, rate_limit=limit)
    assert len(whole.fields.get_all(name)) == 1
    response = await answered(kind, rate_limit=limit, response_headers={"set": {name: "mine"}})
    assert response.fields.get_all(name) == ["mine"]
    response = await answered(kind, rate_limit=limit, response_headers={"remove": [name]})
    assert {other for other in QUOTAS if response.fields.get(other)} == {*QUOTAS} - {name}


async def test_the_request_id_under_another_name() -> None:
    named = {"gateway": {"request_id": "X-Correlation-Id"}}
    for kind in KINDS:
        response = await answered(kind, **named, response_headers={"set": {"x-correlation-ID": "mine"}})
        assert response.fields.get_all("x-correlation-id") == ["mine"], kind
        response = await answered(kind, **named, response_headers={"remove": ["x-correlation-ID"]})
        assert response.fields.get_all("x-correlation-id") == [], kind
    # The upstream's stays, and no second one is put beside it; a field of the usual name is one like any other.
    says = respond(b"", "200 OK", "X-Correlation-Id: up")
    async with RecordingUpstream(default=Answer(says)) as upstream:
        async with gateway_to(upstream.port, **named) as gateway, RawClient(gateway.port) as client:
            response = await client.request(GET % b"")
            assert response.fields.get_all("x-correlation-id") == ["up"]
    response = await answered("proxied, says all", **named)
    assert len(response.fields.get_all("x-correlation-id")) == 1
    assert response.fields.get_all(ID) == ["up"]




async def test_other_edits_are_not_on_errors() -> None:
    edits = {"set": {"cache-control": "public", "x-app": "1", "server": "mine"}, "remove": ["www-authenticate"]}
    response = await answered("refusal", response_headers=edits)
    assert response.status == 401
    assert response.fields.get_all("cache-control") == ["no-store"]
    assert response.fields.get_all("x-app") == []
    assert response.fields.get_all("server") == ["mine"]
    assert response.fields.get("www-authenticate")


async def test_markup_in_a_path_is_no_markup_in_a_problem() -> None:
    """Whatever type an edit gives to errors, a browser finds nothing in them."""
    edits = {"set": {"content-type": "text/html"}}
    async with RecordingUpstream() as upstream:
        config = configured("error", upstream, response_headers=edits)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            response = await client.request(b"GET /<script>alert(1)</script>&amp; HTTP/1.1\r\nHost: h\r\n\r\n")
            assert response.status == 502
            assert not {*b"<>&"} & {*response.body}
            assert b"alert(1)" in response.body


# -- switches of protocol, and responses before the last


async def test_edits_of_a_101_and_of_interim_responses() -> None:
    edits = {"set": {"x-set": "1"}, "remove": ["x-gone", "server"]}
    switch = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Gone: 1\r\nServer: a\r\n\r\n"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Gone: 1\r\nServer: a\r\n\r\n"
    async with RecordingUpstream(default=Answer(early + switch)) as upstream:
        async with gateway_to(upstream.port, route={"response_headers": edits}) as gateway:
            async with RawClient(gateway.port) as client:
                await client.send(GET % b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
                response = await client.response()
                (hints,) = response.interim
                assert (hints.status, hints.fields.get("link")) == (103, "</a>")
                assert hints.fields.get("x-gone") is hints.fields.get("server") is hints.fields.get("x-set") is None
                assert response.status == 101
                assert response.fields.get_all("x-set") == ["1"]
                assert response.fields.get("x-gone") is response.fields.get("server") is None
                assert response.fields.get_all("upgrade") == ["websocket"]


# -- requests

OWN_OF_REQUESTS = (
    "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-Forwarded-Port", "Forwarded", "Via", "X-Request-ID",
)
SENT = "".join(f"{name}: {'https' if 'Proto' in name else 'one'}\r\n" for name in OWN_OF_REQUESTS).encode()


async def forwarded(edits: dict[str, Any], lines: bytes, trusted: bool, by_plugin: bool, **more: Any) -> Any:
    gateway = {"via": True, "forwarded": True, "trusted_proxies": ["127.0.0.1"] if trusted else []}
    async with RecordingUpstream() as upstream:
        route = {"request_headers": edits, **more} if not by_plugin else {"policies": [{"use": "p"}], **more}
        config = {
            "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, **gateway},
            "plugins": [{"name": "p", "use": f"{__name__}:EditsRequests", "options": edits}],
            "routes": [{"name": "r", "path": "/*", "upstream": "u", **route}],
            "upstreams": {"u": {"targets": [f"127.0.0.1:{upstream.port}"]}},
        }
        async with start_gateway(config) as gateway_, RawClient(gateway_.port) as client:
            response = await client.request(GET % lines)
            return response, upstream.requests


@pytest.mark.parametrize("by_plugin", [False, True], ids=["edits", "plugin"])
@pytest.mark.parametrize("trusted", [False, True], ids=["stranger", "trusted"])
@pytest.mark.parametrize("name", OWN_OF_REQUESTS)
async def test_requests_have_one_where_it_is_set_and_none_where_it_is_removed(
    name: str, trusted: bool, by_plugin: bool
) -> None:
    for lines in (b"", SENT):
        _, (request,) = await forwarded({"set": {name: "mine"}}, lines, trusted, by_plugin)
        assert request.fields.get_all(name) == ["mine"]
        _, (request,) = await forwarded({"remove": [name]}, lines, trusted, by_plugin)
        assert request.fields.get_all(name) == []
        others = {each for each in OWN_OF_REQUESTS if each != name and request.fields.get_all(each)}
        assert {*OWN_OF_REQUESTS} - {name} - others <= {"Forwarded"}


async def test_copies_of_a_request_are_edited_as_it_is() -> None:
    edits = {"set": {"host": "api.internal", "x-forwarded-proto": "wss"}, "remove": ["x-forwarded-for", "via"]}
    async with RecordingUpstream() as upstream, RecordingUpstream() as shadow:
        config = configured("proxied", upstream, request_headers=edits, mirror={"upstream": "s"})
        config["upstreams"]["s"] = {"targets": [f"127.0.0.1:{shadow.port}"]}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(GET % b"")).status == 200
            async with asyncio.timeout(5):
                while not shadow.requests:
                    await asyncio.sleep(0.01)
        for request in (upstream.requests[0], shadow.requests[0]):
            assert request.fields.get_all("host") == ["api.internal"]
            assert request.fields.get_all("x-forwarded-proto") == ["wss"]
            assert request.fields.get("x-forwarded-for") is request.fields.get("via") is None


# -- Host


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("api.internal", "api.internal"), ("[::1]:8080", "[::1]:8080"), ("{host}", "example.test"),
        ("{param.rest}.internal", "x.internal"),
    ],
)
async def test_the_host_can_be_set(value: str, sent: str) -> None:
    _, (request,) = await forwarded({"set": {"Host": value}}, b"", False, False, path="/{rest*}")
    assert request.fields.get_all("host") == [sent]
    assert request.fields.pairs[0] == ("Host", sent)
    assert request.fields.get_all("x-forwarded-host") == ["example.test"]


@pytest.mark.parametrize("target", [b"/a%20b", b"/a%2Fb", b"/a@b", b"/%5B", b"/"])
async def test_a_host_that_a_client_could_spoil_is_refused(target: bytes) -> None:
    async with RecordingUpstream() as upstream:
        route = {"path": "/{rest*}", "request_headers": {"set": {"host": "{param.rest}"}}}
        async with gateway_to(upstream.port, route=route) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")).status == 400
        assert upstream.requests == []


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *(
        (side, {action: {name: "x"} if action != "remove" else [name]}, reason)
        for side, action, (name, reason) in itertools.product(
            ("request_headers", "response_headers"), ("set", "add", "remove"),
            {
                "Content-Length": "determines the end of the body",
                "transfer-encoding": "determines the end of the body",
                "Trailer": "determines the end of the body", "Connection": "belongs to the connection",
                "keep-alive": "belongs to the connection", "TE": "belongs to the connection",
                "Proxy-Connection": "belongs to the connection", "http2-settings": "belongs to the connection",
                "Upgrade": "the key upgrades lists", "Expect": "answered by the gateway",
            }.items(),
        )
    ),
    ("request_headers", {"add": {"host": "x"}}, "exactly one Host"),
    ("request_headers", {"remove": ["Host"]}, "exactly one Host"),
    ("response_headers", {"set": {"Host": "x"}}, "is not a response field"),
    ("request_headers", {"set": {"Host": "a/b"}}, "no path"),
    ("request_headers", {"set": {"X-A": "1", "x-a": "2"}}, 'the same field as "X-A"'),
]


@pytest.mark.parametrize(("side", "edits", "reason"), REFUSED)
def test_what_cannot_be_edited_is_an_error_of_the_configuration(side: str, edits: dict[str, Any], reason: str) -> None:
    make: Callable[..., GatewayConfig] = GatewayConfig.from_dict
    with pytest.raises(ConfigError, match=reason):
        make({"routes": [{"name": "r", "path": "/*", "upstream": "u", side: edits}],
              "upstreams": {"u": {"targets": ["a:1"]}}})


def test_host_is_said_at_one_place() -> None:
    with pytest.raises(ConfigError, match="also set by host_header"):
        GatewayConfig.from_dict({
            "routes": [{
                "name": "r", "path": "/*", "upstream": "u", "host_header": "client",
                "request_headers": {"set": {"host": "b"}},
            }],
            "upstreams": {"u": {"targets": ["a:1"]}},
        })
