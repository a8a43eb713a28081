"""No request makes an expression of the configuration run away, wherever one can be written.

With an engine that goes back, each of these requests would hold the event loop for longer than the tests may take.
"""

from typing import Any

import pytest

from fastgate.testing import RawClient, start_gateway

EXPRESSIONS = {
    "nested": ("([a-z0-9-]+/?)+", "a" * 36 + "!"),
    "alternatives": ("(a|aa)+", "a" * 4000 + "!"),
    "cubic": ("(?P<a>.*)/x/(?P<b>.*)/y/(?P<c>.*)/z", "/x/y/z" * 600 + "!"),
}


def rewrite(pattern: str) -> dict[str, Any]:
    # The same search as the others: the whole path after its first character.
    return {"rewrite": {"pattern": f"^/(?:{pattern})$", "to": "/new"}}


WHERE: dict[str, tuple[Any, str]] = {
    "path": (lambda pattern: {"path": f"~/(?:{pattern})"}, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"),
    "header": (lambda pattern: {"headers": {"x-a": f"~{pattern}"}}, "GET / HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n\r\n"),
    "query": (lambda pattern: {"query": {"a": f"~{pattern}"}}, "GET /?a=%s HTTP/1.1\r\nHost: x\r\n\r\n"),
    "rewrite": (rewrite, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"),
    "cors": (
        lambda pattern: {"cors": {"origins": [f"~https://(?:{pattern})"]}},
        "GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://%s\r\n\r\n",
    ),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", EXPRESSIONS)
async def test_a_hostile_request_is_answered_like_any_other(where: str, kind: str) -> None:
    pattern, text = EXPRESSIONS[kind]
    keys, request = WHERE[where]
    route = {"name": "r", "path": "/*", **keys(pattern)}
    if where == "rewrite":
        route |= {"upstream": "none"}
    else:
        route |= {"respond": {"status": 204}}
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [route],
        "upstreams": {"none": {"targets": ["127.0.0.1:1"]}},
    }
    answers = {"rewrite": 502, "cors": 204}
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        if where == "cors":
            text = text[:270] + "!"
        for _ in range(3):
            answer = await client.request((request % text).encode())
            assert answer.status == answers.get(where, 404)
            assert "access-control-allow-origin" not in answer.fields


async def test_a_header_that_comes_in_many_lines_is_looked_at_line_by_line() -> None:
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, "max_headers": 2000},
        "routes": [{"name": "r", "path": "/", "headers": {"x": "~[0-9]+1"}, "respond": {"status": 204}}],
    }
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        lines = "".join(f"X: {number}x\r\n" for number in range(1900))
        assert (await client.request(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())).status == 404
        answer = await client.request(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}x: 21\r\n\r\n".encode())
        assert answer.status == 204


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/a", "q=%C3%A9%C3%A9", 204),
        ("/a", "q=\u00e9\u00e9", 400),
        ("/a", "q=%C3%A9", 404),
        ("/a", "q=%C3", 404),
        ("/a", "q=%FFx", 204),
        ("/a", "q=%FF", 404),
        ("/a", "q=a+b", 404),
        ("/a", "q=a%0Ab", 404),
    ],
)
async def test_a_query_is_matched_by_characters(path: str, query: str, status: int) -> None:
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [{"name": "r", "path": path, "query": {"q": "~.[éx]"}, "respond": {"status": 204}}],
    }
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        request = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await client.request(request.encode())).status == status
