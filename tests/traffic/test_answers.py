"""Fixed answers and redirects."""

import re

import pytest
from traffic.plugins import Deny, Replace, Stamp, plugin
from traffic.support import statuses
from wire.support import GET, by_id, check_problem, head, post, served

from fastgate.testing import RawClient

# --- respond ---


async def test_respond(traffic):
    client = await traffic.serve({"respond": {"status": 418, "body": "té\n", "headers": {"x-a": "1"}}}, upstreams={})
    response = await served(client, GET, 418)
    assert response.body == "té\n".encode()
    assert response.fields["content-type"] == "text/plain; charset=utf-8"
    assert (response.fields["x-a"], response.fields["content-length"]) == ("1", "4")
    assert response.fields["x-request-id"]
    assert (await served(client, head(method="HEAD"), 418)).body == b""
    await served(client, post(b"x" * 1000), 418)
    assert await traffic.ends(3) == [(418, "route")] * 3


async def test_respond_without_a_body(traffic):
    client = await traffic.serve({"path": "/a", "respond": {}}, {"respond": {"status": 204}}, upstreams={})
    assert (await served(client, head(target="/a"))).fields["content-length"] == "0"
    response = await served(client, head(target="/b"), 204)
    assert "content-type" not in response.fields


async def test_respond_with_a_content_type_of_its_own(traffic):
    client = await traffic.serve(
        {"respond": {"body": "{}", "headers": {"Content-Type": "application/json"}}}, upstreams={}
    )
    assert (await served(client, GET)).fields.get_all("content-type") == ["application/json"]


async def test_response_edits_hold_for_fixed_answers(traffic):
    client = await traffic.serve(
        {
            "path": "/u/{id}",
            "respond": {"body": "ok", "headers": {"x-a": "1", "x-b": "2"}},
            "response_headers": {"set": {"x-a": "{param.id}"}, "add": {"x-c": ["3", "4"]}, "remove": ["x-b"]},
        },
        upstreams={},
    )
    for _ in range(2):
        fields = (await served(client, head(target="/u/42"))).fields
        assert (fields.get_all("x-a"), fields.get_all("x-b"), fields.get_all("x-c")) == (["42"], [], ["3", "4"])


async def test_policies_see_fixed_answers(traffic):
    client = await traffic.serve(
        {
            "path": "/stamped",
            "respond": {"body": "ok"},
            "policies": [{"use": "Deny"}, {"use": "Stamp"}],
            "response_headers": {"set": {"x-edit": "1"}},
        },
        {"path": "/replaced", "respond": {"body": "ok"}, "policies": [{"use": "Replace"}]},
        {"path": "/redirected", "redirect": {"to": "/"}, "policies": [{"use": "Stamp"}]},
        upstreams={},
        plugins=[plugin(Stamp), plugin(Replace), plugin(Deny)],
    )
    for _ in range(2):
        stamped = await served(client, head(target="/stamped"))
        assert (stamped.body, stamped.fields["x-stamp"], stamped.fields["x-edit"]) == (b"ok", "200", "1")
    denied = await served(client, head("X-Deny: 1", target="/stamped"), 403)
    assert (denied.body, denied.fields["x-stamp"], denied.fields["x-edit"]) == (b"denied", "403", "1")
    assert (await served(client, head(target="/replaced"), 203)).body == b"replaced"
    redirected = await served(client, head(target="/redirected"), 308)
    assert (redirected.fields["x-stamp"], redirected.fields["location"]) == ("308", "/")
    ends = [line["end"] for line in await traffic.lines(5)]
    assert ends == ["route", "route", "policy", "route", "route"]


async def test_max_body_holds_for_fixed_answers(traffic):
    client = await traffic.serve({"respond": {"body": "ok"}, "max_body": 10}, upstreams={})
    assert await statuses(client, 1, post(b"x" * 10)) == [200]
    assert await statuses(client, 1, post(b"x" * 11)) == [413]


async def test_expect_continue_gets_the_answer_without_100(traffic):
    client = await traffic.serve({"respond": {"body": "ok"}}, upstreams={})
    response = await client.request(head("Expect: 100-continue", "Content-Length: 5", method="POST"))
    assert (response.status, response.interim) == (200, [])


# --- redirect ---


async def location(client: RawClient, data: bytes, status: int = 308) -> str:
    return (await served(client, data, status)).fields["location"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect(traffic, status):
    client = await traffic.serve({"redirect": {"to": "https://new.example/x", "status": status}}, upstreams={})
    assert await location(client, GET, status) == "https://new.example/x?query"
    assert await location(client, head(), status) == "https://new.example/x"
    response = await client.request(post(b"hello"))
    assert (response.status, response.body) == (status, b"")
    assert await traffic.ends(3) == [(status, "route")] * 3


QUERIES = {
    "kept": ("/new", "/old?a=1&b=%20", "/new?a=1&b=%20"),
    "empty": ("/new", "/old?", "/new?"),
    "replaced": ("/new?c=3", "/old?a=1", "/new?c=3"),
    "before a fragment": ("/new#part", "/old?a=1", "/new?a=1#part"),
    "empty, before a fragment": ("/new#part", "/old?", "/new?#part"),
    "a question within a fragment": ("/new#part?b", "/old?a=1", "/new?a=1#part?b"),
    "replaced, with a fragment": ("/new?c=3#part", "/old?a=1", "/new?c=3#part"),
    "none, with a fragment": ("/new#part", "/old", "/new#part"),
}


@pytest.mark.parametrize(("to", "target", "expected"), **by_id(QUERIES))
async def test_the_query(traffic, to, target, expected):
    client = await traffic.serve({"redirect": {"to": to}}, upstreams={})
    assert await location(client, head(target=target)) == expected


TEMPLATES = {
    "host and path": ("/*", "https://{host}{path}", "/a/b%2Fc?q", "https://example.test/a/b%2Fc?q"),
    "port": ("/*", "https://{host}{path}", "/", "https://example.test/"),
    "parameter": ("/u/{id}", "/user/{param.id}/x", "/u/42", "/user/42/x"),
    "rest": ("/u/{rest*}", "https://new.example/{param.rest}", "/u/a/b/", "https://new.example/a/b/"),
    "empty rest": ("/u/{rest*}", "/{param.rest}", "/u/", "/"),
    "escaped": ("/u/{id}", "/user/{param.id}", "/u/a%20b%C3%A9", "/user/a%20b%C3%A9"),
    # What is escaped in a parameter stays so: it would be read as structure.
    "question mark": ("/u/{id}", "/user/{param.id}", "/u/a%3Fb?q=1", "/user/a%3Fb?q=1"),
    "number sign": ("/u/{id}", "/user/{param.id}", "/u/a%23b", "/user/a%23b"),
    "percent": ("/u/{id}", "/user/{param.id}", "/u/100%25", "/user/100%25"),
    "slash": ("/u/{id}", "/user/{param.id}", "/u/a%2Fb", "/user/a%2Fb"),
}


@pytest.mark.parametrize(("path", "to", "target", "expected"), **by_id(TEMPLATES))
async def test_templates(traffic, path, to, target, expected):
    client = await traffic.serve({"path": path, "redirect": {"to": to}}, upstreams={})
    assert await location(client, head(target=target)) == expected


EVIL = [
    "//evil.example",
    "//evil.example/%2e%2e",
    "/%2F/evil.example",
    "/%2Fevil.example",
    "/%2F%2Fevil.example",
    "/%09/evil.example",
    "/%0A/evil.example",
    "/%0D%0ASet-Cookie:a=b",
    "/%00/evil.example",
    "/%5Cevil.example",
    "/%5C%5Cevil.example",
    "/\\evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/%2E%2E//evil.example",
    "/@evil.example",
    "/.evil.example",
    "/:80@evil.example",
    "/%7F",
    "/;//evil.example",
]


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "not merged"])
@pytest.mark.parametrize("rest", EVIL)
async def test_no_path_leads_to_another_site(traffic, rest, merge):
    client = await traffic.serve(
        {"path": "/go/{rest*}", "redirect": {"to": "/{param.rest}", "status": 302}},
        {"path": "/abs/{rest*}", "redirect": {"to": "https://home.example/{param.rest}", "status": 302}},
        {"path": "/*", "redirect": {"to": "{path}", "status": 302}},
        upstreams={},
        gateway={"merge_slashes": merge},
    )
    for prefix in ("/go", "/abs", ""):
        response = await (await traffic.client()).request(head(target=prefix + rest))
        if response.status == 400:
            continue
        assert response.status == 302
        where = response.fields["location"]
        assert where.isascii()
        assert where.isprintable()
        assert "\\" not in where
        # Two dots may lead out of /abs, and so to the last route.
        assert re.fullmatch(r"https://home\.example/.*|/|/[^/\\].*", where)
    assert client.ended is None


async def test_a_host_cannot_be_more_than_a_host(traffic):
    await traffic.serve({"redirect": {"to": "https://{host}{path}"}}, upstreams={})
    for host in ("a@evil.example", "a/evil.example", "a?b", "a#b", "a\\b", "a b", ""):
        client = await traffic.client()
        response = await client.request(head(target="/evil.example", host=host))
        assert response.status == 400, response.fields
    # HTTP/1.0 needs none, and a URL does.
    client = await traffic.client()
    check_problem(await client.request(head(target="/evil.example", host=None, version="1.0")), 400)


async def test_a_limit_on_a_redirect(traffic):
    client = await traffic.serve({"redirect": {"to": "/new"}, "rate_limit": {"rate": 1, "per": "1h"}}, upstreams={})
    response = await client.request(GET)
    assert (response.status, response.fields["ratelimit"]) == (308, '"default";r=0;t=3600')
    check_problem(await client.request(GET), 429)
