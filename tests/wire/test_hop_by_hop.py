"""Fields of one hop end at the gateway, but for what a response with its status has to have."""

import pytest
from wire.support import GET, head

from fastgate import Policy, Request, Response
from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import Answer, RawClient, RecordingUpstream, respond, start_gateway


async def got(stand, said: bytes, request: bytes = GET, **options):
    client = await stand.start(upstream_options={"default": Answer(said)}, **options)
    return await client.request(request)


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        (["Upgrade: HTTP/3.0", "Connection: Upgrade"], ["HTTP/3.0"]),
        (["Upgrade: websocket, TLS/1.3", "Connection: upgrade, close"], ["websocket, TLS/1.3"]),
        (["Upgrade: a", "upgrade: b"], ["a", "b"]),
    ],
)
async def test_a_426_says_what_to_upgrade_to(stand, lines, upgrade):
    """RFC 9110 sections 7.8 and 15.5.22"""
    response = await got(stand, respond(b"no", "426 Upgrade Required", *lines, "Keep-Alive: timeout=5"))
    assert response.status == 426
    assert response.fields.get_all("upgrade") == upgrade
    assert [value.lower() for value in response.fields.get_all("connection")] == ["upgrade"]
    assert response.fields.get("keep-alive") is None


async def test_a_426_without_it_stays_without(stand):
    response = await got(stand, respond(b"no", "426 Upgrade Required"))
    assert response.fields.get("upgrade") is response.fields.get("connection") is None


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "501 Not Implemented"])
async def test_other_responses_have_no_upgrade(stand, status):
    """What the upstream would speak says nothing of what the gateway speaks"""
    said = respond(b"", status, "Upgrade: h2c", "Connection: Upgrade", "Proxy-Authenticate: Basic")
    response = await got(stand, said)
    assert response.fields.get("upgrade") is response.fields.get("connection") is None
    assert response.fields.get("proxy-authenticate") is None


async def test_a_407_says_how_to_authenticate(stand):
    """RFC 9110 section 15.5.8"""
    said = respond(b"", "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="p"', "Upgrade: x")
    response = await got(stand, said)
    assert response.fields.get_all("proxy-authenticate") == ['Basic realm="p"']
    assert response.fields.get("upgrade") is None


async def test_a_426_to_a_client_of_http_1_0(stand):
    said = respond(b"", "426 Upgrade Required", "Upgrade: websocket", "Connection: Upgrade")
    response = await got(stand, said, head(version="1.0"))
    assert response.fields.get_all("upgrade") == ["websocket"]
    assert [value.lower() for value in response.fields.get_all("connection")] == ["upgrade", "close"]


class Demands(Policy):
    def on_request(self, request: Request) -> Response:
        return Response(426, "x", headers={"Upgrade": "websocket"})


async def test_answers_of_ones_own():
    async with RecordingUpstream() as upstream:
        config = {
            "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
            "plugins": [{"name": "p", "use": f"{__name__}:Demands"}],
            "routes": [
                {"name": "r", "path": "/p", "upstream": "u", "policies": [{"use": "p"}]},
                {"name": "f", "path": "/f", "respond": {"status": 426, "headers": {"upgrade": "websocket"}}},
            ],
            "upstreams": {"u": {"targets": [f"127.0.0.1:{upstream.port}"]}},
        }
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for target in ("/p", "/f"):
                response = await client.request(head(target=target))
                assert response.status == 426
                assert response.fields.get_all("upgrade") == ["websocket"]
                assert response.fields.get_all("connection") == ["Upgrade"]


def test_an_upgrade_on_another_answer_is_an_error_of_the_configuration():
    route = {"name": "f", "path": "/f", "respond": {"status": 400, "headers": {"Upgrade": "websocket"}}}
    with pytest.raises(ConfigError, match="headers.Upgrade: can only be sent in an answer with status 426"):
        GatewayConfig.from_dict({"routes": [route]})


# -- Max-Forwards (RFC 9110 section 7.6.2)


@pytest.mark.parametrize(("value", "sent"), [("1", "0"), ("10", "9"), ("007", "6"), ("x", "x"), ("-1", "-1")])
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_max_forwards_is_counted_down(stand, method, value, sent):
    client = await stand.start(route={"methods": ["GET", "OPTIONS", "TRACE"]})
    assert (await client.request(head(f"Max-Forwards: {value}", method=method))).status == 200
    assert stand.forwarded() == [("Max-Forwards", sent)]


async def test_a_request_that_may_go_no_further_is_answered_here(stand):
    client = await stand.start(route={"methods": ["GET", "OPTIONS", "TRACE"]})
    response = await client.request(head("Max-Forwards: 0", method="OPTIONS"))
    assert (response.status, response.fields["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (await client.request(head("Max-Forwards: 0", method="TRACE"))).status == 405
    assert not stand.upstream.requests


async def test_other_methods_do_not_count(stand):
    client = await stand.start()
    assert (await client.request(head("Max-Forwards: 0"))).status == 200
    assert stand.forwarded() == [("Max-Forwards", "0")]
