"""The row of "Requests" about spellings of a path, and what a route does to it."""

import pytest
from wire.support import by_id, check_problem, deliver, head, refused, served

from fastgate.testing import RawClient, RecordingUpstream, respond, start_gateway

NORMAL = {
    "as it is": ("/a/b", "/a/b"),
    "root": ("/", "/"),
    "two slashes": ("/a//b", "/a/b"),
    "many slashes": ("////a///b//", "/a/b/"),
    "dot": ("/a/./b", "/a/b"),
    "dot at the end": ("/a/.", "/a/"),
    "dots": ("/a/../b", "/b"),
    "dots at the end": ("/a/b/..", "/a/"),
    "dots down to the root": ("/a/..", "/"),
    "encoded dots": ("/a/%2e%2E/b", "/b"),
    "encoded dot": ("/a/%2e/b", "/a/b"),
    "half encoded dots": ("/a/.%2e/b", "/b"),
    "three dots are a name": ("/a/.../b", "/a/.../b"),
    "unreserved letter": ("/%61%5A%7e%2d%5f%30", "/aZ~-_0"),
    "hex in upper case": ("/a%c3%a4%3f", "/a%C3%A4%3F"),
    "encoded slash stays": ("/a%2fb", "/a%2Fb"),
    "encoded percent stays": ("/a%252e%252e/b", "/a%252e%252e/b"),
    "reserved stay": ("/a;b=c,d:e@f&g+h!i$j'k(l)m*n", "/a;b=c,d:e@f&g+h!i$j'k(l)m*n"),
    "query untouched": ('/a/../b?c=//d/../%61%2f"<>^`{|}', '/b?c=//d/../%61%2f"<>^`{|}'),
    "empty query": ("/a?", "/a?"),
    "question marks": ("/a?b?c", "/a?b?c"),
    "slashes, then dots": ("/a//../b", "/b"),
    "encoded space": ("/a%20b", "/a%20b"),
}


@pytest.mark.parametrize(("target", "expected"), **by_id(NORMAL))
async def test_path_is_normalised_and_forwarded_so(stand, delivery, target, expected):
    """path: `//` merged, unreserved decoded, dot segments removed, hex upper-cased; the query is untouched"""
    client = await stand.start()
    await deliver(client, head(target=target), delivery)
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].target == expected


REFUSED = {
    "above the root": "/..",
    "above the root, further": "/a/../../b",
    "above the root, encoded": "/%2e%2e/b",
    "above the root after slashes": "//../a",
    "backslash": "/a\\..\\b",
    "encoded backslash": "/a%5Cb",
    "encoded backslash, lower case": "/a%5cb",
    "encoded NUL": "/a%00b",
    "encoded slash and dots": "/a%2F..%2Fb",
    "dots before an encoded slash": "/a/..%2fb",
    "dots after an encoded slash": "/a/b%2f..",
    "dot between encoded slashes": "/a%2f.%2fb",
    "encoded dots and encoded slash": "/a/%2e%2e%2fb",
    "encoded dots and encoded backslash": "/a/%2e%2e%5cb",
}


@pytest.mark.parametrize("target", **by_id(REFUSED))
async def test_path_that_is_refused(stand, delivery, target):
    """above the root, `\\`, `%5C`, `%00`, or a segment that becomes a dot segment once `%2F`/`%5C` is decoded → 400"""
    client = await stand.start()
    await deliver(client, head(target=target), delivery)
    check_problem(await client.response(), 400)
    assert all(request.target == "/after" for request in stand.upstream.requests)


async def test_slashes_stay_without_merge_slashes(stand):
    """`//` merged (`merge_slashes`)"""
    client = await stand.start(gateway={"merge_slashes": False})
    await served(client, head(target="/a//b///c"))
    assert stand.upstream.requests[0].target == "/a//b///c"


SPELLINGS = [
    "/admin/x",
    "//admin/x",
    "/./admin/x",
    "/public/../admin/x",
    "/%61dmin/x",
    "/public/%2e%2e/admin/x",
    "/public//../admin/x",
    "/public/..%2fadmin/x",
    "/public%2f..%2fadmin/x",
    "/public/..%5cadmin/x",
    "/admin%2fx",
    "/public/.%2e/admin//x",
    "/admin//x",
    "/admin/./x",
    "/ADMIN/x",
    "/%2561dmin/x",
    "/public/%252e%252e/admin/x",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_goes_around_a_route(spelling):
    """What was matched is what is forwarded. No route may be reached by a spelling that the access rules did not see"""
    async with (
        RecordingUpstream(default=respond(b"guard")) as guard,
        RecordingUpstream(default=respond(b"open")) as free,
    ):
        config = {
            "gateway": {"port": 0, "access_log": {"path": ""}},
            "routes": [
                {"name": "guarded", "path": "/admin/*", "upstream": "guard"},
                {"name": "public", "path": "/*", "upstream": "free"},
            ],
            "upstreams": {
                "guard": {"targets": [{"host": "127.0.0.1", "port": guard.port}]},
                "free": {"targets": [{"host": "127.0.0.1", "port": free.port}]},
            },
        }
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(head(target=spelling))).status in (200, 400)
        assert all(request.target == "/admin/x" for request in guard.requests)
        # The literal reading and the fully decoded reading of what went past the guard both lie outside of /admin/.
        for request in free.requests:
            assert request.target in ("/ADMIN/x", "/admin%2Fx", "/%2561dmin/x", "/public/%252e%252e/admin/x")


@pytest.mark.parametrize(
    ("route", "target", "expected"),
    **by_id(
        {
            "strip_prefix": ({"strip_prefix": "/api"}, "/api/users?q=1", "/users?q=1"),
            "strip_prefix of the whole path": ({"strip_prefix": "/api"}, "/api", "/"),
            "strip_prefix on a segment border": ({"strip_prefix": "/api"}, "/apis/users", "/apis/users"),
            "add_prefix": ({"add_prefix": "/v2"}, "/users?q", "/v2/users?q"),
            "strip and add": ({"strip_prefix": "/api", "add_prefix": "/v2"}, "/api/users", "/v2/users"),
            "rewrite": (
                {"rewrite": {"pattern": "^/old/(.*)", "to": "/new/\\1"}},
                "/old/a/b?q=/old/",
                "/new/a/b?q=/old/",
            ),
            "rewrite that does not match": (
                {"rewrite": {"pattern": "^/old/(.*)", "to": "/new/\\1"}},
                "/young/a",
                "/young/a",
            ),
            "encoded bytes survive": ({"strip_prefix": "/api"}, "/api/a%2fb%20c", "/a%2Fb%20c"),
        }
    ),
)
async def test_path_transforms(stand, route, target, expected):
    client = await stand.start(route=route)
    await served(client, head(target=target))
    assert stand.upstream.requests[0].target == expected


async def test_no_route(stand):
    client = await stand.start(route={"path": "/only"})
    check_problem(await client.request(head(target="/other")), 404)
    await served(client, head(target="/only"))
    assert len(stand.upstream.requests) == 1


async def test_method_of_no_route(stand):
    client = await stand.start(route={"path": "/only", "methods": ["POST", "PUT"]})
    response = await client.request(head(target="/only"))
    check_problem(response, 405)
    assert {part.strip() for part in response.fields["allow"].split(",")} == {"POST", "PUT"}


async def test_refused_path_closes_nothing_upstream(stand):
    await refused(stand, await stand.start(), b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400)
