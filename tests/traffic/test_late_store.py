"""A store that answers later: what becomes of a request, and of what it was given, when something happens meanwhile.

That limits hold as ever is shown by test_rate_limits.py and test_concurrency.py, which run with this store too.
"""

import asyncio
import logging
from collections import Counter

import pytest
from traffic.stores import LateStore
from traffic.support import route_to, statuses
from wire.support import GET, check_problem, eventually, head, served

from fastgate.config import GatewayConfig
from fastgate.testing import Answer, respond, wait_for

HOUR = {"per": "1h", "key": "route"}


@pytest.fixture
def late(monkeypatch):
    """The line to the store of the last gateway that was started."""
    made = []

    def make(segment, slot):
        made.append(LateStore(segment, slot))
        return made[-1]

    monkeypatch.setattr("fastgate.gateway.control.SharedMemoryStore", make)
    return lambda: made[-1].line


def one_at_a_time(**keys):
    route = {key: keys.pop(key) for key in ("timeouts", "rate_limit") if key in keys}
    return route_to("backend", concurrency={"max": 1, **keys}, retry=False, **route)


async def asked(line, count=1):
    await eventually(lambda: len(line.under_way) >= count)


async def leave(traffic, line, client):
    """The client of a request for which the store is asked leaves, and the answer comes then."""
    line.held = True
    await client.send(GET)
    await asked(line)
    await closed(traffic, client)
    line.let_go()
    await quiet(line)


async def closed(traffic, client):
    """The gateway has noticed that it left."""
    before = traffic.gateway.open_connections
    client.close()
    await eventually(lambda: traffic.gateway.open_connections < before)


async def quiet(line):
    await eventually(lambda: not line.under_way)


# --- exactness, whoever counts ---


@pytest.mark.usefixtures("either_store")
@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window_log"])
async def test_of_many_at_once_exactly_as_many_pass_as_may(traffic, algorithm):
    limit = {"algorithm": algorithm, "rate": 7, "per": "300d", "key": "route"}
    await traffic.serve(route_to("backend", rate_limit=limit))
    clients = [await traffic.client() for _ in range(25)]
    responses = await asyncio.gather(*(client.request(GET) for client in clients))
    assert Counter(each.status for each in responses) == {200: 7, 429: 18}
    left = Counter(each.fields["ratelimit"].split(";")[1] for each in responses)
    assert left == {"r=0": 19, **{f"r={n}": 1 for n in range(1, 7)}}
    assert all(int(each.fields["retry-after"]) > 0 for each in responses if each.status == 429)
    assert len(traffic.upstream.requests) == 7


@pytest.mark.usefixtures("either_store")
async def test_of_two_limits_each_counts_what_both_admit(traffic):
    """At once, so that questions to both stand in the line together."""
    limits = [{"rate": 20, "name": "wide", **HOUR}, {"rate": 5, "name": "tight", **HOUR}]
    client = await traffic.serve(route_to("backend", rate_limit=limits))
    clients = [await traffic.client() for _ in range(15)]
    responses = await asyncio.gather(*(each.request(GET) for each in clients))
    assert Counter(each.status for each in responses) == {200: 5, 429: 10}
    # Those that were refused were given back: this one is the sixth of twenty.
    refused = await client.request(GET)
    assert [part.split(";")[1] for part in refused.fields["ratelimit"].split(", ")] == ["r=14", "r=0"]


@pytest.mark.usefixtures("either_store")
async def test_of_many_at_once_no_more_run_than_may(traffic):
    client = await traffic.serve(route_to("backend", concurrency={"max": 3}, retry=False))
    go = asyncio.Event()
    traffic.upstream.script(*[Answer(wait_for(go), respond(b"held"))] * 3)
    clients = [await traffic.client() for _ in range(12)]
    asking = [asyncio.ensure_future(each.request(GET)) for each in clients]
    await eventually(lambda: sum(each.done() for each in asking) == 9)
    assert len(traffic.upstream.requests) == 3
    go.set()
    assert Counter(each.status for each in await asyncio.gather(*asking)) == {200: 3, 503: 9}
    assert await statuses(client, 5) == [200] * 5


# --- who leaves while the store is asked ---


@pytest.mark.parametrize("queue", [0, 5])
async def test_a_share_of_a_client_that_has_left_is_given_back(traffic, late, queue):
    client = await traffic.serve(one_at_a_time(queue=queue))
    line = late()
    for _ in range(20):
        await leave(traffic, line, await traffic.client())
    assert len(traffic.upstream.requests) == 0
    assert await statuses(client, 3) == [200] * 3
    assert (await traffic.ends(20))[:20] == [(499, "client_gone")] * 20


async def test_a_place_in_the_queue_of_a_client_that_has_left_is_given_back(traffic, late):
    """One runs; of those that come and go while the store is asked none keeps the only place of the queue."""
    client = await traffic.serve(one_at_a_time(queue=1, queue_timeout="5s"))
    line = late()
    go = asyncio.Event()
    traffic.upstream.script(Answer(wait_for(go), respond(b"held")))
    first = await traffic.client()
    await first.send(GET)
    await traffic.upstream.request(0)
    for _ in range(5):
        await leave(traffic, line, await traffic.client())
    await client.send(GET)
    await client.assert_silent()
    go.set()
    assert [(await each.response()).status for each in (first, client)] == [200, 200]


async def test_a_client_that_leaves_while_it_is_being_let_in(traffic, late):
    client = await traffic.serve(one_at_a_time(queue=2, queue_timeout="5s"))
    line = late()
    for _ in range(10):
        go = asyncio.Event()
        traffic.upstream.script(Answer(wait_for(go), respond(b"held")))
        first, second = await traffic.client(), await traffic.client()
        before = len(traffic.upstream.requests)
        await first.send(GET)
        await traffic.upstream.wait_for(lambda before=before: len(traffic.upstream.requests) > before)
        await second.send(GET)
        await second.assert_silent(0.03)
        line.held = True
        go.set()
        assert (await first.response()).status == 200
        # That it has ended, and that the next one may come.
        await asked(line, 2)
        await closed(traffic, second)
        line.let_go()
        await quiet(line)
    assert await statuses(client, 3) == [200] * 3


async def test_a_request_that_comes_counts_also_when_its_client_leaves(traffic, late):
    """As it does where the answer is there at once: else nobody would have to wait for a refusal."""
    client = await traffic.serve(route_to("backend", rate_limit={"rate": 3, **HOUR}))
    line = late()
    for _ in range(2):
        await leave(traffic, line, await traffic.client())
    assert await statuses(client, 2) == [200, 429]


LIMITS = {"rate": {"rate_limit": {"rate": 2, **HOUR}}, "share": {"concurrency": {"max": 1}}}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
async def test_the_total_time_includes_waiting_for_the_store(traffic, late, limit):
    client = await traffic.serve(route_to("backend", retry=False, timeouts={"total": 0.3}, **limit))
    line = late()
    line.held = True
    check_problem(await client.request(GET), 504)
    line.let_go()
    await quiet(line)
    # It has counted, and holds no share.
    assert await statuses(client, 2) == [200, 429 if "rate_limit" in limit else 200]
    assert (await traffic.ends(1))[0] == (504, "total_timeout")


async def test_a_body_that_comes_while_the_store_is_asked(traffic, late):
    client = await traffic.serve(one_at_a_time(rate_limit={"rate": 9, **HOUR}))
    late().delay = 0.05
    body = b"x" * 300_000
    await client.send(head(f"Content-Length: {len(body)}", method="POST") + body)
    assert (await client.response("POST")).status == 200
    assert traffic.upstream.requests[0].body == body


async def test_the_gateway_stops_while_the_store_is_asked(traffic, late):
    await traffic.serve(one_at_a_time(queue=2, rate_limit={"rate": 9, **HOUR}), gateway={"drain_timeout": "0s"})
    line = late()
    line.delay = 0.2
    clients = [await traffic.client() for _ in range(3)]
    for client in clients:
        await client.send(GET)
    await asked(line, 3)
    await traffic.gateway.close()
    assert traffic.gateway.open_connections == 0
    for client in clients:
        assert await client.wait_closed()
    await quiet(line)


async def test_a_drain_waits_for_those_who_wait_for_the_store(traffic, late):
    client = await traffic.serve(one_at_a_time(rate_limit={"rate": 9, **HOUR}))
    late().delay = 0.05
    await client.send(GET)
    await asked(late())
    draining = asyncio.ensure_future(traffic.gateway.drain())
    assert (await client.response()).status == 200
    await draining


@pytest.mark.usefixtures("either_store")
async def test_counts_go_on_over_a_reload(traffic):
    def routes(most):
        limit = {"rate": most, **HOUR}
        return [{"name": "r0", "path": "/*", **route_to("backend", rate_limit=limit, concurrency={"max": 2})}]

    client = await traffic.serve(*routes(6))
    clients = [await traffic.client() for _ in range(4)]
    asking = [asyncio.ensure_future(each.request(GET)) for each in clients[:2]]
    await asyncio.sleep(0)
    await traffic.gateway.reload(GatewayConfig.from_dict({**traffic.config, "routes": routes(4)}))
    assert [(await each).status for each in asking] == [200, 200]
    assert await statuses(client, 3) == [200, 200, 429]


# --- a store that does not answer, or cannot ---


async def test_a_store_that_fails_lets_nobody_in_and_says_so_once(traffic, late, caplog):
    client = await traffic.serve(one_at_a_time(rate_limit={"rate": 9, **HOUR}))
    line = late()
    line.error = ConnectionError("the store is gone")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            refused = await served(client, GET, 503)
            problem = check_problem(refused, 503)
            assert problem["detail"] == "Limits cannot be checked right now."
            assert refused.fields["retry-after"] == "1"
    said = [each.message for each in caplog.records if "limits cannot be checked" in each.message]
    assert said == [
        "limits cannot be checked, and requests under them are refused (503): ConnectionError: the store is gone"
    ]
    assert await traffic.ends(3) == [(503, "limits_unavailable")] * 3
    line.error = None
    assert await statuses(client, 3) == [200] * 3


async def test_a_concurrency_limit_whose_store_fails(traffic, late):
    client = await traffic.serve(one_at_a_time())
    line = late()
    line.error = ConnectionError("the store is gone")
    check_problem(await client.request(GET), 503)
    line.error = None
    assert await statuses(client, 3) == [200] * 3
    assert (await traffic.ends(1))[0] == (503, "limits_unavailable")


async def test_a_limit_on_trial_whose_store_fails_refuses_nobody(traffic, late):
    client = await traffic.serve(route_to("backend", rate_limit={"rate": 1, "dry_run": True, **HOUR}))
    late().error = ConnectionError("the store is gone")
    assert await statuses(client, 3) == [200] * 3


async def test_what_the_first_limit_took_is_given_back_when_the_second_cannot_be_checked(traffic, late):
    limits = [{"rate": 3, "name": "one", **HOUR}, {"rate": 9, "name": "two", **HOUR}]
    client = await traffic.serve(route_to("backend", rate_limit=limits))
    line = late()
    line.delay = 0.05
    for _ in range(4):
        await client.send(GET)
        await asked(line)
        await quiet_once(line)
        line.error = ConnectionError("the store is gone")
        check_problem(await client.response(), 503)
        await quiet(line)
        line.error = None
    assert await statuses(client, 4) == [200, 200, 200, 429]


async def quiet_once(line):
    """The first question is answered, the second one under way."""
    first = line.under_way[0]
    await eventually(lambda: bool(line.under_way) and line.under_way[0] is not first)


async def test_a_store_that_is_silent_is_not_waited_for_for_ever(traffic, late, caplog):
    client = await traffic.serve(one_at_a_time(rate_limit={"rate": 9, **HOUR}))
    line = late()
    line.silent = True
    with caplog.at_level(logging.WARNING):
        check_problem(await client.request(GET), 503)
    assert "TimeoutError: no answer within 1000 ms" in caplog.text
    line.silent = False
    assert await statuses(client, 3) == [200] * 3


async def test_what_is_admitted_too_late_is_given_back(traffic, late):
    client = await traffic.serve(
        {"name": "rate", "path": "/rate", **route_to("backend", rate_limit={"rate": 1, **HOUR})},
        {"name": "share", "path": "/share", **one_at_a_time()},
    )
    line = late()
    line.delay = 1.2
    other = await traffic.client()
    await client.send(head(target="/rate"))
    await other.send(head(target="/share"))
    for each in (client, other):
        check_problem(await each.response(), 503)
    line.delay = 0.001
    await quiet(line)
    assert await statuses(client, 2, head(target="/rate")) == [200, 429]
    assert await statuses(other, 3, head(target="/share")) == [200] * 3


async def test_a_queue_goes_on_when_the_store_does(traffic, late):
    await traffic.serve(one_at_a_time(queue=5, queue_timeout="5s"))
    line = late()
    go = asyncio.Event()
    traffic.upstream.script(Answer(wait_for(go), respond(b"held")))
    first, *waiting = [await traffic.client() for _ in range(4)]
    await first.send(GET)
    await traffic.upstream.request(0)
    for client in waiting:
        await client.send(GET)
        await client.assert_silent(0.05)
    line.error = ConnectionError("the store is gone")
    go.set()
    assert (await first.response()).status == 200
    await waiting[0].assert_silent(0.3)
    line.error = None
    assert [(await client.response()).status for client in waiting] == [200] * 3
