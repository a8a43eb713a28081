"""Header fields in a configuration: names, values, and those that no one may edit."""

import re

from fastgate.config.syntax.patterns import check_token

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


_REASONS = {
    **dict.fromkeys(CONNECTION_FIELDS, "belongs to the connection, and the gateway sets it itself"),
    **dict.fromkeys(
        ("content-length", "transfer-encoding", "trailer"),
        "determines the end of the body, and the gateway sets it itself",
    ),
    "upgrade": "belongs to the connection; the key upgrades lists the protocols that are allowed",
    "expect": "is answered by the gateway and never forwarded",
}
"""Why a field cannot be edited, by its name in lower case."""


def check_edited_header(text: str) -> str:
    """The name as it is; ValueError for one that belongs to the connection, or of which each request has just one."""
    if text.lower() == "host":
        raise ValueError("a request has exactly one Host: set it in request_headers or with host_header")
    return check_set_header(text)


def check_answer_header(text: str) -> str:
    """As `check_edited_header`; Upgrade, which an answer with 426 must have, is taken too."""
    return text if text.lower() == "upgrade" else check_edited_header(text)


def check_set_header(text: str) -> str:
    """The name as it is; ValueError for one that belongs to the connection."""
    check_token(text, "header name")
    reason = _REASONS.get(text.lower())
    if reason:
        raise ValueError(f"{text} cannot be edited: it {reason}")
    return text


_SAID = {
    **dict.fromkeys(
        ("date", "forwarded", "host", "server", "via", "x_forwarded_for", "x_forwarded_host", "x_forwarded_port",
         "x_forwarded_proto", "x_real_ip"),
        "is a field that the gateway sets itself",
    ),
    "content_type": "describes the body",
    "proxy": "is never forwarded, because CGI programs read it as the proxy for their own requests",
}  # fmt: skip
"""What is meant already by fields, by what servers make of their names."""


def meaning_of(name: str) -> str:
    """Why no value of the configuration's choice can be sent under this name; empty: one can."""
    return _SAID.get(variable_of(name), "")


def check_free_header(text: str) -> str:
    """The name as it is; ValueError for one under which something is said already."""
    check_set_header(text)
    if reason := meaning_of(text):
        raise ValueError(f"{text} {reason}")
    return text


def check_request_id_header(text: str) -> str:
    """The same, or nothing at all; nor one that has a client's credentials in it."""
    if text.lower() in ("authorization", "cookie", "set-cookie"):
        raise ValueError(f"{text} carries credentials")
    return check_free_header(text) if text else text


def check_header_value(text: str) -> str:
    """The value as it is: RFC 9110, 5.5, without leading or trailing white space."""
    for character in text:
        if (character < " " and character != "\t") or character == "\x7f":
            raise ValueError(f"a header value must not contain the control character {character!r}")
        if character > "\xff":
            raise ValueError(f"a header value must be Latin-1, which does not have {character!r}")
    if text != text.strip(" \t"):
        raise ValueError("a header value must not begin or end with white space")
    return text
