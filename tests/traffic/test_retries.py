"""Retries, hedges and deadlines as upstreams and clients see them."""

import asyncio
import time

import pytest
from traffic.support import address, bodies, route_to, settled, statuses
from wire.support import GET, by_id, check_problem, chunked, head, post, served

from fastgate.testing import Answer, close, pieces, reset, respond, stall, wait_for

BUSY = respond(b"busy", "503 Service Unavailable")
QUICK = {"backoff": 0, "max_backoff": 0, "budget": 10}


def tried(upstream: str = "backend", on=("connect", "reset", "5xx"), attempts: int = 3, **keys) -> dict:
    route = {key: keys.pop(key) for key in ("timeouts", "buffer_request", "path", "max_body") if key in keys}
    return route_to(upstream, retry={"attempts": attempts, "on": list(on), **QUICK, **keys}, **route)


async def two(traffic, first: Answer | bytes, route: dict, **options):
    """A gateway to an upstream that answers with ``first`` and, after it, to one that is well."""
    bad = await traffic.new_upstream(default=first)
    good = await traffic.named(b"good")
    client = await traffic.serve(route, upstreams={"backend": {"targets": [bad.port, good.port], **options}})
    return client, bad, good


FAILURES = {
    "status": (BUSY, "5xx"),
    "one status": (BUSY, "503"),
    "client's": (respond(b"", "429 Too Many Requests"), "429"),
    "reset": (Answer(reset()), "reset"),
    "close": (Answer(close()), "reset"),
    "cut in the head": (Answer(b"HTTP/1.1 200 OK\r\nX-", close()), "reset"),
}


@pytest.mark.parametrize(("failure", "word"), **by_id(FAILURES))
async def test_another_target_is_asked(traffic, failure, word):
    client, bad, good = await two(traffic, failure, tried(on=[word]))
    assert await bodies(client, 4) == {b"good": 4}
    # Each try takes its turn, so that every request meets the bad one first.
    assert len(bad.requests) == 4
    assert len(good.requests) == 4
    lines = await traffic.lines(4)
    assert [line["attempts"] for line in lines] == [2] * 4
    assert {(line["status"], line["end"], line["upstream"]) for line in lines} == {(200, "ok", address(good.port))}


@pytest.mark.parametrize(("failure", "word"), **by_id({**FAILURES, "time": (Answer(stall()), "timeout")}))
async def test_a_backup_is_asked_when_every_primary_has_failed(traffic, failure, word):
    """Whatever health makes of it: within the request, and never before the other primary."""
    bad = [await traffic.new_upstream(default=failure) for _ in range(2)]
    spares = [await traffic.named(b"spare"), await traffic.named(b"spare")]
    targets = [each.port for each in bad]
    targets += [{"host": "127.0.0.1", "port": each.port, "backup": True} for each in spares]
    client = await traffic.serve(
        tried(on=[word], per_try_timeout="100ms"), upstreams={"backend": {"targets": targets}}
    )
    assert await bodies(client, 6) == {b"spare": 6}
    assert [len(each.requests) for each in bad] == [6, 6]
    assert sum(len(each.requests) for each in spares) == 6


async def test_a_backup_is_asked_by_default_when_the_primary_is_dead(traffic):
    spare = await traffic.named(b"spare")
    targets = [traffic.refusing_port(), {"host": "127.0.0.1", "port": spare.port, "backup": True}]
    client = await traffic.serve(route_to("backend"), upstreams={"backend": {"targets": targets}})
    assert await bodies(client, 10) == {b"spare": 10}
    assert (await client.request(post(b"hello"))).body == b"spare"


async def test_a_backup_that_is_down_is_no_help(traffic):
    bad, spare = await traffic.new_upstream(default=BUSY), await traffic.new_upstream(default=Answer(reset()))
    targets = [bad.port, {"host": "127.0.0.1", "port": spare.port, "backup": True}]
    health = {"passive": {"failures": 1, "eject": "1m", "max_ejected": 1, "on": ["reset"]}}
    client = await traffic.serve(
        tried(on=["503", "reset"], attempts=2), upstreams={"backend": {"targets": targets, "health": health}}
    )
    assert await statuses(client, 3) == [503, 503, 503]
    # Ejected after the first time; then the primary is asked again.
    assert (len(bad.requests), len(spare.requests)) == (5, 1)


@pytest.mark.parametrize(("failure", "word"), **by_id(FAILURES))
async def test_what_is_not_named_is_not_tried_again(traffic, failure, word):
    client, bad, good = await two(traffic, failure, tried(on=["connect", "502"]))
    seen = await statuses(client, 4)
    assert len([status for status in seen if status == 200]) == 2
    assert (len(bad.requests), len(good.requests)) == (2, 2)


async def test_a_refused_connection_goes_on_to_the_next_for_any_method(traffic):
    good = await traffic.named(b"good")
    ports = [traffic.refusing_port(), traffic.refusing_port(), good.port]
    client = await traffic.serve(tried(), upstreams={"backend": ports})
    for data in (GET, post(b"hello"), chunked(b"hello"), head(method="PATCH"), head(method="DELETE")):
        assert (await served(client, data)).body == b"good"
    assert [request.body for request in good.requests] == [b"", b"hello", b"hello", b"", b""]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_idempotent_methods(traffic, method):
    client, bad, _ = await two(traffic, BUSY, tried())
    assert await statuses(client, 4, head(method=method)) == [200] * 4
    assert len(bad.requests) == 4


@pytest.mark.parametrize("method", ["POST", "PATCH", "MKCOL2"])
async def test_other_methods_are_not_sent_twice(traffic, method):
    client, bad, good = await two(traffic, BUSY, tried())
    assert sorted(await statuses(client, 4, head("Content-Length: 0", method=method))) == [200, 200, 503, 503]
    assert (len(bad.requests), len(good.requests)) == (2, 2)


async def test_unless_the_route_says_so(traffic):
    client, bad, good = await two(traffic, BUSY, tried(non_idempotent=True))
    assert await statuses(client, 4, post(b"hello")) == [200] * 4
    assert len(bad.requests) == 4
    assert [request.body for request in good.requests] == [b"hello"] * 4


async def test_also_on_a_connection_that_was_used_before(traffic):
    upstream = await traffic.new_upstream(default=respond(b"good"))
    client = await traffic.serve(tried(non_idempotent=True), upstreams={"backend": [upstream.port]})
    assert await bodies(client, 1, post(b"first")) == {b"good": 1}
    upstream.script(Answer(reset()))
    assert await bodies(client, 1, post(b"again")) == {b"good": 1}
    assert [request.body for request in upstream.requests] == [b"first", b"again", b"again"]
    assert len(upstream.connections) == 2


BODIES = {"length": post(b"x" * 30_000), "chunks": chunked(*[b"x" * 3000] * 10)}


@pytest.mark.parametrize("buffer", [False, True], ids=["kept", "buffered"])
@pytest.mark.parametrize("data", **by_id(BODIES))
async def test_a_body_is_sent_again(traffic, data, buffer):
    client, bad, good = await two(traffic, BUSY, tried(buffer_request=buffer))
    data = data.replace(b"POST", b"PUT", 1)
    for _ in range(2):
        assert (await served(client, data)).body == b"good"
    assert len(bad.requests) == 2
    assert [request.body for request in (*bad.requests, *good.requests)] == [b"x" * 30_000] * 4


async def test_a_long_body_is_sent_again_only_if_it_is_buffered(traffic):
    bad, good = await traffic.new_upstream(default=BUSY), await traffic.named(b"good")
    client = await traffic.serve(
        tried(path="/buffered", buffer_request=True), tried(), upstreams={"backend": [bad.port, good.port]}
    )
    data = head("Content-Length: 300000", method="PUT", target="/buffered") + b"x" * 300_000
    assert await statuses(client, 4, data) == [200] * 4
    assert {request.body_length for request in good.requests} == {300_000}
    assert sorted(await statuses(client, 4, data.replace(b"/buffered", b"/other"))) == [200, 200, 503, 503]


async def test_the_last_answer_is_passed_on_as_it_was(traffic):
    client = await traffic.serve(tried(attempts=3))
    traffic.upstream.script(
        BUSY,
        respond(b"second", "500 Internal Server Error"),
        b"HTTP/1.1 503 All Gone\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthi\r\n2\r\nrd\r\n0\r\n\r\n",
    )
    response = await served(client, GET, 503)
    assert (response.reason, response.fields["x-a"], response.body) == ("All Gone", "1", b"third")
    assert len(traffic.upstream.requests) == 3
    (line,) = await traffic.lines(1)
    assert (line["status"], line["end"], line["attempts"]) == (503, "ok", 3)
    await served(client, GET)


KEPT = {
    "length": b"HTTP/1.1 503 Gone\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nbody",
    "chunked": b"HTTP/1.1 503 Gone\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nbo\r\n2\r\ndy\r\n0\r\nT: x\r\n\r\n",
    "until close": b"HTTP/1.1 503 Gone\r\nX-A: 1\r\n\r\nbody",
}


@pytest.mark.parametrize("size", [1, 65536], ids=["byte by byte", "whole"])
@pytest.mark.parametrize("kept", **by_id(KEPT))
async def test_an_answer_that_was_kept_is_passed_on_when_no_other_comes(traffic, kept, size):
    """The next try fails without an answer: the client gets that of the one before."""
    one = await traffic.new_upstream()
    client = await traffic.serve(tried(attempts=2), upstreams={"backend": [one.port]})
    # The first of the resets may meet the connection of the kept answer, which is replaced without being a try.
    ending = [close()] if b"Content-Length" not in kept and b"chunked" not in kept else []
    one.script(Answer(pieces(kept, size), *ending), Answer(reset()), Answer(reset()))
    response = await served(client, GET, 503)
    assert (response.reason, response.fields["x-a"], response.body) == ("Gone", "1", b"body")
    one.default = Answer(respond(b"ok"))
    one.script()
    await served(client, GET)


async def test_a_kept_answer_to_head(traffic):
    client = await traffic.serve(tried(attempts=2))
    for second in (b"HTTP/1.1 503 Gone\r\nContent-Length: 7\r\n\r\n", Answer(reset())):
        traffic.upstream.script(b"HTTP/1.1 503 Gone\r\nContent-Length: 7\r\n\r\n", second, second)
        response = await served(client, head(method="HEAD"), 503)
        assert (response.fields["content-length"], response.body) == ("7", b"")
    await served(client, GET)


async def test_a_304_after_a_failure(traffic):
    client = await traffic.serve(tried())
    traffic.upstream.script(BUSY, b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 99\r\n\r\n')
    response = await served(client, head('If-None-Match: "a"'), 304)
    assert (response.fields["etag"], response.fields["content-length"], response.body) == ('"a"', "99", b"")
    await served(client, GET)


async def test_an_answer_too_long_to_keep_is_dropped(traffic):
    client = await traffic.serve(tried(attempts=2))
    traffic.upstream.script(respond(b"x" * 200_000, "503 Busy"), Answer(reset()))
    check_problem(await client.request(GET), 502)
    traffic.upstream.script(respond(b"x" * 200_000, "503 Busy"))
    assert (await served(client, GET)).body == b"ok"


async def test_the_last_of_the_tries_may_be_of_any_length(traffic):
    client = await traffic.serve(tried(attempts=2))
    traffic.upstream.script(BUSY, respond(b"x" * 200_000, "503 Busy"))
    assert len((await served(client, GET, 503)).body) == 200_000


async def test_nothing_is_tried_again_once_an_answer_has_begun(traffic):
    client = await traffic.serve(tried())
    traffic.upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", reset()))
    await client.send(GET)
    response = await client.head()
    assert response.status == 200
    assert await client.rest() == b"he"
    assert len(traffic.upstream.requests) == 1


# --- when ---


async def test_retry_after_is_obeyed(traffic):
    client = await traffic.serve(tried())
    traffic.upstream.script(respond(b"", "503 Busy", "Retry-After: 1"))
    began = time.monotonic()
    await served(client, GET)
    assert time.monotonic() - began > 0.9
    assert len(traffic.upstream.requests) == 2


async def test_a_retry_after_beyond_the_deadline_ends_the_tries(traffic):
    client = await traffic.serve(tried(timeouts={"total": "5s"}))
    traffic.upstream.script(respond(b"later", "503 Busy", "Retry-After: 60"))
    response = await served(client, GET, 503)
    assert (response.body, response.fields["retry-after"]) == (b"later", "60")
    assert len(traffic.upstream.requests) == 1


async def test_back_off(traffic):
    client = await traffic.serve(
        tried(attempts=4, backoff=0.05, max_backoff=0.1, jitter="none"),
    )
    traffic.upstream.script(BUSY, BUSY, BUSY)
    began = time.monotonic()
    await served(client, GET)
    assert time.monotonic() - began > 0.24
    assert len(traffic.upstream.requests) == 4


async def test_a_client_that_leaves_in_a_pause(traffic):
    client = await traffic.serve(tried(backoff=0.3, max_backoff=0.3, jitter="none"))
    traffic.upstream.script(BUSY)
    await client.send(GET)
    await traffic.upstream.request(0)
    client.close()
    assert await traffic.ends(1) == [(499, "client_gone")]
    await asyncio.sleep(0.4)
    assert len(traffic.upstream.requests) == 1


async def test_a_try_that_takes_too_long(traffic):
    client, slow, good = await two(traffic, Answer(stall()), tried(on=["timeout"], per_try_timeout=0.15))
    for _ in range(2):
        assert (await served(client, GET)).body == b"good"
    assert len(slow.requests) == 2
    assert await slow.connections[0].wait_ended()
    assert len(good.requests) == 2


async def test_the_time_of_a_try_ends_with_the_head_of_its_answer(traffic):
    client = await traffic.serve(tried(on=["timeout"], per_try_timeout=0.15))
    traffic.upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", pieces(b"hello", 1, 0.08)))
    assert (await served(client, GET)).body == b"hello"


async def test_every_try_that_takes_too_long_is_504(traffic):
    client = await traffic.serve(tried(on=["timeout"], attempts=2, per_try_timeout=0.1))
    traffic.upstream.default = Answer(stall())
    check_problem(await client.request(GET), 504)
    assert len(traffic.upstream.requests) == 2
    (line,) = await traffic.lines(1)
    assert (line["status"], line["end"], line["attempts"]) == (504, "try_timeout", 2)


async def test_a_timeout_that_is_not_named_is_504_at_once(traffic):
    client = await traffic.serve(tried(on=["reset"], per_try_timeout=0.1), tried(on=["timeout"], path="/post"))
    traffic.upstream.default = Answer(stall())
    check_problem(await client.request(GET), 504)
    assert len(traffic.upstream.requests) == 1


async def test_post_is_not_tried_again_after_a_timeout(traffic):
    client = await traffic.serve(tried(on=["timeout"], per_try_timeout=0.1))
    traffic.upstream.default = Answer(stall())
    check_problem(await client.request(post(b"hello")), 504)
    assert len(traffic.upstream.requests) == 1


async def test_the_read_timeout_is_tried_again_too(traffic):
    client, slow, good = await two(traffic, Answer(stall()), tried(on=["timeout"], timeouts={"read": 0.15}))
    for _ in range(2):
        assert (await served(client, GET)).body == b"good"
    assert (len(slow.requests), len(good.requests)) == (2, 2)


async def test_the_total_time_ends_all_tries(traffic):
    client = await traffic.serve(tried(on=["timeout"], attempts=10, per_try_timeout=0.1, timeouts={"total": 0.35}))
    traffic.upstream.default = Answer(stall())
    check_problem(await client.request(GET), 504)
    assert len(traffic.upstream.requests) in (3, 4)
    assert await traffic.ends(1) == [(504, "total_timeout")]


async def test_the_total_time_holds_in_a_pause(traffic):
    client = await traffic.serve(
        tried(backoff=0.2, max_backoff=0.2, jitter="none", attempts=9, timeouts={"total": 0.5})
    )
    traffic.upstream.default = Answer(BUSY)
    # A pause that would outlast it is not begun: the last answer is what the client gets.
    assert (await served(client, GET, 503)).body == b"busy"
    assert len(traffic.upstream.requests) in (2, 3)


# --- budget ---


async def test_the_budget(traffic):
    client = await traffic.serve(tried(budget=0.2, attempts=4))
    traffic.upstream.default = Answer(BUSY)
    for _ in range(100):
        await served(client, GET, 503)
    # A fifth of a hundred, and the three that are there to begin with.
    assert 120 <= len(traffic.upstream.requests) <= 123
    assert traffic.gateway.metrics()["retries"] == len(traffic.upstream.requests) - 100
    assert traffic.gateway.metrics()["retries_denied"] > 0


async def test_a_budget_of_nothing_is_the_three_to_begin_with(traffic):
    client = await traffic.serve(tried(budget=0))
    traffic.upstream.default = Answer(BUSY)
    for _ in range(20):
        await served(client, GET, 503)
    assert len(traffic.upstream.requests) == 23


async def test_retry_false(traffic):
    client = await traffic.serve(route_to("backend", retry=False))
    traffic.upstream.default = Answer(reset())
    check_problem(await client.request(GET), 502)
    assert len(traffic.upstream.requests) == 1


# --- hedging ---


def hedged(delay: float = 0.05, **keys) -> dict:
    return tried(hedge={"delay": delay}, **keys)


async def test_a_second_target_is_asked_beside_a_slow_one(traffic):
    client, slow, good = await two(traffic, Answer(stall()), hedged())
    for _ in range(4):
        assert (await served(client, GET)).body == b"good"
    for connection in slow.connections:
        assert await connection.wait_ended()
    assert len(slow.requests) == 4
    assert len(good.requests) == 4
    assert traffic.gateway.metrics()["hedges"] == 4
    assert len(await traffic.lines(4)) == 4


async def test_the_first_may_still_win(traffic):
    go = asyncio.Event()
    slow = await traffic.new_upstream(default=Answer(wait_for(go), respond(b"slow")))
    silent = await traffic.new_upstream(default=Answer(stall()))
    client = await traffic.serve(hedged(), upstreams={"backend": [slow.port, silent.port]})
    await client.send(GET)
    await slow.request(0)
    await silent.request(0)
    go.set()
    assert (await client.response()).body == b"slow"


async def test_a_quick_answer_is_not_hedged(traffic):
    one, other = await traffic.named(b"one"), await traffic.named(b"other")
    client = await traffic.serve(hedged(0.3), upstreams={"backend": [one.port, other.port]})
    assert await bodies(client, 10) == {b"one": 5, b"other": 5}
    await asyncio.sleep(0.35)
    assert len(one.requests) + len(other.requests) == 10


async def test_post_is_not_hedged(traffic):
    client, slow, good = await two(traffic, Answer(stall()), hedged(on=["timeout"], timeouts={"read": 0.2}))
    assert sorted(await statuses(client, 2, post(b"hello"))) == [200, 504]
    assert (len(slow.requests), len(good.requests)) == (1, 1)


async def test_a_hedge_that_fails_leaves_it_to_the_first(traffic):
    go = asyncio.Event()
    slow = await traffic.new_upstream(default=Answer(wait_for(go), respond(b"slow")))
    bad = await traffic.new_upstream(default=Answer(reset()))
    client = await traffic.serve(hedged(), upstreams={"backend": [slow.port, bad.port]})
    for _ in range(2):
        await client.send(GET)
        await settled(15)
        if slow.requests:
            break
        await client.response()
    await bad.wait_for(lambda: len(bad.requests) >= 1)
    go.set()
    assert (await client.response()).body == b"slow"


async def test_a_hedge_outlives_a_bad_answer_of_the_first(traffic):
    """The first answers with what is tried again while the hedge is under way: the hedge is the next try."""
    go = asyncio.Event()
    first = await traffic.new_upstream(default=Answer(wait_for(go), BUSY))
    second_go = asyncio.Event()
    second = await traffic.new_upstream(default=Answer(wait_for(second_go), respond(b"good")))
    client = await traffic.serve(
        hedged(attempts=2, backoff=0.2, max_backoff=0.2, jitter="none"),
        upstreams={"backend": [first.port, second.port]},
    )
    await client.send(GET)
    await first.request(0)
    await second.request(0)
    go.set()
    await settled()
    second_go.set()
    assert (await client.response()).body == b"good"
    assert (len(first.requests), len(second.requests)) == (1, 1)
