"""How the text of a leaf is checked, by the kind that the schema gives it (see `fastgate.config.schema.kinds`).

Each check takes the text, references already replaced, and gives the value; it raises ValueError with the reason.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from fastgate.config.schema.basic import check_password_hash, check_realm, check_user_name
from fastgate.config.schema.cache import check_cache_bypass, check_cache_key, check_stored_status
from fastgate.config.schema.forward_auth import check_decision_key
from fastgate.config.schema.jwt import check_claim_name, check_key_set_url, check_token_source
from fastgate.config.syntax.addresses import (
    check_authority,
    check_host,
    check_resolver,
    parse_listen,
    parse_url,
    split_port,
)
from fastgate.config.syntax.headers import (
    CONNECTION_FIELDS,
    check_answer_header,
    check_edited_header,
    check_free_header,
    check_header_name,
    check_header_value,
    check_request_id_header,
    check_set_header,
)
from fastgate.config.syntax.media_types import check_media_range, check_media_type
from fastgate.config.syntax.origins import check_origin
from fastgate.config.syntax.patterns import (
    check_expression,
    check_header_condition,
    check_host_pattern,
    check_method,
    check_path_pattern,
    check_path_prefix,
    check_plain_path,
    check_query_condition,
    check_token,
)
from fastgate.config.syntax.request_key import check_limit_key, check_limit_name, check_sticky_key
from fastgate.config.syntax.statuses import check_cause, check_status
from fastgate.config.syntax.templates import parse_redirect, parse_template
from fastgate.config.syntax.units import format_instant, parse_day, parse_instant

_PLUGIN_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)

_KEY_HASH = re.compile(r"[0-9A-Fa-f]{64}")


def _check_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed here")
    if text != text.strip():
        raise ValueError("must not begin or end with white space")
    return text


def _check_listen(text: str) -> str:
    parse_listen(text, 0)
    return text


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is not a valid address or network, such as "10.0.0.0/8" or "::1"') from None
    raise ValueError(f'"{text}" has bits set beyond its prefix: did you mean "{loose}"?')


def _check_trusted_peer(text: str) -> str:
    if text.startswith("unix:"):
        return text if text == "unix:" else str(parse_listen(text, 0))
    if text == "unix":
        raise ValueError('write "unix:" for the peers of all Unix sockets, "unix:/path" for those of one')
    return _check_network(text)


def _check_expression(text: str) -> str:
    check_expression(text)
    return text


def _check_template(text: str) -> str:
    parse_template(text)
    return check_header_value(text)


def _check_optional_header_name(text: str) -> str:
    return check_header_name(text) if text else text


def _check_host_header(text: str) -> str:
    if not text:
        raise ValueError('expected "upstream", "client" or a host')
    return check_authority(text)


def _check_protocol(text: str) -> str:
    name = check_token(text, "protocol").lower()
    if name == "h2c":
        raise ValueError("h2c is not allowed: requests inside such a connection would bypass all routes and policies")
    return name


def _check_plugin_class(text: str) -> str:
    if not text:
        return text
    match = _PLUGIN_CLASS.fullmatch(text)
    if match is None:
        raise ValueError('expected "module:Class", such as "mypackage.tenant:TenantPolicy"')
    if match.group(1) == "__main__":
        raise ValueError(
            "a class of __main__ cannot be loaded, because workers are other processes; move it into a module"
        )
    return text


def _check_server_name(text: str) -> str:
    return check_host(text) if text else text


def _check_target_host(text: str) -> str:
    if "://" in text or text.startswith(("unix:", "srv:")):
        raise ValueError(f'a table has a host and a port; write the target as a string instead: "{text}"')
    host, port = split_port(text)
    if port is not None:
        raise ValueError(f'the port has its own key: host = "{host}", port = {port}')
    return check_host(host)


def _check_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path must not contain a NUL character")
    return text


def _check_redirect(text: str) -> str:
    parse_redirect(text)
    return text


def _check_probe_path(text: str) -> str:
    path, mark, query = text.partition("?")
    if not path:
        raise ValueError('a path must start with "/"')
    check_plain_path(path)
    if mark and not (query.isascii() and query.isprintable() and " " not in query and "#" not in query):
        raise ValueError("write the query percent-encoded")
    return text


def _check_probe_host(text: str) -> str:
    return _check_host_header(text) if text else text


def _check_probe_header(text: str) -> str:
    name = check_header_name(text)
    if name == "host":
        raise ValueError("set the Host of probes with the key host")
    if name in CONNECTION_FIELDS:
        raise ValueError(f"{text} belongs to the connection and cannot be set")
    return name


def _check_key_hash(text: str) -> str:
    if not _KEY_HASH.fullmatch(text):
        # The text may be the secret itself: it is not repeated.
        raise ValueError("expected the SHA-256 of the secret, 64 hexadecimal digits; `fastgate keys new` creates one")
    return text.lower()


def _check_instant(text: str) -> str:
    return format_instant(parse_instant(text)) if text else text


def _check_day(text: str) -> str:
    parse_day(text)
    return text


def _check_query_name(text: str) -> str:
    if not text.isprintable() or any(character in text for character in " &=#+%"):
        raise ValueError("expected the plain name of a parameter")
    return text


def _check_url(text: str) -> str:
    parse_url(text)
    return text


CHECKS: dict[str, Callable[[str], str]] = {
    "text": _check_text,
    "key hash": _check_key_hash,
    "instant": _check_instant,
    "day": _check_day,
    "query name": _check_query_name,
    "listen address": _check_listen,
    "network": _check_network,
    "trusted peer": _check_trusted_peer,
    "header name": check_header_name,
    "optional header name": _check_optional_header_name,
    "edited header": check_edited_header,
    "free header": check_free_header,
    "request id header": check_request_id_header,
    "set header": check_set_header,
    "answer header": check_answer_header,
    "header value": check_header_value,
    "header template": _check_template,
    "header condition": check_header_condition,
    "query condition": check_query_condition,
    "path pattern": check_path_pattern,
    "host pattern": check_host_pattern,
    "method": check_method,
    "path prefix": check_path_prefix,
    "plain path": check_plain_path,
    "expression": _check_expression,
    "host header": _check_host_header,
    "upgrade protocol": _check_protocol,
    "plugin class": _check_plugin_class,
    "server name": _check_server_name,
    "host": _check_target_host,
    "limit key": check_limit_key,
    "limit name": check_limit_name,
    "sticky key": check_sticky_key,
    "cause": check_cause,
    "status": check_status,
    "media range": check_media_range,
    "redirect target": _check_redirect,
    "media type": check_media_type,
    "resolver": check_resolver,
    "probe path": _check_probe_path,
    "probe host": _check_probe_host,
    "probe header": _check_probe_header,
    "secret header value": check_header_value,
    "origin": check_origin,
    "user name": check_user_name,
    "password hash": check_password_hash,
    "realm": check_realm,
    "cache key": check_cache_key,
    "cache bypass": check_cache_bypass,
    "stored status": check_stored_status,
    "service url": _check_url,
    "decision key": check_decision_key,
    "path": _check_path,
    "log path": _check_path,
    "key set url": check_key_set_url,
    "token source": check_token_source,
    "claim name": check_claim_name,
}


def resolve_path(text: str, base: Path) -> str:
    """A relative path in a file starts at the file's folder; ``""`` and ``"-"`` are no paths."""
    return text if text in ("", "-") else str(base / text)
