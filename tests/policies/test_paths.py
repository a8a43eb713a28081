"""Rules that go by the path cannot be passed by spelling it in another way."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import pytest

from fastgate._core.routing.ambiguity import readings
from fastgate._core.routing.router import normalized
from fastgate.testing import RawClient, RecordingUpstream, start_gateway

PAGE = Path(__file__).parents[2] / "docs" / "policies" / "paths.md"


class Spelling(NamedTuple):
    """What a client asks for, the status, and the path that reached the open route's upstream."""

    target: str
    status: int
    forwarded: str = ""


# 403 is the answer of the route `/admin/*`, 200 that of `/*`.
SPELLINGS = (
    Spelling("/admin", 403),
    Spelling("/admin/", 403),
    Spelling("/admin/keys", 403),
    Spelling("/admin?x=1", 403),
    Spelling("http://other.test/admin", 403),
    Spelling("//admin", 403),
    Spelling("/admin//keys", 403),
    Spelling("/./admin", 403),
    Spelling("/x/../admin", 403),
    Spelling("/x//../admin", 403),
    Spelling("/admin/.", 403),
    Spelling("/admin/x/..", 403),
    Spelling("/%61dmin", 403),
    Spelling("/%61%64%6D%69%6E", 403),
    Spelling("/%2e/admin", 403),
    Spelling("/x/%2E%2e/admin", 403),
    Spelling("/x/.%2e/admin", 403),
    Spelling("/admin%2Fkeys", 400),
    Spelling("/%2Fadmin", 400),
    Spelling("/x%2F..%2Fadmin", 400),
    Spelling("/x/..%2Fadmin", 400),
    Spelling("/admin%5Ckeys", 400),
    Spelling("/admin\\keys", 400),
    Spelling("/admin%00", 400),
    Spelling("/admin;x", 400),
    Spelling("/admin;/keys", 400),
    Spelling("/admin;x=1/keys;y=2", 400),
    Spelling("/;x/admin", 400),
    Spelling("/x/..;/admin", 400),
    Spelling("/x/..;y=1/admin", 400),
    Spelling("/x/%2e%2e;/admin", 400),
    Spelling("/admin/..;/keys", 400),
    Spelling("/admin%3Bx", 400),
    Spelling("/admin%3Bx%2Fkeys", 400),
    Spelling("/admin;x%2Fkeys", 400),
    Spelling("/../admin", 400),
    Spelling("/admin#x", 400),
    Spelling("/admin\t", 400),
    Spelling("/admin%", 400),
    Spelling("/admin%6", 400),
    Spelling("/admin%u002Fkeys", 400),
    Spelling("http://user@other.test/admin", 400),
    Spelling("/ADMIN", 200, "/ADMIN"),
    Spelling("/%41dmin", 200, "/Admin"),
    Spelling("/admin%20", 200, "/admin%20"),
    Spelling("/admin%09", 200, "/admin%09"),
    Spelling("/admin.", 200, "/admin."),
    Spelling("/admin..", 200, "/admin.."),
    Spelling("/admin%2E", 200, "/admin."),
    Spelling("/admin.json", 200, "/admin.json"),
    Spelling("/%2561dmin", 200, "/%2561dmin"),
    Spelling("/%252Fadmin", 200, "/%252Fadmin"),
    Spelling("/admin%252Fkeys", 200, "/admin%252Fkeys"),
    Spelling("/x%C0%AF..%C0%AFadmin", 200, "/x%C0%AF..%C0%AFadmin"),
    Spelling("/admin%C0%AFkeys", 200, "/admin%C0%AFkeys"),
    Spelling("/admin%EF%BC%8Fkeys", 200, "/admin%EF%BC%8Fkeys"),
    Spelling("/%EF%BD%81dmin", 200, "/%EF%BD%81dmin"),
    Spelling("/x?/../admin", 200, "/x?/../admin"),
    Spelling("/x;y=1", 200, "/x;y=1"),
    Spelling("/x%2Fy", 200, "/x%2Fy"),
)


def config(port: int, *routes: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    return {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, **gateway},
        "routes": [{"name": f"r{number}", "upstream": "b", **route} for number, route in enumerate(routes)],
        "upstreams": {"b": {"targets": [f"127.0.0.1:{port}"]}},
    }


CLOSED = {"ip": {"deny": ["127.0.0.1"]}}


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream() as running:
        yield running


async def ask(port: int, target: str) -> int:
    async with RawClient(port) as client:
        return (await client.request(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))).status


async def test_every_spelling(upstream: RecordingUpstream) -> None:
    routes = ({"path": "/admin/*", **CLOSED}, {"path": "/*"})
    async with start_gateway(config(upstream.port, *routes)) as gateway:
        for spelling in SPELLINGS:
            before = len(upstream.requests)
            assert await ask(gateway.port, spelling.target) == spelling.status, spelling.target
            forwarded = [request.target for request in upstream.requests[before:]]
            assert forwarded == ([spelling.forwarded] if spelling.forwarded else []), spelling.target


def read_by_upstreams(target: str) -> set[str]:
    """The paths that servers in use make of a target: decoded once before or after it is split, with and without
    parameters, slashes merged or not.
    """
    raw = target.partition("?")[0].encode()
    bare = b"/".join(segment.partition(b";")[0] for segment in raw.split(b"/"))
    found = set()
    for each in (raw, bare):
        decoded = unquote_to_bytes(each)
        for path in (decoded, b"/".join(segment.partition(b";")[0] for segment in decoded.split(b"/"))):
            parts: list[bytes] = []
            for part in path.split(b"/"):
                if part == b"..":
                    del parts[-1:]
                elif part not in (b"", b"."):
                    parts.append(part)
            found.add("/" + b"/".join(parts).decode("utf-8", "replace"))
    return found


def test_nothing_that_is_forwarded_is_below_admin_to_an_upstream() -> None:
    for spelling in SPELLINGS:
        if spelling.forwarded:
            for path in read_by_upstreams(spelling.forwarded):
                assert path != "/admin", spelling
                assert not path.startswith("/admin/"), spelling


def test_the_page_has_this_table() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (\d+) \| (?:`(.+?)`)? ?\|$", PAGE.read_text(), re.MULTILINE)
    assert [Spelling(target.replace("⇥", "\t"), int(status), path) for target, status, path in rows] == list(SPELLINGS)


@pytest.mark.parametrize(
    ("closed", "opened", "target", "status"),
    [
        # What the more specific route takes in one reading is not for the wider one.
        ("/api/admin/*", "/api/{name}", "/api/admin%2Fx", 400),
        ("/files/private/*", "/files/{path*}", "/files/private%2Fx", 400),
        ("/projects/{id}/admin/*", "/projects/{path*}", "/projects/7%2Fadmin/x", 400),
        ("/public/{name}/secret", "/public/{name}", "/public/x%2Fsecret", 400),
        ("/public/{name}/secret", "/public/{name}", "/public/x;y%2Fsecret", 400),
        # The wider route does not take from the more specific one.
        ("/*", "/projects/{id}/issues", "/projects/group%2Fname/issues", 200),
        ("/*", "/projects/{id}", "/projects/a%2Fb;v=1", 200),
        ("/projects/{path*}", "/projects/{id}/issues", "/projects/group%2Fname/issues", 200),
        ("/maps", "/maps/{place}", "/maps/here;lat=1;lon=2", 200),
    ],
)
async def test_which_reading_counts(
    closed: str, opened: str, target: str, status: int, upstream: RecordingUpstream
) -> None:
    async with start_gateway(config(upstream.port, {"path": closed, **CLOSED}, {"path": opened})) as gateway:
        assert await ask(gateway.port, target) == status
        assert [request.target for request in upstream.requests] == [target] * (status == 200)


@pytest.mark.parametrize("target", ["//admin", "/x//../../admin", "/admin//x", "/x/..//admin", "//admin;x"])
async def test_slashes_that_are_not_merged(target: str, upstream: RecordingUpstream) -> None:
    routes = ({"path": "/admin/*", **CLOSED}, {"path": "/*"})
    async with start_gateway(config(upstream.port, *routes, merge_slashes=False)) as gateway:
        assert await ask(gateway.port, target) in (400, 403)
        assert await ask(gateway.port, "/x//y") == 200
        assert [request.target for request in upstream.requests] == ["/x//y"]


async def test_a_refusal_says_why(upstream: RecordingUpstream) -> None:
    async with start_gateway(config(upstream.port, {"path": "/admin/*", **CLOSED}, {"path": "/*"})) as gateway:
        async with RawClient(gateway.port) as client:
            answer = await client.request(b"GET /admin;x HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.status == 400
            assert b"This path can be read in more than one way." in answer.body
            assert (await client.request(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


@pytest.mark.parametrize("target", ["/admin/x", "/ADMIN/x", "/Admin", "/%41DMIN", "//aDMIN"])
async def test_an_expression_that_ignores_case_closes_every_case(target: str, upstream: RecordingUpstream) -> None:
    closed = {"path": "~(?i)^/admin(/.*)?$", "priority": 1, **CLOSED}
    async with start_gateway(config(upstream.port, closed, {"path": "/*"})) as gateway:
        assert await ask(gateway.port, target) == 403
        assert await ask(gateway.port, "/administration") == 200


@pytest.mark.parametrize("target", ["/ADMIN;x/y", "/ADMIN%2Fx"])
async def test_an_expression_is_not_passed_by_either(target: str, upstream: RecordingUpstream) -> None:
    closed = {"path": "~(?i)^/admin(/.*)?$", "priority": 1, **CLOSED}
    async with start_gateway(config(upstream.port, closed, {"path": "/*"})) as gateway:
        assert await ask(gateway.port, target) == 400


def test_what_a_path_may_be_read_as() -> None:
    assert readings("/plain/path") == set()
    assert readings("/a;b/c") == {"/a/c"}
    assert readings("/a%2Fb") == {"/a/b"}
    assert readings("/a;b%2Fc") == {"/a", "/a;b/c", "/a/c"}
    assert readings("/a%3Bb%2Fc") == {"/a%3Bb/c", "/a/c"}


def test_the_form_of_a_path_does_not_depend_on_its_length() -> None:
    # Long paths are looked at sixteen bytes at a time.
    for length in range(40):
        path = f"/{'a' * length};b"
        assert normalized(path) == path
        assert normalized(f"/x/..{path}") == path
