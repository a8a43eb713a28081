"""Stale answers: given while they are validated, and where the upstream fails; never where that is forbidden."""

import asyncio

import pytest
from cache.looking import ETAG, FRESH, age_of, answering, is_hit, near, status_of, validating
from cache.support import Fields, ask, caching
from waiting import until

from fastgate.testing import UpstreamExchange

LIVED = {"Age": "70", "ETag": ETAG}


def stale(directives: str) -> Fields:
    return {**LIVED, "Cache-Control": f"max-age=60, {directives}".rstrip(", ")}


# -- stale-while-revalidate


@pytest.mark.parametrize("by", ["answer", "route"])
async def test_a_stale_answer_is_given_at_once_and_validated_once_in_the_background(by: str) -> None:
    allowed = "stale-while-revalidate=600" if by == "answer" else ""
    cache = {"stale_while_revalidate": "600s"} if by == "route" else {}
    go_on = asyncio.Event()

    async def play(exchange: UpstreamExchange) -> None:
        if len(origin.asked) > 1:
            await go_on.wait()
        lives = (
            f"Age: 70\r\nCache-Control: max-age=60, {allowed}"
            if len(origin.asked) == 1
            else "Cache-Control: max-age=90"
        )
        await exchange.send(
            f"HTTP/1.1 200 OK\r\n{lives}\r\nContent-Length: 8\r\n\r\nanswer {len(origin.asked)}".encode()
        )

    async with caching(cache=cache) as (origin, gateway):
        origin.play = play
        await ask(gateway.port)
        for _ in range(5):
            answer = await ask(gateway.port)
            said = status_of(answer)
            assert answer.body == b"answer 1"
            assert "hit" in said
            assert near(-said["ttl"], 15)
            assert age_of(answer) >= 70
        await until(lambda: len(origin.asked) == 2)
        go_on.set()
        await asyncio.sleep(0)
        found = b""
        async with asyncio.timeout(5):
            while found != b"answer 2":
                found = (await ask(gateway.port)).body
        assert near(status_of(await ask(gateway.port))["ttl"], 90)
        assert len(origin.asked) == 2


async def test_the_background_validates_with_what_is_stored() -> None:
    renewed = {"Cache-Control": "max-age=90", "X-New": "1"}
    async with caching(validating(stale("stale-while-revalidate=600"), changed=renewed)) as (origin, gateway):
        await ask(gateway.port)
        await ask(gateway.port)
        await until(lambda: len(origin.asked) == 2)
        assert origin.asked[1].fields["if-none-match"] == ETAG
        async with asyncio.timeout(5):
            while "x-new" not in (answer := await ask(gateway.port)).fields:
                await asyncio.sleep(0.001)
        assert is_hit(answer)
        assert answer.body == b"whole"
        assert len(origin.asked) == 2


NOT_MEANWHILE = {
    "nothing allows it": "",
    "it is too late": "stale-while-revalidate=5",
    "must-revalidate": "stale-while-revalidate=600, must-revalidate",
    "proxy-revalidate": "stale-while-revalidate=600, proxy-revalidate",
    "no-cache": "stale-while-revalidate=600, no-cache",
}


@pytest.mark.parametrize("case", NOT_MEANWHILE)
async def test_what_may_not_be_given_while_it_is_validated(case: str) -> None:
    async with caching(validating(stale(NOT_MEANWHILE[case]))) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port)
        assert not is_hit(answer)
        assert status_of(answer)["fwd-status"] == 304
        assert len(origin.asked) == 2


async def test_the_answers_word_outweighs_s_maxage_and_the_routes_does_not() -> None:
    fields = {**LIVED, "Cache-Control": "s-maxage=60, stale-while-revalidate=600"}
    async with caching(validating(fields)) as (_, gateway):
        await ask(gateway.port)
        assert is_hit(await ask(gateway.port))
    fields = {**LIVED, "Cache-Control": "s-maxage=60"}
    async with caching(validating(fields), {"stale_while_revalidate": "600s"}) as (_, gateway):
        await ask(gateway.port)
        assert not is_hit(await ask(gateway.port))


@pytest.mark.parametrize("asked", ["no-cache", "max-age=10", "max-stale=1"])
async def test_a_client_that_wants_no_stale_answer_gets_none(asked: str) -> None:
    async with caching(validating(stale("stale-while-revalidate=600"))) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, fields={"Cache-Control": asked})
        assert not is_hit(answer)
        assert len(origin.asked) == 2


# -- stale-if-error

FAILS = {
    "500": (b"HTTP/1.1 500 Words\r\nContent-Length: 3\r\n\r\nerr", True),
    "502": (b"HTTP/1.1 502 Words\r\nContent-Length: 3\r\n\r\nerr", True),
    "503": (b"HTTP/1.1 503 Words\r\nContent-Length: 3\r\n\r\nerr", True),
    "504": (b"HTTP/1.1 504 Words\r\nContent-Length: 3\r\n\r\nerr", True),
    "501": (b"HTTP/1.1 501 Words\r\nContent-Length: 3\r\n\r\nerr", False),
    "404": (b"HTTP/1.1 404 Words\r\nContent-Length: 3\r\n\r\nerr", False),
    "no answer": (b"", True),
    "half a head": (b"HTTP/1.1 200 OK\r\nX-", True),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", True),
}


def failing(wire: bytes, first: Fields):
    """The first answer has these fields; all others are these bytes and the end of the connection."""

    async def play(exchange: UpstreamExchange) -> None:
        if len(exchange.upstream.requests) > 1:
            await exchange.send(wire)
            exchange.wire.close()
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in first.items())
        await exchange.send(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 5\r\n\r\nwhole".encode())

    return play


@pytest.mark.parametrize("by", ["answer", "route"])
@pytest.mark.parametrize("case", FAILS)
async def test_a_stale_answer_is_given_where_the_upstream_fails(case: str, by: str) -> None:
    wire, given = FAILS[case]
    cache = {"stale_if_error": "600s"} if by == "route" else {}
    async with caching(cache=cache) as (origin, gateway):
        origin.play = failing(wire, stale("stale-if-error=600" if by == "answer" else ""))
        await ask(gateway.port)
        answer = await ask(gateway.port)
        if not given:
            assert answer.status == int(case)
            assert answer.body == b"err"
            return
        said = status_of(answer)
        assert (answer.status, answer.body, answer.fields["etag"]) == (200, b"whole", ETAG)
        assert "hit" in said
        assert said["detail"] == "stale-if-error"
        assert near(-said["ttl"], 15)
        assert age_of(answer) >= 70
        # For a second nobody tries again.
        count = len(origin.asked)
        again = await ask(gateway.port)
        assert again.body == b"whole"
        assert status_of(again)["detail"] == "retry-later"
        assert len(origin.asked) == count


async def test_a_stale_answer_is_given_where_no_connection_is_made_or_the_time_is_up() -> None:
    async with caching(cache={"retry_stale": 0}, route={"timeouts": {"read": "100ms"}}) as (origin, gateway):
        origin.play = failing(b"", stale("stale-if-error=600"))
        await ask(gateway.port)

        async def silent(exchange: UpstreamExchange) -> None:
            await exchange.connection.over.wait()

        origin.play = silent
        answer = await ask(gateway.port)
        assert answer.body == b"whole"
        assert status_of(answer)["detail"] == "stale-if-error"
        await origin.close()
        answer = await ask(gateway.port)
        assert answer.body == b"whole"
        assert status_of(answer)["detail"] == "stale-if-error"


NOT_AFTER_FAILURE = {
    "nothing allows it": "",
    "it is too late": "stale-if-error=5",
    "must-revalidate": "stale-if-error=600, must-revalidate",
    "proxy-revalidate": "stale-if-error=600, proxy-revalidate",
    "no-cache": "stale-if-error=600, no-cache",
}


@pytest.mark.parametrize("by", ["answer", "route"])
@pytest.mark.parametrize("case", NOT_AFTER_FAILURE)
@pytest.mark.parametrize("failure", ["503", "no answer"])
async def test_what_may_not_be_given_after_a_failure(case: str, by: str, failure: str) -> None:
    directives = NOT_AFTER_FAILURE[case]
    cache = {"stale_if_error": "5s" if case == "it is too late" else "600s"}
    if by == "answer" or case == "nothing allows it":
        cache = {}
    else:
        directives = directives.partition(", ")[2]
    async with caching(cache=cache) as (origin, gateway):
        origin.play = failing(FAILS[failure][0], stale(directives))
        await ask(gateway.port)
        for _ in range(2):
            answer = await ask(gateway.port)
            assert answer.status == (503 if failure == "503" else 502)
            assert answer.body != b"whole"


async def test_the_client_may_allow_it() -> None:
    async with caching() as (origin, gateway):
        origin.play = failing(FAILS["503"][0], stale(""))
        await ask(gateway.port)
        answer = await ask(gateway.port, fields={"Cache-Control": "stale-if-error=600"})
        assert answer.body == b"whole"
        assert status_of(answer)["detail"] == "stale-if-error"


@pytest.mark.parametrize("after", ["", "Retry-After: 2\r\n", "Retry-After: 100000\r\n", "Retry-After: soon\r\n"])
async def test_nobody_tries_again_before_the_time(after: str) -> None:
    """`retry_stale` of the route, or Retry-After where that is longer."""
    wire = f"HTTP/1.1 503 Words\r\n{after}Content-Length: 0\r\n\r\n".encode()
    cache = {"retry_stale": 0 if "0" in after or "2" in after else "60s"}
    async with caching(cache=cache) as (origin, gateway):
        origin.play = failing(wire, stale("stale-if-error=600"))
        await ask(gateway.port)
        for _ in range(4):
            assert (await ask(gateway.port)).body == b"whole"
        assert len(origin.asked) == 2


async def test_it_is_tried_again_after_the_time_and_what_comes_is_fresh() -> None:
    answers = [
        (200, stale("stale-if-error=600"), b"old"), (503, {}, b""), (503, {}, b""), (200, FRESH, b"new"),
    ]  # fmt: skip
    async with caching(lambda _: answers[len(origin.asked) - 1], {"retry_stale": 0}) as (origin, gateway):
        assert [(await ask(gateway.port)).body for _ in range(5)] == [b"old", b"old", b"old", b"new", b"new"]
        assert len(origin.asked) == 4


async def test_an_answer_without_a_validator_is_given_after_a_failure_too() -> None:
    fields = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "70"}
    async with caching() as (origin, gateway):
        origin.play = failing(FAILS["503"][0], fields)
        await ask(gateway.port)
        answer = await ask(gateway.port)
        assert answer.body == b"whole"
        assert status_of(answer)["detail"] == "stale-if-error"


async def test_a_failure_in_the_background_leaves_what_is_stored() -> None:
    async with caching() as (origin, gateway):
        origin.play = failing(FAILS["503"][0], stale("stale-while-revalidate=600"))
        await ask(gateway.port)
        await ask(gateway.port)
        await until(lambda: len(origin.asked) == 2)
        for _ in range(5):
            answer = await ask(gateway.port)
            assert answer.body == b"whole"
            assert is_hit(answer)
            await asyncio.sleep(0.01)
        assert len(origin.asked) == 2


async def test_a_must_revalidate_that_cannot_be_validated_is_an_error_of_the_gateway() -> None:
    async with caching(route={"timeouts": {"read": "100ms"}}) as (origin, gateway):
        origin.play = failing(b"", stale("must-revalidate"))
        await ask(gateway.port)
        assert (await ask(gateway.port)).status == 502

        async def silent(exchange: UpstreamExchange) -> None:
            await exchange.connection.over.wait()

        origin.play = silent
        assert (await ask(gateway.port)).status == 504


async def test_conditions_and_ranges_are_answered_from_what_is_stale_too() -> None:
    async with caching() as (origin, gateway):
        origin.play = failing(FAILS["503"][0], stale("stale-if-error=600"))
        await ask(gateway.port)
        assert (await ask(gateway.port, fields={"If-None-Match": ETAG})).status == 304
        part = await ask(gateway.port, fields={"Range": "bytes=1-2"})
        assert (part.status, part.body) == (206, b"ho")


async def test_a_head_is_answered_from_what_is_stale_where_the_upstream_fails() -> None:
    async with caching() as (origin, gateway):
        origin.play = failing(FAILS["503"][0], stale("stale-if-error=600"))
        await ask(gateway.port)
        answer = await ask(gateway.port, method="HEAD")
        assert (answer.status, answer.fields["content-length"]) == (200, "5")


# -- the upstream's health


async def test_an_open_breaker_gives_what_is_stale_and_hits_do_not_count_for_it() -> None:
    breaker = {"failures": 1, "open": "60s"}
    async with caching(cache={"retry_stale": 0}, upstream={"breaker": breaker}) as (origin, gateway):
        origin.play = failing(FAILS["503"][0], stale("stale-if-error=600"))
        await ask(gateway.port)
        for _ in range(4):
            answer = await ask(gateway.port)
            assert answer.body == b"whole"
            assert status_of(answer)["detail"] == "stale-if-error"
        assert len(origin.asked) == 2  # the second one has opened it


async def test_an_error_that_is_not_given_is_stored_where_it_says_so() -> None:
    """A 404 is an answer, and replaces what was stored."""
    answers = [(200, stale("stale-if-error=600"), b"old"), (404, FRESH, b"gone")]
    async with caching(lambda _: answers[len(origin.asked) - 1]) as (origin, gateway):
        assert [(await ask(gateway.port)).body for _ in range(3)] == [b"old", b"gone", b"gone"]


async def test_nothing_is_stale_that_was_never_stored() -> None:
    async with caching(answering(503, {}, b"err"), {"stale_if_error": "600s"}) as (_, gateway):
        assert (await ask(gateway.port)).status == 503
