"""The syntax of what routes match: path patterns, host patterns, methods, conditions, regular expressions.

Only what can be said without a router: a pattern that passes here is one that the router takes.
"""

import re
from urllib.parse import quote, unquote

from fastgate._core.routing.expressions import Expression, compile_expression
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.addresses import check_host, normalize_literal, split_port

MAX_PARAMETERS = 32
"""The most parameters of one path, the router's limit."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_REFUSED_ESCAPE = re.compile("%00|%5[cC]")
_SEPARATORS = re.compile("/|%2[fF]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_REFERENCE = re.compile(r"\\(?:([0-9]+)|g<([^>]*)>|(.?))", re.DOTALL)


def check_path_pattern(text: str) -> str:
    """The pattern as it is. Raises ValueError with the reason when no router would take it."""
    path_parameters(text)
    return text


def path_parameters(text: str) -> tuple[str, ...]:
    """The names of a pattern's parameters, in their order; for a regular expression its named groups."""
    if text.startswith("~"):
        names = tuple(check_expression(text[1:]).names)
    else:
        names = _segment_parameters(text)
    if len(names) > MAX_PARAMETERS:
        raise ValueError(f"a path may have at most {MAX_PARAMETERS} parameters, this one has {len(names)}")
    return names


def _segment_parameters(text: str) -> tuple[str, ...]:
    if not text.startswith("/"):
        raise ValueError('a path must start with "/", or with "~" if it is a regular expression')
    check_path_text(text)
    names: list[str] = []
    segments = text[1:].split("/")
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "*" and last:
            continue
        if "{" in segment or "}" in segment:
            names.append(_parameter(segment, last))
            if names[-1] in names[:-1]:
                raise ValueError(f"two parameters are named {{{names[-1]}}}")
        elif "*" in segment:
            raise ValueError('"*" must be the last segment, as in "/api/*"; {name} matches any one segment')
    return tuple(names)


def _parameter(segment: str, last: bool) -> str:
    match = _PARAMETER.fullmatch(segment)
    if match is None:
        if segment.count("{") != segment.count("}"):
            raise ValueError(f'a brace is not closed in "{segment}"')
        raise ValueError(f'a parameter must be a whole segment, as in "/{{id}}/", not a part of one as in "{segment}"')
    name = match.group(1)
    if name.endswith("*"):
        name = name[:-1]
        if not last:
            raise ValueError(f"{{{name}*}} is the rest of the path, so that nothing can follow it")
    if not _WORD.fullmatch(name):
        raise ValueError(
            f'"{{{name}}}" is not a valid parameter; its name must be letters, digits and "_", '
            "as in {id} or {path*}"
        )
    return name


def check_path_text(text: str) -> None:
    """Refuses what no normalised path has."""
    if "?" in text:
        raise ValueError('a path must not contain "?"; write conditions on the query as query = { name = "value" }')
    if "#" in text:
        raise ValueError('a path must not contain "#"; clients never send a fragment')
    if "\\" in text:
        raise ValueError('a path must not contain "\\"; the gateway refuses requests with one')
    if not text.isprintable():
        raise ValueError("a path must not contain control characters")
    if _BAD_ESCAPE.search(text):
        raise ValueError('"%" must be followed by two hexadecimal digits')
    if _REFUSED_ESCAPE.search(text):
        raise ValueError("the gateway refuses %00 and %5C in every request")
    if any(unquote(segment, "latin-1") in (".", "..") for segment in _SEPARATORS.split(text)):
        raise ValueError("the gateway removes dot segments before it matches routes, so this path would never match")


def check_path_prefix(text: str) -> str:
    """A plain path without a slash at its end; ``/`` is the same as none."""
    if text in ("", "/"):
        return ""
    check_plain_path(text)
    if text.endswith("/"):
        raise ValueError(f'a prefix must not end with "/": write "{text.rstrip("/")}"')
    return text


def check_plain_path(text: str) -> str:
    """A path without parameters, or nothing."""
    if not text:
        return text
    if not text.startswith("/"):
        raise ValueError(f'a path must start with "/": write "/{text}"')
    check_path_text(text)
    if "{" in text or "}" in text or "*" in text:
        raise ValueError("this must be plain text, without parameters and wildcards")
    if "//" in text:
        raise ValueError("repeated slashes are not allowed here")
    if quote(text, safe="/%-._~!$&'()*+,;=:@") != text:
        raise ValueError(f'write it percent-encoded: "{quote(text, safe="/%-._~!$&()*+,;=:@")}"')
    return text


def check_host_pattern(text: str) -> str:
    """The pattern in lower case, without a trailing dot, an IPv6 address in its shortest form."""
    name = text.lower().removesuffix(".")
    if name.endswith("."):
        raise ValueError(f'"{text}" is not a valid host name')
    if "://" in name or "/" in name:
        raise ValueError("a host has no scheme and no path")
    if name == "*":
        raise ValueError('remove "hosts" to match every host')
    wildcard = name.startswith("*.")
    host = name[2:] if wildcard else name
    if "*" in host:
        raise ValueError('a wildcard replaces the first labels, as in "*.example.com"')
    if host.startswith("["):
        if split_port(host)[1] is not None:
            raise ValueError("hosts are matched without their port; remove it")
        return f"[{normalize_literal(host)}]"
    if ":" in host:
        raise ValueError("hosts are matched without their port; remove it")
    check_host(host)
    return name


def check_method(text: str) -> str:
    """A method as it is; ValueError for a known one in lower case and for CONNECT."""
    check_token(text, "method")
    if text.upper() in METHODS and not text.isupper():
        raise ValueError(f'methods must be in upper case: did you mean "{text.upper()}"?')
    if text == "CONNECT":
        raise ValueError("the gateway always refuses CONNECT (405), so no route can match it")
    return text


def check_header_condition(text: str) -> str:
    """A value, ``*`` or ``~regex``, of a header field."""
    if text.startswith("~"):
        check_expression(text[1:])
    elif not text.isascii():
        raise ValueError("fields are compared as they are sent, so the value must be ASCII")
    return text


def check_query_condition(text: str) -> str:
    """A value, ``*`` or ``~regex``, of a query parameter."""
    if text.startswith("~"):
        check_expression(text[1:], utf8=True)
    return text


def check_token(text: str, what: str) -> str:
    """A token of RFC 9110, 5.6.2; ``what`` names it in the error."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f'"{text}" is not a valid {what}' if text else f"a {what} must not be empty")
    return text


def check_expression(text: str, *, utf8: bool = False) -> Expression:
    """The compiled expression. Raises ValueError with the reason and what to write instead."""
    try:
        return compile_expression(text, utf8=utf8)
    except ValueError as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None


def parse_replacement(text: str, expression: Expression) -> tuple[list[str | int], list[str]]:
    r"""What stands in the place of a match: pieces of text, and the numbers of groups for ``\1`` and ``\g<name>``.

    Second, what is wrong in it.
    """
    pieces: list[str | int] = []
    faults: list[str] = []
    at = 0
    for match in _REFERENCE.finditer(text):
        pieces.append(text[at : match.start()])
        at = match.end()
        number, name, other = match.groups()
        if name is not None and name in expression.names:
            pieces.append(expression.names[name])
        elif name is not None and not name.isdecimal():
            faults.append(f"{match[0]} is not a group of the pattern{did_you_mean(name, expression.names)}")
        elif other is None:
            group = int((number or name)[:9])
            pieces.append(group)
            if group > expression.groups:
                faults.append(f"{match[0]} is not a group of the pattern, which has {expression.groups or 'none'}")
        elif other == "\\":
            pieces.append("\\")
        else:
            faults.append(f'"{match[0]}" has no meaning here; groups are \\1 and \\g<name>')
    return [*pieces, text[at:]], faults
