"""Targets that are names: what requests meet while answers of the DNS come, change and stop."""

import asyncio
import contextlib

import pytest
from traffic.support import bodies, route_to
from upstreams.name_server import SILENCE, NameServer
from wire.support import GET, check_problem, eventually, served

from fastgate.testing import Answer, RecordingUpstream, respond

NAME = "app.test"
SERVICE = "_http._tcp.app.test"


@pytest.fixture
async def names():
    async with NameServer() as server:
        server.ttl = 1
        yield server


def dns(names: NameServer, **keys) -> dict:
    return {"server": names.address, "refresh": 0.05, **keys}


async def several(traffic, *hosts: str) -> tuple[int, list[RecordingUpstream]]:
    """Upstreams on the same port of several addresses, which answer with them."""
    for _ in range(20):
        async with contextlib.AsyncExitStack() as trying:
            first = await trying.enter_async_context(
                RecordingUpstream((hosts[0], 0), default=respond(hosts[0].encode()))
            )
            try:
                rest = [
                    await trying.enter_async_context(
                        RecordingUpstream((host, first.port), default=respond(host.encode()))
                    )
                    for host in hosts[1:]
                ]
            except OSError:
                continue
            await traffic.stack.enter_async_context(trying.pop_all())
            return first.port, [first, *rest]
    raise AssertionError("no port is free on all of the addresses")


async def until(client, body: bytes) -> None:
    """Asks until that is the answer."""
    async with asyncio.timeout(8):
        while (await client.request(GET)).body != body:
            await asyncio.sleep(0.02)


async def test_a_changed_answer_moves_requests_and_fails_none(traffic, names):
    port, (one, _) = await several(traffic, "127.0.0.1", "127.0.0.2")
    names.zone[NAME, "A"] = ["127.0.0.1"]
    client = await traffic.serve(
        route_to("backend", retry=False), upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}}
    )
    await until_resolved(client, b"127.0.0.1")
    assert await bodies(client, 5) == {b"127.0.0.1": 5}
    assert {request.fields["host"] for request in one.requests} == {f"{NAME}:{port}"}
    names.zone[NAME, "A"] = ["127.0.0.2"]
    async with asyncio.timeout(8):
        while True:
            response = await client.request(GET)
            assert response.status == 200
            if response.body == b"127.0.0.2":
                break
            await asyncio.sleep(0.02)
    assert await bodies(client, 10) == {b"127.0.0.2": 10}
    # Connections to the address that is gone are not kept.
    assert await one.connections[-1].wait_ended()


async def until_resolved(client, body: bytes) -> None:
    """Until the first answer whoever connects resolves the name, which the system does not know here."""
    async with asyncio.timeout(8):
        while (response := await client.request(GET)).status != 200:
            check_problem(response, 503)
            assert int(response.fields["retry-after"]) >= 1
            await asyncio.sleep(0.05)
    assert response.body == body


async def test_every_address_of_a_name_is_a_target(traffic, names):
    port, _ = await several(traffic, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    names.zone[NAME, "A"] = ["127.0.0.1", "127.0.0.2"]
    client = await traffic.serve(upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}})
    await until(client, b"127.0.0.2")
    assert await bodies(client, 10) == {b"127.0.0.1": 5, b"127.0.0.2": 5}
    names.zone[NAME, "A"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    await until(client, b"127.0.0.3")
    assert await bodies(client, 9) == {b"127.0.0.1": 3, b"127.0.0.2": 3, b"127.0.0.3": 3}


async def test_what_is_under_way_to_an_address_that_goes_is_finished(traffic, names):
    port, (one, _) = await several(traffic, "127.0.0.1", "127.0.0.2")
    names.zone[NAME, "A"] = ["127.0.0.1"]
    client = await traffic.serve(upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}})
    await until(client, b"127.0.0.1")
    go = asyncio.Event()

    async def later(exchange):
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbe")
        await go.wait()
        await exchange.send(b"gun")

    one.script(Answer(later))
    await client.send(GET)
    response = await client.head()
    names.zone[NAME, "A"] = ["127.0.0.2"]
    await until(await traffic.client(), b"127.0.0.2")
    go.set()
    assert await client.body(response) == b"begun"
    await until(client, b"127.0.0.2")
    assert await one.connections[-1].wait_ended()


@pytest.mark.parametrize("failure", ["SERVFAIL", SILENCE, "nothing"])
async def test_the_last_answer_is_used_while_none_comes(traffic, names, failure):
    port, _ = await several(traffic, "127.0.0.2")
    names.zone[NAME, "A"] = ["127.0.0.2"]
    client = await traffic.serve(upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}})
    await until(client, b"127.0.0.2")
    names.zone[NAME, "A"] = [] if failure == "nothing" else failure
    await names.wait_asked(2, after=len(names.asked))
    assert await bodies(client, 10) == {b"127.0.0.2": 10}


async def test_an_answer_that_is_too_old_is_used_no_more(traffic, names):
    port, _ = await several(traffic, "127.0.0.2")
    names.zone[NAME, "A"] = ["127.0.0.2"]
    client = await traffic.serve(
        route_to("backend", retry=False),
        upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names, stale=0.3)}},
    )
    await until(client, b"127.0.0.2")
    names.zone[NAME, "A"] = "SERVFAIL"
    async with asyncio.timeout(8):
        while (response := await client.request(GET)).status == 200:
            await asyncio.sleep(0.05)
    check_problem(response, 503)
    assert int(response.fields["retry-after"]) >= 1
    assert NAME.encode() not in response.body
    assert (await traffic.lines(1))[-1]["end"] == "no_target"
    names.zone[NAME, "A"] = ["127.0.0.2"]
    await until(client, b"127.0.0.2")


async def test_ipv6(traffic, names):
    try:
        port, (upstream,) = await several(traffic, "::1")
    except OSError:
        pytest.skip("no IPv6 on the loopback interface")
    names.zone[NAME, "AAAA"] = ["::1"]
    names.zone[NAME, "A"] = []
    client = await traffic.serve(upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}})
    await until(client, b"::1")
    assert upstream.requests[-1].fields["host"] == f"{NAME}:{port}"
    await eventually(lambda: traffic.log.exists() and f'"[::1]:{port}"' in traffic.log.read_text())


async def test_services(traffic, names):
    one, other, spare = [await traffic.named(name) for name in (b"one", b"other", b"spare")]
    names.zone[SERVICE, "SRV"] = [
        f"10 3 {one.port} a.test.",
        f"10 1 {other.port} b.test.",
        f"20 1 {spare.port} c.test.",
    ]
    for name in "abc":
        names.zone[f"{name}.test", "A"] = ["127.0.0.1"]
    client = await traffic.serve(
        route_to("backend", retry=False),
        upstreams={"backend": {"targets": [f"srv:{SERVICE}"], "dns": dns(names), "balancer": "weighted_round_robin"}},
    )
    await until(client, b"one")
    # By weight, and those of a lower priority not at all.
    assert await bodies(client, 40) == {b"one": 30, b"other": 10}
    assert {request.fields["host"] for request in one.requests} == {f"a.test:{one.port}"}
    names.zone[SERVICE, "SRV"] = [f"20 1 {spare.port} c.test."]
    await until(client, b"spare")
    assert await bodies(client, 10) == {b"spare": 10}


async def test_a_service_without_records(traffic, names):
    client = await traffic.serve(
        route_to("backend"), upstreams={"backend": {"targets": [f"srv:{SERVICE}"], "dns": dns(names)}}
    )
    for _ in range(2):
        response = await served(client, GET, 503)
        check_problem(response, 503)
        assert int(response.fields["retry-after"]) >= 1
    assert await traffic.ends(2) == [(503, "no_target")] * 2


async def test_no_request_waits_for_a_name_server(traffic, names):
    """The question is asked in the background: with an answer there, one that hangs holds nobody up."""
    port, _ = await several(traffic, "127.0.0.2")
    names.zone[NAME, "A"] = ["127.0.0.2"]
    client = await traffic.serve(upstreams={"backend": {"targets": [f"{NAME}:{port}"], "dns": dns(names)}})
    await until(client, b"127.0.0.2")
    names.zone[NAME, "A"] = SILENCE
    before = len(names.asked)
    await names.wait_asked(1, after=before)
    async with asyncio.timeout(1):
        assert await bodies(client, 50) == {b"127.0.0.2": 50}
