"""The compiled router against the naive one, on generated routes and requests."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from router.reference import NaiveRouter, Route

from fastgate._core.routing.router import Router

LITERALS = [
    "a",
    "ab",
    "abc",
    "b",
    "user",
    "users",
    "a:b",
    "a%3ab",
    "a%2Fb",
    "%7Ex",
    "x;y",
    "caf%C3%A9",
    "a.b",
    ".x",
    "",
]
SPELLINGS = [
    *LITERALS,
    "42",
    "a%3Ab",
    "a%3ab",
    "a%2fb",
    "~x",
    "x%3By",
    "%61",
    "%C3%A9",
    "%FF",
    "a%20b",
    "..",
    ".",
    "*",
    "%25",
]
HOSTS = ["example.com", "api.example.com", "*.example.com", "*.api.example.com", "other.org"]
REQUEST_HOSTS = [None, "example.com", "API.example.com:8080", "x.example.com", "x.api.example.com.", "other.org"]
REQUEST_HOSTS += ["none", "", ".example.com", "[::1]:80"]
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "PURGE", "OPTIONS"]
REGEXES = [
    "~^/a/(?P<rest>.*)$",
    "~/users?/(?P<id>[0-9]+)(/(?P<tail>.+))?",
    "~/a:b(?P<x>.*)",
    "~.*",
    "~/(?P<one>[^/]+)/(?P<two>[^/]*)",
]
CONDITIONS = ["*", "1", "2", "~[12]", "a b"]
QUERIES = ["", "q=1", "q=2&q=1", "debug", "debug=&q=3", "q=a+b", "q=a%20b&debug=1", "%71=1", "&&q=2", "=1"]


@st.composite
def patterns(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(REGEXES))
    parts: list[str] = []
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 9))
        parts.append(f"{{p{i}}}" if kind < 3 else draw(st.sampled_from(LITERALS)))
    parts = [part for i, part in enumerate(parts) if part or i == len(parts) - 1]
    ending = draw(st.sampled_from(["", "", "", "/*", "/{rest*}"]))
    if ending and parts[-1] == "":
        parts.pop()
    return "".join(f"/{part}" for part in parts) + ending or "/"


@st.composite
def routes(draw: st.DrawFn, plain: bool) -> Route:
    route = Route(draw(patterns()), None)
    route.methods = draw(st.none() | st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True))
    if not plain:
        route.hosts = draw(st.none() | st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True))
        route.headers = draw(st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(CONDITIONS), max_size=2))
        route.query = draw(st.dictionaries(st.sampled_from(["q", "debug"]), st.sampled_from(CONDITIONS), max_size=2))
        route.priority = draw(st.sampled_from([0, 0, 0, 1, -1, 2**31 - 1, -(2**31)]))
    return route


def route_sets() -> st.SearchStrategy[list[Route]]:
    return st.booleans().flatmap(lambda plain: st.lists(routes(plain), min_size=1, max_size=12))


@st.composite
def requests(draw: st.DrawFn, chosen: list[Route]) -> tuple[str, str, str | None, list[tuple[str, str]], str]:
    method = draw(st.sampled_from([*METHODS, "get", "BREW"]))
    if draw(st.booleans()):  # near a route
        pattern = draw(st.sampled_from(chosen)).path
        parts = pattern.removeprefix("~").split("/")[1:]
        filled = [
            draw(st.sampled_from(SPELLINGS)) if "{" in part or "(" in part or part == "*" else part for part in parts
        ]
    else:
        filled = draw(st.lists(st.sampled_from(SPELLINGS), max_size=5))
    path = "/" + "/".join(filled)
    host = draw(st.sampled_from(REQUEST_HOSTS))
    headers = draw(
        st.lists(st.tuples(st.sampled_from(["x-a", "X-B", "x-c"]), st.sampled_from(["1", "2", "3", "a b"])), max_size=3)
    )
    return method, path, host, headers, draw(st.sampled_from(QUERIES))


@settings(max_examples=60, deadline=None)
@given(st.data(), route_sets(), st.booleans())
def test_generated_routes_match_as_in_the_model(data: st.DataObject, chosen: list[Route], merge_slashes: bool) -> None:
    router = Router(merge_slashes=merge_slashes)
    model = NaiveRouter(merge_slashes)
    for i, route in enumerate(chosen):
        route.value = i
        model.routes.append(route)
        router.add(
            route.path,
            i,
            methods=route.methods,
            hosts=route.hosts,
            headers=route.headers,
            query=route.query,
            priority=route.priority,
        )
    for _ in range(8):
        method, path, host, headers, query = data.draw(requests(chosen))
        expected = model.match(method, path, host, headers, query)
        match = router.match(method, path, host=host, headers=headers, query=query)
        assert (match and (match.value, match.params)) == expected, (method, path, host, headers, query)
        allowed = router.allowed(path, host=host, headers=headers, query=query)
        assert allowed == model.allowed(path, host, headers, query)


@settings(max_examples=25, deadline=None)
@given(st.lists(patterns(), min_size=30, max_size=300, unique=True), st.data())
def test_wide_trees_match_as_in_the_model(paths: list[str], data: st.DataObject) -> None:
    router = Router()
    model = NaiveRouter()
    for i, path in enumerate(paths):
        spread = path if path.startswith("~") else f"/{chr(33 + i % 90)}{path}".replace("//", "/")
        if any(refused in spread[:3] for refused in "#*?/\\{}%."):
            spread = path
        model.routes.append(Route(spread, i))
        router.add(spread, i)
    for _ in range(10):
        _, path, host, headers, query = data.draw(requests(model.routes))
        expected = model.match("GET", path, host, headers, query)
        match = router.match("GET", path, host=host, headers=headers, query=query)
        assert (match and (match.value, match.params)) == expected


DENSE = ["a", "b", "{p}"]
DENSE_PATTERNS = [
    "".join(f"/{part.replace('p', f'p{i}')}" for i, part in enumerate(parts)) + ending
    for length in (1, 2, 3)
    for parts in product(DENSE, repeat=length)
    for ending in ("", "/*", "/{rest*}")
]
DENSE_PATHS = ["/" + "/".join(parts) for length in (1, 2, 3, 4) for parts in product("abc", repeat=length)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DENSE_PATTERNS), st.integers(-1, 1), st.booleans()), min_size=2, max_size=25))
def test_crowded_trees_match_as_in_the_model(crowd: list[tuple[str, int, bool]]) -> None:
    """Few segments and many routes: most paths have several candidates, so that order and priority decide."""
    router = Router()
    model = NaiveRouter()
    for i, (path, priority, post) in enumerate(crowd):
        methods = ["POST"] if post else None
        model.routes.append(Route(path, i, methods=methods, priority=priority))
        router.add(path, i, methods=methods, priority=priority)
    for path in DENSE_PATHS:
        for method in "GET", "POST":
            match = router.match(method, path)
            assert (match and (match.value, match.params)) == model.match(method, path, None, [], ""), (method, path)
