"""What ``add`` refuses, with the words the operator reads."""

import pytest

from fastgate._core.routing.router import Router


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "must begin with"),
        ("users", "must begin with"),
        ("/{id", "unbalanced braces"),
        ("/id}", "unbalanced braces"),
        ("/{}", "is not a valid parameter"),
        ("/{1a}", "is not a valid parameter"),
        ("/{a-b}", "is not a valid parameter"),
        ("/x{a}", "is not a valid parameter"),
        ("/{a}.json", "is not a valid parameter"),
        ("/{a}{b}", "is not a valid parameter"),
        ("/{a}/{a}", "'a' occurs twice"),
        ("/{a}/x/{a*}", "'a' occurs twice"),
        ("/{a*}/b", "must be the last segment"),
        ("/a*", "must be the whole last segment"),
        ("/*/b", "must be the whole last segment"),
        ("/a?b", "belong in query"),
        ("/a#b", "cannot occur"),
        ("/a\\b", "cannot occur"),
        ("/a%5Cb", "refused in every request"),
        ("/a%00b", "refused in every request"),
        ("/a%4", "broken percent-encoding"),
        ("/a//b", "repeated slashes"),
        ("/a/../b", "never matches"),
        ("/a/%2e/b", "never matches"),
        ("/..%2Fb", "never matches"),
        ("~/(", "bad regular expression"),
        ("~/(?P<a>x)(?P<a>y)", "bad regular expression"),
        ("/" + "/".join(f"{{p{i}}}" for i in range(33)), "more than 32 parameters"),
        ("/" + "x" * 70000, "more than 60000 bytes"),
    ],
)
def test_patterns(path: str, words: str) -> None:
    router = Router()
    with pytest.raises(ValueError, match=words) as raised:
        router.add(path, 1)
    assert len(router) == 0
    assert repr(path) in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"methods": []}, "methods is empty"),
        ({"methods": ["get"]}, "write 'GET'"),
        ({"methods": ["GET", "GET"]}, "'GET' occurs twice"),
        ({"methods": ["G T"]}, "is not a method"),
        ({"methods": [""]}, "is not a method"),
        ({"hosts": []}, "hosts is empty"),
        ({"hosts": ["*"]}, "is not a host name"),
        ({"hosts": ["*example.com"]}, "is not a host name"),
        ({"hosts": ["a.*.com"]}, "is not a host name"),
        ({"hosts": ["a:80"]}, "is not a host name"),
        ({"hosts": ["http://a"]}, "is not a host name"),
        ({"hosts": ["a..b"]}, "is not a host name"),
        ({"hosts": [""]}, "is not a host name"),
        ({"hosts": ["::1"]}, "is not a host name"),
        ({"hosts": ["a" * 300]}, "is not a host name"),
        ({"hosts": ["münchen.de"]}, "xn-- form"),
        ({"hosts": ["a.b", "A.B."]}, "'a.b' occurs twice"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "two conditions on 'x-a'"),
        ({"headers": {"x a": "1"}}, "is not a field name"),
        ({"headers": {"": "1"}}, "is not a field name"),
        ({"headers": {"x-a": "~("}}, "'x-a': bad regular expression"),
        ({"headers": {"x-a": "é"}}, "must be ASCII"),
        ({"query": {"": "1"}}, "is not a field name"),
        ({"query": {"q": "~("}}, "'q': bad regular expression"),
        ({"query": {str(i): "*" for i in range(101)}}, "more than 100"),
        ({"priority": 2**31}, "does not fit"),
    ],
)
def test_conditions(arguments: dict[str, object], words: str) -> None:
    router = Router()
    with pytest.raises(ValueError, match=words):
        router.add("/a", 1, **arguments)  # type: ignore[arg-type]
    assert len(router) == 0
    assert router.match("GET", "/a") is None


@pytest.mark.parametrize(
    "arguments", [{"methods": "GET"}, {"hosts": "a"}, {"hosts": [1]}, {"headers": {"a": 1}}, {"priority": "1"}]
)
def test_wrong_types(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Router().add("/a", 1, **arguments)  # type: ignore[arg-type]


def test_too_many_methods() -> None:
    router = Router()
    for i in range(54):  # 63 with the nine of HTTP
        router.add("/a", i, methods=[f"M{i}"])
    with pytest.raises(ValueError, match="at most 63 different methods"):
        router.add("/a", 1, methods=["ONE-MORE"])
    assert router.match("ONE-MORE", "/a") is None
    match = router.match("M53", "/a")
    assert match is not None
    assert match.value == 53
