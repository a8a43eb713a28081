"""Header templates."""

import pytest

from fastgate.config.templates import Variable, escape_braces, parse_template


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
    with pytest.raises(ValueError, match="unknown variable|stands alone"):
        parse_template(text)


def test_escaped_text_is_itself() -> None:
    assert parse_template(escape_braces("{client_ip} {} }{")) == ("{client_ip} {} }{",)
