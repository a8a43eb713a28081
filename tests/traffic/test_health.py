"""Health and breakers as clients see them: who is asked, and what the answer says when nobody is."""

import asyncio
import time

import pytest
from traffic.support import bodies, route_to, settled, statuses
from wire.support import GET, check_problem, eventually, head, post, served

from fastgate.testing import Answer, close, reset, respond, stall, wait_for

FAILED = respond(b"failed", "500 Internal Server Error")
NO_RETRY = route_to("backend", retry=False)


def active(**keys) -> dict:
    return {"active": {"path": "/healthz", "interval": 0.05, "timeout": 0.5, "healthy": 1, "unhealthy": 1, **keys}}


def passive(**keys) -> dict:
    return {"passive": {"failures": 2, "eject": "60s", "max_ejected": 1.0, **keys}}


def breaker(**keys) -> dict:
    return {"failures": 2, "ratio": 0, "open": "60s", **keys}


def backup(port: int) -> dict:
    return {"host": "127.0.0.1", "port": port, "backup": True}


class Patient:
    """An upstream's answers to probes, which can be switched, and to everything else."""

    def __init__(self, name: bytes):
        self.name = name
        self.well = True
        self.probes = 0

    async def __call__(self, exchange):
        if exchange.request.target == "/healthz":
            self.probes += 1
            await exchange.send(respond(b"", "200 OK" if self.well else "503 Ill"))
        else:
            await exchange.send(respond(self.name))


class Failing(Patient):
    """Well for probes; everything else fails until it is mended."""

    def __init__(self, name: bytes):
        super().__init__(name)
        self.mended = False

    async def __call__(self, exchange):
        if exchange.request.target == "/healthz" or self.mended:
            await super().__call__(exchange)
        else:
            await exchange.send(FAILED)


async def until_answered(client, body: bytes) -> None:
    async with asyncio.timeout(5):
        while True:
            response = await client.request(GET)
            if response.body == body:
                return
            await asyncio.sleep(0.02)


# --- health ---


async def test_a_target_that_a_probe_finds_ill_gets_nothing_until_it_is_well(traffic):
    one, other = Patient(b"one"), Patient(b"other")
    ports = [(await traffic.new_upstream(default=Answer(each))).port for each in (one, other)]
    client = await traffic.serve(NO_RETRY, upstreams={"backend": {"targets": ports, "health": active()}})
    assert await bodies(client, 10) == {b"one": 5, b"other": 5}
    one.well = False
    before = one.probes
    await eventually(lambda: one.probes >= before + 2)
    await settled()
    assert await bodies(client, 10) == {b"other": 10}
    one.well = True
    await until_answered(client, b"one")
    assert await bodies(client, 10) == {b"one": 5, b"other": 5}
    # Probes are no requests.
    lines = await traffic.lines(30)
    assert {line["path"] for line in lines} == {"/path"}


async def test_all_targets_down_is_503_with_retry_after(traffic):
    one = Patient(b"one")
    one.well = False
    upstream = await traffic.new_upstream(default=Answer(one))
    client = await traffic.serve(
        NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "health": active(), "panic_threshold": 0}}
    )
    await eventually(lambda: one.probes >= 2)
    await settled()
    for data in (GET, post(b"hello"), head(method="HEAD")):
        response = await served(client, data, 503)
        assert int(response.fields["retry-after"]) >= 1
    check_problem(await client.request(GET), 503)
    assert await traffic.ends(4) == [(503, "no_target")] * 4
    assert {line["upstream"] for line in await traffic.lines(4)} == {None}
    assert all(request.target == "/healthz" for request in upstream.requests)
    one.well = True
    await until_answered(client, b"one")


async def test_panic_uses_ejected_targets_and_none_that_is_down(traffic):
    """Of four one is well: two fail requests and one the probe."""
    down, good = Patient(b"down"), Patient(b"good")
    down.well = False
    bad = [Failing(b"bad %d" % number) for number in range(2)]
    ports = [(await traffic.new_upstream(default=Answer(each))).port for each in (down, good, *bad)]
    health = {**active(), **passive(eject="60s", max_ejected=1.0)}
    client = await traffic.serve(NO_RETRY, upstreams={"backend": {"targets": ports, "health": health}})
    await eventually(lambda: down.probes >= 2)
    await settled()
    await statuses(client, 12)
    # Both are ejected, and used all the same.
    assert sorted(await statuses(client, 30)) == [200] * 10 + [500] * 20
    for each in bad:
        each.mended = True
    assert await bodies(client, 30) == {b"good": 10, b"bad 0": 10, b"bad 1": 10}


async def test_in_panic_all_are_used(traffic):
    """The probe says that the only target is down: any answer is better than none."""
    one = Patient(b"one")
    one.well = False
    upstream = await traffic.new_upstream(default=Answer(one))
    client = await traffic.serve(NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "health": active()}})
    await eventually(lambda: one.probes >= 2)
    await settled()
    assert await bodies(client, 5) == {b"one": 5}


async def test_failures_eject_a_target_and_time_brings_it_back(traffic):
    bad, good = await traffic.new_upstream(default=FAILED), await traffic.named(b"good")
    client = await traffic.serve(
        NO_RETRY,
        upstreams={"backend": {"targets": [bad.port, good.port], "health": passive(eject="1s"), "panic_threshold": 0}},
    )
    assert sorted(await statuses(client, 4)) == [200, 200, 500, 500]
    began = time.monotonic()
    assert await bodies(client, 20) == {b"good": 20}
    bad.default = Answer(respond(b"well"))
    await until_answered(client, b"well")
    assert 0.8 < time.monotonic() - began < 3


@pytest.mark.parametrize(
    "failure", [Answer(reset()), Answer(close()), b"what?\r\n\r\n"], ids=["reset", "close", "nonsense"]
)
async def test_other_failures_eject_too(traffic, failure):
    bad, good = await traffic.new_upstream(default=failure), await traffic.named(b"good")
    client = await traffic.serve(
        NO_RETRY, upstreams={"backend": {"targets": [bad.port, good.port], "health": passive(), "panic_threshold": 0}}
    )
    assert sorted(await statuses(client, 4)) == [200, 200, 502, 502]
    assert await bodies(client, 10) == {b"good": 10}


async def test_retries_hide_a_target_until_it_is_ejected(traffic):
    good = await traffic.named(b"good")
    dead = traffic.refusing_port()
    client = await traffic.serve(
        upstreams={"backend": {"targets": [dead, good.port], "health": passive(), "panic_threshold": 0}}
    )
    assert await bodies(client, 20) == {b"good": 20}
    attempts = [line["attempts"] for line in await traffic.lines(20)]
    assert sum(attempts) == 22


async def test_everything_ejected_says_when_to_come_back(traffic):
    client = await traffic.serve(
        NO_RETRY,
        upstreams={"backend": {"targets": [traffic.refusing_port()], "health": passive(), "panic_threshold": 0}},
    )
    assert await statuses(client, 2) == [502, 502]
    response = await client.request(GET)
    check_problem(response, 503)
    assert 55 <= int(response.fields["retry-after"]) <= 60
    assert (await traffic.ends(3))[2] == (503, "no_target")


async def test_backups_are_asked_only_when_no_other_target_can_be(traffic):
    one, other, spare = Patient(b"one"), Patient(b"other"), Patient(b"spare")
    ports = [(await traffic.new_upstream(default=Answer(each))).port for each in (one, other, spare)]
    client = await traffic.serve(
        NO_RETRY,
        upstreams={
            "backend": {"targets": [ports[0], ports[1], backup(ports[2])], "health": active(), "panic_threshold": 0}
        },
    )
    await eventually(lambda: min(each.probes for each in (one, other, spare)) >= 1)
    assert await bodies(client, 10) == {b"one": 5, b"other": 5}
    one.well = False
    before = one.probes
    await eventually(lambda: one.probes >= before + 2)
    await settled()
    assert await bodies(client, 10) == {b"other": 10}
    other.well = False
    await until_answered(client, b"spare")
    assert await bodies(client, 10) == {b"spare": 10}
    other.well = True
    await until_answered(client, b"other")
    assert await bodies(client, 10) == {b"other": 10}


# --- breakers ---


async def test_an_open_breaker_answers_503_and_asks_nobody(traffic):
    upstream = await traffic.new_upstream(default=FAILED)
    client = await traffic.serve(NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "breaker": breaker()}})
    assert await statuses(client, 2) == [500, 500]
    for data in (GET, head(method="HEAD"), post(b"hello")):
        response = await served(client, data, 503)
        assert 55 <= int(response.fields["retry-after"]) <= 60
    check_problem(await client.request(GET), 503)
    assert len(upstream.requests) == 2
    lines = await traffic.lines(6)
    assert [(line["status"], line["end"]) for line in lines[-4:]] == [(503, "breaker_open")] * 4
    assert [line["attempts"] for line in lines[-4:]] == [1] * 4
    assert traffic.gateway.metrics()["breaker_refused"] == 4


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("scope", ["upstream", "target"])
async def test_half_open_lets_so_many_through_at_a_time(traffic, count, scope):
    upstream = await traffic.new_upstream(default=FAILED)
    client = await traffic.serve(
        NO_RETRY,
        upstreams={
            "backend": {"targets": [upstream.port], "breaker": breaker(open="400ms", half_open=count, scope=scope)}
        },
    )
    assert await statuses(client, 3) == [500, 500, 503]
    go = asyncio.Event()
    upstream.default = Answer(wait_for(go), respond(b"well"))
    await asyncio.sleep(0.5)
    clients = [await traffic.client() for _ in range(8)]
    await asyncio.gather(*(each.send(GET) for each in clients))
    await upstream.request(1 + count)
    await settled()
    # The probes of one round, and not one more.
    assert len(upstream.requests) == 2 + count
    go.set()
    responses = [await each.response() for each in clients]
    assert sorted(each.status for each in responses) == [200] * count + [503] * (8 - count)
    for response in responses:
        if response.status == 503:
            assert 1 <= int(response.fields["retry-after"]) <= 2
    assert await statuses(client, 5) == [200] * 5


async def test_a_probe_that_fails_opens_it_again(traffic):
    upstream = await traffic.new_upstream(default=FAILED)
    client = await traffic.serve(
        NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "breaker": breaker(open="300ms")}}
    )
    assert await statuses(client, 3) == [500, 500, 503]
    await asyncio.sleep(0.35)
    assert await statuses(client, 3) == [500, 503, 503]
    assert len(upstream.requests) == 3


async def test_a_probe_whose_client_leaves_makes_room_for_the_next(traffic):
    upstream = await traffic.new_upstream(default=FAILED)
    client = await traffic.serve(
        NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "breaker": breaker(open="1s")}}
    )
    assert await statuses(client, 3) == [500, 500, 503]
    await asyncio.sleep(1.1)
    upstream.default = Answer(stall())
    await client.send(GET)
    await upstream.request(2)
    client.close()
    await upstream.connections[-1].wait_ended()
    upstream.default = Answer(respond(b"well"))
    client = await traffic.client()
    assert await statuses(client, 3) == [200] * 3


async def test_a_breaker_of_a_target_leaves_the_others(traffic):
    bad, good = await traffic.new_upstream(default=FAILED), await traffic.named(b"good")
    client = await traffic.serve(
        NO_RETRY, upstreams={"backend": {"targets": [bad.port, good.port], "breaker": breaker(scope="target")}}
    )
    assert sorted(await statuses(client, 4)) == [200, 200, 500, 500]
    assert await bodies(client, 10) == {b"good": 10}
    assert len(bad.requests) == 2


async def test_when_the_breakers_of_all_targets_are_open(traffic):
    bad = [await traffic.new_upstream(default=FAILED) for _ in range(2)]
    client = await traffic.serve(
        NO_RETRY,
        upstreams={"backend": {"targets": [each.port for each in bad], "breaker": breaker(scope="target")}},
    )
    assert await statuses(client, 4) == [500] * 4
    response = await client.request(GET)
    check_problem(response, 503)
    assert 55 <= int(response.fields["retry-after"]) <= 60
    assert (await traffic.ends(5))[-1] == (503, "breaker_open")
    assert [len(each.requests) for each in bad] == [2, 2]
    assert traffic.gateway.metrics()["breaker_refused"] == 1


async def test_what_the_breaker_does_not_count(traffic):
    upstream = await traffic.new_upstream(default=respond(b"", "404 Not Found"))
    client = await traffic.serve(NO_RETRY, upstreams={"backend": {"targets": [upstream.port], "breaker": breaker()}})
    assert await statuses(client, 6) == [404] * 6
    upstream.default = Answer(stall())
    for _ in range(3):
        leaving = await traffic.client()
        before = len(upstream.requests)
        await leaving.send(GET)
        await upstream.request(before)
        leaving.close()
    upstream.default = Answer(respond(b"well"))
    await settled()
    client = await traffic.client()
    assert await statuses(client, 3) == [200] * 3


async def test_a_ratio_opens_it(traffic):
    upstream = await traffic.named(b"well")
    client = await traffic.serve(
        NO_RETRY,
        upstreams={"backend": {"targets": [upstream.port], "breaker": breaker(failures=0, ratio=0.5, min_requests=10)}},
    )
    upstream.script(*[respond(b""), FAILED] * 5)
    assert await statuses(client, 12) == [200, 500] * 5 + [503] * 2


async def test_retries_stop_at_a_breaker_that_opens_and_the_last_answer_is_passed_on(traffic):
    upstream = await traffic.new_upstream(default=FAILED)
    client = await traffic.serve(
        route_to("backend", retry={"attempts": 5, "on": ["5xx"], "backoff": 0, "budget": 10}),
        upstreams={"backend": {"targets": [upstream.port], "breaker": breaker()}},
    )
    response = await served(client, GET, 500)
    assert response.body == b"failed"
    assert len(upstream.requests) == 2
    assert await statuses(client, 1) == [503]


# --- the log ---


async def test_how_requests_ended(traffic):
    """The words of the access log for what this gateway refuses or gives up."""
    slow = await traffic.new_upstream(default=Answer(stall()))
    bad = await traffic.new_upstream(default=FAILED)
    busy = await traffic.new_upstream(default=Answer(stall()))
    client = await traffic.serve(
        {"path": "/route", "respond": {}},
        {"path": "/gone", "redirect": {"to": "/"}},
        route_to("slow", path="/try", retry={"per_try_timeout": 0.1, "attempts": 1}),
        route_to("slow", path="/read", retry=False, timeouts={"read": 0.1}),
        route_to("slow", path="/total", timeouts={"total": 0.1}),
        route_to("none", path="/connect", retry=False),
        {"path": "/limited", "respond": {}, "rate_limit": {"rate": 1, "per": "1h"}},
        route_to("bad", path="/breaker", retry=False),
        route_to("busy", path="/pool", retry=False, timeouts={"read": 1}),
        upstreams={
            "slow": [slow.port],
            "none": [traffic.refusing_port()],
            "bad": {"targets": [bad.port], "breaker": breaker(failures=1)},
            "busy": {"targets": [busy.port], "pool": {"max_connections": 1, "queue": 1, "queue_timeout": 0.1}},
        },
    )
    holder, waiter = await traffic.client(), await traffic.client()
    await holder.send(head(target="/pool"))
    await busy.request(0)
    await waiter.send(head(target="/pool"))
    await settled()
    for path in ("route", "gone", "try", "read", "total", "connect", "limited", "limited", "breaker", "breaker"):
        await client.request(head(target=f"/{path}"))
    await client.request(head(target="/pool"))
    assert (await waiter.response()).status == 503
    assert (await holder.response()).status == 504
    found = {(line["path"], line["status"], line["end"]) for line in await traffic.lines(13)}
    assert found >= {
        ("/route", 200, "route"),
        ("/gone", 308, "route"),
        ("/try", 504, "try_timeout"),
        ("/read", 504, "read_timeout"),
        ("/total", 504, "total_timeout"),
        ("/connect", 502, "connect_failed"),
        ("/limited", 200, "route"),
        ("/limited", 429, "rate_limited"),
        ("/breaker", 500, "ok"),
        ("/breaker", 503, "breaker_open"),
        ("/pool", 503, "pool_timeout"),
        ("/pool", 504, "read_timeout"),
    }
