"""The contract of policies, through a gateway with real sockets."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from policies import plugins

from fastgate import Gateway, GatewayConfig
from fastgate.config import ConfigError
from fastgate.gateway.plugins import PluginError
from fastgate.gateway.policy import HOOKS, STREAM_HOOKS, Policy, defines
from fastgate.testing import Answer, RawClient, RecordingUpstream, proxy_config, respond, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(autouse=True)
def fresh_notes() -> Iterator[None]:
    plugins.NOTES.clear()
    plugins.KEPT.clear()
    yield
    plugins.KEPT.clear()


def configured(port: int, *uses: tuple[str, dict[str, Any]], **route: Any) -> dict[str, Any]:
    """A gateway to this port whose route uses policies of these classes."""
    config = proxy_config(port, route={"policies": [{"use": f"p{n}"} for n in range(len(uses))], **route})
    config["plugins"] = [
        {"name": f"p{number}", "use": f"policies.plugins:{kind}", "options": options}
        for number, (kind, options) in enumerate(uses)
    ]
    return config


def noting(*kinds: str, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """Policies called a, b, c, …; ``a="…"`` sets the option ``fail``, ``a_answers="…"`` the option ``answer``."""
    made = []
    for name, kind in zip("abc", kinds, strict=False):
        extra = {"fail": options[name]} if name in options else {}
        extra |= {"answer": options[f"{name}_answers"]} if f"{name}_answers" in options else {}
        made.append((kind, {"name": name, **extra}))
    return made


KINDS = pytest.mark.parametrize("kind", ["Noting", "Awaiting"])


# -- life

@KINDS
async def test_the_life_of_a_policy_in_order(kind: str) -> None:
    async with RecordingUpstream() as upstream:
        async with start_gateway(configured(upstream.port, *noting(kind, kind, "Noting"))) as gateway:
            begun = plugins.NOTES[:]
            assert begun == ["a.init", "b.init", "c.init", "a.on_startup", "b.on_startup", "c.on_startup"]
            plugins.NOTES.clear()
            async with RawClient(gateway.port) as client:
                for _ in range(2):
                    assert (await client.request(GET)).body == b"ok"
                    called = plugins.NOTES[:]
                    assert called[:3] == ["a.on_request", "b.on_request", "c.on_request"]
                    assert called[3:] == ["c.on_response", "b.on_response", "a.on_response"]
                    plugins.NOTES.clear()
        assert plugins.NOTES == ["c.on_shutdown", "b.on_shutdown", "a.on_shutdown"]


async def test_one_object_serves_every_route_that_names_it() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *noting("Noting"))
        config["routes"].append({"name": "other", "path": "/other", "upstream": "backend", "policies": [{"use": "p0"}]})
        config["routes"].append({"name": "plain", "path": "/plain", "upstream": "backend"})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for path, calls in (("/", 1), ("/other", 1), ("/plain", 0)):
                plugins.NOTES.clear()
                assert (await client.request(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())).status == 200
                assert plugins.NOTES.count("a.on_request") == calls
    assert plugins.NOTES[-1:] == ["a.on_shutdown"]


async def test_a_start_that_fails_ends_those_that_had_started() -> None:
    config = GatewayConfig.from_dict(configured(1, *noting("Noting", "Noting", "Noting", b="on_startup")))
    gateway = Gateway(config)
    with pytest.raises(PluginError, match="p1.*b fails in on_startup") as error:
        await gateway.start()
    assert isinstance(error.value.__cause__, ValueError)
    assert plugins.NOTES[3:] == ["a.on_startup", "b.on_startup", "a.on_shutdown"]
    assert gateway.open_connections == 0
    await gateway.close()
    assert plugins.NOTES.count("a.on_shutdown") == 1


async def test_a_shutdown_that_fails_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async with start_gateway(configured(1, *noting("Noting", "Noting", "Noting", b="on_shutdown"))):
        pass
    assert plugins.NOTES[-3:] == ["c.on_shutdown", "b.on_shutdown", "a.on_shutdown"]
    assert [record.levelno for record in caplog.records if record.levelno >= logging.ERROR] == [logging.ERROR]
    assert "on_shutdown" in caplog.text


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("Noting", {"name": "a", "fail": "init"}, "a fails in init"),
        ("Noting", {}, "name"), ("Nowhere", {}, "Nowhere"), ("WrongBody", {}, "body"), ("NotAPolicy", {}, "Policy"),
    ],
)
async def test_a_policy_that_cannot_be_made_keeps_the_gateway_from_starting(
    kind: str, options: dict[str, Any], word: str
) -> None:
    config = GatewayConfig.from_dict(configured(1, (kind, options)))
    with pytest.raises(ConfigError, match=word) as error:
        await Gateway(config).start()
    assert "plugins[0]" in str(error.value)


async def test_all_policies_that_cannot_be_made_are_told_of() -> None:
    config = GatewayConfig.from_dict(configured(1, ("Nowhere", {}), ("Noting", {"name": "a"}), ("WrongBody", {})))
    with pytest.raises(ConfigError) as error:
        await Gateway(config).start()
    assert "plugins[0]" in str(error.value)
    assert "plugins[2]" in str(error.value)
    assert "plugins[1]" not in str(error.value)


# -- only what is defined is called

def test_what_a_class_defines() -> None:
    noting = plugins.Finishing({"name": "a"})
    assert {hook for hook in HOOKS if defines(noting, hook)} == set(HOOKS) - set(STREAM_HOOKS)
    for kind, hooks in (
        (plugins.Bare, set()), (plugins.RequestOnly, {"on_request"}), (plugins.Inherited, {"on_request"}),
        (plugins.ResponseOnly, {"on_response"}), (Policy, set()),
    ):
        assert {hook for hook in HOOKS if defines(kind({}), hook)} == hooks


async def test_only_defined_hooks_are_bound() -> None:
    async with RecordingUpstream() as upstream:
        for kinds, bound in (
            (("Bare",), (0, 0, 0)), (("RequestOnly",), (1, 0, 0)), (("ResponseOnly",), (0, 1, 0)),
            (("RequestOnly", "Bare", "Inherited", "ResponseOnly"), (2, 1, 0)),
        ):
            async with start_gateway(configured(upstream.port, *[(kind, {}) for kind in kinds])) as gateway:
                assert gateway._engine is not None
                match = gateway._engine.runtime.router.match("GET", "/")
                assert match is not None
                route = match.value
                hooks = (route.on_request, route.on_response, route.on_error)
                assert tuple(len(each or ()) for each in hooks) == bound
                assert all(each is None for each, count in zip(hooks, bound, strict=True) if count == 0)


# -- answering and failing

@KINDS
async def test_an_answer_on_the_request_side(kind: str) -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *noting(kind, kind, kind, b_answers="on_request"))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            plugins.NOTES.clear()
            for _ in range(2):
                response = await client.request(GET)
                assert (response.status, response.body) == (418, b"b answers in on_request")
            assert plugins.NOTES[:2] == ["a.on_request", "b.on_request"]
            assert "c.on_request" not in plugins.NOTES
            assert upstream.requests == []


@KINDS
async def test_an_answer_on_the_response_side(kind: str) -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *noting(kind, kind, b_answers="on_response"))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            plugins.NOTES.clear()
            for _ in range(2):
                response = await client.request(GET)
                assert (response.status, response.body) == (418, b"b answers in on_response")
            assert plugins.NOTES[2:4] == ["b.on_response", "a.on_response"]
            assert len(upstream.requests) == 2


@KINDS
@pytest.mark.parametrize("hook", ["on_request", "on_response"])
async def test_a_hook_that_raises(kind: str, hook: str, caplog: pytest.LogCaptureFixture) -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *noting(kind, "Noting", a=hook))
        config["routes"].append({"name": "plain", "path": "/plain", "upstream": "backend"})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for count in range(1, 4):
                response = await client.request(GET)
                assert response.status == 500
                assert b"fails" not in response.body
                told = [record for record in caplog.records if record.levelno == logging.ERROR]
                assert len(told) == count
                assert "all" in told[-1].getMessage()
                assert f"a fails in {hook}" in told[-1].getMessage()
                assert told[-1].exc_info is not None
                assert "policy_failed 500" in plugins.NOTES
            response = await client.request(b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n")
            assert response.status == 200
            assert gateway.metrics()["policy_errors"] == 3


@KINDS
async def test_a_failure_that_a_policy_answers(kind: str) -> None:
    config = configured(1, *noting(kind, kind, "Noting", b_answers="on_error"))
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        plugins.NOTES.clear()
        response = await client.request(GET)
        assert (response.status, response.body) == (418, b"b answers in on_error")
        assert plugins.NOTES[3:] == ["connect_failed 502", "c.on_error", "connect_failed 502", "b.on_error"]


async def test_a_failure_without_an_answer_or_with_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    for options, status in (({}, 502), ({"a": "on_error"}, 500)):
        async with start_gateway(configured(1, *noting("Noting", **options))) as gateway:
            async with RawClient(gateway.port) as client:
                caplog.clear()
                response = await client.request(GET)
                assert response.status == status
                errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
                assert len(errors) == (1 if options else 0)


# -- bodies

async def test_bodies_that_are_read_whole() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, ("Uppercase", {}))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for size in (0, 10, 300_000):
                body = bytes(97 + n % 26 for n in range(size))
                upstream.script(respond(b"answer " * 50_000, "201 Created", "X-Up: 1", "Y: 2"))
                await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + body)
                response = await client.response("POST")
                assert (response.status, response.body) == (201, b"ANSWER " * 50_000)
                assert response.fields.get("X-Up") == "1"
                assert response.fields.get("Y") is None
                request = upstream.requests[-1]
                assert request.fields.get("X-Length") == str(size)
                assert hashlib.sha256(request.body).digest() == hashlib.sha256(body).digest()


async def test_a_body_over_the_limit_of_a_route_that_reads_it() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, ("Uppercase", {}), max_body="1KB")
        async with start_gateway(config) as gateway:
            async with RawClient(gateway.port) as client:
                await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
                await client.send(b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n0\r\n\r\n")
                assert (await client.response("POST")).status == 413
            assert upstream.requests == []
            async with RawClient(gateway.port) as client:
                upstream.script(respond(b"x" * 1025))
                assert (await client.request(GET)).status == 502


async def test_a_body_that_is_peeked_into_while_it_streams() -> None:
    async with RecordingUpstream() as upstream:
        async with start_gateway(configured(upstream.port, ("Peek", {}))) as gateway, RawClient(gateway.port) as client:
            body = b"hello" + bytes(n % 251 for n in range(500_000))
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:20_000])
            request = await upstream.request()
            assert request.fields.get("X-Peeked") == "16384 hello"
            await client.send(body[20_000:])
            assert (await client.response("POST")).status == 200
            assert request.body == body
            short = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
            assert (await client.request(short)).status == 200
            assert upstream.requests[-1].fields.get("X-Peeked") == "3 abc"


# -- views

async def test_views_are_over_when_the_exchange_is() -> None:
    async with RecordingUpstream() as upstream:
        async with start_gateway(configured(upstream.port, ("Keeps", {}))) as gateway:
            async with RawClient(gateway.port) as client:
                assert (await client.request(GET)).status == 200
                request, headers, response, response_headers = plugins.KEPT
                for use in (
                    lambda: request.method, lambda: request.state, lambda: headers.get("host"), lambda: response.status,
                    lambda: response_headers.items(), lambda: headers.set("a", "b"),
                ):
                    with pytest.raises(RuntimeError, match="over"):
                        use()


async def test_a_policy_that_is_still_waiting_when_the_client_leaves() -> None:
    entered = asyncio.Event()
    cancelled = asyncio.Event()

    async def wait(request: Any) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, ("Keeps", {}))
        hook = plugins.Keeps.on_request
        plugins.Keeps.on_request = lambda self, request: wait(request)  # type: ignore[assignment,method-assign]
        try:
            async with start_gateway(config) as gateway:
                async with RawClient(gateway.port) as client:
                    await client.send(GET)
                    await asyncio.wait_for(entered.wait(), 5)
                await asyncio.wait_for(cancelled.wait(), 5)
                assert upstream.requests == []
        finally:
            plugins.Keeps.on_request = hook  # type: ignore[method-assign]


async def test_a_client_gets_the_first_bytes_before_the_upstream_has_sent_the_last() -> None:
    """Policies that read no body do not hold one back."""
    gate = asyncio.Event()

    async def until_told(_: Any) -> None:
        await asyncio.wait_for(gate.wait(), 5)

    async with RecordingUpstream() as upstream:
        upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", until_told, b"def"))
        config = configured(upstream.port, *noting("Noting", "Awaiting"))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            await client.send(GET)
            response = await client.head()
            assert await client.body(response, limit=3) == b"abc"
            gate.set()
            assert await client.body(response) == b"abcdef"
