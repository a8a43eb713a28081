"""What can be purged, and the one form of an address in which it is; what a look finds."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.cache_keeper import NAMESPACE, ORIGIN, key_of, store

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.delivery.cache.worker_cache import WorkerCache
from fastgate._core.memory.cache.walk import Walk, purged
from fastgate._core.probes.cache_probe import Filler, store_whole
from fastgate.config import GatewayConfig
from fastgate.state.cache_look import MOST_FOUND, Look, look, parts_of
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.cache_purge import PurgeError, PurgeRequest, addresses_of, parse_url, purge

ROUTES = ["shop", "news"]


@pytest.fixture
def memory() -> Iterator[CacheMemory]:
    memory = CacheMemory.create(GatewayConfig.from_dict({"cache": {"max_bytes": "8MB"}}), 1)
    yield memory
    memory.close()


@pytest.fixture
def cache(memory: CacheMemory) -> WorkerCache:
    return memory.open(0)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://a/", "http://a/"),
        ("HTTP://A.Example./x", "http://a.example/x"),
        ("http://a:80", "http://a/"),
        ("https://a:443/x?", "https://a/x?"),
        ("https://a:80/x?b=1&a=2", "https://a:80/x?b=1&a=2"),
        ("http://a:0443/", "http://a:443/"),
        ("http://a?x#y", "http://a/?x"),
        ("http://a#y", "http://a/"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"),
        ("http://a/%7euser/./b/../c%2fd", "http://a/~user/c%2Fd"),
        ("http://a//b///c", "http://a/b/c"),
        ("http://a/é", "http://a/%C3%A9"),
        ("http://a/%C3%a9", "http://a/%C3%A9"),
    ],
)
def test_the_form_of_an_address(url: str, text: str) -> None:
    assert parse_url(url).text == text.encode()
    assert parse_url(text).text == text.encode()


def test_slashes_stay_where_the_gateway_leaves_them() -> None:
    assert parse_url("http://a//b", merge_slashes=False).text == b"http://a//b"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/x", 'url: "/x" has no scheme and no host: use a whole URL such as "https://host/path"'),
        ("a.example/x", 'url: "a.example/x" is not a valid URL: use http or https, such as "https://host/path"'),
        ("ftp://a/x", 'url: "ftp://a/x" is not a valid URL: use http or https, such as "https://host/path"'),
        ("", 'url: "" is not a valid URL: use http or https, such as "https://host/path"'),
        ("http:///x", 'url: "" is not a valid host'),
        ("http://a:x/", 'url: "a:x" is not a valid host'),
        ("http://a b/", 'url: "a b" is not a valid host'),
        ("http://münchen/", 'url: "münchen" is not a valid host; write its ASCII form, "xn--…"'),
        ("http://u:p@a/", 'url: "http://u:p@a/" has a user name: remove all before the host'),
        ("http://a/../x", 'url: "/../x" is not a valid path: the gateway refuses such requests'),
        ("http://a/%zz", 'url: "/%zz" is not a valid path: the gateway refuses such requests'),
        ("http://a/?x y", 'url: the query "x y" must be percent-encoded'),
        ("http://a/?é", 'url: the query "é" must be percent-encoded'),
    ],
)
def test_what_is_not_a_url(url: str, said: str) -> None:
    with pytest.raises(PurgeError) as raised:
        parse_url(url)
    assert str(raised.value) == said


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://a/{text}"):
        try:
            address = parse_url(url).text
        except PurgeError as error:
            assert "\n" not in str(error)
        else:
            assert parse_url(address.decode()).text == address


def test_a_url_is_purged_as_each_route_forwards_it_too() -> None:
    rules = [CacheRules(query=query) for query in (None, {"except": ["utm_*"]}, {"only": ["id"]}, {"sort": True})]
    assert addresses_of("http://a/x?utm_x=1&id=2&b=3", rules) == [
        b"http://a/x?utm_x=1&id=2&b=3",
        b"http://a/x?id=2&b=3",
        b"http://a/x?id=2",
        b"http://a/x?b=3&id=2&utm_x=1",
    ]
    assert addresses_of("http://a/x?utm_x=1", rules[1:2]) == [b"http://a/x?utm_x=1", b"http://a/x"]
    assert addresses_of("http://a/x", rules) == [b"http://a/x"]


def state_after(cache: WorkerCache, request: dict[str, Any], tag: tuple[str, bytes], **more: Any) -> int:
    """0, 1 or 2: what a purge does to an object with this tag that came from http://a/x/y."""
    tags = [cache.purges.tag(*tag)]
    number = cache.purges.begin(tags[0])
    purge(cache.purges, PurgeRequest(**request), routes=ROUTES, **more)
    return purged(cache.purges, number, tags, b"http://a/x/y?z", 8)


@pytest.mark.parametrize(
    ("request_", "tag"),
    [
        ({"url": "http://A/x"}, ("uri", b"http://a/x")),
        ({"route": "shop"}, ("route", b"shop")),
        ({"tag": "a tag"}, ("tag", b"a tag")),
        ({"tag": "é"}, ("tag", "é".encode())),
        ({"tag": "https://A:443 g h"}, ("group", b"https://a g h")),
        ({"tag": "https://A:443 g h"}, ("tag", b"https://A:443 g h")),
        ({"prefix": "http://A:80/x"}, ("tag", b"none")),
        ({"prefix": "http://a"}, ("tag", b"none")),
        ({"prefix": "/x/%79"}, ("tag", b"none")),
        ({"prefix": "/x/y?z"}, ("tag", b"none")),
        ({"prefix": "/"}, ("tag", b"none")),
        ({"everything": True}, ("tag", b"none")),
    ],
)
def test_what_is_purged(cache: WorkerCache, request_: dict[str, Any], tag: tuple[str, bytes]) -> None:
    assert state_after(cache, {**request_, "soft": True}, tag) == 1
    assert state_after(cache, request_, tag) == 2


@pytest.mark.parametrize(
    ("request_", "tag"),
    [
        ({"url": "http://a/x"}, ("uri", b"http://a/x?")),
        ({"url": "http://a/x"}, ("tag", b"http://a/x")),
        ({"route": "shop"}, ("tag", b"shop")),
        ({"tag": "shop"}, ("route", b"shop")),
        ({"tag": "https://a g"}, ("group", b"http://a g")),
        ({"prefix": "http://a/x/yy"}, ("tag", b"none")),
        ({"prefix": "https://a/x"}, ("tag", b"none")),
        ({"prefix": "/y"}, ("tag", b"none")),
    ],
)
def test_what_is_not_purged(cache: WorkerCache, request_: dict[str, Any], tag: tuple[str, bytes]) -> None:
    assert state_after(cache, request_, tag) == 0


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "nothing is given: choose exactly one of url, prefix, route, tag and everything"),
        ({"url": "http://a/", "tag": "b"},
         "url and tag are given: choose exactly one of url, prefix, route, tag and everything"),
        ({"route": "shp"}, 'unknown route "shp", did you mean "shop"?'),
        ({"route": "x"}, 'unknown route "x"'),
        ({"tag": " a"}, 'tag: " a" is not a valid tag: it is empty, or has white space around it'),
        ({"tag": ""}, 'tag: "" is not a valid tag: it is empty, or has white space around it'),
        ({"tag": "https:// g"}, 'tag: "" is not a valid host'),
        ({"prefix": "x"},
         'prefix: "x" is not a valid prefix: use "https://host/path" for one host, or "/path" for all hosts'),
        ({"prefix": ""},
         'prefix: "" is not a valid prefix: use "https://host/path" for one host, or "/path" for all hosts'),
        ({"prefix": "/a/../.."}, 'prefix: "/a/../.." is not a valid path: the gateway refuses such requests'),
    ],
)  # fmt: skip
def test_what_cannot_be_purged(cache: WorkerCache, request_: dict[str, Any], said: str) -> None:
    before = cache.purges.number
    with pytest.raises(PurgeError) as raised:
        purge(cache.purges, PurgeRequest(**request_), routes=ROUTES)
    assert str(raised.value) == said
    assert cache.purges.number == before


# -- looking


def found(memory: CacheMemory, url: str, **more: Any) -> Look:
    *slices, last = look(memory, url, **more)
    assert slices == [None] * len(slices)
    assert last is not None
    return last


def test_a_look_finds_variants_and_queries(memory: CacheMemory, cache: WorkerCache) -> None:
    for query in (None, b"", b"a=1"):
        store(cache, b"/x", query=query)
    for language in (b"de", None):
        store(cache, b"/x", vary=((b"accept-language", language), (b"accept", b"*/*")))
    store(cache, b"/x/y")
    answers = found(memory, "http://shop.example/x").answers
    assert [(each.url.partition("example")[2], each.vary) for each in answers] == [
        ("/x", {"accept-language": "de", "accept": "*/*"}),
        ("/x", {"accept-language": None, "accept": "*/*"}),
        ("/x", {}),
        ("/x?", {}),
        ("/x?a=1", {}),
    ]
    assert {(each.namespace, each.status, each.state) for each in answers} == {(NAMESPACE.hex(), "200 OK", "fresh")}
    assert [each.url[-4:] for each in found(memory, "http://shop.example/x?a=1").answers] == ["?a=1"]
    assert found(memory, "http://shop.example:8080/x").answers == []


def test_a_look_says_how_old_and_how_used(memory: CacheMemory, cache: WorkerCache) -> None:
    store(cache, b"/old", age=90_000)
    store(cache, b"/new", age=10_000)
    (old,) = found(memory, "http://shop.example/old").answers
    (new,) = found(memory, "http://shop.example/new").answers
    assert (old.state, new.state) == ("stale", "fresh")
    assert old.age == pytest.approx(90, abs=5)
    assert old.remaining == pytest.approx(-30, abs=5)
    assert new.remaining == pytest.approx(50, abs=5)
    assert (new.uses, new.size > 100) == (0, True)


def test_a_look_knows_what_was_purged(memory: CacheMemory, cache: WorkerCache) -> None:
    def state(**more: Any) -> str:
        (answer,) = found(memory, "http://shop.example/x", **more).answers
        return answer.state

    purges = cache.purges
    ways = [("uri", ORIGIN + b"/x")]
    ways += [("host", b"shop.example"), ("tag", b"b"), ("tag", b"c"), ("group", ORIGIN + b' g"')]
    for kind, text in ways:
        head = b'HTTP/1.1 200 OK\r\nCache-Tag: a, b\r\nsurrogate-key: c\r\nCache-Groups: "g\\""\r\n\r\n'
        now = cache.memory.now()
        number = purges.begin(purges.tag("uri", ORIGIN + b"/x"))
        words = (now, now + 60_000, 0)
        store_whole(cache.memory, key_of(b"/x"), head, b"", b"", purge=number, words=words, dies=now + 60_000)
        assert state() == "fresh"
        purges.purge_tag(purges.tag(kind, text), soft=True)
        assert state() == "stale"
        purges.purge_tag(purges.tag(kind, text))
        assert state() == "purged"
    store(cache, b"/x")
    purges.purge_tag(purges.tag("route", b"shop"))
    assert (state(), state(routes={NAMESPACE: "shop"})) == ("fresh", "purged")


def test_a_look_tells_only_so_many(memory: CacheMemory, cache: WorkerCache) -> None:
    for number in range(MOST_FOUND + 1):
        store(cache, b"/x", query=b"%d" % number)
    found_all = found(memory, "http://shop.example/x")
    assert (len(found_all.answers), found_all.complete) == (MOST_FOUND, False)


def test_a_walk_finds_what_is_stored_and_nothing_else(memory: CacheMemory, cache: WorkerCache) -> None:
    """What was replaced, removed, half stored or cleared is not found; large bodies are not in the way."""
    segment = memory.file.segment_size
    store_whole(cache.memory, b"large", b"", b"", b"x" * (3 * segment))
    for number in range(2000):
        store_whole(cache.memory, b"key %d" % number, b"head", b"", b"y" * 200)
    for number in range(0, 2000, 2):
        store_whole(cache.memory, b"key %d" % number, b"newer", b"", b"z" * 100)
    filler = Filler.begin(cache.memory, b"key half", b"", b"", 1000)
    assert filler is not None
    assert filler.append(b"1")
    walk = Walk(memory._viewer(), b"key")
    seen: dict[bytes, bytes] = {}
    slices = 0
    while (some := walk.step()) is not None:
        slices += 1
        for record in some:
            assert record.key not in seen
            seen[record.key] = record.head
    assert seen == {b"key %d" % number: b"head" if number % 2 else b"newer" for number in range(2000)}
    assert 6 < slices < 50
    assert walk.step() is None
    filler.abandon()
    cache.memory.clear()
    assert list(filter(None, memory.walk(b""))) == []


@given(st.binary(max_size=60))
def test_a_key_that_is_not_one_has_no_parts_beyond_it(key: bytes) -> None:
    parts = list(parts_of(key))
    assert sum(5 + len(value or b"") for _, value in parts) <= len(key)
