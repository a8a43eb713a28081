"""The key ``security_headers`` of a route."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import HeaderValue, about
from fastgate.config.schema.table import Table
from fastgate.config.suggest import did_you_mean

SECURITY_HEADERS = {
    "strict_transport_security": "Strict-Transport-Security",
    "content_type_options": "X-Content-Type-Options",
    "frame_options": "X-Frame-Options",
    "referrer_policy": "Referrer-Policy",
    "permissions_policy": "Permissions-Policy",
    "content_security_policy": "Content-Security-Policy",
    "cross_origin_opener_policy": "Cross-Origin-Opener-Policy",
    "cross_origin_resource_policy": "Cross-Origin-Resource-Policy",
}
"""Keys of `security_headers`, and the fields that they are the values of."""

_WORDS = {
    "content_type_options": ("nosniff",),
    "frame_options": ("DENY", "SAMEORIGIN"),
    "cross_origin_opener_policy": (
        "same-origin",
        "same-origin-allow-popups",
        "noopener-allow-popups",
        "unsafe-none",
    ),
    "cross_origin_resource_policy": ("same-origin", "same-site", "cross-origin"),
    "referrer_policy": (
        "no-referrer",
        "no-referrer-when-downgrade",
        "same-origin",
        "origin",
        "strict-origin",
        "origin-when-cross-origin",
        "strict-origin-when-cross-origin",
        "unsafe-url",
    ),
}

_DIRECTIVE = re.compile(r"[a-z][a-z0-9-]*", re.IGNORECASE)

_UNQUOTED = re.compile(
    "self|none|unsafe-inline|unsafe-eval|unsafe-hashes|wasm-unsafe-eval|strict-dynamic|report-sample"
    "|nonce-.+|sha(256|384|512)-.+",
    re.IGNORECASE,
)

_PERMISSION = re.compile(r"[a-z][a-z0-9-]*=(\*|self|\([^()]*\))")


class SecurityHeaders(Table, frozen=True, kw_only=True):
    """Response fields that make browsers more careful. `true` sends all of them with the values below.

    A field that the upstream or a policy has already set stays as it is, unless `override` is true. `false` leaves a
    field out.
    """

    strict_transport_security: Annotated[
        HeaderValue,
        about(
            "`Strict-Transport-Security`, sent only to clients that use https.",
            examples=["max-age=63072000; includeSubDomains; preload"],
            policy=True,
            off="",
            also=["hsts", "sts", "sts_seconds"],
        ),
    ] = "max-age=31536000"
    content_type_options: Annotated[
        HeaderValue,
        about(
            "`X-Content-Type-Options`.",
            policy=True,
            off="",
            also=["nosniff", "x_content_type_options", "content_type_nosniff"],
        ),
    ] = "nosniff"
    frame_options: Annotated[
        HeaderValue,
        about(
            "`X-Frame-Options`: `DENY` or `SAMEORIGIN`.",
            examples=["DENY"],
            policy=True,
            off="",
            also=["frame", "x_frame_options", "frameguard", "frame_deny"],
        ),
    ] = "SAMEORIGIN"
    referrer_policy: Annotated[
        HeaderValue,
        about("`Referrer-Policy`.", examples=["no-referrer"], policy=True, off="", also=["referrer", "referer_policy"]),
    ] = "strict-origin-when-cross-origin"
    permissions_policy: Annotated[
        HeaderValue,
        about(
            "`Permissions-Policy`.",
            examples=["camera=(), geolocation=(self)"],
            policy=True,
            off="",
            also=["permissions", "feature_policy"],
        ),
    ] = "camera=(), geolocation=(), microphone=()"
    content_security_policy: Annotated[
        HeaderValue,
        about(
            "`Content-Security-Policy`. The default forbids what hardly any page needs; a policy that lists the "
            "sources of scripts is better and must be written for its application.",
            examples=["default-src 'self'"],
            policy=True,
            off="",
            also=["csp"],
        ),
    ] = "base-uri 'self'; frame-ancestors 'self'; object-src 'none'"
    cross_origin_opener_policy: Annotated[
        HeaderValue,
        about(
            "`Cross-Origin-Opener-Policy`.",
            examples=["same-origin"],
            policy=True,
            off="",
            also=["coop", "opener_policy", "opener"],
        ),
    ] = "same-origin-allow-popups"
    cross_origin_resource_policy: Annotated[
        HeaderValue,
        about(
            "`Cross-Origin-Resource-Policy`.",
            examples=["same-origin"],
            policy=True,
            off="",
            also=["corp", "resource_policy"],
        ),
    ] = "same-site"
    override: Annotated[bool, about("Whether these values replace existing ones.", also=["replace", "force"])] = False

    def fields(self) -> list[tuple[str, str]]:
        """Names and values of what is sent."""
        return [(name, getattr(self, key)) for key, name in SECURITY_HEADERS.items() if getattr(self, key)]

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        for key in SECURITY_HEADERS:
            value: Any = getattr(self, key)
            fault = _fault(key, value) if isinstance(value, str) and value else ""
            if fault:
                yield (key,), fault


def _fault(key: str, value: str) -> str:
    """What a browser would not understand in a value; empty where there is nothing."""
    words = _WORDS.get(key)
    if words is not None:
        return _unknown_word(key, value, words)
    if key == "strict_transport_security":
        return _hsts_fault(value)
    return _policy_fault(value) if key == "content_security_policy" else _permissions_fault(value)


def _unknown_word(key: str, value: str, words: tuple[str, ...]) -> str:
    # Of several referrer policies a browser takes the last one that it knows; the others are one word.
    given = value.split(",") if key == "referrer_policy" else [value.partition(";")[0] if "opener" in key else value]
    for text in given:
        word = text.strip()
        if word.lower() not in [known.lower() for known in words]:
            if word.lower().startswith("allow-from"):
                return 'browsers do not support ALLOW-FROM: write content_security_policy = "frame-ancestors …"'
            quoted = [quote(known) for known in words]
            expected = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
            return f"expected {expected}, got {quote(word)}{did_you_mean(word, words)}"
    return ""


def _hsts_fault(value: str) -> str:
    directives = [part.strip().lower() for part in value.split(";")]
    ages = [part for part in directives if re.fullmatch(r'max-age="?[0-9]+"?', part)]
    if len(ages) != 1:
        return 'needs one max-age in seconds, as in "max-age=31536000; includeSubDomains"'
    for part in directives:
        if part not in (*ages, "includesubdomains", "preload"):
            return f"{quote(part)} is not a valid directive{did_you_mean(part, ['includeSubDomains', 'preload'])}"
    return ""


def _policy_fault(value: str) -> str:
    for directive in value.split(";"):
        name, *sources = directive.split() or [""]
        if name and not _DIRECTIVE.fullmatch(name):
            return (
                f'{quote(name)} is not a valid directive; separate directives with semicolons, as in "default-src '
                "'self'; img-src *\""
            )
        for source in sources:
            if _UNQUOTED.fullmatch(source):
                return f"{source} means the host of that name here: write '{source}' in single quotes"
    return ""


def _permissions_fault(value: str) -> str:
    for member in re.split(r",(?![^(]*\))", value):
        if not _PERMISSION.fullmatch(member.strip()):
            return (
                f'{quote(member.strip())} is not a valid permission: write "camera=()", "camera=(self)" or "camera=*"'
            )
    return ""


SecurityHeadersKey = Annotated[
    SecurityHeaders | None,
    about(
        "Response fields that make browsers more careful: `true`, or a table with other values.",
        examples=[True],
        policy=True,
        on={},
        also=["secure_headers", "helmet", "hsts", "csp", "security_header"],
    ),
]
