"""Conditions and ranges of clients against what is stored, and conditions of the gateway towards the upstream."""

import asyncio

import pytest
from cache.looking import ETAG, FRESH, MODIFIED, age_of, answering, date, is_hit, near, status_of, validating
from cache.support import Fields, ask, caching

from fastgate.testing import RecordedRequest, UpstreamExchange

BODY = b"0123456789"
STORED = {**FRESH, "ETag": ETAG, "Last-Modified": MODIFIED, "X-Other": "1", "Content-Type": "text/plain"}
EARLIER, LATER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"

ASKED = {
    "the tag": ({"If-None-Match": ETAG}, 304, b""),
    "the tag, weakly": ({"If-None-Match": f"W/{ETAG}"}, 304, b""),
    "the tag in a list": ({"If-None-Match": f'"x,y", W/"z" , {ETAG}'}, 304, b""),
    "any tag": ({"If-None-Match": "*"}, 304, b""),
    "another tag": ({"If-None-Match": '"v2"'}, 200, BODY),
    "a part of the tag": ({"If-None-Match": '"v"'}, 200, BODY),
    "modified then": ({"If-Modified-Since": MODIFIED}, 304, b""),
    "modified later": ({"If-Modified-Since": LATER}, 304, b""),
    "modified earlier": ({"If-Modified-Since": EARLIER}, 200, BODY),
    "no date": ({"If-Modified-Since": "yesterday"}, 200, BODY),
    "another tag, modified then": ({"If-None-Match": '"v2"', "If-Modified-Since": MODIFIED}, 200, BODY),
    "the tag, modified earlier": ({"If-None-Match": ETAG, "If-Modified-Since": EARLIER}, 304, b""),
    "first bytes": ({"Range": "bytes=0-3"}, 206, b"0123"),
    "bytes to the end": ({"Range": "bytes=7-"}, 206, b"789"),
    "last bytes": ({"Range": "bytes=-3"}, 206, b"789"),
    "more than there is": ({"Range": "bytes=5-99"}, 206, b"56789"),
    "all": ({"Range": "bytes=0-"}, 206, BODY),
    "behind the end": ({"Range": "bytes=10-"}, 416, None),
    "no last bytes": ({"Range": "bytes=-0"}, 416, None),
    "several ranges": ({"Range": "bytes=0-1,3-4"}, 200, BODY),
    "no range": ({"Range": "bytes=3-1"}, 200, BODY),
    "another unit": ({"Range": "lines=0-1"}, 200, BODY),
    "range if the tag": ({"Range": "bytes=0-3", "If-Range": ETAG}, 206, b"0123"),
    "range if the tag, weakly": ({"Range": "bytes=0-3", "If-Range": f"W/{ETAG}"}, 200, BODY),
    "range if another tag": ({"Range": "bytes=0-3", "If-Range": '"v2"'}, 200, BODY),
    "range if the date": ({"Range": "bytes=0-3", "If-Range": MODIFIED}, 206, b"0123"),
    "range if another date": ({"Range": "bytes=0-3", "If-Range": LATER}, 200, BODY),
    "the tag before the range": ({"If-None-Match": ETAG, "Range": "bytes=0-3"}, 304, b""),
    "another tag and a range": ({"If-None-Match": '"v2"', "Range": "bytes=0-3"}, 206, b"0123"),
}


@pytest.mark.parametrize("case", ASKED)
async def test_conditions_and_ranges_are_answered_from_the_store(case: str) -> None:
    fields, status, body = ASKED[case]
    async with caching(answering(200, STORED, BODY)) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, fields=fields)
        assert answer.status == status
        assert is_hit(answer)
        assert len(origin.asked) == 1
        if body is not None:
            assert answer.body == body
        if status == 304:
            assert {"date", "etag", "cache-control"} <= set(answer.fields.names)
            assert not {"x-other", "content-type", "content-length"} & set(answer.fields.names)
        elif status == 206:
            first = BODY.index(answer.body)
            assert answer.fields["content-range"] == f"bytes {first}-{first + len(answer.body) - 1}/10"
            assert answer.fields["content-length"] == str(len(answer.body))
            assert answer.fields["content-type"] == "text/plain"
            assert answer.fields["etag"] == ETAG
        elif status == 416:
            assert answer.fields["content-range"] == "bytes */10"
            assert "content-type" not in answer.fields
        assert near(-age_of(answer), 0)
        # and the connection goes on, with what was stored as it was
        assert (await ask(gateway.port)).body == BODY


async def test_a_304_says_what_rfc_9110_wants() -> None:
    more = {"Content-Location": "/other", "Expires": date(60), "Vary": "x-a", "Allow": "GET"}
    async with caching(answering(200, {**STORED, **more}, BODY)) as (_, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, fields={"If-None-Match": ETAG})
    assert answer.status == 304
    for name in ("Content-Location", "Expires", "Vary", "ETag", "Cache-Control"):
        assert answer.fields[name] == {**STORED, **more}[name]
    assert "allow" not in answer.fields
    assert "date" in answer.fields


@pytest.mark.parametrize("size", [16000, 17000, 400000])
async def test_ranges_of_large_bodies(size: int) -> None:
    body = b"".join(b"%07d\n" % at for at in range(size // 8))
    async with caching(answering(200, STORED, body)) as (origin, gateway):
        assert (await ask(gateway.port)).body == body
        for first, last in ((0, size - 1), (1, size - 2), (size // 2, size // 2 + 15999), (size - 9, size - 1), (3, 3)):
            part = await ask(gateway.port, fields={"Range": f"bytes={first}-{last}"})
            assert (part.status, part.body) == (206, body[first : last + 1])
        assert len(origin.asked) == 1


async def test_a_stored_404_is_no_subject_of_conditions() -> None:
    async with caching(answering(404, STORED, BODY)) as (_, gateway):
        await ask(gateway.port)
        for fields in ({"If-None-Match": ETAG}, {"If-Modified-Since": LATER}, {"Range": "bytes=0-1"}):
            answer = await ask(gateway.port, fields=fields)
            assert is_hit(answer)
            assert (answer.status, answer.body) == (404, BODY)


async def test_head_is_answered_from_what_get_stored() -> None:
    async with caching(answering(200, STORED, BODY)) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, method="HEAD")
        assert is_hit(answer)
        assert answer.body == b""
        assert answer.fields["content-length"] == "10"
        assert (await ask(gateway.port, method="HEAD", fields={"If-None-Match": ETAG})).status == 304
        assert len(origin.asked) == 1


async def test_a_head_that_finds_nothing_is_asked_as_it_is_and_stores_nothing() -> None:
    async with caching(answering(200, STORED, BODY)) as (origin, gateway):
        for _ in range(2):
            answer = await ask(gateway.port, method="HEAD")
            assert not is_hit(answer)
            assert answer.fields["content-length"] == "10"
        await ask(gateway.port)
        assert [request.method for request in origin.asked] == ["HEAD", "HEAD", "GET"]


ONLY_PARTS = {"a condition": {"If-None-Match": '"old"'}, "a range": {"Range": "bytes=0-3"}}


def serving(lives: bool) -> "object":
    """An origin that answers ranges with 206 and conditions with 304."""
    fields = {**(FRESH if lives else {"Cache-Control": "no-store"}), "ETag": ETAG}

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        if "range" in request.fields:
            return 206, {**fields, "Content-Range": "bytes 0-3/10"}, BODY[:4]
        if "if-none-match" in request.fields:
            return 304, fields, b""
        return 200, fields, BODY

    return handler


@pytest.mark.parametrize("case", ONLY_PARTS)
async def test_a_condition_or_range_that_finds_nothing_goes_out_as_it_is(case: str) -> None:
    fields = ONLY_PARTS[case]
    async with caching(serving(False)) as (origin, gateway):
        for number in range(3):
            answer = await ask(gateway.port, fields=fields)
            assert answer.status == (206 if "Range" in fields else 304)
            assert len(origin.asked) == number + 1
            assert all(origin.asked[-1].fields[name] == fields[name] for name in fields)
        assert (await ask(gateway.port)).body == BODY


@pytest.mark.parametrize("case", ONLY_PARTS)
async def test_after_one_that_shows_a_lifetime_the_whole_is_asked_for(case: str) -> None:
    """So that clients with caches of their own do not keep this one empty."""
    fields = ONLY_PARTS[case]
    async with caching(serving(True)) as (origin, gateway):
        answer = await ask(gateway.port, fields=fields)
        assert answer.status == (206 if "Range" in fields else 304)
        answer = await ask(gateway.port, fields=fields)
        assert (answer.status, answer.body) == ((206, BODY[:4]) if "Range" in fields else (200, BODY))
        assert not {"range", "if-none-match"} & set(origin.asked[1].fields.names)
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert hit.body == BODY
        assert len(origin.asked) == 2


# -- validation

STALE = {"Cache-Control": "max-age=60", "Age": "70"}
VALIDATORS = {
    "tag": ({"ETag": ETAG}, ETAG, None),
    "weak tag": ({"ETag": f"W/{ETAG}"}, f"W/{ETAG}", None),
    "date": ({"Last-Modified": MODIFIED}, None, MODIFIED),
    "both": ({"ETag": ETAG, "Last-Modified": MODIFIED}, ETAG, MODIFIED),
}


@pytest.mark.parametrize("case", VALIDATORS)
async def test_a_stale_answer_is_validated_with_all_that_it_has(case: str) -> None:
    fields, tag, modified = VALIDATORS[case]
    renewed = {"Cache-Control": "max-age=90", "X-New": "2", "X-Other": "3"}
    async with caching(validating({**STALE, **fields, "X-Other": "1", "X-Old": "4"}, BODY, renewed)) as (
        origin,
        gateway,
    ):
        await ask(gateway.port)
        answer = await ask(gateway.port)
        assert (answer.status, answer.body) == (200, BODY)
        assert origin.asked[1].fields.get("if-none-match") == tag
        assert origin.asked[1].fields.get("if-modified-since") == modified
        said = status_of(answer)
        assert (said["fwd"], said["fwd-status"], said["stored"]) == ("stale", 304, True)
        assert near(said["ttl"], 90)
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert hit.body == BODY
        assert len(origin.asked) == 2
        for each in (answer, hit):
            assert (each.fields["x-new"], each.fields["x-other"], each.fields["x-old"]) == ("2", "3", "4")
            assert each.fields["cache-control"] == "max-age=90"
            assert each.fields["content-length"] == "10"
            assert near(-age_of(each), 0)
        assert near(status_of(hit)["ttl"], 90)


async def test_no_cache_is_validated_at_each_use() -> None:
    async with caching(validating({"Cache-Control": "no-cache, max-age=60", "ETag": ETAG})) as (origin, gateway):
        for number in range(3):
            answer = await ask(gateway.port)
            assert (answer.status, answer.body) == (200, b"whole")
            assert ("if-none-match" in origin.asked[-1].fields) == (number > 0)
            assert len(origin.asked) == number + 1


@pytest.mark.parametrize("status", [200, 404, 403])
async def test_any_other_answer_takes_the_place_of_what_was_stored(status: int) -> None:
    answers = iter([(200, {**STALE, "ETag": ETAG}, b"old"), (status, FRESH, b"new")])
    async with caching(lambda _: next(answers)) as (origin, gateway):
        assert (await ask(gateway.port)).body == b"old"
        answer = await ask(gateway.port)
        assert (answer.status, answer.body) == (status, b"new")
        said = status_of(answer)
        assert (said["fwd"], said["fwd-status"], said["stored"]) == ("stale", status, True)
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert (hit.status, hit.body) == (status, b"new")
        assert len(origin.asked) == 2


async def test_a_304_about_another_strong_validator_is_asked_again() -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        if "if-none-match" in request.fields:
            return 304, {**FRESH, "ETag": '"v2"'}, b""
        new = len(origin.asked) > 1
        return 200, {**(FRESH if new else STALE), "ETag": '"v2"' if new else ETAG}, b"second" if new else b"first"

    async with caching(handler) as (origin, gateway):
        assert (await ask(gateway.port)).body == b"first"
        answer = await ask(gateway.port)
        assert (answer.status, answer.body, answer.fields["etag"]) == (200, b"second", '"v2"')
        assert ["if-none-match" in request.fields for request in origin.asked] == [False, True, False]
        assert (await ask(gateway.port)).body == b"second"
        assert len(origin.asked) == 3


async def test_a_304_changes_neither_length_nor_coding() -> None:
    renewed = {**FRESH, "Content-Length": "3", "Content-Encoding": "gzip", "Content-Range": "bytes 0-2/3"}
    async with caching(validating({**STALE, "ETag": ETAG}, BODY, renewed)) as (_, gateway):
        await ask(gateway.port)
        for _ in range(2):
            answer = await ask(gateway.port)
            assert answer.body == BODY
            assert answer.fields["content-length"] == "10"
            assert not {"content-encoding", "content-range"} & set(answer.fields.names)


FORBIDS = {
    "no-store": {"Cache-Control": "no-store"},
    "private": {"Cache-Control": "private, max-age=60"},
    "Vary": {"Cache-Control": "max-age=60", "Vary": "*"},
}


@pytest.mark.parametrize("case", FORBIDS)
async def test_a_304_that_forbids_to_store_is_answered_once(case: str) -> None:
    async with caching(validating({**STALE, "ETag": ETAG}, BODY, FORBIDS[case])) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port)
        assert (answer.status, answer.body) == (200, BODY)
        assert "stored" not in status_of(answer)
        assert status_of(answer)["fwd-status"] == 304
        answer = await ask(gateway.port)
        assert (answer.status, answer.body) == (200, BODY)
        assert "if-none-match" not in origin.asked[2].fields
        assert len(origin.asked) == 3


AFTERWARDS = {
    "the tag, confirmed": ({"If-None-Match": ETAG}, 304, b""),
    "another tag, confirmed": ({"If-None-Match": '"mine"'}, 200, BODY),
    "the date, confirmed": ({"If-Modified-Since": MODIFIED}, 304, b""),
    "range, confirmed": ({"Range": "bytes=2-4"}, 206, b"234"),
    "the tag, changed": ({"If-None-Match": ETAG}, 200, b"changed"),
    "the new tag, changed": ({"If-None-Match": '"v2"'}, 304, b""),
    "range, changed": ({"Range": "bytes=2-4"}, 206, b"ang"),
    "range if the old tag, changed": ({"Range": "bytes=2-4", "If-Range": ETAG}, 200, b"changed"),
}


@pytest.mark.parametrize("case", AFTERWARDS)
async def test_the_condition_of_the_client_is_about_what_the_validation_brought(case: str) -> None:
    fields, status, body = AFTERWARDS[case]
    stale = {**STALE, "ETag": ETAG, "Last-Modified": MODIFIED}
    new = {**FRESH, "ETag": '"v2"', "Last-Modified": date(-1000)}
    second = (200, new, b"changed") if case.endswith("changed") else (304, FRESH, b"")
    answers = iter([(200, stale, BODY), second])
    async with caching(lambda _: next(answers)) as (origin, gateway):
        await ask(gateway.port)
        answer = await ask(gateway.port, fields=fields)
        assert (answer.status, answer.body) == (status, body)
        # What the upstream was asked is the gateway's condition, and no range.
        assert origin.asked[1].fields["if-none-match"] == ETAG
        assert not {"range", "if-range"} & set(origin.asked[1].fields.names)
        assert is_hit(await ask(gateway.port))


# -- HEAD and what is stored


async def test_a_head_freshens_a_stale_answer_that_it_agrees_with() -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        lives = FRESH if request.method == "HEAD" else STALE
        return 200, {**lives, "ETag": ETAG, "X-Seen": request.method}, BODY

    async with caching(handler) as (origin, gateway):
        await ask(gateway.port)
        assert not is_hit(await ask(gateway.port, method="HEAD"))
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert hit.body == BODY
        assert hit.fields["x-seen"] == "HEAD"
        assert len(origin.asked) == 2


DISAGREES = {
    "another tag": {"ETag": '"v2"'},
    "another length": {"ETag": ETAG, "Content-Length": "11"},
    "another date": {"ETag": ETAG, "Last-Modified": LATER},
}


@pytest.mark.parametrize("case", DISAGREES)
async def test_a_head_that_disagrees_makes_stale_what_is_stored(case: str) -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        if request.method == "HEAD":
            return 200, {**FRESH, **DISAGREES[case]}, BODY
        return 200, {**FRESH, "ETag": ETAG, "Last-Modified": MODIFIED}, BODY

    async with caching(handler) as (origin, gateway):
        await ask(gateway.port)
        await ask(gateway.port, method="HEAD", fields={"Cache-Control": "no-cache"})
        assert origin.asked[-1].method == "HEAD"
        answer = await ask(gateway.port)
        assert not is_hit(answer)
        assert len(origin.asked) == 3


async def test_a_304_is_about_what_was_validated_and_not_about_what_has_come_meanwhile() -> None:
    """Another request has replaced the stored answer while this one was validated: no head may get the other's body."""
    go_on = asyncio.Event()

    async def play(exchange: UpstreamExchange) -> None:
        number = len(origin.asked)
        if number == 2:
            await go_on.wait()
            await exchange.send(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n")
            return
        body = b"the first" if number == 1 else b"another one"
        lives = "Age: 70\r\n" if number == 1 else ""
        await exchange.send(
            f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{lives}ETag: \"{len(body)}\"\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        )  # fmt: skip

    async with caching() as (origin, gateway):
        origin.play = play
        await ask(gateway.port)
        waiting = asyncio.create_task(ask(gateway.port))
        await origin.request(1)
        other = await ask(gateway.port, fields={"Cache-Control": "no-cache"})
        assert other.body == b"another one"
        go_on.set()
        for answer in (await waiting, await ask(gateway.port)):
            assert answer.fields["etag"] == f'"{len(answer.body)}"'
