"""What is stored beside plain answers: bodies in a coding, answers to POST, the whole in the place of parts."""

import gzip
import json

from cache.support import ask, caching

from fastgate.gateway import Gateway
from fastgate.testing import RecordedRequest

GZIP = {"Accept-Encoding": "gzip"}
TEXT = b"".join(b'{"number": %d, "text": "words and words"}\n' % number for number in range(300))
LARGE = TEXT * 40


def stores(gateway: Gateway) -> int:
    return gateway.cache.stats().stores


# -- codings


async def test_a_body_is_compressed_once_and_not_once_a_hit() -> None:
    for body in (TEXT, LARGE):

        def handler(request: RecordedRequest, body: bytes = body) -> tuple[int, dict[str, str], bytes]:
            return 200, {"Cache-Control": "max-age=60", "Content-Type": "application/json"}, body

        compression = {"compression": {"min_size": "1KB"}}
        async with caching(handler, route=compression) as (origin, gateway):
            plain = await ask(gateway.port, "/a")
            assert plain.body == body
            first = await ask(gateway.port, "/a", fields=GZIP)
            before = stores(gateway)
            second = await ask(gateway.port, "/a", fields=GZIP)
            third = await ask(gateway.port, "/a", fields=GZIP)
            for found in (first, second, third):
                assert found.fields["content-encoding"] == "gzip"
                assert gzip.decompress(found.body) == body
                assert "hit" in found.fields["cache-status"]
            assert second.body == third.body == first.body
            # The first one left it, the others found it.
            assert (before, stores(gateway)) == (2, 2)
            assert (await ask(gateway.port, "/a")).body == body
            assert len(origin.asked) == 1


async def test_what_was_compressed_goes_with_its_body() -> None:
    number = 0

    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        nonlocal number
        number += 1
        return 200, {"Cache-Control": "max-age=60", "Content-Type": "text/plain"}, b"%d " % number * 2000

    async with caching(handler, route={"compression": True}) as (_, gateway):
        for expected in (b"1", b"2"):
            await ask(gateway.port, "/a", fields=GZIP)
            for _ in range(3):
                found = await ask(gateway.port, "/a", fields=GZIP)
                assert gzip.decompress(found.body).split()[0] == expected
            gateway.cache.purge_url("http://example.com/a")


async def test_a_body_that_policies_change_is_not_that_which_is_stored() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Cache-Control": "max-age=60", "Content-Type": "application/json"}, b'{"a": 1}'

    route = {"compression": {"min_size": "1B"}, "envelope": True}
    async with caching(handler, route=route) as (_, gateway):
        seen = set()
        for _ in range(3):
            found = await ask(gateway.port, "/a", fields=GZIP)
            content = json.loads(gzip.decompress(found.body))
            assert content["data"] == {"a": 1}
            seen.add(json.dumps(content))
        # An envelope has the id of the request.
        assert len(seen) in (1, 3)
        assert stores(gateway) == 1


# -- POST


async def test_an_answer_to_post_that_says_so_is_stored_for_get() -> None:
    number = 0

    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        nonlocal number
        number += 1
        fields = {"Cache-Control": "max-age=60"}
        if request.method == "POST" and request.target != "/other":
            fields["Content-Location"] = request.target if request.target != "/elsewhere" else "/a"
        return 200, fields, b"%s %d" % (request.method.encode(), number)

    async with caching(handler) as (origin, gateway):
        assert (await ask(gateway.port, "/a")).body == b"GET 1"
        assert (await ask(gateway.port, "/a", "POST", body=b"x")).body == b"POST 2"
        found = await ask(gateway.port, "/a")
        assert (found.body, "hit" in found.fields["cache-status"]) == (b"POST 2", True)
        # One that does not name its own address only removes what is stored.
        assert (await ask(gateway.port, "/other", "POST", body=b"x")).body == b"POST 3"
        assert (await ask(gateway.port, "/other")).body == b"GET 4"
        assert (await ask(gateway.port, "/elsewhere", "POST", body=b"x")).body == b"POST 5"
        assert (await ask(gateway.port, "/a")).body == b"GET 6"
        assert len(origin.asked) == 6


async def test_a_purge_while_a_post_is_under_way_is_not_lost() -> None:
    gateway_of = []

    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        if request.method == "POST":
            gateway_of[0].cache.purge_url("http://example.com/a")
        return 200, {"Cache-Control": "max-age=60", "Content-Location": "/a"}, request.method.encode()

    async with caching(handler) as (_, gateway):
        gateway_of.append(gateway)
        assert (await ask(gateway.port, "/a", "POST", body=b"x")).body == b"POST"
        assert (await ask(gateway.port, "/a")).body == b"GET"


# -- parts


async def test_a_part_makes_the_next_one_ask_for_the_whole() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        fields = {"Cache-Control": "max-age=60", "ETag": '"1"'}
        if request.fields.get("range") is not None:
            return 206, {**fields, "Content-Range": f"bytes 0-9/{len(LARGE)}"}, LARGE[:10]
        return 200, fields, LARGE

    async with caching(handler) as (origin, gateway):
        part = {"Range": "bytes=0-9"}
        first = await ask(gateway.port, "/a", fields=part)
        assert (first.status, first.body) == (206, LARGE[:10])
        for number in range(3):
            found = await ask(gateway.port, "/a", fields={"Range": f"bytes={number}-99"})
            assert (found.status, found.body) == (206, LARGE[number:100])
        assert [request.fields.get("range") for request in origin.asked] == ["bytes=0-9", None]


async def test_a_client_that_holds_an_answer_makes_the_next_one_ask_for_the_whole() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        fields = {"Cache-Control": "max-age=60", "ETag": '"1"'}
        return (304, fields, b"") if request.fields.get("if-none-match") == '"1"' else (200, fields, TEXT)

    async with caching(handler) as (origin, gateway):
        held = {"If-None-Match": '"1"'}
        for _ in range(3):
            assert (await ask(gateway.port, "/a", fields=held)).status == 304
        assert (await ask(gateway.port, "/a")).body == TEXT
        assert [request.fields.get("if-none-match") for request in origin.asked] == ['"1"', None]


async def test_a_part_of_what_may_not_be_stored_stays_a_part() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        assert request.fields.get("range") is not None
        size = 10**9 if request.target == "/large" else 100
        control = "no-store" if request.target == "/private" else "max-age=60"
        return 206, {"Cache-Control": control, "Content-Range": f"bytes 0-9/{size}"}, LARGE[:10]

    async with caching(handler) as (_, gateway):
        for target in ("/private", "/large"):
            for _ in range(3):
                assert (await ask(gateway.port, target, fields={"Range": "bytes=0-9"})).status == 206


async def test_what_a_refused_post_gets_is_compressed_as_without_a_cache() -> None:
    def handler(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
        return 422, {"Content-Type": "application/json"}, TEXT

    async with caching(handler, route={"compression": {"min_size": "1KB"}}) as (_, gateway):
        gateway.cache.purge_everything()  # from then on purges have a number, and so has what was asked for
        found = await ask(gateway.port, "/a", "POST", GZIP, b"{}")
        assert found.status == 422
        assert gzip.decompress(found.body) == TEXT
        assert stores(gateway) == 0
