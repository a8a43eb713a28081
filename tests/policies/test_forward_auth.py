"""Forward-auth: what the service is asked, what its answers mean, what is kept of them."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tls.authorities import Files

from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway
from fastgate.testing import (
    Answer,
    RawClient,
    RecordingUpstream,
    close,
    pause,
    proxy_config,
    reset,
    respond,
    stall,
    start_gateway,
    wait_for,
)
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
ALICE = b"GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer alice\r\n\r\n"
BOB = ALICE.replace(b"alice", b"bob")
GRANTED = respond(b"", "200 OK", "X-User: alice", "X-Groups: a", "X-Groups: b")
KEPT = {"by": ["header:authorization", "header:cookie"], "ttl": "1h", "negative_ttl": "1h"}


class Parts(NamedTuple):
    gateway: Gateway
    service: RecordingUpstream
    upstream: RecordingUpstream


def config(port: int, service: int, **forward: Any) -> dict[str, Any]:
    route = {"auth": {"any": ["forward"]}, "request_headers": {"set": {"x-who": "{key.id}"}}}
    made = proxy_config(port, route=route)
    made["routes"].append({"name": "open", "path": "/open", "upstream": "backend", "public": True})
    made["auth"] = {"forward": {"url": f"http://127.0.0.1:{service}/verify?a=b", **forward}}
    return made


@asynccontextmanager
async def running(default: Answer | bytes = GRANTED, **forward: Any) -> AsyncIterator[Parts]:
    async with RecordingUpstream(default=default) as service, RecordingUpstream() as upstream:
        async with start_gateway(config(upstream.port, service.port, **forward)) as gateway:
            yield Parts(gateway, service, upstream)


async def ask(gateway: Gateway, request: bytes = GET) -> RecordedResponse:
    async with RawClient(gateway.port) as client:
        return await client.request(request)


def unavailable(answer: RecordedResponse) -> bool:
    assert answer.fields["retry-after"] == "1"
    assert json.loads(answer.body)["detail"] == "The gateway cannot check credentials now."
    return answer.status == 503


# --- what it is asked ---


async def test_what_the_service_is_asked() -> None:
    async with running() as parts:
        async with RawClient(parts.gateway.port) as client:
            await client.request(
                b"POST /a/%2e/../b//c?d=%2f HTTP/1.1\r\nHost: A.test:8080\r\nAuthorization: Bearer x\r\nCookie: a=b\r\n"
                b"Cookie: c=d\r\nX-Other: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Uri: /other\r\n"
                b"X-Original-URL: /other\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\nbody"
            )
        host = f"127.0.0.1:{parts.service.port}"
    (asked,) = parts.service.requests
    assert asked.start == b"GET /verify?a=b HTTP/1.1"
    uri = parts.upstream.requests[0].target
    assert asked.fields["x-forwarded-uri"] == uri == "/b/c?d=%2f"
    assert asked.fields["host"] == host
    assert asked.fields["x-forwarded-method"] == asked.fields["x-original-method"] == "POST"
    assert asked.fields["x-forwarded-proto"] == "http"
    assert asked.fields["x-forwarded-host"].lower() == "a.test:8080"
    assert asked.fields["x-original-url"].lower() == f"http://a.test:8080{uri}"
    assert asked.fields["x-forwarded-for"] == "127.0.0.1"
    assert asked.fields["x-request-id"] == parts.upstream.requests[0].fields["x-request-id"] != "mine"
    assert asked.fields["authorization"] == "Bearer x"
    assert asked.fields.get_all("cookie") == ["a=b", "c=d"]
    assert "x-other" not in asked.fields
    assert "content-length" not in asked.fields
    assert asked.body == b""
    assert parts.upstream.requests[0].body == b"body"


async def test_a_trusted_proxy_says_where_the_client_comes_from() -> None:
    async with RecordingUpstream(default=GRANTED) as service, RecordingUpstream() as upstream:
        settings = config(upstream.port, service.port)
        settings["gateway"]["trusted_proxies"] = ["127.0.0.0/8"]
        async with start_gateway(settings) as gateway:
            await ask(gateway, GET[:-2] + b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n")
    assert service.requests[0].fields["x-forwarded-for"] == "192.0.2.1"
    assert service.requests[0].fields["x-forwarded-proto"] == "https"


async def test_the_fields_that_it_gets_are_those_that_are_named() -> None:
    async with running(request_headers=["X-Other"]) as parts:
        await ask(parts.gateway, ALICE[:-2] + b"X-Other: 1\r\n\r\n")
    assert parts.service.requests[0].fields["x-other"] == "1"
    assert "authorization" not in parts.service.requests[0].fields


async def test_connections_are_kept_and_closed_with_the_gateway() -> None:
    async with running() as parts:
        for _ in range(3):
            assert (await ask(parts.gateway)).status == 200
        assert len(parts.service.connections) == 1
        await parts.gateway.close()
        assert await parts.service.connections[0].wait_ended() in ("eof", "reset")


async def test_a_kept_connection_that_the_service_has_closed_costs_nobody_an_answer() -> None:
    async with running() as parts:
        parts.service.script(GRANTED, Answer(reset(), early=True), GRANTED)
        assert (await ask(parts.gateway)).status == 200
        assert (await ask(parts.gateway)).status == 200
    assert len(parts.service.connections) == 2
    assert len(parts.service.requests) == 3


@pytest.mark.parametrize("field", ["Connection: close", "Connection: Close"])
async def test_a_connection_that_is_to_be_closed_is_not_used_again(field: str) -> None:
    async with running(respond(b"", "204 No Content", field)) as parts:
        for _ in range(2):
            assert (await ask(parts.gateway)).status == 200
    assert len(parts.service.connections) == 2


async def test_bytes_behind_an_answer_are_not_the_next_one() -> None:
    async with running() as parts:
        parts.service.script(respond(b"", "403 Forbidden") + GRANTED, respond(b"", "403 Forbidden"))
        assert [(await ask(parts.gateway)).status for _ in range(2)] == [403, 403]
    assert len(parts.service.connections) == 2


async def test_over_tls_the_service_is_verified(tmp_path: Path) -> None:
    files = Files(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.issue_cert("auth.test").configure_cert(serving)
    async with RecordingUpstream(default=GRANTED, tls=serving) as service, RecordingUpstream() as upstream:
        for server_name, status in (("auth.test", 200), ("other.test", 503)):
            settings = config(upstream.port, service.port, tls={"ca": files.ca, "server_name": server_name})
            settings["auth"]["forward"]["url"] = f"https://127.0.0.1:{service.port}/"
            async with start_gateway(settings) as gateway:
                assert (await ask(gateway)).status == status
    assert len(service.requests) == 1


async def test_a_decision_by_host_knows_one_form_of_it() -> None:
    async with running(request_headers=[], cache={"by": ["host"], "ttl": "1h"}) as parts:
        hosts = "a.test", "A.test.", "a.test:80", "a.test.:", "a.test:8080", "A.TEST:08080", "[::1]", "[0:0::1]:80"
        for host in hosts:
            assert (await ask(parts.gateway, b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())).status == 200
    asked = [request.fields["x-forwarded-host"] for request in parts.service.requests]
    assert asked == ["a.test", "a.test:8080", "[::1]"]


# --- who comes in ---


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "202 Accepted"])
async def test_any_success_lets_in(status: str) -> None:
    async with running(respond(b"", status)) as parts:
        assert (await ask(parts.gateway)).status == 200
    assert parts.upstream.requests[0].fields["x-who"] == ""


async def test_what_the_service_says_goes_to_the_upstream_and_nothing_that_a_client_says_instead() -> None:
    async with running(identity_header="X-User", response_headers=["X-User", "x-groups", "x-none"]) as parts:
        spoofed = b"X-User: root\r\nX-Groups: root\r\nx-none: root\r\n\r\n"
        assert (await ask(parts.gateway, GET[:-2] + spoofed)).status == 200
        assert (await ask(parts.gateway, GET.replace(b"/ ", b"/open ")[:-2] + spoofed)).status == 200
    fields = parts.upstream.requests[0].fields
    assert fields.get_all("x-user") == ["alice"]
    assert fields.get_all("x-groups") == ["a", "b"]
    assert fields["x-who"] == "alice"
    assert "x-none" not in fields
    assert not {"x-user", "x-groups", "x-none"} & set(parts.upstream.requests[1].fields.names), "a public route"


async def test_the_identity_header_is_taken_away_where_it_is_not_forwarded() -> None:
    async with running(identity_header="x-user") as parts:
        assert (await ask(parts.gateway, GET[:-2] + b"X-User: root\r\n\r\n")).status == 200
    assert "x-user" not in parts.upstream.requests[0].fields


async def test_every_spelling_of_a_name_is_taken_away() -> None:
    async with RecordingUpstream(default=GRANTED) as service, RecordingUpstream() as upstream:
        settings = config(upstream.port, service.port, response_headers=["x-user"])
        settings["gateway"]["field_names"] = "pass"
        async with start_gateway(settings) as gateway:
            spoofed = b"X_User: root\r\nx_uSeR: root\r\nX.User: root\r\nx~user: root\r\nX_Users: 1\r\n\r\n"
            assert (await ask(gateway, GET[:-2] + spoofed)).status == 200
    assert [name for name in upstream.requests[0].fields.names if "user" in name] == ["x_users", "x-user"]


async def test_a_credential_of_the_service_takes_the_place_of_the_clients() -> None:
    granted = respond(b"", "200 OK", "Authorization: Bearer inner")
    async with running(granted, response_headers=["authorization"]) as parts:
        assert (await ask(parts.gateway, ALICE)).status == 200
    assert parts.service.requests[0].fields["authorization"] == "Bearer alice"
    assert parts.upstream.requests[0].fields.get_all("authorization") == ["Bearer inner"]


async def test_values_beyond_ascii_stay_what_they_are() -> None:
    granted = respond(b"", "200 OK").replace(b"\r\n", "\r\nX-User: jürgen\r\n".encode(), 1)
    async with running(granted, response_headers=["x-user"], identity_header="x-user") as parts:
        assert (await ask(parts.gateway)).status == 200
    assert parts.upstream.requests[0].fields["x-user"].encode("latin-1") == "jürgen".encode()
    assert parts.upstream.requests[0].fields["x-who"].encode("latin-1") == "jürgen".encode()


# --- who does not ---


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ("401 Unauthorized", ("WWW-Authenticate", "Bearer realm=a")),
        ("403 Forbidden", ("Content-Language", "en")),
        ("302 Found", ("Location", "https://login.test/?back=1")),
        ("307 Temporary Redirect", ("Location", "/login")),
        ("401 Unauthorized", ("Cache-Control", "private")),
    ],
)
async def test_what_the_service_says_of_a_refusal_goes_to_the_client(status: str, field: tuple[str, str]) -> None:
    refused = respond(
        b"<p>no", status, ": ".join(field), "Content-Type: text/html", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-In: 1"
    )
    async with running(refused) as parts:
        answer = await ask(parts.gateway)
        head = await ask(parts.gateway, GET.replace(b"GET", b"HEAD"))
    assert answer.status == head.status == int(status[:3])
    assert answer.body == b"<p>no"
    assert head.body == b""
    assert answer.fields[field[0]] == field[1]
    assert answer.fields["content-type"] == "text/html"
    assert answer.fields["cache-control"] == ("private" if field[0] == "Cache-Control" else "no-store")
    assert answer.fields.get_all("set-cookie") == ["a=1", "b=2"]
    assert "x-in" not in answer.fields
    assert parts.upstream.requests == []


# --- when it cannot be asked ---

BROKEN = {
    "a fault of its own": respond(b"", "500 Internal Server Error"),
    "not found": respond(b"", "404 Not Found"),
    "bad request": respond(b"", "400 Bad Request"),
    "too many requests": respond(b"", "429 Too Many Requests"),
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "closed at once": Answer(close()),
    "reset": Answer(reset()),
    "closed in the head": Answer(b"HTTP/1.1 200 OK\r\nContent-", close()),
    "closed in the body": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", close()),
    "closed in a chunk": Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", close()),
    "an endless head": Answer(b"HTTP/1.1 200 OK\r\n" + b"X-A: %b\r\n" % (b"a" * 1000) * 40, stall()),
    "a refusal that is too long": respond(b"a" * 70_000, "403 Forbidden"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_says_nothing_lets_nobody_in(answer: Answer | bytes) -> None:
    async with running(answer) as parts:
        assert unavailable(await ask(parts.gateway))
    assert parts.upstream.requests == []


async def test_a_service_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as parts:
        parts.service.stop_listening()
        assert unavailable(await ask(parts.gateway))
        assert unavailable(await ask(parts.gateway))
    assert parts.upstream.requests == []
    (record,) = [record for record in caplog.records if record.name == "fastgate.auth"]
    assert "/verify?a=b, answering 503: " in record.getMessage()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(stall()),
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", stall()),
        Answer(b"HTTP/1.1 100 Continue\r\n\r\n", stall()),
    ],
)
async def test_a_service_that_does_not_answer_in_time(answer: Answer) -> None:
    async with running(answer, timeout="50ms") as parts:
        assert unavailable(await ask(parts.gateway))
        assert await parts.service.connections[0].wait_ended()
    assert parts.upstream.requests == []


async def test_interim_answers_and_bodies_of_every_framing_are_passed_over() -> None:
    async with running() as parts:
        parts.service.script(
            b"HTTP/1.1 103 Early Hints\r\nX-User: no\r\n\r\n" + GRANTED,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n",
            Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close()),
            respond(b"a" * 70_000),
        )
        for _ in range(5):
            assert (await ask(parts.gateway)).status == 200
    # Not to be used again: the one that ended, and the one whose answer was too long.
    assert len(parts.service.connections) == 3


async def test_connections_are_bounded_and_waited_for_in_order() -> None:
    go = asyncio.Event()
    async with running(Answer(wait_for(go), GRANTED), max_connections=1) as parts:
        clients = [await RawClient(parts.gateway.port).open() for _ in range(3)]
        for client in clients:
            await client.send(GET)
        await parts.service.request(0)
        clients[1].reset()
        while parts.gateway.open_connections > 2:
            await asyncio.sleep(0)
        go.set()
        assert (await clients[0].response()).status == 200
        assert (await clients[2].response()).status == 200
        for client in clients:
            client.close()
    assert len(parts.service.requests) == 2
    assert len(parts.service.connections) == 1


async def test_connections_have_no_bound_that_nobody_set() -> None:
    go = asyncio.Event()
    async with running(Answer(wait_for(go), GRANTED)) as parts:
        clients = [await RawClient(parts.gateway.port).open() for _ in range(100)]
        for client in clients:
            await client.send(GET)
        for number in range(100):
            await parts.service.request(number)
        go.set()
        for client in clients:
            assert (await client.response()).status == 200
            client.close()
    assert len(parts.service.connections) == 100


async def test_who_leaves_is_no_longer_asked_about() -> None:
    async with running(Answer(stall())) as parts:
        client = await RawClient(parts.gateway.port).open()
        await client.send(GET)
        await parts.service.request(0)
        client.reset()
        assert await parts.service.connections[0].wait_ended()
    assert parts.upstream.requests == []


# --- what is kept ---


async def test_a_decision_is_kept_by_the_fields_that_are_named() -> None:
    async with running(identity_header="x-user", response_headers=["x-user"], cache=KEPT) as parts:
        parts.service.script(GRANTED, GRANTED.replace(b"alice", b"bob"))
        for request in (ALICE, BOB, ALICE, BOB):
            assert (await ask(parts.gateway, request)).status == 200
        with_cookie = ALICE[:-2] + b"Cookie: a=b\r\n\r\n"
        twice = ALICE[:-2] + b"Authorization: Bearer bob\r\n\r\n"
        for request in (with_cookie, twice):
            assert (await ask(parts.gateway, request)).status == 200
    assert len(parts.service.requests) == 4
    assert [request.fields["x-user"] for request in parts.upstream.requests[:4]] == ["alice", "bob", "alice", "bob"]
    assert [request.fields["x-who"] for request in parts.upstream.requests[:4]] == ["alice", "bob", "alice", "bob"]


async def test_a_request_without_a_credential_is_asked_about_each_time() -> None:
    async with running(cache=KEPT) as parts:
        for _ in range(3):
            assert (await ask(parts.gateway)).status == 200
    assert len(parts.service.requests) == 3


async def test_a_cookie_among_others() -> None:
    settings = {"by": ["cookie:session", "path"], "ttl": "1h"}
    async with running(cache=settings, request_headers=["cookie"]) as parts:
        for cookies in (
            b"session=1",
            b"other=1; session=1",
            b"session=1; other=2",
            b"session=2",
            b"session=1; session=2",
        ):
            assert (await ask(parts.gateway, GET[:-2] + b"Cookie: " + cookies + b"\r\n\r\n")).status == 200
        elsewhere = GET.replace(b"/ ", b"/b ")[:-2] + b"Cookie: session=1\r\n\r\n"
        assert (await ask(parts.gateway, elsewhere)).status == 200
    assert len(parts.service.requests) == 4


async def test_a_kept_decision_is_forgotten_in_time_and_at_a_reload() -> None:
    async with running(cache={**KEPT, "ttl": "20ms", "negative_ttl": 0}) as parts:
        assert (await ask(parts.gateway, ALICE)).status == 200
        await asyncio.sleep(0.03)
        assert (await ask(parts.gateway, ALICE)).status == 200
        assert len(parts.service.requests) == 2
        settings = config(parts.upstream.port, parts.service.port, cache=KEPT)
        for asked in (3, 4):
            await parts.gateway.reload(GatewayConfig.from_dict(settings))
            assert (await ask(parts.gateway, ALICE)).status == 200
            assert (await ask(parts.gateway, ALICE)).status == 200
            assert len(parts.service.requests) == asked


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        (respond(b"no", "403 Forbidden"), 1),
        (respond(b"no", "302 Found", "Location: /login"), 1),
        (respond(b"a" * 8192, "403 Forbidden"), 1),
        (respond(b"a" * 8193, "403 Forbidden"), 2),
        (respond(b"no", "401 Unauthorized", "Set-Cookie: a=b"), 2),
        (respond(b"no", "401 Unauthorized", "Cache-Control: no-store"), 2),
        (respond(b"no", "500 Internal Server Error"), 2),
        (respond(b"", "200 OK", "Cache-Control: private, No-Store"), 2),
    ],
)
async def test_what_is_kept_of_other_answers(refused: bytes, asked: int) -> None:
    async with running(refused, cache=KEPT) as parts:
        one, other = await ask(parts.gateway, ALICE), await ask(parts.gateway, ALICE)
    assert one.status == other.status
    assert one.body == other.body or one.status == 503
    assert len(parts.service.requests) == asked


async def test_a_refusal_is_kept_no_longer_than_was_said() -> None:
    async with running(respond(b"no", "403 Forbidden"), cache={**KEPT, "negative_ttl": "20ms"}) as parts:
        assert (await ask(parts.gateway, ALICE)).status == 403
        parts.service.default = Answer(GRANTED)
        await asyncio.sleep(0.03)
        assert (await ask(parts.gateway, ALICE)).status == 200


async def test_requests_that_are_alike_share_one_question() -> None:
    go = asyncio.Event()
    async with running(Answer(wait_for(go), GRANTED), cache=KEPT) as parts:
        clients = [await RawClient(parts.gateway.port).open() for _ in range(6)]
        for client in clients:
            await client.send(ALICE)
        await parts.service.request(0)
        # The one who asked first leaves; the rest still get their answer.
        clients[0].reset()
        while parts.gateway.open_connections > 5:
            await asyncio.sleep(0)
        go.set()
        assert [(await client.response()).status for client in clients[1:]] == [200] * 5
        for client in clients:
            client.close()
    assert len(parts.service.requests) == 1


async def test_questions_that_fail_fail_for_all_and_nothing_is_kept_of_it() -> None:
    go = asyncio.Event()
    async with running(Answer(wait_for(go), close()), cache=KEPT) as parts:
        clients = [await RawClient(parts.gateway.port).open() for _ in range(3)]
        for client in clients:
            await client.send(ALICE)
        await parts.service.request(0)
        go.set()
        assert [(await client.response()).status for client in clients] == [503] * 3
        for client in clients:
            client.close()
        parts.service.default = Answer(GRANTED)
        assert (await ask(parts.gateway, ALICE)).status == 200


async def test_the_cache_is_bounded() -> None:
    async with running(cache={**KEPT, "max_entries": 4}) as parts:
        for number in range(20):
            assert (await ask(parts.gateway, ALICE.replace(b"alice", b"%d" % number))).status == 200
        assert len(parts.gateway._compiled.auth["forward"].cache) <= 5


# --- misconfiguration ---

URL = "http://auth.test/"

BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({}, "auth.forward.url: is missing"),
    ({"url": "auth.test/verify"}, 'auth.forward.url: a URL must begin with "http://" or "https://"'),
    ({"url": "http://auth.test/ü"}, "auth.forward.url: write the path and the query percent-encoded"),
    ({"url": "http://a:b@auth.test/"}, "auth.forward.url: a target has no user name or password"),
    ({"url": "http://auth.test/#a"}, 'auth.forward.url: this URL must not contain "#"'),
    ({"url": URL, "timeout": 0}, "auth.forward.timeout: must be more than 0"),
    ({"url": URL, "fail_open": True}, "auth.forward.fail_open: unknown key"),
    ({"url": URL, "request_headers": ["Host"]}, "request_headers[0]: host belongs to the connection"),
    ({"url": URL, "request_headers": ["X-Forwarded-Uri"]}, "x-forwarded-uri is a field that the gateway sets itself"),
    ({"url": URL, "response_headers": ["content-length"]}, "response_headers[0]: content-length belongs to"),
    ({"url": URL, "response_headers": ["a b"]}, 'response_headers[0]: "a b" is not a valid header name'),
    ({"url": URL, "tls": {"ca": "a"}}, "auth.forward.tls: has no effect, because url begins with http:"),
    ({"url": URL, "cache": {}}, "auth.forward.cache.by: is missing"),
    ({"url": URL, "cache": {"by": ["user"]}}, 'auth.forward.cache.by[0]: expected "client_ip"'),
    ({"url": URL, "cache": {"by": ["header:cookie"]}}, 'auth.forward.cache.by: lacks "header:authorization"'),
    (
        {"url": URL, "cache": {**KEPT, "ttl": 1, "negative_ttl": 2}},
        "auth.forward.cache.negative_ttl: is longer than ttl, 1 s",
    ),
]


@pytest.mark.parametrize(("settings", "said"), BAD_SETTINGS)
def test_what_is_said_about_bad_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict({**proxy_config(1), "auth": {"forward": settings}})
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


# --- what it has for the client ---

RENEWED = respond(b"", "200 OK", "X-User: alice", "Set-Cookie: s=1; Path=/", "Set-Cookie: t=2", "X-Session: 9")


async def test_a_session_that_is_renewed_reaches_the_client_and_never_the_upstream() -> None:
    async with running(RENEWED, response_headers=["x-user"]) as parts:
        parts.upstream.script(respond(b"x", "200 OK", "Set-Cookie: app=3"))
        answer = await ask(parts.gateway)
        assert sorted(answer.fields.get_all("set-cookie")) == ["app=3", "s=1; Path=/", "t=2"]
        assert "x-session" not in answer.fields
        assert not {"set-cookie", "x-session"} & {name.lower() for name in parts.upstream.requests[0].fields.names}
        # Another request on the same connection of the gateway has none of it.
        async with RawClient(parts.gateway.port) as client:
            answer = await client.request(GET.replace(b"GET / ", b"GET /open "))
            assert answer.fields.get("set-cookie") is None


async def test_the_client_gets_it_whoever_answers() -> None:
    async with RecordingUpstream(default=RENEWED) as service, RecordingUpstream() as upstream:
        settings = config(upstream.port, service.port, client_headers=["set-cookie", "x-session"])
        settings["routes"][0:0] = [
            {"name": "fixed", "path": "/fixed", "respond": {"body": "x"}, "auth": {"any": ["forward"]}},
            {
                "name": "strict", "path": "/strict", "upstream": "backend", "auth": {"any": ["forward"]},
                "content_types": ["a/b"],
            },
            {
                "name": "removed", "path": "/removed", "upstream": "backend", "auth": {"any": ["forward"]},
                "response_headers": {"remove": ["set-cookie"]},
            },
        ]
        settings["upstreams"]["dead"] = {"targets": ["127.0.0.1:1"]}
        settings["routes"].insert(0, {**settings["routes"][-2], "name": "dead", "path": "/dead", "upstream": "dead"})
        async with start_gateway(settings) as gateway:
            for path, status in (("fixed", 200), ("strict", 415), ("dead", 502), ("other", 200)):
                request = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % path.encode()
                answer = await ask(gateway, request)
                assert answer.status == status
                assert answer.fields.get_all("set-cookie") == ["s=1; Path=/", "t=2"], path
                assert answer.fields.get_all("x-session") == ["9"]
            answer = await ask(gateway, GET.replace(b"GET / ", b"GET /removed "))
            assert answer.fields.get_all("set-cookie") == []
            assert answer.fields.get_all("x-session") == ["9"]


async def test_a_decision_that_is_kept_renews_nobodys_session() -> None:
    async with running(RENEWED, cache=KEPT) as parts:
        assert (await ask(parts.gateway, ALICE)).fields.get_all("set-cookie") == ["s=1; Path=/", "t=2"]
        assert (await ask(parts.gateway, ALICE)).fields.get_all("set-cookie") == []
        assert len(parts.service.requests) == 1


async def test_of_those_who_share_a_question_one_gets_the_session() -> None:
    async with running(Answer(pause(0.3), RENEWED), cache=KEPT) as parts:
        answers = await asyncio.gather(*(ask(parts.gateway, ALICE) for _ in range(4)))
        assert [answer.status for answer in answers] == [200] * 4
        assert sorted(len(answer.fields.get_all("set-cookie")) for answer in answers) == [0, 0, 0, 2]
        assert len(parts.service.requests) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"response_headers": ["Set-Cookie"]}, "set-cookie is for the client; list it in client_headers"),
        ({"client_headers": ["content-type"]}, "describes the body or the connection of the service's own answer"),
        ({"client_headers": ["Connection"]}, "belongs to the connection"),
    ],
)
def test_what_the_client_cannot_get(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GatewayConfig.from_dict(config(1, 2, **settings))
