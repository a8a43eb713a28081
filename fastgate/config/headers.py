"""Header fields in a configuration: names, values, and those that no one may edit."""

import re

from fastgate.config.patterns import check_token

CONNECTION_FIELDS = frozenset(
    (
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Fields that describe one connection or the framing of one message; the gateway writes them itself."""


def variable_of(name: str) -> str:
    """What CGI, WSGI and PHP servers make of a field name: one variable of several spellings."""
    return re.sub("[^a-z0-9]", "_", name.lower())


def check_header_name(text: str) -> str:
    """The name in lower case."""
    return check_token(text, "header name").lower()


def check_edited_header(text: str) -> str:
    """The name as it is; ValueError for one that belongs to the connection."""
    check_token(text, "header name")
    lower = text.lower()
    if lower in CONNECTION_FIELDS:
        raise ValueError(f"{text} belongs to the connection and cannot be edited")
    if lower == "host":
        raise ValueError("the Host that is forwarded is set by host_header")
    return text


def check_header_value(text: str) -> str:
    """The value as it is: RFC 9110, 5.5, without leading or trailing white space."""
    for character in text:
        if (character < " " and character != "\t") or character == "\x7f":
            raise ValueError(f"a header value cannot have the control character {character!r}")
        if character > "\xff":
            raise ValueError(f"a header value is Latin-1, which has no {character!r}")
    if text != text.strip(" \t"):
        raise ValueError("a header value cannot begin or end with white space")
    return text
