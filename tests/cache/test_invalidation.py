"""Requests that change something remove what is stored of the addresses that they change, whichever route stored it."""

import asyncio
from typing import Any

import pytest
from cache.looking import ETAG, FRESH, is_hit
from cache.support import Fields, Handler, Origin, ask, caching

from fastgate.testing import RecordedRequest, UpstreamExchange, proxy_config, start_gateway


def changing(status: int = 200, fields: Fields | None = None, get: Fields | None = None) -> Handler:
    """GET is answered with a number that counts; what changes something with this status and these fields."""
    count = 0

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        nonlocal count
        if request.method not in ("GET", "HEAD"):
            return status, fields or {}, b""
        count += 1
        return 200, get or FRESH, b"answer %d" % count

    return handler


METHODS = {
    "POST": True, "PUT": True, "DELETE": True, "PATCH": True, "BREW": True, "post": True, "MKCOL": True,
    "OPTIONS": False, "QUERY": False,
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
async def test_which_methods_remove_what_is_stored(method: str) -> None:
    async with caching(changing()) as (_, gateway):
        await ask(gateway.port, "/a?b=1")
        await ask(gateway.port, "/a?b=1", method)
        assert is_hit(await ask(gateway.port, "/a?b=1")) == (not METHODS[method])


@pytest.mark.parametrize("status", [200, 201, 204, 303, 400, 404, 500, 503])
async def test_only_what_succeeded_removes(status: int) -> None:
    async with caching(changing(status)) as (_, gateway):
        await ask(gateway.port, "/a")
        assert (await ask(gateway.port, "/a", "DELETE")).status == status
        assert is_hit(await ask(gateway.port, "/a")) == (status >= 400)


async def test_all_variants_are_removed_and_nothing_else() -> None:
    async with caching(changing(get={**FRESH, "Vary": "x-a"})) as (_, gateway):
        for value in "123":
            await ask(gateway.port, "/a", fields={"X-A": value})
        for other in ("/b", "/a/b", "/a?b=1", "/A"):
            await ask(gateway.port, other)
        await ask(gateway.port, "/a", "PUT")
        for value in "123":
            assert not is_hit(await ask(gateway.port, "/a", fields={"X-A": value}))
        for other in ("/b", "/a/b", "/a?b=1", "/A"):
            assert is_hit(await ask(gateway.port, other))


NAMED = {
    "Location": ({"Location": "/other"}, True),
    "Content-Location": ({"Content-Location": "http://example.com/other"}, True),
    "with a port that is meant": ({"Location": "http://example.com:80/other"}, True),
    "host in another case": ({"Location": "http://EXAMPLE.com/other"}, True),
    "relative": ({"Location": "other"}, True),
    "another host": ({"Location": "http://elsewhere.com/other"}, False),
    "another port": ({"Location": "http://example.com:81/other"}, False),
    "another scheme": ({"Location": "https://example.com/other"}, False),
    "another path": ({"Location": "/another"}, False),
}


@pytest.mark.parametrize("case", NAMED)
async def test_addresses_of_the_same_origin_that_the_answer_names(case: str) -> None:
    fields, removed = NAMED[case]
    async with caching(changing(201, fields)) as (_, gateway):
        await ask(gateway.port, "/other")
        await ask(gateway.port, "/made", "POST")
        assert is_hit(await ask(gateway.port, "/other")) == (not removed)


async def test_groups_of_the_same_origin_that_the_answer_names() -> None:
    get = {**FRESH, "Cache-Groups": '"one", "two"'}
    async with caching(changing(200, {"Cache-Group-Invalidation": '"two", "three"'}, get)) as (_, gateway):
        await ask(gateway.port, "/a")
        await ask(gateway.port, "/a", fields={"Host": "elsewhere.com"})
        await ask(gateway.port, "/x", "POST")
        assert not is_hit(await ask(gateway.port, "/a"))
        assert is_hit(await ask(gateway.port, "/a", fields={"Host": "elsewhere.com"}))


GROUPS = {
    "another case": '"One"', "a token": "one", "not a list": '"one', "another": '"three"',
}  # fmt: skip


@pytest.mark.parametrize("case", GROUPS)
async def test_groups_that_are_not_named(case: str) -> None:
    get = {**FRESH, "Cache-Groups": '"one"'}
    async with caching(changing(200, {"Cache-Group-Invalidation": GROUPS[case]}, get)) as (_, gateway):
        await ask(gateway.port, "/a")
        await ask(gateway.port, "/x", "POST")
        assert is_hit(await ask(gateway.port, "/a"))


@pytest.mark.parametrize("caches", [True, False], ids=["a caching route", "a route without a cache"])
async def test_another_route_removes_what_this_one_stored(caches: bool) -> None:
    async with Origin(changing()) as origin:
        config = proxy_config(origin.port, route={"methods": ["GET"], "cache": {}})
        config["routes"].append(
            {
                "name": "writes",
                "path": "/*",
                "methods": ["POST"],
                "upstream": "backend",
                **({"cache": {}} if caches else {}),
            }
        )
        async with start_gateway(config) as gateway:
            await ask(gateway.port, "/a")
            assert is_hit(await ask(gateway.port, "/a"))
            await ask(gateway.port, "/a", "POST")
            assert not is_hit(await ask(gateway.port, "/a"))


async def test_an_address_is_known_as_clients_and_as_the_upstream_name_it() -> None:
    """One route adds a prefix, the other gets the whole path: the resource of the upstream is the same."""
    async with Origin(changing()) as origin:
        config = proxy_config(origin.port, route={"path": "/api/*", "strip_prefix": "/api", "cache": {}})
        config["routes"].append({"name": "plain", "path": "/*", "upstream": "backend"})
        async with start_gateway(config) as gateway:
            await ask(gateway.port, "/api/a")
            await ask(gateway.port, "/a", "POST")
            assert not is_hit(await ask(gateway.port, "/api/a"))
            await ask(gateway.port, "/api/a", "POST")
            assert not is_hit(await ask(gateway.port, "/api/a"))


ONE_ADDRESS = {
    "as it is": ("/a", {}, "/a", {}),
    "with a query": ("/a?b=1", {}, "/a?b=1", {}),
    "with an empty query": ("/a?", {}, "/a?", {}),
    "the host in other letters": ("/a?b=1", {"Host": "EXAMPLE.com"}, "/a?b=1", {"Host": "example.COM"}),
    "the port said": ("/a", {"Host": "example.com:80"}, "/a", {}),
    "the port not said": ("/a?b", {}, "/a?b", {"Host": "example.com:80"}),
    "another port": ("/a", {"Host": "example.com:8080"}, "/a", {"Host": "example.com:8080"}),
    "the whole address": ("/a?b=1", {}, "http://example.com/a?b=1", {}),
}
ANOTHER_ADDRESS = {
    "no query": ("/a?", {}, "/a", {}),
    "a query": ("/a", {}, "/a?", {}),
    "another query": ("/a?b=1", {}, "/a?b=2", {}),
    "another port": ("/a", {"Host": "example.com:8080"}, "/a", {}),
    "another host": ("/a", {"Host": "example.org"}, "/a", {}),
}


@pytest.mark.parametrize("route", [{}, {"add_prefix": "/v1"}, {"request_headers": {"set": {"Host": "x"}}}], ids=str)
@pytest.mark.parametrize("case", [*ONE_ADDRESS, *(f"not: {name}" for name in ANOTHER_ADDRESS)])
async def test_how_an_address_is_written_does_not_count(case: str, route: dict[str, Any]) -> None:
    """What is marked when it is asked for is found when it is changed, also between requests for other hosts."""
    same = case in ONE_ADDRESS
    target, fields, changed, with_fields = ONE_ADDRESS[case] if same else ANOTHER_ADDRESS[case[5:]]
    async with caching(changing(), route=route) as (_, gateway):
        await ask(gateway.port, target, fields=fields)
        await ask(gateway.port, target, fields={"Host": "example.net"})
        await ask(gateway.port, changed, "POST", fields=with_fields)
        assert is_hit(await ask(gateway.port, target, fields={"Host": "example.net"}))
        assert is_hit(await ask(gateway.port, target, fields=fields)) == (not same)


async def test_the_query_that_is_left_out_does_not_count_for_removing() -> None:
    async with caching(changing(), {"query": {"except": ["utm_*"]}}) as (_, gateway):
        await ask(gateway.port, "/a?b=1&utm_x=1")
        await ask(gateway.port, "/a?b=1&utm_x=2", "POST")
        assert not is_hit(await ask(gateway.port, "/a?b=1"))


async def test_a_post_that_is_stored_does_not_remove() -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        return 200, FRESH, request.method.encode()

    async with caching(handler, {"methods": ["GET", "POST"]}) as (_, gateway):
        await ask(gateway.port, "/a")
        await ask(gateway.port, "/a", "POST", body=b"1")
        assert is_hit(await ask(gateway.port, "/a"))
        await ask(gateway.port, "/a", "DELETE")
        assert not is_hit(await ask(gateway.port, "/a"))
        assert not is_hit(await ask(gateway.port, "/a", "POST", body=b"1"))


async def test_what_was_asked_for_before_the_change_is_not_used_after_it() -> None:
    """A fetch under way when the change comes brings what was, perhaps: it is for those who asked before."""
    go_on = asyncio.Event()

    async def play(exchange: UpstreamExchange) -> None:
        body = b"changed" if exchange.request.method == "POST" else b"answer %d" % len(origin.asked)
        if exchange.request.method == "GET" and len(origin.asked) == 1:
            await go_on.wait()
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async with caching() as (origin, gateway):
        origin.play = play
        first = asyncio.create_task(ask(gateway.port, "/a"))
        await origin.request(0)
        await ask(gateway.port, "/a", "POST")
        later = await ask(gateway.port, "/a")
        assert later.body == b"answer 3"
        go_on.set()
        assert (await first).body == b"answer 1"
        assert (await ask(gateway.port, "/a")).body == b"answer 3"


STORED_FOR_GET = {
    "its own address": ({**FRESH, "Content-Location": "/a"}, True),
    "in full": ({**FRESH, "Content-Location": "http://example.com/a"}, True),
    "another address": ({**FRESH, "Content-Location": "/b"}, False),
    "no address": (FRESH, False),
    "no lifetime": ({"Content-Location": "/a"}, False),
    "no-store": ({"Content-Location": "/a", "Cache-Control": "max-age=60, no-store"}, False),
}


@pytest.mark.parametrize("case", STORED_FOR_GET)
async def test_an_answer_to_post_that_is_that_of_its_address_is_stored_for_get(case: str) -> None:
    fields, stored = STORED_FOR_GET[case]

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        return 200, {**fields, "ETag": ETAG} if request.method == "POST" else FRESH, request.method.encode()

    async with caching(handler) as (_, gateway):
        await ask(gateway.port, "/a", "POST", body=b"1")
        answer = await ask(gateway.port, "/a")
        assert is_hit(answer) == stored
        assert answer.body == (b"POST" if stored else b"GET")
