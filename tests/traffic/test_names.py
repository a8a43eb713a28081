"""Targets that are names: what requests meet while answers of the DNS come, change and stop."""

import asyncio
import contextlib

import pytest
from traffic.support import bodies, route_to
from upstreams.name_server import SILENCE, NameServer
from wire.support import GET, check_problem, eventually, post, served

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


# --- before the first answer: never the system's ---

LOCAL = "localhost"
"""The system knows it: 127.0.0.1. The name server of these tests says otherwise."""


async def localhost(traffic, names, *routes, **upstream):
    """An upstream by a name that the system resolves too, and the two servers: the system's and the name server's."""
    port, servers = await several(traffic, "127.0.0.1", "127.0.0.2")
    settings = {"targets": [f"{LOCAL}:{port}"], "dns": dns(names), **upstream}
    client = await traffic.serve(*(routes or [route_to("backend", retry=False)]), upstreams={"backend": settings})
    return client, servers


async def test_requests_wait_for_the_first_answer_of_the_server_that_is_named(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    client, (system, named) = await localhost(traffic, names)
    clients = [client, *[await traffic.client() for _ in range(4)]]
    for each in clients:
        await each.send(GET)
    await names.wait_asked(1)
    for each in clients:
        await each.assert_silent(0.01)
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    names.speak()
    assert [(await each.response()).body for each in clients] == [b"127.0.0.2"] * 5
    assert (len(system.connections), len(named.requests)) == (0, 5)
    assert {line["attempts"] for line in await traffic.lines(5)} == {1}


async def test_a_body_waits_too(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    client, (_, named) = await localhost(traffic, names)
    await client.send(post(b"x" * 300_000)[:200_000])
    await client.assert_silent()
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    names.speak()
    await named.wait_for(lambda: named.connections)
    await client.send(post(b"x" * 300_000)[200_000:])
    assert (await client.response()).body == b"127.0.0.2"
    assert len(named.requests[0].body) == 300_000


async def test_they_wait_no_longer_than_for_a_connection(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    route = route_to("backend", retry={"attempts": 3}, timeouts={"connect": 0.1})
    client, (system, _) = await localhost(traffic, names, route)
    for data in (GET, post(b"hello")):
        response = await served(client, data, 503)
        check_problem(response, 503)
        assert int(response.fields["retry-after"]) >= 1
    lines = await traffic.lines(2)
    assert [(line["status"], line["end"], line["attempts"]) for line in lines] == [(503, "no_target", 1)] * 2
    assert not system.connections


@pytest.mark.parametrize("failure", ["SERVFAIL", "nothing"])
async def test_they_wait_no_longer_than_for_a_failure(traffic, names, failure):
    names.zone[LOCAL, "A"] = SILENCE
    route = route_to("backend", retry=False, timeouts={"connect": 60.0})
    client, (system, named) = await localhost(traffic, names, route)
    await client.send(GET)
    await names.wait_asked(1)
    await client.assert_silent(0.01)
    names.zone[LOCAL, "A"] = [] if failure == "nothing" else failure
    names.zone[LOCAL, "AAAA"] = names.zone[LOCAL, "A"]
    names.speak()
    assert (await client.response()).status == 503
    # From now on at once, until there is an answer.
    assert (await served(client, GET, 503)).status == 503
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    await until_resolved(client, b"127.0.0.2")
    assert not system.connections
    assert named.requests


async def test_who_leaves_while_it_waits_is_forgotten(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    client, (_, named) = await localhost(traffic, names)
    other = await traffic.client()
    await other.send(GET)
    await client.send(GET)
    await names.wait_asked(1)
    await other.assert_silent(0.01)
    other.reset()
    assert (await traffic.ends(1)) == [(499, "client_gone")]
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    names.speak()
    assert (await client.response()).body == b"127.0.0.2"
    assert len(named.requests) == 1


async def test_nobody_waits_while_there_is_another_target(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    port, (system, _) = await several(traffic, "127.0.0.1", "127.0.0.2")
    client = await traffic.serve(
        upstreams={"backend": {"targets": [f"{LOCAL}:{port}", f"127.0.0.2:{port}"], "dns": dns(names)}}
    )
    assert await bodies(client, 6) == {b"127.0.0.2": 6}
    assert not system.connections


async def test_requests_wait_for_a_service(traffic, names):
    one = await traffic.named(b"one")
    names.zone[SERVICE, "SRV"] = SILENCE
    names.zone["a.test", "A"] = ["127.0.0.1"]
    client = await traffic.serve(upstreams={"backend": {"targets": [f"srv:{SERVICE}"], "dns": dns(names)}})
    await client.send(GET)
    await names.wait_asked(1)
    await client.assert_silent(0.01)
    names.zone[SERVICE, "SRV"] = [f"10 3 {one.port} a.test."]
    names.speak()
    assert (await client.response()).body == b"one"


async def test_no_probe_goes_where_the_system_says(traffic, names):
    names.zone[LOCAL, "A"] = SILENCE
    health = {"active": {"interval": 0.02, "timeout": 0.5}}
    _, (system, named) = await localhost(traffic, names, health=health)
    await names.wait_asked(1)
    await asyncio.sleep(0.1)
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    names.speak()
    await named.wait_for(lambda: len(named.requests) >= 2)
    assert not system.connections


async def test_a_family_that_is_named_is_the_only_one_from_the_first_request_on(traffic):
    """There is nothing at the address of the other one, so that no answer is the right one."""
    port, (system,) = await several(traffic, "127.0.0.1")
    client = await traffic.serve(
        route_to("backend", retry=False, timeouts={"connect": 1.0}),
        upstreams={"backend": {"targets": [f"{LOCAL}:{port}"], "dns": {"family": "ipv6"}}},
    )
    assert (await client.request(GET)).status in (502, 503)
    assert not system.connections


async def test_a_server_that_is_named_by_a_reload_is_asked_first(traffic, names):
    port, (system, _) = await several(traffic, "127.0.0.1", "127.0.0.2")
    names.zone[LOCAL, "A"] = SILENCE
    target = {"targets": [f"{LOCAL}:{port}"]}
    client = await traffic.serve(route_to("backend"), upstreams={"backend": target})
    assert await bodies(client, 3) == {b"127.0.0.1": 3}
    await traffic.reload(upstreams={"backend": {**target, "dns": dns(names)}})
    await client.send(GET)
    await names.wait_asked(1)
    await client.assert_silent(0.01)
    names.zone[LOCAL, "A"] = ["127.0.0.2"]
    names.speak()
    assert (await client.response()).body == b"127.0.0.2"
    assert await bodies(client, 3) == {b"127.0.0.2": 3}
    # Another interval is not another question: what is known stays.
    names.zone[LOCAL, "A"] = SILENCE
    await traffic.reload(upstreams={"backend": {**target, "dns": dns(names, refresh=0.1)}})
    assert await bodies(client, 3) == {b"127.0.0.2": 3}
    assert len(system.requests) == 3
