"""The keys of ``[gateway]``."""

from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.schema.api_keys import VirtualKey
from fastgate.config.schema.kinds import (
    Count,
    Duration,
    HeaderValue,
    Listen,
    LogPath,
    Mode,
    Path,
    PlainPath,
    Size,
    Text,
    TrustedPeer,
    Wait,
    about,
)
from fastgate.config.schema.table import Table
from fastgate.config.syntax.addresses import Address, parse_listen


class Certificate(Table, frozen=True, kw_only=True):
    """One certificate with its private key."""

    cert: Annotated[
        Path,
        about(
            "PEM file with the certificate and its chain, leaf first.", examples=["a.pem"], also=["certificate", "crt"]
        ),
    ]
    key: Annotated[
        Path,
        about("PEM file with the private key, not encrypted.", examples=["a.key"], also=["private_key", "keyfile"]),
    ]


class TLS(Table, frozen=True, kw_only=True):
    """TLS towards clients. Absent: the gateway speaks plain HTTP.

    The gateway notices changed files within 30 seconds; SIGHUP reads them at once.
    """

    certificates: Annotated[
        Annotated[list[Certificate], Meta(min_length=1)],
        about(
            "The certificates. The names in each decide which one a client gets (SNI); a client that requests none of "
            "these names gets the first.",
            examples=[[{"cert": "a.pem", "key": "a.key"}]],
            also=["certificate", "certs"],
        ),
    ]
    min_version: Annotated[Literal["1.2", "1.3"], about("The lowest TLS version, for every certificate.")] = "1.2"
    client_ca: Annotated[
        Path,
        about(
            "PEM file with the authorities that verify client certificates.",
            examples=["clients-ca.pem"],
        ),
    ] = ""
    client_auth: Annotated[
        Literal["none", "optional", "required"],
        about(
            "Whether the gateway requests a certificate from clients, and whether clients may continue without one. "
            "Unless it is `none`, a request whose Host is not the name of its TLS connection gets 421."
        ),
    ] = "none"


class Log(Table, frozen=True, kw_only=True):
    """Errors and events of the gateway itself. Requests are in the access log."""

    level: Annotated[Literal["debug", "info", "warning", "error"], about("The lowest level that is logged.")] = "info"
    path: Annotated[LogPath, about('A file, or `"-"` for standard error.')] = "-"
    format: Annotated[Literal["text", "json"], about("Lines of text, or one JSON object a line.")] = "text"


class AccessLog(Table, frozen=True, kw_only=True):
    """One line a request. A worker writes many lines at once, within a second.

    A slow pipe or network file system does not delay requests: a thread writes to it, and when it is too slow, the
    gateway drops lines and counts them. The gateway writes to a file on a local disk without a thread, until a write
    takes 50 ms or fails.
    """

    path: Annotated[
        LogPath, about('A file, `"-"` for standard output, `""` for no access log. Reopened on SIGUSR1.')
    ] = "-"
    format: Annotated[
        Literal["json", "combined"],
        about("One JSON object a line with all timers, or the combined format of Apache and nginx."),
    ] = "json"
    sample: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        about("Share of the successful requests that is logged, 0 to 1. Errors are always logged."),
    ] = 1.0


class GatewayTable(Table, frozen=True, kw_only=True):
    """The process, its listening addresses, and the limits that hold for every request."""

    host: Annotated[
        Listen | Annotated[list[Listen], Meta(min_length=1)],
        about(
            'Where to listen: `"0.0.0.0"`, `"::"`, a name, `"host:port"`, `"[::1]:8080"`, `"unix:/run/fastgate.sock"`, '
            "or a list of these. The default is reachable only from this machine.",
            examples=["0.0.0.0", ["127.0.0.1", "[::1]:8081", "unix:/run/fastgate.sock"]],
            also=["listen", "address", "bind", "addr"],
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        about("The port of every address without one. 0 chooses a free port.", also=["listen_port"]),
    ] = 8080
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"],
        about(
            "Number of worker processes. `auto` is the number of CPUs that this process may use (affinity and cgroup). "
            "`--workers` overrides it.",
            also=["worker_processes", "processes", "threads"],
        ),
    ] = 1
    worker_timeout: Annotated[
        Annotated[float, Meta(ge=1, extra={"kind": "duration"})],
        about("A worker that has not responded for this time is aborted, with a traceback in the log, and replaced."),
    ] = 30.0
    backlog: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        about("Connections that may wait until a worker accepts them. The kernel caps it at `net.core.somaxconn`."),
    ] = 4096
    max_connections: Annotated[
        Count,
        about(
            "Client connections per worker, counted from when they are accepted. When this many are open, the gateway "
            "closes those that have been idle longest for new ones; when none is idle, it closes the new ones. 0 "
            "derives the number from the limit of open files. The gateway always reserves files for connections to "
            "upstreams.",
            also=["worker_connections", "maxconn"],
        ),
    ] = 0
    max_connections_per_client: Annotated[
        Count,
        about(
            "Connections of one client address per worker (of one /64 network for IPv6); the gateway closes further "
            "ones. Trusted proxies and Unix sockets have no such limit. 0 means no limit.",
            also=["max_connections_per_ip", "limit_conn", "per_client"],
        ),
    ] = 0
    socket_mode: Annotated[Mode, about("Permissions of Unix sockets, in octal.", show='"0660"')] = 0o660
    trusted_proxies: Annotated[
        list[TrustedPeer],
        about(
            "Addresses and networks whose `X-Forwarded-*`, `Forwarded`, request id and PROXY protocol the gateway "
            "trusts; `unix:` trusts the peers of every Unix socket, `unix:/path` those of one. Clients in such a "
            "network can choose their own address.",
            examples=[["10.0.0.0/8", "::1", "unix:/run/fastgate.sock"]],
            also=["trusted_ips", "set_real_ip_from", "real_ip_from"],
        ),
    ] = field(default_factory=list)
    proxy_protocol: Annotated[
        bool,
        about(
            "Every connection begins with a PROXY protocol header, version 1 or 2. The gateway closes connections from "
            "outside `trusted_proxies` and those without the header."
        ),
    ] = False
    server_header: Annotated[
        HeaderValue, about('The `Server` field of answers. `""` sends none.', also=["server_tokens", "server"])
    ] = "fastgate"
    max_header_bytes: Annotated[
        Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024, extra={"kind": "size"})],
        about("The largest request head; a larger one gets 431.", also=["large_client_header_buffers"]),
    ] = 32 * 1024
    max_headers: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)], about("The most fields in a request head; a request with more gets 431.")
    ] = 100
    field_names: Annotated[
        Literal["drop", "pass", "reject"],
        about(
            "What happens to request fields with characters other than letters, digits and `-` in their name: `drop` "
            "removes them, `pass` forwards them, `reject` answers 400. CGI, WSGI and PHP make one variable of "
            "`x-user`, `x_user` and `x.user`. The gateway removes the names that it sends or removes itself in all of "
            "these spellings, with `pass` too. For other names, `pass` lets clients forge fields of such servers.",
            also=["underscore_headers", "underscores_in_headers", "ignore_invalid_headers"],
        ),
    ] = "drop"
    max_body: Annotated[
        Size,
        about(
            "The largest request body; a larger one gets 413. 0 means no limit.",
            also=["client_max_body_size", "body_limit"],
        ),
    ] = 32 * 1024 * 1024
    keepalive: Annotated[
        Wait,
        about(
            "How long a client connection may be idle between requests.",
            also=["keepalive_timeout", "idle_timeout", "keep_alive"],
        ),
    ] = 75.0
    header_timeout: Annotated[
        Wait,
        about(
            "From the first byte of a request head to its end; then 408. For the first head of a connection the time "
            "starts when the connection is accepted, TLS handshake included.",
            also=["client_header_timeout"],
        ),
    ] = 10.0
    body_timeout: Annotated[
        Wait, about("Between two reads of a request body; then 408.", also=["client_body_timeout"])
    ] = 30.0
    min_rate: Annotated[
        Size,
        about(
            "The lowest rate per second, averaged over 10 s, at which a client must send or receive while the gateway "
            "waits for it: while its request body is due (then 408), and while bytes of an answer are ready for it "
            "(then the gateway resets the connection). Waiting for an upstream or a policy does not count. 0 means no "
            "minimum; event streams and tunnels never have one. Routes can set their own.",
            also=["min_data_rate", "min_request_body_data_rate"],
        ),
    ] = 1024
    drain_delay: Annotated[
        Duration,
        about(
            "How long a stopping gateway reports that it is not ready, and still serves, before it stops accepting "
            'connections. Behind a Kubernetes service: `"5s"`.'
        ),
    ] = 0.0
    drain_timeout: Annotated[
        Duration,
        about("How long a stopping gateway waits for requests in flight to finish.", also=["shutdown_timeout"]),
    ] = 30.0
    health_path: Annotated[
        PlainPath,
        about(
            'A path that answers 200 while the gateway serves and 503 while it drains. `""` means none.',
            examples=["/healthz"],
            also=["healthcheck", "health_check"],
        ),
    ] = ""
    merge_slashes: Annotated[bool, about("Read `//` in a path as `/`.")] = True
    forwarded: Annotated[bool, about("Also send the `Forwarded` field (RFC 7239), beside `X-Forwarded-*`.")] = False
    via: Annotated[bool, about("Send the `Via` field. nginx upstreams then stop compressing (`gzip_proxied off`).")] = (
        False
    )
    request_id: Annotated[
        Annotated[str, Meta(extra={"kind": "request id header"})],
        about(
            "The field that carries the request id. The gateway keeps the id of a trusted proxy, else it generates "
            'one. `""` means no field.',
            also=["request_id_header"],
        ),
    ] = "x-request-id"
    error_format: Annotated[
        Literal["problem", "html"],
        about(
            "The bodies of the gateway's own errors: `problem` is JSON (RFC 9457); `html` is a page for clients whose "
            "Accept asks for HTML, and JSON for the others."
        ),
    ] = "problem"
    tls: Annotated[TLS | None, about("TLS towards clients. Absent: off.", also=["ssl", "https"])] = None
    log: Annotated[Log, about("The log of errors and events.", also=["logging", "error_log"])] = field(
        default_factory=Log
    )
    access_log: Annotated[AccessLog, about("The log of requests, one line each.", also=["accesslog"])] = field(
        default_factory=AccessLog
    )
    keys: Annotated[
        dict[Text, VirtualKey],
        about("API keys of clients.", also=["api_keys", "apikeys", "virtual_keys", "consumers"]),
    ] = field(default_factory=dict)

    def listen_addresses(self) -> list[Address]:
        """`host` and `port` as parsed addresses, in their order."""
        hosts = [self.host] if isinstance(self.host, str) else self.host
        return [parse_listen(host, self.port) for host in hosts]
