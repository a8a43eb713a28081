"""Templates of header values and of redirects."""

import pytest

from fastgate.config.syntax.templates import Variable, escape_braces, parse_redirect, parse_template


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{client_ip}", (Variable("client_ip"),)),
        ("a{host}b{param.id}", ("a", Variable("host"), "b", Variable("param", "id"))),
        ("{{host}}", ("{host}",)),
        ("{{{host}}}", ("{", Variable("host"), "}")),
        ("}}{{", ("}{",)),
    ],
)
def test_parts(text: str, parts: tuple[str | Variable, ...]) -> None:
    assert parse_template(text) == parts


@pytest.mark.parametrize(
    "text", ["{", "}", "{nobody}", "{}", "{param}", "{param.}", "{host.x}", "{a{host}}", "{{host}"]
)
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match="unknown variable|is a single brace"):
        parse_template(text)


def test_escaped_text_is_itself() -> None:
    assert parse_template(escape_braces("{client_ip} {} }{")) == ("{client_ip} {} }{",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a", ("/a",)),
        ("/", ("/",)),
        ("{path}", (Variable("path"),)),
        ("/new{path}?a=b", ("/new", Variable("path"), "?a=b")),
        ("/{param.id}", ("/", Variable("param", "id"))),
        ("https://{host}{path}", ("https://", Variable("host"), Variable("path"))),
        ("HTTP://a.example:80/%C3%BC", ("HTTP://a.example:80/%C3%BC",)),
        ("https://{param.id}.example.com", ("https://", Variable("param", "id"), ".example.com")),
    ],
)
def test_where_a_redirect_may_go(text: str, parts: tuple[str | Variable, ...]) -> None:
    assert parse_redirect(text) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a path"), ("a", "expected a path"), ("{host}/x", "expected a path"),
        ("ftp://a", "expected a path"),
        ("javascript:alert(1)", "expected a path"), ("{param.id}", "expected a path"),
        ("//a", "mean another host"), ("/{path}", "mean another host"), ("/\\a", "must not contain"),
        ("/a b", "must not contain"), ("/a\r\nb", "must not contain"),
        ("https://", "the host is missing"), ("https:///a", "the host is missing"),
        ("http://{path}", "the host is missing"),
        ("https://?a", "the host is missing"), ("/{request_id}", "a redirect can use"),
        ("/{foo}", "variables are {host} {path} {param.NAME};"), ("/{", "is a single brace"),
        ("/{{a}}", "must not contain"),
    ],
)  # fmt: skip
def test_where_no_redirect_goes(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_redirect(text)
