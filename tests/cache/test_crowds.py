"""Many who ask for one thing at once: one is asked for all, and nobody waits for what may not be shared."""

import asyncio

import pytest
from cache.looking import age_of, is_hit, near, status_of
from cache.support import Origin, ask, caching
from waiting import until

from fastgate.gateway import Gateway
from fastgate.testing import CutShort, RawClient, RecordedResponse, UpstreamExchange

PIECE = b"".join(b"%07d\n" % number for number in range(2048))
BODY = PIECE * 16


class Stage:
    """An answer in pieces, each sent when the test says so."""

    def __init__(self, origin: Origin, *pieces: bytes) -> None:
        self.pieces = pieces
        self.may = 0
        self.news = asyncio.Condition()
        origin.play = self.play

    async def play(self, exchange: UpstreamExchange) -> None:
        for number, piece in enumerate(self.pieces):
            async with self.news:
                await self.news.wait_for(lambda number=number: self.may > number)
            await exchange.send(piece)

    async def go(self, count: int = 1000) -> None:
        async with self.news:
            self.may += count
            self.news.notify_all()


def head(*fields: str, length: int | None = len(BODY)) -> bytes:
    lines = ["HTTP/1.1 200 OK", *fields]
    lines += [f"Content-Length: {length}"] if length is not None else ["Transfer-Encoding: chunked"]
    return "\r\n".join([*lines, "", ""]).encode()


SHARED = "Cache-Control: max-age=60"
IN_PIECES = [BODY[at : at + len(PIECE)] for at in range(0, len(BODY), len(PIECE))]
IN_CHUNKS = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in IN_PIECES] + [b"0\r\n\r\n"]


async def crowd(port: int, count: int) -> list["asyncio.Task[RecordedResponse]"]:
    return [asyncio.create_task(ask(port, "/a")) for _ in range(count)]


async def let_in(origin: Origin, gateway: Gateway, followers: int, asked: int = 1) -> None:
    """So many requests wait for those of others, and so many have reached the origin."""
    await until(lambda: len(origin.asked) >= asked and gateway.cache.stats().flights.followed >= followers)


@pytest.mark.parametrize("kind", ["length", "chunks", "small"])
async def test_one_is_asked_for_all_and_all_get_the_whole(kind: str) -> None:
    async with caching() as (origin, gateway):
        body = b"small" if kind == "small" else BODY
        pieces = [body] if kind == "small" else IN_PIECES if kind == "length" else IN_CHUNKS
        stage = Stage(origin, head(SHARED, length=None if kind == "chunks" else len(body)), *pieces)
        waiting = await crowd(gateway.port, 30)
        await let_in(origin, gateway, 29)
        for _ in range(4):
            await stage.go(3)
            await asyncio.sleep(0.002)
        late = await crowd(gateway.port, 5)
        if kind != "small":
            await let_in(origin, gateway, 34)
        await stage.go()
        answers = await asyncio.gather(*waiting, *late)
        assert {(answer.status, answer.body) for answer in answers} == {(200, body)}
        assert len(origin.asked) == 1
        said = [status_of(answer) for answer in answers]
        assert sum("collapsed" not in each and "hit" not in each for each in said) == 1, "who was asked for"
        assert all("collapsed" in each or "hit" in each for each in said[30:])
        assert sum("collapsed" in each for each in said) >= 29
        assert is_hit(await ask(gateway.port, "/a"))
        assert len(origin.asked) == 1


async def test_followers_get_each_piece_as_it_comes() -> None:
    async with caching() as (origin, gateway):
        stage = Stage(origin, head(SHARED), *IN_PIECES)
        async with RawClient(gateway.port) as one, RawClient(gateway.port) as two:
            for client in (one, two):
                await client.send(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await let_in(origin, gateway, 1)
            await stage.go(2)
            answers = [await client.head() for client in (one, two)]
            for count in range(1, 16):
                for client, answer in zip((one, two), answers, strict=True):
                    await client.body(answer, limit=count * len(PIECE))
                    assert answer.body == BODY[: count * len(PIECE)]
                await stage.go(1)
            await stage.go()
            for client, answer in zip((one, two), answers, strict=True):
                assert await client.body(answer) == BODY
        assert len(origin.asked) == 1


@pytest.mark.parametrize("when", ["before the head", "under way"])
async def test_the_one_that_was_asked_for_leaves(when: str) -> None:
    async with caching() as (origin, gateway):
        stage = Stage(origin, head(SHARED), *IN_PIECES)
        async with RawClient(gateway.port) as leader:
            await leader.send(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await origin.request(0)
            waiting = await crowd(gateway.port, 10)
            await let_in(origin, gateway, 10)
            if when == "under way":
                await stage.go(4)
                await leader.head()
            leader.reset()
        await asyncio.sleep(0.02)
        await stage.go()
        answers = await asyncio.gather(*waiting)
        assert all(answer.body == BODY for answer in answers)
        assert len(origin.asked) == 1
        assert is_hit(await ask(gateway.port, "/a"))


async def test_one_that_takes_nothing_holds_nobody_up() -> None:
    body = BODY * 11
    async with caching(cache={"max_object": len(body)}) as (origin, gateway):
        stage = Stage(origin, head(SHARED, length=len(body)), *IN_PIECES * 11)
        async with RawClient(gateway.port, receive_buffer=4096) as slow:
            await slow.send(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await origin.request(0)
            waiting = await crowd(gateway.port, 5)
            await let_in(origin, gateway, 5)
            await stage.go()
            assert {answer.body for answer in await asyncio.gather(*waiting)} == {body}
            answer = await slow.head()
            slow.timeout = 20
            assert await slow.body(answer) == body
        assert len(origin.asked) == 1


async def test_a_follower_that_leaves_is_of_no_concern_to_others() -> None:
    async with caching() as (origin, gateway):
        stage = Stage(origin, head(SHARED), *IN_PIECES)
        waiting = await crowd(gateway.port, 5)
        for followers, under_way in ((5, False), (6, True)):
            async with RawClient(gateway.port) as client:
                await client.send(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
                await let_in(origin, gateway, followers)
                if under_way:
                    await client.head()
                client.reset()
            await stage.go(4)
        await stage.go()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {BODY}
        assert len(origin.asked) == 1


NOT_SHARED = {
    "no-store": "Cache-Control: no-store",
    "private": "Cache-Control: private, max-age=60",
    "Set-Cookie": "Cache-Control: max-age=60\r\nSet-Cookie: a=1",
    "stale": "Cache-Control: max-age=0",
    "no-cache": 'Cache-Control: no-cache, max-age=60\r\nETag: "v1"',
    "Vary": "Cache-Control: max-age=60\r\nVary: *",
}


@pytest.mark.parametrize("case", NOT_SHARED)
async def test_what_may_not_be_shared_is_asked_for_by_all_at_once(case: str) -> None:
    """And not waited for again: the second crowd goes at once."""
    async with caching() as (origin, gateway):
        go_on = asyncio.Event()
        both = asyncio.Event()

        async def play(exchange: UpstreamExchange) -> None:
            number = len(origin.asked)
            await (go_on if number == 1 else both).wait()
            body = b"answer %d" % number
            await exchange.send(head(NOT_SHARED[case], length=len(body)) + body)

        origin.play = play
        waiting = await crowd(gateway.port, 10)
        await let_in(origin, gateway, 9)
        assert len(origin.asked) == 1
        go_on.set()
        await until(lambda: len(origin.asked) == 10)
        waiting += await crowd(gateway.port, 5)
        await until(lambda: len(origin.asked) == 15)
        both.set()
        bodies = [answer.body for answer in await asyncio.gather(*waiting)]
        assert len(set(bodies)) == len(bodies) == 15


async def test_collapsing_can_be_switched_off() -> None:
    async with caching(cache={"collapse": False}) as (origin, gateway):
        stage = Stage(origin, head(SHARED, length=4) + b"body")
        waiting = await crowd(gateway.port, 5)
        await until(lambda: len(origin.asked) == 5)
        await stage.go()
        answers = await asyncio.gather(*waiting)
        assert all("collapsed" not in status_of(answer) and answer.body == b"body" for answer in answers)
        assert is_hit(await ask(gateway.port, "/a"))


async def test_nobody_waits_longer_for_a_head_than_the_route_says() -> None:
    async with caching(cache={"collapse_timeout": "100ms"}) as (origin, gateway):
        stage = Stage(origin, head(SHARED, length=4) + b"body")
        waiting = await crowd(gateway.port, 4)
        await until(lambda: len(origin.asked) == 4)
        await stage.go()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"body"}


async def test_variants_do_not_get_each_others_answers() -> None:
    async with caching() as (origin, gateway):
        go_on = asyncio.Event()

        async def play(exchange: UpstreamExchange) -> None:
            await go_on.wait()
            body = (exchange.request.fields.get("x-a") or "").encode() * 5000
            await exchange.send(head(SHARED, "Vary: X-A", length=len(body)))
            await exchange.send(body[:3000])
            await asyncio.sleep(0.02)
            await exchange.send(body[3000:])

        origin.play = play
        values = ["1", "2", "3"] * 5
        waiting = [asyncio.create_task(ask(gateway.port, "/a", fields={"X-A": value})) for value in values]
        await let_in(origin, gateway, 14)
        go_on.set()
        for value, task in zip(values, waiting, strict=True):
            assert (await task).body == value.encode() * 5000


async def test_the_failure_of_the_one_is_that_of_all_who_wait() -> None:
    async with caching() as (origin, gateway):
        go_on = asyncio.Event()

        async def play(exchange: UpstreamExchange) -> None:
            await go_on.wait()
            exchange.wire.close()

        origin.play = play
        waiting = await crowd(gateway.port, 10)
        await let_in(origin, gateway, 9)
        go_on.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [502] * 10
        # Once, and once more by the retry of the route.
        assert len(origin.asked) <= 2


async def test_a_body_that_is_cut_is_cut_for_all_and_asked_for_again_afterwards() -> None:
    async with caching() as (origin, gateway):
        go_on = asyncio.Event()

        async def play(exchange: UpstreamExchange) -> None:
            await exchange.send(head(SHARED) + IN_PIECES[0])
            await go_on.wait()
            exchange.wire.close()

        origin.play = play
        waiting = await crowd(gateway.port, 10)
        await let_in(origin, gateway, 9)
        go_on.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, CutShort) for answer in answers)
        assert len(origin.asked) == 1
        stage = Stage(origin, head(SHARED), *IN_PIECES)
        await stage.go()
        assert (await ask(gateway.port, "/a")).body == BODY


def validated(origin: Origin, answer: bytes) -> asyncio.Event:
    """What the origin sends is stale at once; validations get ``answer``, when the event is set."""
    go_on = asyncio.Event()

    async def play(exchange: UpstreamExchange) -> None:
        if "if-none-match" in exchange.request.fields:
            await go_on.wait()
            await exchange.send(answer)
            return
        await exchange.send(head("Cache-Control: max-age=60", "Age: 70", 'ETag: "v1"', length=4) + b"body")

    origin.play = play
    return go_on


async def test_one_validates_for_all() -> None:
    async with caching() as (origin, gateway):
        go_on = validated(origin, b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=90\r\n\r\n")
        await ask(gateway.port, "/a")
        waiting = await crowd(gateway.port, 10)
        await let_in(origin, gateway, 9, 2)
        go_on.set()
        answers = await asyncio.gather(*waiting)
        assert all(answer.body == b"body" and near(-age_of(answer), 0) for answer in answers)
        assert len(origin.asked) == 2
        assert sum(status_of(answer).get("fwd-status") == 304 for answer in answers) == 1
        assert sum("collapsed" in status_of(answer) for answer in answers) == 9


async def test_those_who_wait_for_a_validation_that_fails_get_what_is_stale() -> None:
    async with caching(cache={"stale_if_error": "600s"}) as (origin, gateway):
        go_on = validated(origin, b"HTTP/1.1 503 Words\r\nContent-Length: 0\r\n\r\n")
        await ask(gateway.port, "/a")
        waiting = await crowd(gateway.port, 10)
        await let_in(origin, gateway, 9, 2)
        go_on.set()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"body"}
        assert len(origin.asked) == 2


@pytest.mark.parametrize("times", [2, 8])
async def test_a_body_that_outgrows_what_may_be_stored_reaches_all_who_read_it(times: int) -> None:
    async with caching(cache={"max_object": len(BODY) // times}) as (origin, gateway):
        stage = Stage(origin, head(SHARED, length=None), *IN_CHUNKS)
        waiting = await crowd(gateway.port, 5)
        await let_in(origin, gateway, 4)
        await stage.go(3)
        await until(lambda: gateway.cache.stats().pinned > 0)
        await stage.go()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {BODY}
        assert not is_hit(await ask(gateway.port, "/a"))


async def test_head_and_conditions_never_make_others_wait() -> None:
    async with caching() as (origin, gateway):
        stage = Stage(origin, b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n")
        waiting = asyncio.create_task(ask(gateway.port, "/a", fields={"If-None-Match": '"x"'}))
        await origin.request(0)
        other = asyncio.create_task(ask(gateway.port, "/a", fields={"If-None-Match": '"y"'}))
        await origin.request(1)
        await stage.go()
        assert ((await waiting).status, (await other).status) == (304, 304)
