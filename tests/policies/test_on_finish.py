"""``on_finish`` of plugins, through a gateway with real sockets: who is told, of what, when, and what waits."""

import asyncio
import logging
from typing import Any

import pytest
from policies import plugins
from policies.test_plugin_hooks import configured, noting
from waiting import until

from fastgate import Gateway, GatewayConfig, Policy, Request, Response, testing
from fastgate._core.exchange.exchange import FinishMark
from fastgate.gateway import Outcome
from fastgate.gateway.plugins import PluginError, check_class
from fastgate.testing import Answer, RawClient, RecordingUpstream, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Usage(Policy):
    """Keeps what it is told."""

    def __init__(self, options: Any = None) -> None:
        self.told: list[tuple[str, int, str, int, int]] = []

    def on_finish(self, request: Request, outcome: Outcome) -> Any:
        told = (outcome.cause, outcome.status, request.raw_path, outcome.bytes_in, outcome.bytes_out)
        self.told.append(told)


class Begins(Usage):
    """The same, and counts what it has begun."""

    begun = 0

    def on_request(self, request: Request) -> Response | None:
        self.begun += 1
        return Response(403, "no") if request.raw_path == "/refused" else None


class Refuses(Policy):
    def on_request(self, request: Request) -> Response | None:
        return Response(402, "pay") if request.raw_path == "/pay" else None


class Waits(Usage):
    """Waits, after the exchange, until it is let go on."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.go = asyncio.Event()
        self.order: list[str] = []

    async def on_finish(self, request: Request, outcome: Outcome) -> None:
        self.order.append("begun")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)  # what it cleans up
            self.order.append("cancelled")
            raise
        super().on_finish(request, outcome)
        self.order.append("done")

    async def on_shutdown(self, gateway: Gateway) -> None:
        self.order.append("shutdown")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_each_request_that_was_begun_is_told_of_once() -> None:
    first, last = Begins(), Begins()
    async with testing.run(first, Refuses, Usage, last) as gateway:
        watching: Any = gateway.policies[2]
        for path, status in (("/", 200), ("/pay", 402), ("/refused", 403)):
            assert (await gateway.post(path, body="12345")).status == status
        assert first.told == [("ok", 200, "/", 5, 2), ("policy", 402, "/pay", 5, 3), ("policy", 403, "/refused", 5, 2)]
        assert (watching.told, last.told) == ([first.told[0]], [first.told[0]])
        assert (first.begun, last.begun) == (3, 1)
        # This one is refused before it comes to any plugin.
        async with RawClient(gateway.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n")
            assert (await client.response("POST")).status == 413
        assert len(first.told) == first.begun == 3


async def test_the_hooks_are_called_in_the_reverse_order_and_last() -> None:
    plugins.NOTES.clear()
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *noting("Finishing", "Noting", "Finishing"))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            plugins.NOTES.clear()
            assert (await client.request(GET)).status == 200
            assert plugins.NOTES == [
                "a.on_request", "b.on_request", "c.on_request", "c.on_response", "b.on_response", "a.on_response",
                "c.on_finish ok 200", "a.on_finish ok 200",
            ]  # fmt: skip


async def test_a_client_that_leaves_and_a_gateway_that_stops() -> None:
    usage = Begins()
    stays = asyncio.Event()
    answering = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", lambda _: stays.wait(), b"def")
    async with testing.run(usage) as gateway:
        gateway.upstream.script(answering)
        async with RawClient(gateway.port) as client:
            await client.send(GET)
            await client.body(await client.head(), limit=3)
        await until(lambda: usage.told)
        assert usage.told == [("client_gone", 200, "/", 0, 3)]
        gateway.upstream.script(Answer(lambda _: stays.wait()))
        async with RawClient(gateway.port) as client:
            await client.send(GET)
            await until(lambda: len(gateway.upstream.requests) == 2)
            await gateway.gateway.close()
        assert usage.told[1:] == [("stopped", 503, "/", 0, 0)]
        stays.set()


async def test_an_upstream_that_is_not_there() -> None:
    usage = Begins()
    async with testing.run(usage, upstream={"targets": [{"host": "127.0.0.1", "port": 1}]}) as gateway:
        assert (await gateway.get()).status == 502
        assert [told[:2] for told in usage.told] == [("connect_failed", 502)]


async def test_what_a_hook_raises_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Policy):
        def on_finish(self, request: Request, outcome: Outcome) -> None:
            raise LookupError("no such account")

    usage = Usage()
    async with testing.run(usage, Fails, Usage) as gateway:
        for count in (1, 2):
            assert (await gateway.get()).status == 200
            assert len(errors(caplog)) == count
            assert "Fails.on_finish on route 'all' raised LookupError: no such account" in errors(caplog)[-1]
            assert gateway.gateway.metrics()["policy_errors"] == count
        assert len(usage.told) == 2


async def test_an_async_hook_runs_beside_what_follows() -> None:
    waits = Waits()
    async with testing.run(waits) as gateway:
        async with RawClient(gateway.port) as client:
            for _ in range(3):
                assert (await client.request(GET)).status == 200
        assert waits.order == ["begun"] * 3
        assert waits.told == []
        waits.go.set()
        await until(lambda: len(waits.told) == 3)
        assert set(waits.told) == {("ok", 200, "/", 0, 2)}


async def test_both_kinds_are_measured() -> None:
    async with testing.run(Usage, Waits) as gateway:
        waits: Any = gateway.policies[1]
        assert (await gateway.get()).status == 200
        waits.go.set()
        await until(lambda: waits.told)
        times: Any = gateway.gateway.metrics()["plugins"]
        assert (times["Usage"]["running"].count, times["Usage"]["waiting"].count) == (1, 0)
        assert (times["Waits"]["running"].count, times["Waits"]["waiting"].count) == (1, 1)


async def test_a_drain_waits_for_async_hooks() -> None:
    waits = Waits()
    async with testing.run(waits) as gateway:
        assert (await gateway.get()).status == 200
        draining = asyncio.create_task(gateway.gateway.drain())
        await asyncio.sleep(0.2)
        # It has not come to the end, which would give the hook a second only.
        assert not gateway.gateway._closed
        waits.go.set()
        await draining
        assert waits.order == ["begun", "done", "shutdown"]


async def test_a_stop_gives_async_hooks_a_moment() -> None:
    waits = Waits()
    async with testing.run(waits) as gateway:
        assert (await gateway.get()).status == 200
        asyncio.get_running_loop().call_later(0.1, waits.go.set)
        await gateway.gateway.close()
        assert waits.order == ["begun", "done", "shutdown"]


async def test_a_stop_cancels_async_hooks_before_the_plugin_is_shut_down(caplog: pytest.LogCaptureFixture) -> None:
    waits = Waits()
    async with testing.run(waits) as gateway:
        assert (await gateway.get()).status == 200
        await gateway.gateway.close()
        assert waits.order == ["begun", "cancelled", "shutdown"]
        assert "Waits.on_finish on route 'all' raised TimeoutError: on_finish was cancelled before it was done" in str(
            errors(caplog)
        )


async def test_a_plugin_that_a_reload_removes_is_shut_down_after_its_async_hooks() -> None:
    waits = Waits()
    async with RecordingUpstream() as upstream:
        config = testing.proxy_config(upstream.port, route={"policies": [{"use": "waits"}]})
        config["plugins"] = [{"name": "waits", "use": "fastgate:Policy"}]
        async with Gateway(GatewayConfig.from_dict(config), policies={"waits": waits}) as gateway:
            async with RawClient(gateway.port) as client:
                assert (await client.request(GET)).status == 200
                await gateway.reload(GatewayConfig.from_dict(testing.proxy_config(upstream.port)))
                for _ in range(3):
                    assert (await client.request(GET)).status == 200
                assert waits.order == ["begun"]
                waits.go.set()
                await until(lambda: "shutdown" in waits.order)
            assert waits.order == ["begun", "done", "shutdown"]


def test_a_play_tells_of_each_end() -> None:
    usage = Begins()
    with testing.playbook(usage) as play:
        play.request("GET", "/y").expect_forward().break_off().expect_answer(502)
        play.request("GET", "/x").expect_forward().respond(200, "four").expect_answer(200)
        play.request("GET", "/refused").expect_answer(403)
    assert usage.told[0][:3] == ("upstream_reset", 502, "/y")
    assert usage.told[1:] == [("ok", 200, "/x", 0, 4), ("policy", 403, "/refused", 0, 2)]


async def test_a_route_without_the_hook_has_nothing_of_it() -> None:
    for used, marks in (((Refuses,), 0), ((Refuses, Usage), 1), ((Begins, Refuses, Usage), 2)):
        async with testing.run(*used) as gateway:
            engine: Any = gateway.gateway._engine
            route = engine.runtime.router.match("GET", "/").value
            assert [type(step) for step in route.on_request].count(FinishMark) == marks


def test_a_name_that_is_nearly_that_of_the_hook() -> None:
    class Misspelled(Policy):
        def on_finished(self, request: Request, outcome: Outcome) -> None: ...

    with pytest.raises(PluginError, match='on_finished is not a valid hook, did you mean "on_finish"'):
        check_class(Misspelled)


def test_an_outcome_can_be_made_for_a_test_of_a_plugin() -> None:
    assert Outcome(status=200, cause="ok").total_time == 0.0
