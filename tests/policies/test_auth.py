"""Several ways to come in on one route: which one decides, who it is then, what is said when none does."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from policies.passwords import ALICE, Hashing, credential, get
from tls.authorities import Files

from fastgate._core.exchange.identity import Identity
from fastgate.gateway import Gateway
from fastgate.testing import Answer, RawClient, RecordingUpstream, proxy_config, respond, stall, start_gateway, wait_for
from fastgate.testing.http_messages import RecordedResponse

RIGHT, WRONG = credential("alice", "secret"), credential("alice", "guess")
GRANTED = respond(b"", "200 OK", "X-User: service", "X-Group: staff")
CHALLENGED = respond(b"no", "401 Unauthorized", "WWW-Authenticate: Bearer")
FORBIDDEN = respond(b"not you", "403 Forbidden")
LOGIN = respond(b"", "302 Found", "Location: https://login.test/")
DOWN = respond(b"", "500 Internal Server Error")
BASIC = 'Basic realm="fastgate", charset="UTF-8"'
SENT = {"set": {"x-who": "{key.id}", "x-group-claim": "{claim.x-group}", "x-cn": "{claim.cn}"}}


class Parts(NamedTuple):
    gateway: Gateway
    service: RecordingUpstream
    upstream: RecordingUpstream


def config(port: int, service: int, rule: dict[str, Any] | None, **route: Any) -> dict[str, Any]:
    made = proxy_config(port, route={**({"auth": rule} if rule else {}), "request_headers": SENT, **route})
    forward = {"url": f"http://127.0.0.1:{service}/", "response_headers": ["x-user", "x-group"]}
    made["auth"] = {"basic": {"users": {"alice": ALICE}}, "forward": {**forward, "identity_header": "x-user"}}
    return made


@asynccontextmanager
async def running(rule: dict[str, Any], answer: Answer | bytes = GRANTED, **route: Any) -> AsyncIterator[Parts]:
    async with RecordingUpstream(default=answer) as service, RecordingUpstream() as upstream:
        async with start_gateway(config(upstream.port, service.port, rule, **route)) as gateway:
            yield Parts(gateway, service, upstream)


async def ask(gateway: Gateway, request: bytes) -> RecordedResponse:
    async with RawClient(gateway.port) as client:
        return await client.request(request)


# --- any ---


@pytest.mark.parametrize(
    ("order", "authorization", "answer", "who", "asked"),
    [
        (["basic", "forward"], RIGHT, GRANTED, "alice", 0),
        (["basic", "forward"], WRONG, GRANTED, "service", 1),
        (["basic", "forward"], "", GRANTED, "service", 1),
        (["forward", "basic"], RIGHT, GRANTED, "service", 1),
        (["forward", "basic"], RIGHT, CHALLENGED, "alice", 1),
        (["forward", "basic"], RIGHT, FORBIDDEN, "alice", 1),
        (["forward", "basic"], RIGHT, LOGIN, "alice", 1),
        (["forward", "basic"], RIGHT, DOWN, "alice", 1),
    ],
)
async def test_the_first_that_grants_decides(
    order: list[str], authorization: str, answer: bytes, who: str, asked: int
) -> None:
    async with running({"any": order}, answer) as parts:
        assert (await ask(parts.gateway, get(authorization, "X-User: root"))).status == 200
    assert len(parts.service.requests) == asked
    fields = parts.upstream.requests[0].fields
    assert fields["x-who"] == who
    assert fields.get_all("x-user") == (["service"] if who == "service" else [])


@pytest.mark.parametrize("order", [["basic", "forward"], ["forward", "basic"]])
@pytest.mark.parametrize(
    ("authorization", "answer", "status", "challenges"),
    [
        ("", CHALLENGED, 401, ["Bearer", BASIC]),
        (WRONG, CHALLENGED, 401, ["Bearer", BASIC]),
        (WRONG, FORBIDDEN, 403, []),
        ("", LOGIN, 302, []),
        (WRONG, LOGIN, 302, []),
        (WRONG, DOWN, 503, []),
        ("", DOWN, 503, []),
    ],
)
async def test_when_nobody_grants_the_gravest_is_told(
    order: list[str], authorization: str, answer: bytes, status: int, challenges: list[str]
) -> None:
    async with running({"any": order}, answer) as parts:
        told = await ask(parts.gateway, get(authorization))
    assert told.status == status
    assert told.fields.get_all("www-authenticate") == challenges
    assert told.body == {401: b"no", 403: b"not you", 302: b""}.get(status, told.body)
    assert parts.upstream.requests == []


# --- all ---


@pytest.mark.parametrize(("order", "who"), [(["basic", "forward"], "alice"), (["forward", "basic"], "service")])
async def test_the_first_of_all_says_who_it_is_and_the_others_what_else_is_known(order: list[str], who: str) -> None:
    async with running({"all": order}) as parts:
        for _ in range(2):  # with the password known, and before that
            assert (await ask(parts.gateway, get(RIGHT, "X-User: root", "X-Group: root"))).status == 200
    for request in parts.upstream.requests:
        assert request.fields["x-who"] == who
        assert request.fields["x-group-claim"] == "staff"
        assert request.fields.get_all("x-user") == ["service"]
        assert request.fields.get_all("x-group") == ["staff"]


@pytest.mark.parametrize(
    ("order", "authorization", "answer", "status", "asked"),
    [
        (["basic", "forward"], WRONG, GRANTED, 401, 0),
        (["basic", "forward"], "", GRANTED, 401, 0),
        (["basic", "forward"], RIGHT, CHALLENGED, 401, 1),
        (["basic", "forward"], RIGHT, FORBIDDEN, 403, 1),
        (["basic", "forward"], RIGHT, DOWN, 503, 1),
        (["forward", "basic"], WRONG, GRANTED, 401, 1),
        (["forward", "basic"], RIGHT, LOGIN, 302, 1),
        (["forward", "basic"], RIGHT, DOWN, 503, 1),
    ],
)
async def test_the_first_of_all_that_refuses_decides(
    order: list[str], authorization: str, answer: bytes, status: int, asked: int
) -> None:
    async with running({"all": order}, answer) as parts:
        told = await ask(parts.gateway, get(authorization))
    assert told.status == status
    assert len(parts.service.requests) == asked
    if status == 401:
        assert BASIC in told.fields.get_all("www-authenticate")
    assert parts.upstream.requests == []


# --- certificates among others ---


@asynccontextmanager
async def with_certificates(files: Files, rule: dict[str, Any], answer: bytes = GRANTED) -> AsyncIterator[Parts]:
    certificate = files.issue("a", "a.test")
    async with RecordingUpstream(default=answer) as service, RecordingUpstream() as upstream:
        made = config(upstream.port, service.port, rule)
        made["auth"]["certificate"] = {"allow": ["billing"]}
        made["gateway"]["tls"] = {
            "certificates": [{"cert": certificate.cert, "key": certificate.key}],
            "client_auth": "optional",
            "client_ca": files.ca,
        }
        async with start_gateway(made) as gateway:
            yield Parts(gateway, service, upstream)


async def ask_with(files: Files, gateway: Gateway, name: str, request: bytes) -> RecordedResponse:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.configure_trust(context)
    if name:
        files.authority.issue_cert(common_name=name).configure_cert(context)
    async with RawClient(gateway.port, tls=context, server_name="a.test") as client:
        return await client.request(request)


@pytest.mark.parametrize(
    ("rule", "name", "authorization", "status", "who"),
    [
        ({"any": ["certificate", "basic"]}, "billing", "", 200, "billing"),
        ({"any": ["certificate", "basic"]}, "other", RIGHT, 200, "alice"),
        ({"any": ["certificate", "basic"]}, "", RIGHT, 200, "alice"),
        ({"any": ["certificate", "basic"]}, "other", WRONG, 403, ""),
        ({"any": ["certificate", "basic"]}, "", WRONG, 401, ""),
        ({"any": ["basic", "certificate"]}, "billing", WRONG, 200, "billing"),
        ({"all": ["certificate", "basic"]}, "billing", RIGHT, 200, "billing"),
        ({"all": ["basic", "certificate"]}, "billing", RIGHT, 200, "alice"),
        ({"all": ["basic", "certificate"]}, "", RIGHT, 401, ""),
        ({"all": ["basic", "certificate"]}, "other", RIGHT, 403, ""),
        ({"all": ["certificate", "basic"]}, "billing", "", 401, ""),
        ({"all": ["forward", "basic", "certificate"]}, "billing", RIGHT, 200, "service"),
        ({"all": ["certificate", "forward", "basic"]}, "billing", RIGHT, 200, "billing"),
        ({"all": ["certificate", "forward", "basic"]}, "billing", WRONG, 401, ""),
    ],
)
async def test_with_certificates(
    tmp_path: Path, rule: dict[str, Any], name: str, authorization: str, status: int, who: str
) -> None:
    files = Files(tmp_path)
    async with with_certificates(files, rule) as parts:
        told = await ask_with(files, parts.gateway, name, get(authorization))
    assert told.status == status
    assert [request.fields["x-who"] for request in parts.upstream.requests] == ([who] if who else [])
    if status == 401:
        assert told.fields.get_all("www-authenticate") == [BASIC]
    if status == 200 and "all" in rule:
        assert parts.upstream.requests[0].fields["x-cn"] == "billing"


# --- while one of them waits ---


@pytest.mark.parametrize("order", [["basic", "forward"], ["forward", "basic"]])
async def test_a_client_that_leaves_while_the_second_is_asked(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = Hashing(monkeypatch)
    answer = Answer(stall()) if order[1] == "forward" else Answer(GRANTED)
    async with running({"all": order}, answer) as parts:
        if order[1] == "basic":
            hashing.hold()
        client = await RawClient(parts.gateway.port).open()
        await client.send(get(RIGHT))
        await hashing.begun()
        await parts.service.request(0)
        client.reset()
        while parts.gateway.open_connections:
            await asyncio.sleep(0)
        if order[1] == "forward":
            assert await parts.service.connections[0].wait_ended()
        hashing.let_go()
    assert parts.upstream.requests == []


async def test_the_body_comes_meanwhile_and_goes_on_whole() -> None:
    go = asyncio.Event()
    async with running({"all": ["forward", "basic"]}, Answer(wait_for(go), GRANTED)) as parts:
        async with RawClient(parts.gateway.port) as client:
            head = f"POST / HTTP/1.1\r\nHost: a.test\r\nAuthorization: {RIGHT}\r\nContent-Length: 300000\r\n\r\n"
            sending = asyncio.create_task(client.send(head.encode() + b"a" * 300_000))
            await parts.service.request(0)
            go.set()
            assert (await client.response()).status == 200
            await sending
    assert parts.upstream.requests[0].body == b"a" * 300_000


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with running({"any": ["basic"]}) as parts, RawClient(parts.gateway.port) as client:
        await client.send(get(RIGHT) + get(WRONG) + get(RIGHT) + get())
        assert [(await client.response()).status for _ in range(4)] == [200, 401, 200, 401]


@pytest.mark.parametrize("order", [["basic", "forward"], ["forward", "basic"]])
async def test_a_graceful_stop_waits_for_both(order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashing = Hashing(monkeypatch)
    go = asyncio.Event()
    async with running({"all": order}, Answer(wait_for(go), GRANTED)) as parts:
        client = await RawClient(parts.gateway.port).open()
        await client.send(get(RIGHT))
        await (hashing.begun() if order[0] == "basic" else parts.service.request(0))
        stopping = asyncio.create_task(parts.gateway.drain())
        go.set()
        assert (await client.response()).status == 200
        client.close()
        await stopping
    assert len(parts.upstream.requests) == 1


async def test_the_time_of_the_route_holds_for_those_who_are_asked_too() -> None:
    async with running({"any": ["forward"]}, Answer(stall()), timeouts={"total": "50ms"}) as parts:
        assert (await ask(parts.gateway, get())).status == 504
        assert await parts.service.connections[0].wait_ended()
    assert parts.upstream.requests == []


# --- who it is ---


def test_a_policy_cannot_change_what_the_next_request_is_known_by() -> None:
    one = Identity("alice", "jwt", claims={"role": "reader"})
    both = one.with_others(Identity("a.test", "certificate", claims={"role": "admin", "cn": "a.test"}))
    assert (one.claims, both.claims) == ({"role": "reader"}, {"role": "reader", "cn": "a.test"})
    for identity in (one, both):
        claims: Any = identity.claims
        with pytest.raises(TypeError):
            claims["role"] = "admin"


# --- what the log says ---


async def test_what_the_log_says(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream() as service, RecordingUpstream() as upstream:
        service.script(GRANTED, CHALLENGED, LOGIN, FORBIDDEN, DOWN)
        made = config(upstream.port, service.port, {"any": ["basic", "forward"]})
        made["gateway"]["access_log"] = {"path": str(log)}
        async with start_gateway(made) as gateway:
            for authorization in (RIGHT, WRONG, WRONG, WRONG, WRONG, WRONG):
                await ask(gateway, get(authorization))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["status"], line["end"], line["identity"]) for line in lines] == [
        (200, "ok", "alice"),
        (200, "ok", "service"),
        (401, "unauthenticated", None),
        (302, "unauthenticated", None),
        (403, "forbidden", None),
        (503, "auth_unavailable", None),
    ]


# --- routes without ---


@pytest.mark.parametrize("public", [True, False])
async def test_a_public_route_lets_everybody_in_and_nobody_say_who_he_is(public: bool) -> None:
    async with RecordingUpstream(default=GRANTED) as service, RecordingUpstream() as upstream:
        made = config(upstream.port, service.port, None, public=public)
        if public:
            del made["routes"][0]["request_headers"]  # which say who it is
        made["defaults"] = {"auth": {"any": ["basic"]}}
        async with start_gateway(made) as gateway:
            told = await ask(gateway, get("", "X-User: root"))
    assert told.status == (200 if public else 401)
    assert service.requests == []
    if public:
        assert "x-user" not in upstream.requests[0].fields


async def test_the_fields_of_a_method_are_taken_away_where_only_another_is_used() -> None:
    async with running({"any": ["basic"]}) as parts:
        assert (await ask(parts.gateway, get(RIGHT, "X-User: root", "X-Group: root"))).status == 200
    assert not {"x-user", "x-group"} & set(parts.upstream.requests[0].fields.names)


async def test_a_route_that_switches_the_default_off_is_public() -> None:
    async with RecordingUpstream() as service, RecordingUpstream() as upstream:
        made = config(upstream.port, service.port, None, auth=False)
        del made["routes"][0]["request_headers"]
        made["defaults"] = {"auth": {"any": ["basic"]}}
        async with start_gateway(made) as gateway:
            assert (await ask(gateway, get("", "X-User: root", "X_Group: root"))).status == 200
    assert not {"x-user", "x-group", "x_group"} & set(upstream.requests[0].fields.names)


@pytest.mark.parametrize(
    "rule", [{"any": ["basic", "forward"]}, {"any": ["basic"]}, {"all": ["forward", "basic"]}, None]
)
@pytest.mark.parametrize("answer", [GRANTED, respond(b"")])
async def test_a_field_that_the_service_reads_and_sets_is_nobody_elses(
    rule: dict[str, Any] | None, answer: bytes
) -> None:
    async with RecordingUpstream(default=answer) as service, RecordingUpstream() as upstream:
        made = config(upstream.port, service.port, rule, **({} if rule else {"public": True}))
        made["auth"]["forward"]["request_headers"] = ["authorization", "x-group"]
        if rule is None:
            del made["routes"][0]["request_headers"]
        async with start_gateway(made) as gateway:
            for _ in range(2):  # with the password known, and before that
                assert (await ask(gateway, get(RIGHT, "X-Group: root", "X_GROUP: root"))).status == 200
    if rule is not None and rule.get("all"):
        assert service.requests[0].fields.get_all("x-group") == ["root"]
    for request in upstream.requests:
        asked = rule is not None and "all" in rule and answer == GRANTED
        assert request.fields.get_all("x-group") == (["staff"] if asked else [])
        assert "x_group" not in request.fields


async def test_who_is_refused_is_nobody_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream(default=FORBIDDEN) as service, RecordingUpstream() as upstream:
        made = config(upstream.port, service.port, {"all": ["basic", "forward"]})
        made["gateway"]["access_log"] = {"path": str(log)}
        async with start_gateway(made) as gateway:
            assert (await ask(gateway, get(RIGHT))).status == 403
    assert json.loads(log.read_text())["identity"] is None


async def test_limits_count_by_who_it_is() -> None:
    async with running({"any": ["basic", "forward"]}, rate_limit={"rate": 1, "per": "1h", "key": "key"}) as parts:
        told = [await ask(parts.gateway, get(each)) for each in (RIGHT, RIGHT, "", "")]
    assert [each.status for each in told] == [200, 429, 200, 429]
    assert json.loads(told[1].body)["status"] == 429
