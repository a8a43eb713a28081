"""What config.md says about routes, sentence by sentence."""

import gc
import sys
import weakref

import pytest

from fastgate._core.routing.router import Match, Router


def found(router: Router, path: str, method: str = "GET", **request: object) -> object:
    match = router.match(method, path, **request)  # type: ignore[arg-type]
    return match.value if match else None


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("/exact", "/exact", {}),
        ("/exact", "/exact/", None),
        ("/exact", "/Exact", None),
        ("/users/{id}", "/users/42", {"id": "42"}),
        ("/users/{id}", "/users/", None),
        ("/users/{id}", "/users/4/2", None),
        ("/users/{id}", "/users/a%20b%2Fc", {"id": "a b/c"}),
        ("/users/{id}", "/users/%FF", {"id": "\ufffd"}),
        ("/users/{id}", "/users/%2541", {"id": "%41"}),
        ("/{a}/{b}/", "/x/y/", {"a": "x", "b": "y"}),
        ("/files/{path*}", "/files/a/b", {"path": "a/b"}),
        ("/files/{path*}", "/files/", {"path": ""}),
        ("/files/{path*}", "/files", None),
        ("/{path*}", "/", {"path": ""}),
        ("/api/*", "/api", {}),
        ("/api/*", "/api/", {}),
        ("/api/*", "/api/v1/x", {}),
        ("/api/*", "/apis", None),
        ("/*", "/", {}),
        ("/{tenant}/*", "/t", {"tenant": "t"}),
        ("/{tenant}/*", "/t/x/y", {"tenant": "t"}),
        ("/{tenant}/*", "/", None),
        ("~^/v[0-9]+/(?P<rest>.*)$", "/v12/a%20b", {"rest": "a b"}),
        ("~/v[0-9]+", "/v1/x", None),
        ("~/(?P<a>x)?(?P<b>y)?", "/y", {"b": "y"}),
    ],
)
def test_patterns(pattern: str, path: str, params: dict[str, str] | None) -> None:
    router = Router()
    router.add(pattern, 1, name="it")
    match = router.match("GET", path)
    assert (match and match.params) == params
    if match is not None:
        assert (match.value, match.name, match.route.path) == (1, "it", pattern)
        assert match.params is match.params


def test_specificity_of_paths() -> None:
    router = Router()
    order = ["~/a/b/c", "/*", "/{x}/*", "/{x}/{y}/c", "/a/{rest*}", "/a/{y}/c", "/a/b/*", "/a/b/{z}", "/a/b/c"]
    for count in range(1, len(order) + 1):  # each more specific than all before it
        router.add(order[count - 1], order[count - 1])
        assert found(router, "/a/b/c") == (order[count - 1] if count > 1 else "~/a/b/c")


def test_priority_goes_before_everything() -> None:
    router = Router()
    router.add("/a/b", "literal", hosts=["h"])
    router.add("/a/{x}", "parameter", hosts=["h"])
    router.add("/*", "high", priority=1)
    router.add("~.*", "regex", priority=2, hosts=["other"])
    router.add("/{x*}", "low", priority=-1, hosts=["h"])
    assert found(router, "/a/b", host="h") == "high"
    assert found(router, "/a/b", host="other") == "regex"


def test_host_goes_before_path() -> None:
    router = Router()
    router.add("/a", "any")
    router.add("/*", "wildcard", hosts=["*.example.com"])
    router.add("/{x}", "longer", hosts=["*.api.example.com", "*.org"])
    router.add("~.*", "exact", hosts=["v1.api.example.com"])
    assert found(router, "/a") == "any"
    assert found(router, "/a", host="example.com") == "any"
    assert found(router, "/a", host="x.EXAMPLE.com:8080") == "wildcard"
    assert found(router, "/a", host="x.api.example.com.") == "longer"
    assert found(router, "/a", host="v1.api.example.com") == "exact"
    assert found(router, "/a/b", host="x.api.example.com") == "wildcard"  # passed over, the next is tried
    assert found(router, "/a", host="[::1]:80") == "any"
    assert found(router, "/a", host="x" * 300 + ".example.com") == "any"
    router.add("/a", "v6", hosts=["[::1]"])
    assert found(router, "/a", host="[::1]:80") == "v6"


def test_many_hosts() -> None:
    router = Router()
    for i in range(1000):
        router.add("/*", i, hosts=[f"t{i}.example.com", f"*.t{i}.example.org"])
    assert [found(router, "/", host=f"T{i}.example.com") for i in range(1000)] == list(range(1000))
    assert [found(router, "/", host=f"a.b.t{i}.example.org:1") for i in range(1000)] == list(range(1000))
    assert found(router, "/", host="t1000.example.com") is None


def test_conditions_pass_over_and_rank() -> None:
    router = Router()
    router.add("/a", "plain")
    router.add("/a", "method", methods=["GET"])
    router.add("/a", "query", methods=["GET"], query={"debug": "*", "q": "a b"})
    router.add("/a", "header", methods=["GET"], headers={"X-Version": "2"})
    router.add("/a", "regex", methods=["GET"], headers={"x-version": "~[3-5]", "x-b": "*"})
    assert found(router, "/a", "POST") == "plain"
    assert found(router, "/a") == "method"
    assert found(router, "/a", query="q=a+b&debug") == "query"
    assert found(router, "/a", query="q=a%20b&d%65bug=") == "query"
    assert found(router, "/a", query={"q": "a b", "debug": "é"}) == "query"
    assert found(router, "/a", query="q=a+b") == "method"
    assert found(router, "/a", query="q=a+b&debug", headers={"x-VERSION": "2"}) == "header"
    assert found(router, "/a", headers=[("X-Version", "1"), ("X-Version", "2")]) == "header"
    assert found(router, "/a", headers={"x-version": "34", "x-b": ""}) == "method"
    assert found(router, "/a", headers={"x-version": "3", "x-b": ""}) == "regex"


def test_methods() -> None:
    router = Router()
    router.add("/a/{x}", 1, methods=["GET", "PURGE"])
    router.add("/a/b", 2, methods=["POST"], headers={"x": "1"})
    router.add("/a/*", 3, methods=["OPTIONS"])
    router.add("/all", 4)
    assert found(router, "/a/b", "HEAD") == 1
    assert found(router, "/a/b", "PURGE") == 1
    assert found(router, "/a/b", "get") is None
    assert found(router, "/a/b", "POST") is None
    assert found(router, "/a/b", "POST", headers={"x": "1"}) == 2
    assert router.allowed("/a/b") == {"GET", "HEAD", "PURGE", "OPTIONS"}
    assert router.allowed("/a/b", headers={"x": "1"}) == {"GET", "HEAD", "PURGE", "OPTIONS", "POST"}
    assert router.allowed("/b") == router.allowed("/../b") == set()
    assert router.allowed("/all") == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert found(router, "/all", "BREW") == 4


def test_no_spelling_passes_by_a_literal() -> None:
    router = Router()
    router.add("/v1/admin:reset", "admin")
    router.add("/{a}", "one")
    router.add("~/regex!(?P<tail>.*)", "regex", priority=1)
    router.add("/*", "open")
    for path in "/v1/admin:reset", "/v1/admin%3Areset", "/v1/%61dmin%3areset", "/x/..//v1/./admin%3areset":
        assert found(router, path) == "admin"
    assert found(router, "/v1%2Fadmin:reset") == "one"  # one segment, not two
    match = router.match("GET", "/regex%21a%3ab%2Fé")
    assert match is not None
    assert (match.value, match.params) == ("regex", {"tail": "a:b/é"})


def test_many_parameters() -> None:
    router = Router()
    for count in range(1, 33):
        router.add(f"/{count}" + "".join(f"/{{p{i}}}" for i in range(count)) + "/*", count)
    for count in range(1, 33):
        match = router.match("GET", f"/{count}" + "".join(f"/v{i}" for i in range(count)) + "/more")
        assert match is not None
        assert match.params == {f"p{i}": f"v{i}" for i in range(count)}


def test_long_literals_and_wide_nodes() -> None:
    router = Router()
    words = ["a" * n for n in range(1, 120)] + [
        chr(c) * 3 for c in range(33, 127) if chr(c) not in '#%*/?\\{}."' + "a~"
    ]
    for word in words:
        router.add(f"/{word}/{{x}}/end", word)
    for word in words:
        assert found(router, f"/{word}/1/end") == word
        assert found(router, f"/{word}!/1/end") is None


def test_routes_lists_in_order_of_addition() -> None:
    router = Router(merge_slashes=False)
    router.add(
        "/b", 1, methods=["GET"], hosts=["H.example"], headers={"X-A": "1"}, query={"q": "*"}, priority=3, name="n"
    )
    router.add("/{a}", 2)
    first, second = router.routes()
    assert len(router) == 2
    assert not router.merge_slashes
    assert (first.path, first.methods, first.hosts) == ("/b", ("GET",), ("h.example",))
    assert (first.headers, first.query, first.priority, first.name) == ({"x-a": "1"}, {"q": "*"}, 3, "n")
    assert (second.value, second.params, second.methods, second.hosts, second.name) == (2, ("a",), None, None, None)


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("a.test", ["a.test", "A.TEST.", "a.test:80", "a.test.:8080", "a.test:"]),
        ("*.a.test", ["b.a.test", "c.B.A.test.:1"]),
        ("[::1]", ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::1]:80", "[::0.0.0.1]", "[::1%25lo]"]),
        ("[2001:DB8:0:0::1]", ["[2001:db8::1]", "[2001:0DB8::0001]:443"]),
        ("[::ffff:192.0.2.1]", ["[::ffff:c000:201]"]),
    ],
)
def test_hosts_are_compared_in_one_form(pattern: str, asked: list[str]) -> None:
    router = Router()
    router.add("/", 1, hosts=[pattern])
    assert [found(router, "/", host=host) for host in asked] == [1] * len(asked)
    for other in ("b.test", "a.testa", "[::2]", "[::g]", "a.test..", ".a.test", "", "[::1"):
        assert found(router, "/", host=other) is None


def test_two_spellings_of_one_host_are_one() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        Router().add("/", 1, hosts=["[::1]", "[0:0::1]"])


def test_an_error_of_the_caller_reaches_the_caller() -> None:
    router = Router()
    router.add("/a", 1, headers={"x": "~."})
    with pytest.raises(AttributeError):
        router.match("GET", "/a", headers={"x": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        router.match("GET", None)  # type: ignore[arg-type]


def test_a_router_lets_go_of_its_values() -> None:
    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    router = Router()
    router.add("/a/{x}", value, headers={"x-a": "~1|2"}, hosts=["h"])
    match = router.match("GET", "/a/1", host="h", headers={"x-a": "1"})
    del router, value
    gc.collect()
    assert match is not None
    assert match.value is gone()  # a match outlives its router
    assert match.params == {"x": "1"}
    del match
    gc.collect()
    assert gone() is None


def test_a_cycle_through_the_router_is_collected() -> None:
    class Value:
        router: Router

    value = Value()
    gone = weakref.ref(value)
    value.router = Router()
    value.router.add("/a", value)
    del value
    gc.collect()
    assert gone() is None


def test_matching_leaks_nothing() -> None:
    router = Router()
    router.add("/a/{x}", 1, query={"q": "~."})
    router.add("~/b(?P<x>.)", 1)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        for path in "/a//%41", "/bA":
            match = router.match("GET", path, query="q=1", headers={"a": "b"}, host="h")
            assert isinstance(match, Match)
            assert match.params == {"x": "A"}
            router.allowed(path)
    del match
    gc.collect()
    assert sys.getallocatedblocks() - before < 200
