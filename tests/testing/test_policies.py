"""The kit for authors of policies: a gateway around a class, plays, and time that stands still."""

import asyncio
import sys
import time
from typing import Any

import msgspec
import pytest

from fastgate import Policy, Request, Response, testing
from fastgate.config import ConfigError
from fastgate.gateway.plugins import PluginError


class Tenant(Policy):
    clock = time

    class Options(msgspec.Struct):
        known: frozenset[str] = frozenset()

    def __init__(self, options: Options) -> None:
        self.known = options.known
        self.notes: list[str] = []

    async def on_startup(self, gateway: Any) -> None:
        self.notes.append("started")

    def on_request(self, request: Request) -> Any:
        name = request.headers.get("x-tenant", "").lower()
        if name == "later":
            return self.clock.sleep(30)  # type: ignore[attr-defined]  # of a FakeClock
        if name not in self.known:
            return Response(403, json={"unknown": name})
        request.headers.set("x-tenant", name)
        return None

    def on_response(self, request: Request, response: Response) -> None:
        response.headers.add("vary", "x-tenant")

    async def on_shutdown(self, gateway: Any) -> None:
        self.notes.append("stopped")


class Second(Policy):
    def on_request(self, request: Request) -> None:
        request.headers.set("x-second", "seen")


KNOWN: dict[str, Any] = {"known": ["acme"]}
ACME = {"x-tenant": "ACME"}


# -- run

async def test_a_class_in_a_gateway() -> None:
    async with testing.run(Tenant, options=KNOWN) as gateway:
        policy: Any = gateway.policies[0]
        assert policy.notes == ["started"]
        response = await gateway.get("/x", headers=ACME)
        assert (response.status, response.text, response.headers["vary"]) == (200, "ok", "x-tenant")
        request = gateway.upstream.requests[-1]
        assert (request.method, request.target, request.headers["x-tenant"]) == ("GET", "/x", "acme")
        response = await gateway.get()
        assert (response.status, response.json()) == (403, {"unknown": ""})
        assert len(gateway.upstream.requests) == 1
    assert policy.notes == ["started", "stopped"]


async def test_every_method_and_its_body() -> None:
    async with testing.run(Second) as gateway:
        for method in ("get", "head", "delete", "options"):
            assert (await getattr(gateway, method)("/", headers=[("x-a", "1"), ("x-a", "2")])).status == 200
            assert gateway.upstream.requests[-1].method == method.upper()
            assert gateway.upstream.requests[-1].headers.get_all("x-a") == ["1", "2"]
        for method in ("post", "put", "patch"):
            await getattr(gateway, method)("/", json={"a": [1]})
            request = gateway.upstream.requests[-1]
            assert (request.method, request.json(), request.headers["content-type"]) == (
                method.upper(), {"a": [1]}, "application/json"
            )
            await getattr(gateway, method)("/", body="ä")
            assert gateway.upstream.requests[-1].text == "ä"
        await gateway.post("/")
        assert gateway.upstream.requests[-1].headers["content-length"] == "0"
    with pytest.raises(TypeError, match="not both"):
        testing.compose_request("POST", body=b"x", json=1)


async def test_objects_classes_and_tables_together() -> None:
    first = testing.make_policy(Tenant, KNOWN)
    async with testing.run(first, Second, Second, route={"strip_prefix": "/api"}, gateway={"via": True}) as gateway:
        await gateway.get("/api/x", headers=ACME)
        request = gateway.upstream.requests[0]
        assert (request.target, request.headers["x-second"], "via" in request.headers) == ("/x", "seen", True)
        assert gateway.policies[0] is first
        assert len({id(policy) for policy in gateway.policies}) == 3
    with pytest.raises(TypeError, match="a policy object already has its options"):
        async with testing.run(first, options=KNOWN):
            pass


async def test_options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match='^options.knwon: unknown key, did you mean "known"'):
        async with testing.run(Tenant, options={"knwon": []}):
            pass


def test_it_needs_no_plugin_of_pytest() -> None:
    async def ask() -> int:
        async with testing.run(Tenant, options=KNOWN) as gateway:
            return (await gateway.get("/", headers=ACME)).status

    assert asyncio.run(ask()) == 200


# -- clock

async def test_a_clock_goes_on_when_it_is_told_to() -> None:
    clock = testing.FakeClock(now=1000.0)
    assert (clock.time(), clock.monotonic()) == (1000.0, 0.0)
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper(*each)) for each in (("b", 20.0), ("a", 10.0), ("now", 0.0), ("c", 30.0))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (woken, clock.sleeping) == (["now"], 3)
    clock.advance(20)
    await asyncio.sleep(0)
    assert (woken, clock.sleeping, clock.time()) == (["now", "a", "b"], 1, 1020.0)
    tasks[-1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.sleeping == 0
    clock.advance(100)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_a_policy_with_a_clock_gets_that_of_the_gateway() -> None:
    async with testing.run(Tenant, Second, options=KNOWN) as gateway:
        assert gateway.policies[0].clock is gateway.clock  # type: ignore[attr-defined]
        assert not hasattr(gateway.policies[1], "clock")
        waiting = asyncio.create_task(gateway.get("/", headers={"x-tenant": "later"}))
        while not gateway.clock.sleeping:
            await asyncio.sleep(0.001)
        assert not gateway.upstream.requests
        gateway.clock.advance(30)
        assert (await waiting).status == 200
    assert Tenant.clock is time


# -- plays

def test_a_play() -> None:
    with testing.playbook(Tenant, Second, options=KNOWN) as play:
        for _ in range(3):
            play.request("GET", "/x?y", headers=ACME)
            play.expect_forward("GET", "/x?y", headers={"x-tenant": "acme", "x-second": "seen", "x-other": None})
            play.respond(201, "made", headers={"x-up": "1"})
            play.expect_answer(201, headers={"vary": "x-tenant", "X-UP": "1"}, body="made")
        play.request("GET").expect_answer(403, json={"unknown": ""})
        play.request("POST", json=[1], headers=ACME).expect_forward("POST", json=[1]).respond(json={"a": 1})
        play.expect_answer(200, json={"a": 1})
        play.request("HEAD", headers=ACME).expect_forward("HEAD").respond(200, headers={"content-length": "5"})
        play.expect_answer(200, headers={"content-length": "5"}, body=b"")
        play.request("GET", headers=ACME).expect_forward().respond(204).expect_answer(204)
        assert play.answer.reason == "No Content"
        assert play.forwarded.headers["x-tenant"] == "acme"


def test_a_play_with_time_and_failures() -> None:
    with testing.playbook(Tenant, options=KNOWN) as play:
        play.request("GET", headers={"x-tenant": "later"}).expect_waiting()
        play.advance(29).expect_waiting()
        play.advance(1).expect_forward().break_off().expect_answer(502)
    with testing.playbook(Tenant, options=KNOWN, route={"retry": {"attempts": 2, "backoff": 0}}) as play:
        play.request("GET", headers=ACME).expect_forward().break_off().expect_forward().respond().expect_answer(200)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (lambda play: play.request("GET").expect_forward(),
         "expected the request to be forwarded, but the gateway answered:\n    HTTP/1.1 403 Forbidden"),
        (lambda play: play.request("GET", headers=ACME).expect_answer(),
         "expected an answer, but the request was forwarded:\n    GET / HTTP/1.1"),
        (lambda play: play.request("GET", headers=ACME), "the play did not expect this forwarded request:\n    GET /"),
        (lambda play: play.request("GET"), "the play did not expect this answer:\n    HTTP/1.1 403 Forbidden"),
        (lambda play: play.request("GET").expect_answer(200),
         "expected the answer to have status 200, but it has 403:\n    HTTP/1.1 403 Forbidden"),
        (lambda play: play.request("GET").expect_answer(json={}),
         "expected the answer to have the JSON {}, but it has {'unknown': ''}:"),
        (lambda play: play.request("GET").expect_answer(body="x"),
         """expected the answer to have the body b'x', but it has b'{"unknown":""}':"""),
        (lambda play: play.request("GET").expect_answer(headers={"vary": None}),
         "expected the answer to have the field vary: None, but it has 'x-tenant':"),
        (lambda play: play.request("GET", headers=ACME).expect_forward("POST"),
         "expected the forwarded request to have method 'POST', but it has 'GET':"),
        (lambda play: play.request("GET", headers=ACME).expect_forward(target="/y"),
         "expected the forwarded request to have target '/y', but it has '/':"),
        (lambda play: play.request("GET").expect_waiting(), "expected the policy to wait, but the gateway answered:"),
        (lambda play: play.respond(), "the upstream has no request to answer: call expect_forward() before respond()"),
    ],
)  # fmt: skip
def test_what_a_play_says_when_something_else_happens(steps: Any, said: str) -> None:
    with pytest.raises(AssertionError) as error:
        with testing.playbook(Tenant, options=KNOWN) as play:
            steps(play)
    assert str(error.value).startswith(said)


def test_a_policy_that_never_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"but nothing happened within 0.05 s: does a policy still wait"):
        with testing.playbook(Tenant) as play:
            monkeypatch.setattr(play, "_timeout", 0.05)
            play.request("GET", headers={"x-tenant": "later"}).expect_forward()


async def test_a_play_has_a_loop_of_its_own() -> None:
    with pytest.raises(RuntimeError, match=r"in an async function, use testing\.run"):
        with testing.playbook(Tenant):
            pass


def test_a_play_opens_no_connection() -> None:
    opened: list[str] = []

    def watch(event: str, arguments: Any) -> None:
        if watching and event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
            opened.append(event)

    watching = True
    sys.addaudithook(watch)
    with testing.playbook(Second) as play:
        play.request("GET").expect_forward().respond().expect_answer(200)
    watching = False
    assert opened == []


def test_a_hook_that_is_spelled_wrong() -> None:
    class Misspelt(Policy):
        def on_reponse(self, request: Request, response: Response) -> None: ...

    with pytest.raises(PluginError, match='Misspelt.on_reponse is not a valid hook, did you mean "on_response"?'):
        testing.make_policy(Misspelt)
