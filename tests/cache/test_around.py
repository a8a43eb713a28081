"""What stands around the cache of a route runs for hits too, and none of it is stored."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cache.looking import ETAG, FRESH, answering, is_hit, validating
from cache.support import Fields, Handler, Origin, ask, caching
from waiting import until

from fastgate.gateway import Gateway
from fastgate.testing import RecordedRequest, UpstreamExchange, proxy_config, start_gateway


@asynccontextmanager
async def with_plugins(handler: Handler, *kinds: str, **route: Any) -> AsyncIterator[tuple[Origin, Gateway]]:
    async with Origin(handler) as origin:
        config = proxy_config(origin.port, route={"cache": {}, "policies": [{"use": kind} for kind in kinds], **route})
        config["plugins"] = [{"name": kind, "use": f"cache.plugins:{kind}"} for kind in kinds]
        async with start_gateway(config) as gateway:
            yield origin, gateway


async def test_hooks_run_for_hits_and_what_they_change_is_not_stored() -> None:
    async with with_plugins(answering(200, FRESH), "Numbering") as (origin, gateway):
        for number in range(1, 5):
            answer = await ask(gateway.port)
            assert is_hit(answer) == (number > 1)
            assert (answer.fields["x-requests"], answer.fields["x-responses"]) == (str(number), str(number))
        refused = await ask(gateway.port, fields={"X-Refuse": "1"})
        assert (refused.status, refused.body) == (403, b"refused")
        assert len(origin.asked) == 1


async def test_body_hooks_run_for_hits_on_what_the_upstream_sent() -> None:
    async with with_plugins(answering(200, {**FRESH, "Content-Type": "text/plain"}), "Shouting") as (origin, gateway):
        for _ in range(3):
            assert (await ask(gateway.port)).body == b"ANSWER 1"
        assert len(origin.asked) == 1
        assert (await ask(gateway.port, fields={"Range": "bytes=0-2"})).body == b"ANS"


async def test_fields_that_a_policy_sets_for_the_upstream_select_by_vary() -> None:
    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        return 200, {**FRESH, "Vary": "x-name"}, request.fields["x-name"].encode()

    cache = {"query": {"except": ["name"]}}
    async with with_plugins(handler, "Naming", cache=cache) as (origin, gateway):
        for _ in range(2):
            assert (await ask(gateway.port, "/?name=one")).body == b"one"
            assert (await ask(gateway.port, "/?name=two")).body == b"two"
        assert len(origin.asked) == 2
        assert {request.target for request in origin.asked} == {"/"}


EDITS = {"response_headers": {"set": {"x-route": "{client_ip}"}, "remove": ["x-inner"], "add": {"x-more": "1"}}}


async def test_response_edits_are_made_for_each_client() -> None:
    async with caching(
        answering(200, {**FRESH, "X-Inner": "1", "X-More": "0"}),
        route=EDITS,
        gateway={"trusted_proxies": ["127.0.0.1"]},
    ) as (_, gateway):
        for number in range(3):
            answer = await ask(gateway.port, fields={"X-Forwarded-For": f"10.0.0.{number}"})
            assert is_hit(answer) == (number > 0)
            assert answer.fields["x-route"] == f"10.0.0.{number}"
            assert "x-inner" not in answer.fields
            assert answer.fields.get_all("x-more") == ["0", "1"]


async def test_cors_is_about_the_client_that_asks() -> None:
    route = {"cors": {"origins": ["https://a.com", "https://b.com"], "credentials": True}}
    async with caching(answering(200, FRESH), route=route) as (origin, gateway):
        for site in ("https://a.com", "https://b.com", "https://a.com"):
            answer = await ask(gateway.port, fields={"Origin": site})
            assert answer.fields["access-control-allow-origin"] == site
        assert "access-control-allow-origin" not in (await ask(gateway.port, fields={"Origin": "https://c.com"})).fields
        assert len(origin.asked) == 1


async def test_security_headers_and_the_request_id_are_on_hits() -> None:
    async with caching(answering(200, FRESH), route={"security_headers": True}) as (_, gateway):
        answers = [await ask(gateway.port) for _ in range(3)]
        assert all(answer.fields["x-content-type-options"] == "nosniff" for answer in answers)
        assert len({answer.fields["x-request-id"] for answer in answers}) == 3
        assert [answer.fields.get_all("server") for answer in answers[1:]] == [answers[0].fields.get_all("server")] * 2


async def test_compression_is_of_each_answer_and_respects_no_transform() -> None:
    route = {"compression": True}
    body = json.dumps(["word"] * 2000).encode()
    for more, coded in (("", True), (", no-transform", False)):
        fields = {"Cache-Control": f"max-age=60{more}", "Content-Type": "application/json"}
        async with caching(answering(200, fields, body), route=route) as (origin, gateway):
            for accepts in ("gzip", "identity", "gzip"):
                answer = await ask(gateway.port, fields={"Accept-Encoding": accepts})
                wanted = "gzip" if coded and accepts == "gzip" else None
                assert answer.fields.get("content-encoding") == wanted
                assert wanted or answer.body == body
            assert len(origin.asked) == 1


async def test_limits_count_hits() -> None:
    async with caching(answering(200, FRESH), route={"rate_limit": {"rate": 2, "per": "60s"}}) as (origin, gateway):
        assert [(await ask(gateway.port)).status for _ in range(3)] == [200, 200, 429]
        assert len(origin.asked) == 1


async def test_a_fallback_is_not_stored_and_stale_comes_before_it() -> None:
    route = {"fallback": {"on": ["5xx"], "status": 200, "body": "instead"}}
    stale = {"Cache-Control": "max-age=60", "Age": "70", "ETag": ETAG}
    answers = [(503, {}, b""), (200, stale, b"real"), (503, {}, b""), (200, FRESH, b"new")]
    cache = {"stale_if_error": "600s", "retry_stale": 0}
    async with caching(lambda _: answers.pop(0), cache, route=route) as (_, gateway):
        assert [(await ask(gateway.port)).body for _ in range(5)] == [b"instead", b"real", b"real", b"new", b"new"]


# -- upstreams


async def test_the_answers_of_a_canary_are_its_own() -> None:
    async with Origin(answering(200, FRESH, b"stable")) as stable, Origin(answering(200, FRESH, b"canary")) as canary:
        config = proxy_config(stable.port, route={"cache": {}})
        del config["routes"][0]["upstream"]
        config["routes"][0]["split"] = [
            {"upstream": "backend", "weight": 50},
            {"upstream": "canary", "weight": 50, "sticky": "header:x-user"},
        ]
        config["upstreams"]["canary"] = {"targets": [{"host": "127.0.0.1", "port": canary.port}]}
        async with start_gateway(config) as gateway:
            users = [str(number) for number in range(30)]
            seen = [(await ask(gateway.port, fields={"X-User": user})).body for user in users]
            assert set(seen) == {b"stable", b"canary"}
            again = [await ask(gateway.port, fields={"X-User": user}) for user in users]
            assert [answer.body for answer in again] == seen
            assert all(is_hit(answer) for answer in again)
            assert (len(stable.asked), len(canary.asked)) == (1, 1)


async def test_hits_are_not_mirrored() -> None:
    async with Origin(answering(200, FRESH)) as origin, Origin(answering(200)) as shadow:
        config = proxy_config(origin.port, route={"cache": {}, "mirror": {"upstream": "shadow"}})
        config["upstreams"]["shadow"] = {"targets": [{"host": "127.0.0.1", "port": shadow.port}]}
        async with start_gateway(config) as gateway:
            for _ in range(3):
                await ask(gateway.port, "/a")
            await ask(gateway.port, "/b")
            await until(lambda: len(shadow.asked) == 2)
            assert [request.target for request in shadow.asked] == ["/a", "/b"]


async def test_retries_come_first_and_what_they_come_to_is_stored() -> None:
    answers = [(503, {}, b"no"), (503, {}, b"no"), (200, FRESH, b"yes")]
    route = {"retry": {"attempts": 3, "on": ["503"], "backoff": 0}}
    async with caching(lambda _: answers.pop(0), route=route) as (origin, gateway):
        assert [(await ask(gateway.port)).body for _ in range(3)] == [b"yes"] * 3
        assert len(origin.asked) == 3


async def test_early_hints_are_for_the_client_that_asked_and_not_stored() -> None:
    async def play(exchange: UpstreamExchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")

    async with caching() as (origin, gateway):
        origin.play = play
        first = await ask(gateway.port)
        assert [each.status for each in first.interim] == [103]
        hit = await ask(gateway.port)
        assert is_hit(hit)
        assert hit.interim == []


# -- the access log


async def logged(
    path: Path, handler: Handler, cache: Mapping[str, Any], *requests: tuple[str, Fields]
) -> list[dict[str, Any]]:
    """The lines of the access log that these requests, one after the other, leave."""
    gateway = {"access_log": {"path": str(path)}}
    async with caching(handler, cache, gateway=gateway) as (_, running):
        for method, fields in requests:
            await ask(running.port, "/a", method, fields)
        await until(lambda: path.exists() and path.read_bytes().count(b"\n") >= len(requests))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


GET: tuple[str, Fields] = ("GET", {})
OLD = {"Cache-Control": "max-age=60", "Age": "70", "ETag": ETAG}

WORDS = {
    "hit": (answering(200, FRESH), {}, [GET, GET], ["miss", "hit"]),
    "revalidated": (validating(OLD), {}, [GET, GET], ["miss", "revalidated"]),
    "stale": (validating(OLD), {"stale_while_revalidate": "600s"}, [GET, GET], ["miss", "stale"]),
    "bypass": (
        answering(200, FRESH),
        {},
        [GET, ("DELETE", {}), ("GET", {"If-Match": "*"})],
        ["miss", "bypass", "bypass"],
    ),
    "not stored": (answering(200), {}, [GET, GET], ["miss", "miss"]),
}


@pytest.mark.parametrize("case", WORDS)
async def test_the_access_log_says_what_the_cache_did(case: str, tmp_path: Path) -> None:
    handler, cache, requests, words = WORDS[case]
    lines = await logged(tmp_path / "log", handler, cache, *requests)
    assert [line["cache"] for line in lines] == words
    assert [line["end"] for line in lines if line["cache"] in ("hit", "stale")] == [
        "cache" for word in words if word in ("hit", "stale")
    ]


async def test_the_access_log_says_that_only_a_stored_answer_was_wanted(tmp_path: Path) -> None:
    asked = ("GET", {"Cache-Control": "only-if-cached"})
    lines = await logged(tmp_path / "log", answering(200), {}, asked)
    assert (lines[0]["status"], lines[0]["end"]) == (504, "not_cached")


async def test_a_hit_names_no_target(tmp_path: Path) -> None:
    lines = await logged(tmp_path / "log", answering(200, FRESH), {}, GET, GET)
    assert lines[0]["upstream"]
    assert lines[0].get("tries", 1) == 1
    assert lines[1].get("tries", 0) == 0


async def test_a_route_without_a_cache_says_nothing_of_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    async with Origin(answering(200, FRESH)) as origin:
        async with start_gateway(proxy_config(origin.port, gateway={"access_log": {"path": str(path)}})) as gateway:
            answer = await ask(gateway.port)
            assert "cache-status" not in answer.fields
            assert "age" not in answer.fields
            await until(lambda: path.exists() and path.read_bytes().count(b"\n"))
    assert not json.loads(path.read_text(encoding="utf-8")).get("cache")
