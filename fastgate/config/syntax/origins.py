"""Origins in the rules of CORS: written out, with a wildcard, or as an expression."""

import ipaddress
import re

from fastgate.config.syntax.addresses import check_host, split_port
from fastgate.config.syntax.patterns import check_expression

ANY = "*"
"""Every origin."""
OPAQUE = "null"
"""What browsers send for pages without an origin: files, sandboxed frames, some redirects."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNKNOWN_ORIGINS = (b"https://a.invalid", b"http://another.b.invalid:8080")


def check_origin(text: str) -> str:
    """The origin as browsers send it (RFC 6454, 6.2): in lower case, without the scheme's own port.

    ``*``, ``null``, ``~regex`` and ``scheme://*.host[:port]`` are others. Raises ValueError with the reason.
    """
    if text in (ANY, OPAQUE):
        return text
    if text.startswith("~"):
        if text == "~":
            raise ValueError('the expression is missing: write "~https://[a-z]+[.]example[.]com"')
        check_expression(text[1:])
        return text
    scheme, separator, rest = text.partition("://")
    if not separator:
        name = rest or text
        raise ValueError(f'"{name}" has no scheme: write "https://{name.rstrip("/")}"' if name else "it is empty")
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(f'"{scheme}" is not a valid scheme')
    scheme = scheme.lower()
    if scheme == "file":
        raise ValueError('pages from files have the origin "null"')
    bare = re.split("[/?#]", rest, maxsplit=1)[0]
    if bare != rest:
        raise ValueError(f'an origin ends with its host or port: write "{scheme}://{bare}"')
    if "@" in rest:
        raise ValueError("an origin has no user name or password")
    wildcard = rest.startswith("*.")
    name = rest.removeprefix("*.") if wildcard else rest
    if name.endswith(":*") and "*" not in name[:-2]:
        expression = f"~{scheme}://{re.escape(name[:-2])}(:[0-9]+)?".replace("\\", "\\\\")
        raise ValueError(f'a port must be a number; for any port use an expression: "{expression}"')
    if "*" in name:
        raise ValueError('a wildcard replaces the first labels, as in "https://*.example.com"')
    host, port = split_port(name)
    host = check_host(host).lower()
    if ":" in host:
        host = f"[{ipaddress.ip_address(host).compressed}]"
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        end = ""
    else:
        end = f":{port}"
    return f"{scheme}://{'*.' if wildcard else ''}{host}{end}"


def takes_any(origin: str) -> bool:
    """Whether a checked origin stands for every one: ``*``, or an expression that made-up origins match too."""
    if not origin.startswith("~"):
        return origin == ANY
    expression = check_expression(origin[1:])
    return all(expression.fullmatch(made_up) for made_up in _UNKNOWN_ORIGINS)


def wildcard_ends(origin: str) -> tuple[str, str] | None:
    """What stands before and behind the labels that the wildcard of a checked origin stands for; None: it has none."""
    before, wildcard, after = origin.partition("*.")
    return (before, f".{after}") if wildcard and not origin.startswith("~") else None
