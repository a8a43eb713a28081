"""Patterns that the configuration accepts are patterns that the router takes."""

import pytest

from fastgate import Router
from fastgate.config.syntax.patterns import check_host_pattern, check_method, check_path_pattern, path_parameters

PATHS = [
    "/", "/a", "/a/", "/a/*", "/*", "/{x}", "/{x*}", "/{x}/b/{y*}", "/a b", "/é", "/%41", "~^/a(?P<x>.)$",
    "/.a", "/a%2Fb",
    "/" + "/".join(f"{{a{number}}}" for number in range(32)),
]  # fmt: skip
NO_PATHS = [
    "", "a", "/a*b", "/{x", "/a{x}", "/{1}", "/{x*}/a", "/{x}/{x}", "~(", "/a?b", "/a#", "/a\\b", "/%", "/%2",
    "/%00", "/%5c",
    "/./a", "/a/..", "/%2e/a", "/a%2f..%2fb", "/{}", "/{*}", "/{é}", "/**", "/*/a",
    "/" + "/".join(f"{{a{number}}}" for number in range(33)),
]  # fmt: skip
HOSTS = ["a", "a.b", "*.a.b", "[::1]", "a_b.c", "1.2.3.4"]
NO_HOSTS = ["", "*", "a.*", "*a.b", "a:80", "[::1]:80", "-a.b", "a..b", "é.b", "[zz]", "http://a", "a/b", ".."]


@pytest.mark.parametrize("path", PATHS)
def test_paths(path: str) -> None:
    assert check_path_pattern(path) == path
    Router().add(path, 1)


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="."):
        check_path_pattern(path)
    with pytest.raises(ValueError, match="path"):
        Router().add(path, 1)


@pytest.mark.parametrize("host", HOSTS)
def test_hosts(host: str) -> None:
    assert check_host_pattern(host.upper()) == host
    Router().add("/", 1, hosts=[host])


@pytest.mark.parametrize(
    ("host", "form"),
    [("A.Test.", "a.test"), ("*.A.test.", "*.a.test"), ("[0:0::1]", "[::1]"), ("[2001:DB8:0::1]", "[2001:db8::1]")],
)
def test_the_one_form_of_a_host(host: str, form: str) -> None:
    assert check_host_pattern(host) == form
    router = Router()
    router.add("/", 1, hosts=[host])
    assert router.routes()[0].hosts == (form,)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="."):
        check_host_pattern(host)
    with pytest.raises(ValueError, match="host"):
        Router().add("/", 1, hosts=[host])


@pytest.mark.parametrize("method", ["GET", "PURGE", "x-own", "TRACE"])
def test_methods(method: str) -> None:
    assert check_method(method) == method
    Router().add("/", 1, methods=[method])


@pytest.mark.parametrize(
    ("path", "names"), [("/a", ()), ("/{a}/{b*}", ("a", "b")), ("~^/(?P<x>.)/(.)/(?P<y>.)$", ("x", "y"))]
)
def test_the_names_of_parameters(path: str, names: tuple[str, ...]) -> None:
    assert path_parameters(path) == names
