"""After a purge or a change nobody gets what was generated before it, also if it was under way: on generated courses.

The origin says in each body how many purges there were when it *generated* the answer, which may be long before it
sends it. ``FASTGATE_SEED`` repeats one course.
"""

import asyncio
import random
from collections.abc import Callable

import pytest
from cache.looking import is_hit, status_of
from cache.support import Origin, ask, caching, some_seeds

from fastgate.gateway import Gateway
from fastgate.testing import RecordedResponse, UpstreamExchange

HEAD = 'HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nCache-Tag: news, shop\r\nCache-Groups: "group"\r\n'
PURGES: dict[str, Callable[[Gateway, bool], None]] = {
    "url": lambda gateway, soft: gateway.cache.purge_url("http://example.com/a", soft=soft),
    "prefix": lambda gateway, soft: gateway.cache.purge_prefix("http://example.com/", soft=soft),
    "path": lambda gateway, soft: gateway.cache.purge_prefix("/a", soft=soft),
    "route": lambda gateway, soft: gateway.cache.purge_route("all", soft=soft),
    "tag": lambda gateway, soft: gateway.cache.purge_tag("shop", soft=soft),
    "group": lambda gateway, soft: gateway.cache.purge_tag("http://example.com group", soft=soft),
    "everything": lambda gateway, soft: gateway.cache.purge_everything(soft=soft),
}


class Slow:
    """An origin that generates an answer at once, and sends it, in two halves, when it is let."""

    def __init__(self, origin: Origin, kind: str = "large", more: str = "") -> None:
        self.origin = origin
        self.kind = kind
        self.more = more
        self.purges = 0
        self.held: list[list[asyncio.Event]] = []
        origin.play = self.play

    async def play(self, exchange: UpstreamExchange) -> None:
        if exchange.request.method not in ("GET", "HEAD"):
            await exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        body = b"%08d" % self.purges + b"." * (100 if self.kind == "small" else 40000)
        gates = [asyncio.Event(), asyncio.Event()]
        self.held.append(gates)
        if self.kind == "chunked":
            text = f"{HEAD}{self.more}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body
            end = b"\r\n0\r\n\r\n"
        else:
            text = f"{HEAD}{self.more}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-20]
            end = body[-20:]
        await gates[0].wait()
        await exchange.send(text)
        await gates[1].wait()
        await exchange.send(end)

    def let(self, which: int = -1, gates: int = 2) -> None:
        for gate in self.held[which][:gates]:
            gate.set()


def generated(answer: RecordedResponse) -> int:
    """How many purges there were then."""
    return int(answer.body[:8])


@pytest.mark.parametrize("kind", ["small", "large", "chunked"])
@pytest.mark.parametrize("under_way", [False, True], ids=["before the head", "after the head"])
@pytest.mark.parametrize("what", PURGES)
async def test_what_was_under_way_is_for_those_who_asked_before(what: str, kind: str, under_way: bool) -> None:
    async with caching() as (origin, gateway):
        slow = Slow(origin, kind)
        first = asyncio.create_task(ask(gateway.port, "/a"))
        await origin.request(0)
        if under_way:
            slow.let(gates=1)
            await asyncio.sleep(0.01)
        slow.purges += 1
        PURGES[what](gateway, False)
        later = asyncio.create_task(ask(gateway.port, "/a"))
        await asyncio.sleep(0.01)
        slow.let(0)
        assert generated(await first) == 0
        async with asyncio.timeout(5):
            while not later.done():
                if len(slow.held) > 1:
                    slow.let(1)
                await asyncio.sleep(0.001)
        assert generated(await later) == 1
        answer = asyncio.create_task(ask(gateway.port, "/a"))
        await asyncio.sleep(0.01)
        slow.let()
        assert generated(await answer) == 1


@pytest.mark.parametrize("what", PURGES)
async def test_what_is_stored_is_gone_and_what_is_not_meant_stays(what: str) -> None:
    async with caching() as (origin, gateway):
        slow = Slow(origin, "small")

        async def get(target: str, host: str = "example.com") -> RecordedResponse:
            waiting = asyncio.create_task(ask(gateway.port, target, fields={"Host": host}))
            while not waiting.done():
                for gates in slow.held:
                    gates[0].set()
                    gates[1].set()
                await asyncio.sleep(0.001)
            return await waiting

        for target, host in (("/a", "example.com"), ("/b", "example.com"), ("/b", "other.com")):
            await get(target, host)
            assert is_hit(await get(target, host))
        PURGES[what](gateway, False)
        assert not is_hit(await get("/a"))
        assert is_hit(await get("/b")) == (what in ("url", "path"))
        assert is_hit(await get("/b", "other.com")) == (what in ("url", "path", "prefix", "group"))


@pytest.mark.parametrize("what", PURGES)
async def test_after_a_soft_purge_it_is_validated_and_still_good_where_that_fails(what: str) -> None:
    lives = 'Cache-Control: max-age=60, stale-if-error=600\r\nETag: "v1"\r\n'
    tags = 'Cache-Tag: shop\r\nCache-Groups: "group"\r\n'
    plan = [
        f"HTTP/1.1 200 OK\r\n{lives}{tags}Content-Length: 4\r\n\r\nbody",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 503 Words\r\nContent-Length: 0\r\n\r\n",
    ]

    async def play(exchange: UpstreamExchange) -> None:
        await exchange.send(plan.pop(0).encode())

    async with caching(cache={"retry_stale": 0}) as (origin, gateway):
        origin.play = play
        await ask(gateway.port, "/a")
        PURGES[what](gateway, True)
        answer = await ask(gateway.port, "/a")
        assert answer.body == b"body"
        assert status_of(answer)["fwd-status"] == 304
        assert is_hit(await ask(gateway.port, "/a"))
        PURGES[what](gateway, True)
        answer = await ask(gateway.port, "/a")
        assert answer.body == b"body"
        assert status_of(answer)["detail"] == "stale-if-error"
        assert len(origin.asked) == 3


async def course(seed: int) -> int:
    """One course: requests, purges of all kinds, changes, and an origin that sends when it likes."""
    draw = random.Random(seed)
    more = draw.choice(["", "Vary: x-a\r\n", 'ETag: "same"\r\n'])
    count = 0
    async with caching(cache={"collapse": draw.random() < 0.8}) as (origin, gateway):
        slow = Slow(origin, draw.choice(["small", "large", "chunked"]), more)
        waiting: list[tuple[int, asyncio.Task[RecordedResponse]]] = []
        for _ in range(draw.randint(6, 20)):
            act = draw.random()
            if act < 0.45:
                fields = {"X-A": draw.choice("12")}
                waiting.append((slow.purges, asyncio.create_task(ask(gateway.port, "/a", fields=fields))))
            elif act < 0.6:
                # What is generated from now on counts as later; requests count only when the purge has returned.
                before = slow.purges
                slow.purges = before + 1
                if draw.random() < 0.3:
                    await ask(gateway.port, "/a", "POST")
                else:
                    PURGES[draw.choice(list(PURGES))](gateway, False)
            elif slow.held:
                slow.let(draw.randrange(len(slow.held)), draw.choice((1, 2)))
            for _ in range(draw.choice((0, 1, 5))):
                await asyncio.sleep(draw.choice((0, 0.001)))
        while not all(task.done() for _, task in waiting):
            for number in range(len(slow.held)):
                slow.let(number)
            await asyncio.sleep(0.001)
        for purges, task in waiting:
            answer = await task
            assert generated(answer) >= purges, (
                f"FASTGATE_SEED={seed}: generated before purge {purges}, which had returned: {answer.head!r}"
            )
            count += "hit" in status_of(answer) or "collapsed" in status_of(answer)
    return count


async def test_generated_courses_of_requests_and_purges() -> None:
    seeds = some_seeds(60)
    shared = sum([await course(seed) for seed in seeds])
    assert shared > 20 or len(seeds) == 1


@pytest.mark.long
async def test_many_generated_courses_of_requests_and_purges() -> None:
    assert sum([await course(seed) for seed in some_seeds(500)]) > 200
