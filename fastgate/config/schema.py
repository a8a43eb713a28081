"""Every configuration key: its type, its default, its meaning.

These Structs are the only place where a key, a default or a description is written. The walker reads files by them, and
the JSON Schema and the reference page are generated from them. Attribute names are key names; values are resolved:
durations are seconds (float), sizes bytes (int), references replaced by what they stand for. Nothing here does I/O,
and a configuration survives MessagePack (``msgspec.msgpack``) unchanged.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from fastgate.config.addresses import Address, parse_listen
from fastgate.config.kinds import (
    Condition,
    Count,
    Duration,
    EditedHeader,
    Expression,
    HeaderName,
    HeaderTemplate,
    HeaderValue,
    HostHeader,
    HostPattern,
    Listen,
    LogPath,
    Method,
    Mode,
    Network,
    Path,
    PathPattern,
    PathPrefix,
    PlainPath,
    PluginClass,
    Positive,
    Protocol,
    ServerName,
    Size,
    Text,
    Wait,
    about,
)


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of every table of the configuration."""


# --- [gateway] -------------------------------------------------------------------------------------------------------


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

    Files that change are noticed within half a minute; SIGHUP reads them at once.
    """

    certificates: Annotated[
        Annotated[list[Certificate], Meta(min_length=1)],
        about(
            "The certificates, chosen by the names in each (SNI); the first answers clients that name none of them.",
            examples=[[{"cert": "a.pem", "key": "a.key"}]],
            also=["certificate", "certs"],
        ),
    ]
    min_version: Annotated[
        Literal["1.2", "1.3"], about("The lowest protocol version that is spoken, for every certificate.")
    ] = "1.2"
    client_ca: Annotated[
        Path,
        about(
            "PEM file with the authorities that client certificates are verified against.",
            examples=["clients-ca.pem"],
        ),
    ] = ""
    client_auth: Annotated[
        Literal["none", "optional", "required"],
        about(
            "Whether clients are asked for a certificate and may go on without one. Unless it is `none`, a request "
            "whose Host is not the name of its TLS connection is answered 421."
        ),
    ] = "none"


class Log(Table, frozen=True, kw_only=True):
    """Errors and events of the gateway itself. Requests are in the access log."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], about("The least serious event that is written.")
    ] = "info"
    path: Annotated[LogPath, about('A file, or `"-"` for standard error.')] = "-"
    format: Annotated[Literal["text", "json"], about("Lines to read, or one JSON object a line.")] = "text"


class AccessLog(Table, frozen=True, kw_only=True):
    """One line a request. Never blocks a request: when the disk is too slow, lines are dropped and counted."""

    path: Annotated[LogPath, about('A file, `"-"` for standard output, `""` for none. Reopened on SIGUSR1.')] = "-"
    format: Annotated[
        Literal["json", "combined"],
        about("One JSON object a line with all timers, or the combined format that Apache and nginx write."),
    ] = "json"
    sample: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        about("Share of the successful requests that is written, 0 to 1. Errors always are."),
    ] = 1.0


class GatewayTable(Table, frozen=True, kw_only=True):
    """The process, its listening addresses, and the limits that hold for every request."""

    host: Annotated[
        Listen | Annotated[list[Listen], Meta(min_length=1)],
        about(
            'Where to listen: `"0.0.0.0"`, `"::"`, a name, `"host:port"`, `"[::1]:8080"`, `"unix:/run/fastgate.sock"`, '
            "or a list of these. The default can be reached from this machine only.",
            examples=["0.0.0.0", ["127.0.0.1", "[::1]:8081", "unix:/run/fastgate.sock"]],
            also=["listen", "address", "bind", "addr"],
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        about("The port of every address that names none. 0 takes a free one.", also=["listen_port"]),
    ] = 8080
    workers: Annotated[
        Positive | Literal["auto"],
        about(
            "Worker processes. `auto` is the number of CPUs that this process may use (affinity and cgroup). "
            "`--workers` wins over it.",
            also=["worker_processes", "processes", "threads"],
        ),
    ] = 1
    worker_timeout: Annotated[
        Annotated[float, Meta(ge=1, extra={"kind": "duration"})],
        about("A worker that gives no sign of life for so long is stopped, with a traceback in the log, and replaced."),
    ] = 30.0
    backlog: Annotated[
        Positive, about("Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`.")
    ] = 4096
    max_connections: Annotated[
        Count,
        about(
            "Client connections per worker; above it connections are accepted and closed. 0 derives it from the limit "
            "of open files.",
            also=["worker_connections", "maxconn"],
        ),
    ] = 0
    socket_mode: Annotated[Mode, about("Permissions of Unix sockets, in octal.", show='"0660"')] = 0o660
    trusted_proxies: Annotated[
        list[Network],
        about(
            "Addresses and networks whose `X-Forwarded-*`, `Forwarded`, request id and PROXY protocol are believed. "
            "A network that clients can send from lets them choose their own address.",
            examples=[["10.0.0.0/8", "::1"]],
            also=["trusted_ips", "set_real_ip_from", "real_ip_from"],
        ),
    ] = []
    proxy_protocol: Annotated[
        bool,
        about(
            "Every connection begins with a PROXY protocol header, version 1 or 2. Connections from outside "
            "`trusted_proxies`, or without the header, are closed."
        ),
    ] = False
    server_header: Annotated[
        HeaderValue, about('The `Server` field of answers. `""` sends none.', also=["server_tokens", "server"])
    ] = "fastgate"
    max_header_bytes: Annotated[
        Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024, extra={"kind": "size"})],
        about("The largest request head; above it 431.", also=["large_client_header_buffers"]),
    ] = 32 * 1024
    max_headers: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)], about("The most fields in a request head; above it 431.")
    ] = 100
    underscore_headers: Annotated[
        Literal["drop", "pass", "reject"],
        about(
            "What happens to request fields with `_` in their name. Many applications cannot tell `x_user` from "
            "`x-user`, so that `pass` may let clients forge fields.",
            also=["underscores_in_headers"],
        ),
    ] = "drop"
    max_body: Annotated[
        Size,
        about("The largest request body; above it 413. 0 is no limit.", also=["client_max_body_size", "body_limit"]),
    ] = 32 * 1024 * 1024
    keepalive: Annotated[
        Wait,
        about("How long a client connection may be idle.", also=["keepalive_timeout", "idle_timeout", "keep_alive"]),
    ] = 75.0
    header_timeout: Annotated[
        Wait, about("From the first byte of a request head to its end; then 408.", also=["client_header_timeout"])
    ] = 10.0
    body_timeout: Annotated[
        Wait, about("Between two reads of a request body; then 408.", also=["client_body_timeout"])
    ] = 30.0
    drain_delay: Annotated[
        Duration,
        about(
            "How long a stopping gateway reports that it is not ready, and serves on, before it stops accepting. "
            'Behind a Kubernetes service: `"5s"`.'
        ),
    ] = 0.0
    drain_timeout: Annotated[
        Duration, about("How long a stopping gateway lets requests in flight finish.", also=["shutdown_timeout"])
    ] = 30.0
    health_path: Annotated[
        PlainPath,
        about(
            'A path that is answered 200 while serving and 503 while draining. `""` is none.',
            examples=["/healthz"],
            also=["healthcheck", "health_check"],
        ),
    ] = ""
    merge_slashes: Annotated[bool, about("Read `//` in a path as `/`.")] = True
    forwarded: Annotated[bool, about("Send the `Forwarded` field (RFC 7239) too, beside `X-Forwarded-*`.")] = False
    via: Annotated[
        bool, about("Send the `Via` field. With it nginx upstreams stop compressing (`gzip_proxied off`).")
    ] = False
    request_id: Annotated[
        Annotated[str, Meta(extra={"kind": "optional header name"})],
        about(
            'The field that carries the request id: taken from trusted proxies, else generated. `""` is none.',
            also=["request_id_header"],
        ),
    ] = "x-request-id"
    error_format: Annotated[
        Literal["problem", "html"],
        about(
            "The bodies of the gateway's own errors: `problem` is JSON (RFC 9457); `html` is a page for clients whose "
            "Accept asks for one, and JSON for the others."
        ),
    ] = "problem"
    tls: Annotated[TLS | None, about("TLS towards clients. Absent = off.", also=["ssl", "https"])] = None
    log: Annotated[Log, about("Errors and events.", also=["logging", "error_log"])] = field(default_factory=Log)
    access_log: Annotated[AccessLog, about("One line a request.", also=["accesslog"])] = field(
        default_factory=AccessLog
    )

    def listen_addresses(self) -> list[Address]:
        """`host` and `port` as parsed addresses, in their order."""
        hosts = [self.host] if isinstance(self.host, str) else self.host
        return [parse_listen(host, self.port) for host in hosts]


# --- [[plugins]] -----------------------------------------------------------------------------------------------------


class Plugin(Table, frozen=True, kw_only=True):
    """A policy of your own. Routes use it by its name."""

    name: Annotated[Text, about("What routes call it.", examples=["tenant"])]
    use: Annotated[
        PluginClass,
        about(
            'The class, as `"module:Class"`. Absent: the installed plugin of that name (entry-point group '
            "`fastgate.policies`).",
            examples=["mypackage.tenant:TenantPolicy"],
            also=["class", "module", "import", "path"],
        ),
    ] = ""
    options: Annotated[
        dict[str, Any],
        about(
            "Given to the class as it is; the plugin checks it.",
            examples=[{"header": "x-tenant"}],
            also=["config", "settings"],
        ),
    ] = {}


# --- [[routes]] ------------------------------------------------------------------------------------------------------


class HeaderEdits(Table, frozen=True, kw_only=True):
    """Changes to header fields, in the order remove, set, add.

    Values may use `{client_ip}`, `{request_id}`, `{host}`, `{path}` and `{param.NAME}`; `{{` is a literal brace. A
    value may be `{ env = "NAME" }` or `{ file = "path" }`.
    """

    set: Annotated[
        dict[EditedHeader, HeaderTemplate],
        about("Fields that have exactly this value, whatever was there.", examples=[{"x-client": "{client_ip}"}]),
    ] = {}
    add: Annotated[
        dict[EditedHeader, HeaderTemplate | list[HeaderTemplate]],
        about("Fields that are added to those there; a list adds several.", examples=[{"x-tag": ["a", "b"]}]),
    ] = {}
    remove: Annotated[
        list[EditedHeader], about("Fields that are taken away.", examples=[["x-internal"]], also=["delete", "unset"])
    ] = []


class Rewrite(Table, frozen=True, kw_only=True):
    """The path's new form, by a regular expression."""

    pattern: Annotated[
        Expression,
        about(
            "Searched in the path, percent-encoded as it was matched; the first match is replaced. No match leaves the "
            "path as it is.",
            examples=["^/old/(.*)"],
            also=["regex", "match", "from"],
        ),
    ]
    to: Annotated[
        str,
        about(
            "What replaces it; `\\1` and `\\g<name>` are groups of the pattern.",
            examples=["/new/\\1"],
            also=["replacement", "substitution", "replace"],
        ),
    ]


class Timeouts(Table, frozen=True, kw_only=True):
    """How long each part of an exchange with an upstream may take."""

    connect: Annotated[
        Wait, about("Until the connection stands, TLS included; then 502.", also=["proxy_connect_timeout"])
    ] = 2.0
    read: Annotated[
        Wait,
        about("From the request's last byte to the response head; then 504.", also=["proxy_read_timeout", "response"]),
    ] = 60.0
    write: Annotated[Wait, about("How long a peer may take no byte while there are some to send.", also=["send"])] = (
        60.0
    )
    idle: Annotated[Wait, about("Between two reads of a response body or of a tunnel.", also=["stream"])] = 300.0
    total: Annotated[
        Duration, about("The whole exchange; then 504. 0 is no limit.", also=["timeout", "request", "overall"])
    ] = 0.0


class PolicyUse(Table, frozen=True, kw_only=True):
    """One plugin on a route."""

    use: Annotated[Text, about("The name of a plugin.", examples=["tenant"], also=["name", "plugin", "policy"])]


class PolicyKeys(Table, frozen=True, kw_only=True):
    """What is done with a request that a route has matched. Each key can be given in `[defaults]` too."""

    strip_prefix: Annotated[
        PathPrefix,
        about(
            "Taken from the front of the path, on a segment border, before it is forwarded.",
            examples=["/api"],
            policy=True,
            also=["strip_path", "prefix_rewrite", "stripprefix"],
        ),
    ] = ""
    add_prefix: Annotated[
        PathPrefix, about("Put in front of the path, after `strip_prefix`.", examples=["/v2"], policy=True)
    ] = ""
    rewrite: Annotated[
        Rewrite | None,
        about(
            "Replaces a part of the path by a regular expression, after `strip_prefix` and `add_prefix`.",
            examples=[{"pattern": "^/old/(.*)", "to": "/new/\\1"}],
            policy=True,
            also=["regex_rewrite", "uri_rewrite"],
        ),
    ] = None
    host_header: Annotated[
        HostHeader,
        about(
            "The `Host` that is forwarded: `upstream` is the target's own name, `client` what the client sent, "
            "anything else is sent as it is written.",
            examples=["client"],
            policy=True,
            also=["preserve_host", "host_rewrite", "host_rewrite_literal"],
        ),
    ] = "upstream"
    request_headers: Annotated[
        HeaderEdits | None,
        about(
            "Changes to the request's fields before it is forwarded.",
            examples=[{"set": {"x-client": "{client_ip}"}, "remove": ["cookie"]}],
            policy=True,
            also=["headers_to_add", "proxy_set_header", "request_header"],
        ),
    ] = None
    response_headers: Annotated[
        HeaderEdits | None,
        about(
            "Changes to the response's fields before it is answered.",
            examples=[{"remove": ["x-powered-by"]}],
            policy=True,
            also=["add_header", "response_header", "response_headers_to_add"],
        ),
    ] = None
    timeouts: Annotated[
        Timeouts,
        about(
            "How long each part may take. A part that is not given has the value below.",
            examples=[{"read": "10m"}],
            policy=True,
            also=["timeout"],
        ),
    ] = field(default_factory=Timeouts)
    max_body: Annotated[
        Size | None,
        about(
            "The largest request body; above it 413. Absent: `gateway.max_body`. 0 is no limit.",
            examples=["1MB"],
            policy=True,
            also=["client_max_body_size", "body_limit"],
        ),
    ] = None
    buffer_request: Annotated[
        bool,
        about(
            "Read the whole request body, up to `max_body`, before the upstream is asked. Costs that much memory a "
            "request.",
            policy=True,
            also=["proxy_request_buffering", "request_buffering"],
        ),
    ] = False
    upgrades: Annotated[
        list[Protocol],
        about(
            "Protocols that a connection may be upgraded to. `false` or `[]` allows none; `h2c` cannot be listed.",
            policy=True,
            off=(),
            also=["upgrade", "websocket", "upgrade_configs"],
        ),
    ] = field(default_factory=lambda: ["websocket"])
    policies: Annotated[
        list[PolicyUse],
        about(
            "Plugins on this route, in the order in which they run.",
            examples=[[{"use": "tenant"}]],
            policy=True,
            also=["plugins", "filters", "middlewares", "middleware"],
        ),
    ] = []


class Route(PolicyKeys, frozen=True, kw_only=True):
    """Which requests go where.

    Of the routes that match, the one with the higher `priority` wins; then the one with the more specific host (exact,
    then the longer wildcard, then any); then the more specific path, segment by segment from the left (literal, then
    `{parameter}`, then the rest of the path; regular expressions last); then the one that gives methods; then more
    header and more query conditions; then the order in the file.
    """

    name: Annotated[Text, about("What logs and metrics call the route. Unique.", examples=["api"], also=["id"])]
    path: Annotated[
        PathPattern,
        about(
            'Which paths: `"/exact"`, `"/users/{id}"` (one segment), `"/files/{path*}"` (the rest, maybe empty), '
            '`"/api/*"` (a prefix on a segment border, `/api` too), `"~^/v[0-9]+/.*$"` (a regular expression over the '
            "whole path). Matched after the path is normalised.",
            examples=["/api/*"],
            also=["uri", "url", "location", "match", "paths", "prefix", "uris", "pattern"],
        ),
    ]
    methods: Annotated[
        Annotated[list[Method], Meta(min_length=1)],
        about("Which methods; absent: all. GET brings HEAD with it.", examples=[["GET", "POST"]], also=["verbs"]),
    ] = field(default_factory=list)
    hosts: Annotated[
        Annotated[list[HostPattern], Meta(min_length=1)],
        about(
            "Which hosts, without a port; absent: any. `*.example.com` is every name below it.",
            examples=[["api.example.com", "*.example.com"]],
            also=["domains", "server_name", "domain"],
        ),
    ] = field(default_factory=list)
    headers: Annotated[
        dict[HeaderName, Condition],
        about(
            'Fields that the request must have: a value, `"*"` (present), or `"~regex"`.',
            examples=[{"x-version": "2"}],
        ),
    ] = {}
    query: Annotated[
        dict[str, Condition],
        about(
            'Query parameters that the request must have: a value, `"*"` (present), or `"~regex"`.',
            examples=[{"debug": "*"}],
            also=["params", "query_parameters", "args"],
        ),
    ] = {}
    priority: Annotated[
        Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
        about("Higher wins, before anything else is compared.", also=["regex_priority", "weight"]),
    ] = 0
    upstream: Annotated[
        Text,
        about(
            "The name of the upstream that answers.",
            examples=["backend"],
            also=["service", "cluster", "proxy_pass", "backend", "upstreams", "target", "upstream_id"],
        ),
    ]


class Defaults(PolicyKeys, frozen=True, kw_only=True):
    """For every route that does not set the key itself.

    A route's own key replaces the whole default, nothing is merged; `false` on the route switches the default off.
    """


# --- [upstreams.NAME] ------------------------------------------------------------------------------------------------


class Target(Table, frozen=True, kw_only=True):
    """One server: a table, or `"127.0.0.1:5000"`, `"https://api.example.com"`, `"[::1]:80"`, `"unix:/run/app.sock"`."""

    host: Annotated[
        Annotated[str, Meta(extra={"kind": "host"})],
        about("A name or an IP address.", examples=["127.0.0.1"], also=["address", "ip", "url", "hostname"]),
    ]
    port: Annotated[Annotated[int, Meta(ge=0, le=65535)], about("Its port.", examples=[5000], low=1)]
    unix: Annotated[str, about("Path of a Unix socket.", internal=True)] = ""
    tls: Annotated[bool, about("Whether the target is spoken to over TLS.", internal=True)] = False


class UpstreamTLS(Table, frozen=True, kw_only=True):
    """TLS towards targets.

    Targets that are written with a scheme go by it; the others are spoken to over TLS when this table is there.
    """

    verify: Annotated[
        bool,
        about(
            "Verify the target's certificate and its name. `false` accepts anybody who answers.",
            also=["ssl_verify", "tls_verify", "proxy_ssl_verify"],
        ),
    ] = True
    ca: Annotated[
        Path,
        about(
            "PEM file with the authorities to trust. Absent: those of the system.",
            examples=["ca.pem"],
            also=["ca_file"],
        ),
    ] = ""
    cert: Annotated[
        Path,
        about("PEM file with the certificate that the gateway shows.", examples=["client.pem"], also=["client_cert"]),
    ] = ""
    key: Annotated[Path, about("PEM file with its private key.", examples=["client.key"], also=["client_key"])] = ""
    server_name: Annotated[
        ServerName,
        about(
            "The name that is asked for (SNI) and verified. Absent: the target's host.",
            examples=["api.example.com"],
            also=["sni"],
        ),
    ] = ""


class Pool(Table, frozen=True, kw_only=True):
    """Connections to each target that are kept for the next request.

    The numbers are for the whole host and shared out to the workers.
    """

    max_connections: Annotated[Positive, about("The most connections to one target.", also=["max_conns"])] = 512
    max_idle: Annotated[Count, about("The most idle ones that are kept.", also=["keepalive", "max_idle_conns"])] = 64
    idle_timeout: Annotated[
        Wait,
        about(
            "How long an idle one is kept. Keep it below the target's own limit (uvicorn and Node close after 5 s); an "
            "upstream's `Keep-Alive: timeout=N` makes it N−1.",
            also=["keepalive_timeout"],
        ),
    ] = 4.0
    max_requests: Annotated[
        Count, about("Requests on one connection before it is closed. 0 is no limit.", also=["keepalive_requests"])
    ] = 0
    queue: Annotated[
        Count, about("Requests that may wait for a connection; above it 503.", also=["max_pending_requests"])
    ] = 128
    queue_timeout: Annotated[Wait, about("How long one may wait; then 503.")] = 1.0


class Upstream(Table, frozen=True, kw_only=True):
    """Servers that give the same answers, under one name."""

    balancer: Annotated[
        Literal["round_robin"],
        about("How a target is chosen.", also=["algorithm", "lb_policy", "load_balancing", "policy", "lb"]),
    ] = "round_robin"
    targets: Annotated[
        Annotated[list[Annotated[Target, Meta(extra={"kind": "target"})]], Meta(min_length=1)],
        about(
            'The servers: `{ host = "127.0.0.1", port = 5000 }`, `"127.0.0.1:5000"`, `"https://api.example.com"`, '
            '`"unix:/run/app.sock"`.',
            examples=[[{"host": "127.0.0.1", "port": 5000}], ["https://api.example.com", "unix:/run/app.sock"]],
            also=["servers", "server", "endpoints", "nodes", "hosts", "url", "target", "address", "backends"],
        ),
    ]
    tls: Annotated[
        UpstreamTLS | None, about("How targets are spoken to over TLS.", examples=[{"ca": "ca.pem"}], also=["ssl"])
    ] = None
    pool: Annotated[Pool, about("Connections that are kept.", also=["keepalive", "connection_pool"])] = field(
        default_factory=Pool
    )


# --- the whole -------------------------------------------------------------------------------------------------------


class GatewayConfig(Table, frozen=True, kw_only=True):
    """A whole configuration."""

    gateway: Annotated[
        GatewayTable, about("The process and its limits.", also=["server", "http", "global", "listen"])
    ] = field(default_factory=GatewayTable)
    plugins: Annotated[list[Plugin], about("Policies of your own.", also=["policies", "filters"])] = []
    defaults: Annotated[Defaults, about("For every route that does not set the key itself.")] = field(
        default_factory=Defaults
    )
    routes: Annotated[list[Route], about("Which requests go where.", also=["route", "locations"])] = []
    upstreams: Annotated[
        dict[Text, Upstream],
        about("The servers behind the gateway.", also=["upstream", "services", "clusters", "backends"]),
    ] = {}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> "GatewayConfig":
        """The configuration that a plain dict describes. ``environ`` is used for references, default ``os.environ``.

        Raises `ConfigError` with every problem at once.
        """
        from fastgate.config.load import load_dict

        return load_dict(data, environ)

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, environ: Mapping[str, str] | None = None) -> "GatewayConfig":
        """The configuration in a TOML, JSON or YAML file, by its suffix. Relative paths in it start at its folder.

        Raises `ConfigError` with every problem at once, each with its line.
        """
        from fastgate.config.load import load_file

        return load_file(path, environ)
