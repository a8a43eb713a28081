"""The keys of ``[upstreams.NAME]``: targets, how one is chosen, and when one is left out."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import (
    Cause,
    Count,
    Duration,
    HeaderSecret,
    Path,
    Positive,
    ProbeHeader,
    ProbeHost,
    ProbePath,
    Resolver,
    ServerName,
    Share,
    Status,
    Wait,
    about,
)
from fastgate.config.schema.request_key import LimitKeys
from fastgate.config.schema.table import Table

CAUSES = ["connect", "reset", "timeout", "5xx"]

Causes = Annotated[list[Cause], Meta(min_length=1)]
CAUSES_TEXT = (
    "`connect` (no connection), `reset` (the connection ended before a response head), `timeout` (no head in time), "
    '`5xx`, `4xx`, or a status such as `"503"`.'
)


class Target(Table, frozen=True, kw_only=True):
    """One server.

    A table, or `"127.0.0.1:5000"`, `"https://api.example.com"`, `"[::1]:80"`, `"unix:/run/app.sock"`, or
    `"srv:_http._tcp.example.com"`: the servers that this SRV record names, with their ports and weights.
    """

    host: Annotated[
        Annotated[str, Meta(extra={"kind": "host"})],
        about("A name or an IP address.", examples=["127.0.0.1"], also=["address", "ip", "url", "hostname"]),
    ]
    port: Annotated[Annotated[int, Meta(ge=0, le=65535)], about("Its port.", examples=[5000], low=1)]
    weight: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        about("Its share of the requests, relative to the weights of the others. `round_robin` ignores it."),
    ] = 1
    backup: Annotated[
        bool,
        about(
            "Used only while no other target can be, and for the next try of a request that has failed on all others."
        ),
    ] = False
    unix: Annotated[str, about("Path of a Unix socket.", internal=True)] = ""
    srv: Annotated[str, about("Name of an SRV record; host and port are empty then.", internal=True)] = ""
    tls: Annotated[bool, about("Whether the gateway uses TLS to the target.", internal=True)] = False


class UpstreamTLS(Table, frozen=True, kw_only=True):
    """TLS to the targets.

    A target with a scheme follows its scheme; the other targets use TLS if this table exists.
    """

    verify: Annotated[
        bool,
        about(
            "Verify the certificate of the target and its name. `false` accepts every server.",
            also=["ssl_verify", "tls_verify", "proxy_ssl_verify"],
        ),
    ] = True
    ca: Annotated[
        Path,
        about(
            "PEM file with the authorities to trust. Absent: the authorities of the system.",
            examples=["ca.pem"],
            also=["ca_file"],
        ),
    ] = ""
    cert: Annotated[
        Path,
        about("PEM file with the certificate that the gateway sends.", examples=["client.pem"], also=["client_cert"]),
    ] = ""
    key: Annotated[Path, about("PEM file with its private key.", examples=["client.key"], also=["client_key"])] = ""
    server_name: Annotated[
        ServerName,
        about(
            "The server name that the gateway requests (SNI) and verifies. Absent: the host of the target.",
            examples=["api.example.com"],
            also=["sni"],
        ),
    ] = ""


class Pool(Table, frozen=True, kw_only=True):
    """Connections to each target that are kept for further requests.

    The numbers are for the whole host; the workers share them.
    """

    max_connections: Annotated[
        Count,
        about(
            "The most connections to one target; further requests wait in the queue. 0: only the limit of open files "
            "applies. With a limit, one client that sends or reads slowly can hold all connections: limit clients too, "
            "with `concurrency` by `client_ip`.",
            also=["max_conns"],
        ),
    ] = 0
    max_idle: Annotated[
        Count,
        about(
            "The most idle connections that are kept. 0 means no limit: each is kept until it was idle for "
            "`idle_timeout`.",
            also=["keepalive", "max_idle_conns"],
        ),
    ] = 0
    idle_timeout: Annotated[
        Wait,
        about(
            "How long an idle connection is kept. Set less than the limit of the target (uvicorn and Node close after "
            "5 s); `Keep-Alive: timeout=N` of an upstream makes it N−1 seconds.",
            also=["keepalive_timeout"],
        ),
    ] = 4.0
    max_requests: Annotated[
        Count,
        about(
            "Requests on one connection before the gateway closes it. 0 means no limit.", also=["keepalive_requests"]
        ),
    ] = 0
    queue: Annotated[
        Count,
        about(
            "Requests that may wait for a connection to a target with `max_connections`; further ones get 503.",
            also=["max_pending_requests"],
        ),
    ] = 128
    queue_timeout: Annotated[Wait, about("How long a request may wait; then 503.")] = 1.0


class DNS(Table, frozen=True, kw_only=True):
    """How the gateway resolves names of targets, in the background: a request waits at most for the first answer."""

    refresh: Annotated[
        Wait,
        about(
            "How often the gateway looks up a name again; earlier if its record has a shorter TTL.",
            also=["interval", "ttl", "valid", "resolver_timeout"],
        ),
    ] = 30.0
    stale: Annotated[
        Duration,
        about("How long the last good answer is used while lookups fail; after that the name has no address."),
    ] = 3600.0
    family: Annotated[
        Literal["auto", "ipv4", "ipv6", "both"],
        about(
            "Which addresses are used. `auto`: the IPv4 addresses if there are any, else IPv6.",
            also=["ip_family", "dns_lookup_family"],
        ),
    ] = "auto"
    server: Annotated[
        Resolver,
        about(
            "The name server, as `ip` or `ip:port`. Requests wait for its first answer, for `timeouts.connect`. "
            "Absent: the resolver of the system. This, and SRV records, need `pip install 'fastgate[dns]'`.",
            examples=["10.0.0.2:53"],
            also=["resolver", "nameserver", "nameservers", "resolvers"],
        ),
    ] = ""


class ActiveHealth(Table, frozen=True, kw_only=True):
    """Probes that the supervisor sends to every target, over separate connections.

    The first result counts at once. A target that has not been probed yet is used.
    """

    type: Annotated[
        Literal["http", "tcp"],
        about(
            "`http` sends GET requests, over TLS if the target uses TLS; `tcp` only connects.",
            also=["protocol", "mode"],
        ),
    ] = "http"
    path: Annotated[
        ProbePath,
        about(
            "The path that `http` probes request; it may have a query.",
            examples=["/healthz"],
            also=["uri", "url", "http_path"],
        ),
    ] = "/"
    interval: Annotated[Wait, about("From one probe of a target to the next.", also=["period", "inter"])] = 5.0
    jitter: Annotated[
        Share, about("The share by which each interval is made longer or shorter, so that probes do not coincide.")
    ] = 0.1
    timeout: Annotated[Wait, about("The longest time for a whole probe.")] = 2.0
    healthy: Annotated[
        Positive,
        about("Good probes in a row after which a target is used again.", also=["rise", "passes", "healthy_threshold"]),
    ] = 2
    unhealthy: Annotated[
        Positive,
        about(
            "Bad probes in a row after which a target is no longer used.", also=["fall", "fails", "unhealthy_threshold"]
        ),
    ] = 3
    status: Annotated[
        Annotated[list[Status], Meta(min_length=1)],
        about(
            'The statuses of a good answer: `"2xx"`, `"204"`.',
            also=["statuses", "expected_statuses", "expect", "http_statuses", "codes"],
        ),
    ] = field(default_factory=lambda: ["2xx", "3xx"])
    body: Annotated[
        Annotated[str, Meta(max_length=1024)],
        about("Text that a good answer must have in its first 64 KB.", examples=["ok"], also=["match", "contains"]),
    ] = ""
    host: Annotated[
        ProbeHost,
        about("The `Host` of probes. Absent: that of the target.", examples=["health.example.com"], also=["hostname"]),
    ] = ""
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)], about("Another port to probe. 0: the port of the target.")
    ] = 0
    headers: Annotated[
        dict[ProbeHeader, HeaderSecret],
        about(
            'Additional fields of probes. A value may be `{ env = "NAME" }` or `{ file = "path" }`.',
            examples=[{"x-probe": "fastgate"}],
            also=["request_headers", "header"],
        ),
    ] = field(default_factory=dict)


class PassiveHealth(Table, frozen=True, kw_only=True):
    """Ejects targets whose requests fail: they get no requests for a while. All workers share the count."""

    failures: Annotated[
        Positive,
        about(
            "Failed tries in a row that eject a target.",
            also=["max_fails", "fails", "consecutive_5xx", "consecutive_errors", "unhealthy"],
        ),
    ] = 5
    window: Annotated[Wait, about("The time within which they must occur.", also=["interval", "fail_duration"])] = 10.0
    eject: Annotated[
        Wait,
        about(
            "The length of the first ejection, and how much longer each further one is.",
            also=["fail_timeout", "ejection_time", "base_ejection_time", "duration"],
        ),
    ] = 30.0
    max_eject: Annotated[Wait, about("The longest ejection.", also=["max_ejection_time"])] = 300.0
    max_ejected: Annotated[
        Share,
        about(
            "Share of the targets that may be ejected at once, rounded down: with 0.5, a single target is never "
            "ejected.",
            also=["max_ejection_percent"],
        ),
    ] = 0.5
    on: Annotated[
        Causes, about(f"What counts as failed: {CAUSES_TEXT}", examples=[CAUSES], also=["errors", "statuses"])
    ] = field(default_factory=lambda: list(CAUSES))

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.max_eject < self.eject:
            yield ("max_eject",), "is shorter than eject"


class Health(Table, frozen=True, kw_only=True):
    """Which targets are used. Absent: all."""

    active: Annotated[
        ActiveHealth | None,
        about("Probes of the targets.", examples=[{"path": "/healthz"}], also=["check", "probe", "http"]),
    ] = None
    passive: Annotated[
        PassiveHealth | None,
        about(
            "Failures of requests that eject a target.",
            examples=[{"failures": 5}],
            also=["outlier_detection", "outlier"],
        ),
    ] = None


class Breaker(Table, frozen=True, kw_only=True):
    """Stops requests to what fails: open for a while (503 with `Retry-After`), then half-open, then closed again."""

    scope: Annotated[
        Literal["upstream", "target"],
        about(
            "One breaker for the upstream, or one for each target; then only the target whose breaker is open gets "
            "no requests."
        ),
    ] = "upstream"
    failures: Annotated[
        Count,
        about(
            "Failed tries in a row that open the breaker. 0 switches this rule off.",
            also=["threshold", "max_failures", "consecutive_failures", "fails"],
        ),
    ] = 5
    ratio: Annotated[
        Share,
        about(
            "Share of failed tries in `window` that opens the breaker. 0 switches this rule off.",
            also=["failure_ratio"],
        ),
    ] = 0.5
    min_requests: Annotated[
        Positive,
        about("The fewest tries in `window` for which `ratio` applies.", also=["min_samples", "volume", "minimum"]),
    ] = 20
    window: Annotated[Wait, about("The time over which `ratio` is computed.", also=["interval", "period"])] = 10.0
    open: Annotated[
        Wait,
        about("How long the breaker stays open.", also=["timeout", "break_duration", "sleep_window", "duration"]),
    ] = 30.0
    half_open: Annotated[
        Positive,
        about(
            "How many requests the half-open breaker lets through at a time, and how many must succeed in a row to "
            "close it.",
            also=["half_open_requests", "probes", "max_requests"],
        ),
    ] = 1
    recovery: Annotated[
        Duration,
        about("The time over which requests return gradually after that. 0: all at once.", also=["recovery_duration"]),
    ] = 0.0
    on: Annotated[Causes, about(f"What counts as failed: {CAUSES_TEXT}", examples=[CAUSES], also=["errors"])] = field(
        default_factory=lambda: list(CAUSES)
    )

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.failures == 0 and self.ratio == 0:
            yield ("ratio",), "failures and ratio are both 0, so the breaker never opens"


class Upstream(Table, frozen=True, kw_only=True):
    """Servers that give the same answers, under one name."""

    balancer: Annotated[
        Literal[
            "round_robin",
            "weighted_round_robin",
            "least_connections",
            "ip_hash",
            "random",
            "power_of_two",
            "consistent_hash",
        ],
        about(
            "How the gateway chooses a target. `round_robin`: in turn. `weighted_round_robin`: in turn, by weight, "
            "evenly mixed. `least_connections`: the one with the fewest requests in flight for its weight. `ip_hash`: "
            "by the address of the client. `random`: by weight. `power_of_two`: of two random ones the one with fewer "
            "requests in flight. `consistent_hash`: by `hash_key` on a ring, so that few clients move when targets "
            "come and go.",
            also=["algorithm", "lb_policy", "load_balancing", "policy", "lb"],
        ),
    ] = "round_robin"
    hash_key: Annotated[
        LimitKeys,
        about(
            "The key of `ip_hash` and `consistent_hash`: a key as of a limit, or a list of them. Requests without the "
            "field go to a random target.",
            examples=["header:x-user"],
            single=True,
            also=["hash_on", "hash", "hash_policy", "key"],
        ),
    ] = field(default_factory=lambda: ["client_ip"])
    load_bound: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        about(
            "With `consistent_hash`: how far the requests in flight of a target may be above the average before the "
            "gateway uses the next target on the ring. 0 means no bound, else more than 1.",
            also=["hash_balance_factor", "bound", "balance_factor"],
        ),
    ] = 1.25
    targets: Annotated[
        Annotated[list[Annotated[Target, Meta(extra={"kind": "target"})]], Meta(min_length=1)],
        about(
            'The servers: `{ host = "127.0.0.1", port = 5000, weight = 2 }`, `"127.0.0.1:5000"`, '
            '`"https://api.example.com"`, `"unix:/run/app.sock"`, `"srv:_http._tcp.example.com"`.',
            examples=[[{"host": "127.0.0.1", "port": 5000}], ["https://api.example.com", "unix:/run/app.sock"]],
            also=["servers", "server", "endpoints", "nodes", "hosts", "url", "target", "address", "backends"],
        ),
    ]
    tls: Annotated[UpstreamTLS | None, about("TLS to the targets.", examples=[{"ca": "ca.pem"}], also=["ssl"])] = None
    pool: Annotated[Pool, about("The connections that are kept.", also=["keepalive", "connection_pool"])] = field(
        default_factory=Pool
    )
    dns: Annotated[
        DNS, about("How the gateway resolves the names of targets.", examples=[{"refresh": "10s"}], also=["resolver"])
    ] = field(default_factory=DNS)
    health: Annotated[
        Health,
        about(
            "Which targets are used.",
            examples=[{"active": {"path": "/healthz"}, "passive": {"failures": 5}}],
            also=["health_check", "healthcheck", "checks", "health_checks"],
        ),
    ] = field(default_factory=Health)
    breaker: Annotated[
        Breaker | None,
        about(
            "Stops requests to an upstream, or a target, that fails. Absent: never.",
            examples=[{"failures": 5, "open": "10s"}],
            also=["circuit_breaker", "circuit_breakers", "circuitbreaker"],
        ),
    ] = None
    slow_start: Annotated[
        Duration,
        about(
            "The time over which a target that comes back gets its full share. 0: at once.",
            also=["slowstart", "slow_start_config", "warmup"],
        ),
    ] = 0.0
    panic_threshold: Annotated[
        Share,
        about(
            "Below this share of usable targets the gateway also uses ejected targets, so that the remaining ones are "
            "not overloaded. It uses targets that a probe says are down only when all are down. 0: it uses neither and "
            "answers 503.",
            also=["healthy_panic_threshold"],
        ),
    ] = 0.5
    panic_over_probes: Annotated[
        bool,
        about(
            "Below `panic_threshold`, also use the targets that a probe says are down.",
            also=["fail_open", "panic_mode", "fail_traffic_on_panic"],
        ),
    ] = False

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if 0 < self.load_bound <= 1:
            yield ("load_bound",), f"must be more than 1, or 0 for no bound, got {self.load_bound:g}"
        if self.targets and all(target.backup for target in self.targets):
            yield ("targets",), "are all backups: at least one must not be"
