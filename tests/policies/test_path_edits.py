"""Edits of paths, alone and through a gateway."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.config import ConfigError, GatewayConfig, Route
from fastgate.policies.path_edits import path_transform
from fastgate.testing import RawClient, RecordingUpstream, gateway_to


def route(**options: Any) -> Route:
    config = GatewayConfig.from_dict({
        "routes": [{"name": "r", "path": "/*", "upstream": "u", **options}], "upstreams": {"u": {"targets": ["a:1"]}},
    })
    return config.routes[0]


def forwarded(path: str, **options: Any) -> str | None:
    """The path that a route with these options forwards."""
    transform = path_transform(route(**options))
    if transform is None:
        return path
    made = transform(path.encode("ascii"))
    return made.decode("ascii") if made is not None else None


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        ({}, "/a/b", "/a/b"),
        ({"strip_prefix": "/api"}, "/api/x", "/x"), ({"strip_prefix": "/api"}, "/api", "/"),
        ({"strip_prefix": "/api"}, "/api/", "/"),
        ({"strip_prefix": "/api"}, "/apix", "/apix"), ({"strip_prefix": "/api"}, "/x/api", "/x/api"),
        ({"strip_prefix": "/api"}, "/api/api/x", "/api/x"), ({"strip_prefix": "/a/b"}, "/a/b/c", "/c"),
        ({"add_prefix": "/v2"}, "/x", "/v2/x"),
        ({"add_prefix": "/v2"}, "/", "/v2/"), ({"strip_prefix": "/api", "add_prefix": "/v2"}, "/api/x", "/v2/x"),
        ({"strip_prefix": "/api", "add_prefix": "/v2"}, "/api", "/v2/"),
        ({"rewrite": {"pattern": "^/old/(.*)", "to": r"/new/\1"}}, "/old/a/b", "/new/a/b"),
        ({"rewrite": {"pattern": "^/old/(.*)", "to": r"/new/\1"}}, "/other", "/other"),
        ({"rewrite": {"pattern": "^/u/(?P<id>[0-9]+)$", "to": r"/users/\g<id>"}}, "/u/7", "/users/7"),
        ({"rewrite": {"pattern": "a", "to": "b"}}, "/a/a", "/b/a"),
        ({"rewrite": {"pattern": "^/x", "to": "/ä b"}}, "/x", "/%C3%A4%20b"),
        ({"rewrite": {"pattern": "^/x", "to": "/a%20b"}}, "/x", "/a%20b"),
        ({"rewrite": {"pattern": "^/(.*)$", "to": r"\1"}}, "/x", "/x"),
        ({"strip_prefix": "/api", "rewrite": {"pattern": "^/x", "to": "/y"}}, "/api/x", "/y"),
        ({"strip_prefix": "/api"}, "/api/a%2Fb", "/a%2Fb"),
    ],
)
def test_what_is_made_of_a_path(options: dict[str, Any], path: str, expected: str) -> None:
    assert forwarded(path, **options) == expected


@pytest.mark.parametrize(
    ("to", "path"),
    [
        (r"/a/../\1", "/x/y"), (r"/\1", "/x/.."), (r"/\1", "/x/."), (r"/./\1", "/x/y"), (r"\1/..", "/x/y"),
        (r"/%2e%2e/\1", "/x/y"), (r"/%2E/\1", "/x/y"), (r"/a\\\\b\1", "/x/y"), (r"/%2e./\1", "/x/y"),
    ],
)
def test_a_path_that_would_have_to_be_normalised_again_is_refused(to: str, path: str) -> None:
    assert forwarded(path, rewrite={"pattern": "^/x/(.*)$", "to": to}) is None


def test_a_route_without_edits_has_none() -> None:
    assert path_transform(route()) is None


PATHS = st.lists(st.sampled_from(["api", "a", "b.c", "%20", "%2F", "-_~", "x"]), max_size=5)


@settings(max_examples=150, deadline=None)
@given(PATHS, PATHS, PATHS)
def test_prefixes_against_lists_of_segments(strip: list[str], add: list[str], path: list[str]) -> None:
    options = {"strip_prefix": "/" + "/".join(strip)} if strip else {}
    options |= {"add_prefix": "/" + "/".join(add)} if add else {}
    rest = path[len(strip) :] if path[: len(strip)] == strip else path
    expected = "/" + "/".join([*add, *(rest or [""])])
    if not strip and not add:
        expected = "/" + "/".join(path)
    assert forwarded("/" + "/".join(path), **options) == expected


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"strip_prefix": "api"}, "strip_prefix"), ({"add_prefix": "v2"}, "add_prefix"),
        ({"strip_prefix": "/api/"}, "strip_prefix"), ({"add_prefix": "/v2/"}, "add_prefix"),
        ({"rewrite": {"pattern": "(", "to": "/"}}, "pattern"), ({"rewrite": {"pattern": "(a)", "to": r"\2"}}, "to"),
    ],
)
def test_edits_that_cannot_work_are_errors_of_the_configuration(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        route(**options)


async def test_the_path_that_reaches_the_upstream_keeps_its_query() -> None:
    async with RecordingUpstream() as upstream:
        options = {"strip_prefix": "/api", "add_prefix": "/v2"}
        async with gateway_to(upstream.port, route=options) as gateway, RawClient(gateway.port) as client:
            for target, expected in (
                ("/api/x?a=/api&b", "/v2/x?a=/api&b"), ("/api/./x//y?", "/v2/x/y?"), ("/ap%69/%7ex", "/v2/~x"),
                ("/api/../api/x", "/v2/x"),
            ):
                assert (await client.request(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())).status == 200
                assert upstream.requests[-1].head.startswith(f"GET {expected} HTTP/1.1\r\n".encode())


async def test_a_rewrite_to_a_dot_segment_is_refused_and_nothing_is_sent() -> None:
    async with RecordingUpstream() as upstream:
        options = {"rewrite": {"pattern": "^/(.*)$", "to": r"/secret/%2e%2e/\1"}}
        async with gateway_to(upstream.port, route=options) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")).status == 400
            assert upstream.requests == []
