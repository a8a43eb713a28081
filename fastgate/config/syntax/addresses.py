"""Where the gateway listens and where targets are: the spellings of an address, parsed."""

import ipaddress
import re
import socket
from typing import NamedTuple

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SOCKET_PATH_LIMIT = 107  # sun_path of unix(7), without its NUL


class Address(NamedTuple):
    """One address to listen on: ``host`` and ``port``, or ``unix``, the path of a Unix socket ("" for TCP)."""

    host: str
    port: int
    unix: str = ""

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Endpoint(NamedTuple):
    """One target: as `Address`, or ``srv``, the name of an SRV record.

    ``tls`` is None where the spelling leaves it to the upstream's ``tls`` table.
    """

    host: str
    port: int
    unix: str
    tls: bool | None
    srv: str = ""


def parse_listen(text: str, port: int) -> Address:
    """``host``, ``host:port``, ``[::1]``, ``[::1]:8080``, ``::1`` or ``unix:/path``; ``port`` where none is written.

    Raises ValueError with the reason.
    """
    if not text:
        raise ValueError('an address is empty; "0.0.0.0" is every IPv4 address, "::" every IPv6 address')
    if text.startswith("unix:"):
        return Address("", 0, _socket_path(text))
    if "://" in text:
        raise ValueError("a listen address has no scheme; [gateway.tls] switches on TLS")
    host, own = split_port(text)
    if host == "*":
        raise ValueError('"*" is not a valid address; "0.0.0.0" is every IPv4 address, "::" every IPv6 address')
    host = check_host(host)
    mapped = _mapped(host)
    if mapped:
        raise ValueError(f'"{host}" is an IPv4 address: write "{mapped}"')
    return Address(host, port if own is None else own)


def _mapped(host: str) -> str:
    """The IPv4 address that an IPv6 address stands for; empty: it is none of these."""
    try:
        return str(ipaddress.IPv6Address(host).ipv4_mapped or "")
    except ValueError:
        return ""


def parse_target(text: str) -> Endpoint:
    """``host:port``, ``http://host[:port]``, ``https://host[:port]``, ``[::1]:80``, ``unix:/path`` or ``srv:name``.

    Raises ValueError with the reason.
    """
    if text.startswith("unix:"):
        return Endpoint("", 0, _socket_path(text), None)
    if text.startswith("srv:"):
        return Endpoint("", 0, "", None, _service_name(text.removeprefix("srv:")))
    scheme, separator, rest = text.partition("://")
    if not separator:
        rest = text
        tls = None
    elif scheme.lower() in ("http", "https"):
        tls = scheme.lower() == "https"
    else:
        raise ValueError(f'unknown scheme "{scheme}", use http://, https://, unix: or srv:')
    rest, slash, path = rest.partition("/")
    if path:
        raise ValueError(f'a target has no path; use add_prefix = "/{path.rstrip("/")}" on the route')
    if slash and not separator:
        raise ValueError("a target is host:port, without a path")
    if "@" in rest:
        raise ValueError("a target has no user name or password")
    host, port = split_port(rest)
    if port is None:
        if tls is None:
            name = f"[{host}]" if ":" in host else host
            raise ValueError(f'the port is missing: write "{name}:80", "http://{name}" or "https://{name}"')
        port = 443 if tls else 80
    if port == 0:
        raise ValueError("a target cannot have port 0")
    return Endpoint(check_host(host), port, "", tls)


def parse_url(text: str) -> tuple[Endpoint, str]:
    """Where an ``http://`` or ``https://`` URL is asked for, and the path with the query that is asked for.

    Raises ValueError with the reason.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise ValueError('a URL must begin with "http://" or "https://"')
    if "#" in rest:
        raise ValueError('this URL must not contain "#"')
    end = min((place for place in (rest.find("/"), rest.find("?")) if place >= 0), default=len(rest))
    endpoint = parse_target(f"{scheme}://{rest[:end]}")
    target = rest[end:]
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise ValueError("write the path and the query percent-encoded")
    return endpoint, target if target.startswith("/") else f"/{target}"


def check_authority(text: str) -> str:
    """What may be sent as Host: a host, with or without a port; ValueError with the reason."""
    if "/" in text:
        raise ValueError("a host has no scheme and no path")
    host, _ = split_port(text)
    check_host(host)
    return text


def split_port(text: str) -> tuple[str, int | None]:
    """Host (without brackets) and port, None where none is written."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError('write an IPv6 address as "[::1]" or "[::1]:8080"')
        if not _is_ip(host, 6):
            raise ValueError(f'"{host}" is not a valid IPv6 address')
        return host, _parse_port(rest[1:]) if rest else None
    if text.count(":") > 1:
        if _is_ip(text, 6):
            return text, None
        raise ValueError('write an IPv6 address with a port as "[::1]:8080"')
    host, colon, number = text.partition(":")
    return host, _parse_port(number) if colon else None


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise ValueError(f'"{text}" is not a valid port; ports are 0 to 65535')
    return int(text)


def check_host(host: str) -> str:
    """The host name or IP address as it is; ValueError when it is neither."""
    if not host:
        raise ValueError("the host is missing")
    if ":" in host:
        if not _is_ip(host, 6):
            raise ValueError(f'"{host}" is not a valid IPv6 address')
        return host
    if re.fullmatch(r"[0-9.]+", host):
        if not _is_ip(host, 4):
            raise ValueError(f'"{host}" is not a valid IPv4 address')
        return host
    if not host.isascii():
        try:
            hint = f': write "{host.encode("idna").decode()}"'
        except UnicodeError:
            hint = ""
        raise ValueError(f'"{host}" is not ASCII{hint}')
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        raise ValueError(f'"{host}" is not a valid host name')
    return host


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path.startswith("/"):
        raise ValueError('the path of a Unix socket must be absolute: "unix:/run/fastgate.sock"')
    if len(path.encode()) > _SOCKET_PATH_LIMIT:
        raise ValueError(f"the path of a Unix socket must be at most {_SOCKET_PATH_LIMIT} bytes long")
    return path


def _service_name(text: str) -> str:
    service, _, rest = text.partition(".")
    protocol, _, domain = rest.partition(".")
    if not (service.startswith("_") and protocol.lower() in ("_tcp", "_udp") and domain):
        raise ValueError('write the name of an SRV record as "srv:_http._tcp.example.com"')
    if protocol.lower() == "_udp":
        raise ValueError("HTTP/1.1 uses TCP: the record must be one of _tcp")
    return check_host(text)


def check_resolver(text: str) -> str:
    """The address of a name server as ``ip:port``, port 53 where none is written; empty as it is."""
    if not text:
        return text
    host, port = split_port(text)
    if not (_is_ip(host, 4) or _is_ip(host, 6)):
        raise ValueError('a name server must be an IP address, such as "10.0.0.2:53" or "[fd00::2]:53"')
    if port == 0:
        raise ValueError("a name server cannot have port 0")
    return f"{f'[{host}]' if ':' in host else host}:{53 if port is None else port}"


def normalize_literal(text: str) -> str:
    """An IPv6 address, in brackets or without, in the form in which hosts are compared."""
    address = text.strip("[]").partition("%")[0]
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))


def normalize_host(host: str) -> str:
    """A host that was checked, in the form in which hosts are compared."""
    return normalize_literal(host) if ":" in host else host.lower().removesuffix(".")


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
