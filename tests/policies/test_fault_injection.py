"""Faults for tests of clients: delays and errors for a share of the requests of a route."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from core.playbook import get, status_of, world
from waiting import until

from fastgate._core.policies.fault_injection import FaultInjection
from fastgate.cli import main
from fastgate.config import ConfigError, GatewayConfig
from fastgate.policies.chain import find_warnings
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config, start_gateway

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
WARNING = "injects faults; remove it before production"


async def statuses(fault: dict[str, Any], count: int = 1, **route: Any) -> tuple[list[int], int]:
    """Of so many requests, and how many of them the upstream got."""
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route={"fault_injection": fault, **route}) as to:
            async with RawClient(to.port) as client:
                answers = [(await client.request(GET)).status for _ in range(count)]
        return answers, len(upstream.requests)


async def test_an_error_is_the_gateways_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with RecordingUpstream() as upstream:
        settings = {"access_log": {"path": str(log), "format": "json"}}
        async with gateway_to(upstream.port, gateway=settings, route={"fault_injection": {"abort": 503}}) as to:
            async with RawClient(to.port) as client:
                answer = await client.request(GET)
        assert not upstream.requests
    assert (answer.status, answer.fields["content-type"]) == (503, "application/problem+json")
    problem = json.loads(answer.body)
    assert (problem["status"], problem["detail"]) == (503, "This error was injected.")
    line = json.loads(log.read_text())
    assert (line["status"], line["end"]) == (503, "fault_injected")


def test_plugins_do_not_see_an_injected_error() -> None:
    """Not even on the way back: an ``on_response`` may count on its ``on_request``."""
    seen: list[str] = []
    sides = ("on_request", "on_response", "on_error")
    hooks = {side: [lambda *_, side=side: seen.append(side)] for side in sides}
    with world({"/*": {"gates": [FaultInjection(abort=429)], **hooks}}) as play:
        assert status_of(play.client().ask(get())) == 429
    assert seen == []


async def test_a_request_goes_on_when_it_has_waited() -> None:
    assert await statuses({"delay": "10ms"}, 3) == ([200] * 3, 3)


async def test_an_error_comes_after_the_delay() -> None:
    assert await statuses({"delay": "10ms", "abort": 599}, 3) == ([599] * 3, 0)


@pytest.mark.parametrize("delay", ["0s", "1ms"])
async def test_some_of_a_hundred(delay: str) -> None:
    answers, arrived = await statuses({"abort": 500, "delay": delay, "percent": 50}, 200)
    assert {*answers} == {200, 500}
    assert arrived == answers.count(200)


async def test_none_of_a_hundred() -> None:
    assert await statuses({"abort": 500, "percent": 0}, 50) == ([200] * 50, 50)


async def test_a_body_waits_too_and_arrives_whole() -> None:
    body = b"x" * 300_000
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route={"fault_injection": {"delay": "50ms"}}) as to:
            async with RawClient(to.port) as client:
                assert (await client.request(head + body)).status == 200
        assert upstream.requests[0].body == body


async def test_one_that_waits_holds_up_no_other() -> None:
    async with RecordingUpstream() as upstream:
        data = proxy_config(upstream.port)
        data["routes"] = [
            {"name": "slow", "path": "/a", "upstream": "backend", "fault_injection": {"delay": "1h"}},
            *data["routes"],
        ]
        async with start_gateway(data) as to, RawClient(to.port) as slow, RawClient(to.port) as client:
            await slow.send(GET)
            assert (await client.request(GET.replace(b"/a", b"/b"))).status == 200
        assert [request.target for request in upstream.requests] == ["/b"]


async def test_a_client_that_leaves_gives_everything_back() -> None:
    route = {"fault_injection": {"delay": "1h"}, "concurrency": {"max": 1}, "timeouts": {"total": "3s"}}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=route) as to:
        async with RawClient(to.port) as first, RawClient(to.port) as second:
            await first.send(GET)
            await until(lambda: to.metrics()["requests"] == 1)
            # The place is taken, by a request that waits.
            assert (await second.request(GET)).status == 503
            first.close()
            await until(lambda: to.metrics()["client_gone"] == 1)
            # It is free: this one waits, as long as it may.
            assert (await second.request(GET)).status == 504
        assert not upstream.requests


async def test_of_those_that_have_left_nothing_comes_any_more() -> None:
    """Who sends last waits longest: the time of all others has passed when there is an answer."""
    route = {"fault_injection": {"delay": "1s"}}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=route) as to:
        clients = [await RawClient(to.port).open() for _ in range(20)]
        for client in clients:
            await client.send(GET)
        await until(lambda: to.metrics()["requests"] == 20)
        for client in clients:
            client.close()
        await until(lambda: to.metrics()["client_gone"] == 20)
        async with RawClient(to.port) as client:
            assert (await client.request(GET)).status == 200
        assert to.metrics()["policy_errors"] == 0


async def test_those_that_are_refused_do_not_wait() -> None:
    fault = {"delay": "1h"}
    assert await statuses(fault, ip={"deny": ["127.0.0.1"]}) == ([403], 0)
    assert (await statuses({"abort": 503}, 2, rate_limit={"rate": 1, "per": "1h"}))[0] == [503, 429]


async def test_a_gateway_stops_while_requests_wait() -> None:
    async with RecordingUpstream() as upstream:
        route = {"fault_injection": {"delay": "1h"}}
        async with gateway_to(upstream.port, gateway={"drain_timeout": "100ms"}, route=route) as to:
            client = await RawClient(to.port).open()
            await client.send(GET)
            await until(lambda: to.metrics()["requests"] == 1)
        client.close()
        assert not upstream.requests


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "fault_injection: injects nothing: give delay, abort or both"),
        ({"percent": 5}, "fault_injection: injects nothing: give delay, abort or both"),
        ({"abort": 200}, "fault_injection.abort: must be 400 to 599, got 200"),
        ({"abort": 503, "percent": 101}, "fault_injection.percent: must be 0 to 100, got 101"),
        ({"delay": "soon"}, "fault_injection.delay: expected a duration"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"fault_injection": settings}))
    assert str(caught.value).startswith(f"routes[0].{said}")


def test_it_is_told_of_where_it_is_written() -> None:
    data = {**proxy_config(1), "defaults": {"fault_injection": {"abort": 503}}}
    assert find_warnings(GatewayConfig.from_dict(data), data) == [(("defaults", "fault_injection"), WARNING)]
    data = proxy_config(1, route={"fault_injection": False})
    assert find_warnings(GatewayConfig.from_dict(data), data) == []


def test_check_and_routes_tell_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    faults = ('{ delay = "100ms", abort = 503, percent = 5 }', "{ abort = 500 }", '{ delay = "2s", percent = 0.5 }')
    path.write_text(
        "".join(
            f'[[routes]]\nname = "r{number}"\npath = "/{number}"\nrespond = {{}}\nfault_injection = {fault}\n'
            for number, fault in enumerate(faults)
        )
    )
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert checked.exit_code == 0
    assert f"a.toml:5: warning: routes[0].fault_injection: {WARNING}" in checked.output
    rows = CliRunner().invoke(main, ["routes", str(path)]).output.splitlines()[1:]
    assert [row.partition("answers 200  ")[2] for row in rows] == [
        "injects 100ms and 503 into 5%",
        "injects 500 into 100%",
        "injects 2s into 0.5%",
    ]
