"""The keys of ``[[routes]]`` and ``[defaults]``: which requests, what is done with them, and who answers."""

import re
import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.answers import Redirect, Respond
from fastgate.config.schema.auth import AuthKey, PublicKey
from fastgate.config.schema.cache import CacheKey
from fastgate.config.schema.compression import CompressionKey
from fastgate.config.schema.concurrency import ConcurrencyKey
from fastgate.config.schema.cors import CORSKey
from fastgate.config.schema.envelope import EnvelopeKey
from fastgate.config.schema.header_edits import HeaderEdits, RequestHeadersKey, ResponseHeadersKey
from fastgate.config.schema.ip import IPKey
from fastgate.config.schema.kinds import (
    Cause,
    Day,
    Duration,
    HeaderCondition,
    HeaderName,
    HostHeader,
    HostPattern,
    Method,
    PathPattern,
    Protocol,
    QueryCondition,
    Size,
    Text,
    Wait,
    about,
)
from fastgate.config.schema.maintenance import MaintenanceKey
from fastgate.config.schema.mirror import Mirror
from fastgate.config.schema.path_edits import AddPrefixKey, RewriteKey, StripPrefixKey
from fastgate.config.schema.plugin_hooks import PoliciesKey
from fastgate.config.schema.rate_limit import RateLimitKey, limit_names
from fastgate.config.schema.request_body import (
    CHECKED_BODY,
    BodySchemaKey,
    BufferRequestKey,
    ContentTypesKey,
    MaxBodyKey,
    content_type_faults,
)
from fastgate.config.schema.retry import Retry, RetryKey
from fastgate.config.schema.security_headers import SecurityHeadersKey
from fastgate.config.schema.split import Split
from fastgate.config.schema.table import Table
from fastgate.config.syntax.addresses import check_authority
from fastgate.config.syntax.units import parse_day


class Timeouts(Table, frozen=True, kw_only=True):
    """How long each part of an exchange with an upstream may take."""

    connect: Annotated[
        Wait, about("Until the connection is established, TLS included; then 502.", also=["proxy_connect_timeout"])
    ] = 2.0
    read: Annotated[
        Wait,
        about(
            "From the last byte of the request to the response head; then 504.", also=["proxy_read_timeout", "response"]
        ),
    ] = 60.0
    write: Annotated[
        Wait, about("How long a peer may accept no data while the gateway has data for it.", also=["send"])
    ] = 60.0
    idle: Annotated[Wait, about("Between two reads of a response body or of a tunnel.", also=["stream"])] = 300.0
    total: Annotated[
        Duration, about("The whole exchange; then 504. 0 means no limit.", also=["timeout", "request", "overall"])
    ] = 0.0


EncodedBackslashKey = Annotated[
    Literal["refuse", "keep"],
    about(
        "What happens to a path with an encoded backslash, `/users/CORP%5Cann`: `refuse` answers 400, `keep` matches "
        "and forwards it unchanged. Windows servers read it as a slash: use `keep` only if the upstream treats it as a "
        "character of a name.",
        policy=True,
        also=["allow_encoded_backslash", "encoded_backslashes", "path_with_escaped_slashes_action"],
    ),
]


HostHeaderKey = Annotated[
    HostHeader,
    about(
        "The `Host` that is forwarded: `upstream` is the name of the target, `client` is what the client sent, any "
        "other value is sent as it is written.",
        examples=["client"],
        policy=True,
        also=["preserve_host", "host_rewrite", "host_rewrite_literal"],
    ),
]


TimeoutsKey = Annotated[
    Timeouts,
    about(
        "How long each part may take. A part that is not set has the value below.",
        examples=[{"read": "10m"}],
        policy=True,
        also=["timeout"],
    ),
]


MinRateKey = Annotated[
    Size | None,
    about(
        "As `gateway.min_rate`, for this route. Absent: `gateway.min_rate`. 0 means no minimum.",
        policy=True,
        also=["min_data_rate"],
    ),
]


HalfCloseKey = Annotated[
    Literal["cancel", "serve"],
    about(
        "What happens when a client has sent the whole request, shuts down its sending side and waits: `cancel` treats "
        "it as a client that has left, `serve` sends it the answer. Connections with TLS are always cancelled.",
        policy=True,
        also=["abortonclose", "proxy_ignore_client_abort"],
    ),
]

TrailersKey = Annotated[
    bool,
    about(
        "Forward the fields that a client sends behind a body in chunks, without those that RFC 9110 section 6.5.1 "
        "forbids. `false` drops them. Trailers of responses go to every client that sends `TE: trailers`.",
        policy=True,
        also=["proxy_pass_trailers", "enable_trailers"],
    ),
]


UpgradesKey = Annotated[
    list[Protocol],
    about(
        "Protocols that a connection may be upgraded to. `false` or `[]` allows none; `h2c` is not allowed.",
        policy=True,
        off=(),
        also=["upgrade", "websocket", "upgrade_configs"],
    ),
]


class Deprecation(Table, frozen=True, kw_only=True):
    """What every answer of a route says of its end, refusals too."""

    since: Annotated[
        Day,
        about("From when on it is not to be used any more: `Deprecation`.", examples=["2026-01-01"], also=["date"]),
    ]
    sunset: Annotated[
        Day,
        about("When it is likely to stop answering: `Sunset`.", examples=["2099-01-01"], also=["until", "removed"]),
    ] = ""
    link: Annotated[
        str,
        about(
            "A page that says what to use instead: `Link` with `rel=\"deprecation\"`, and with a `sunset` also "
            "`rel=\"sunset\"`.",
            examples=["https://example.com/v2"],
            also=["url", "docs", "info"],
        ),
    ] = ""

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        link: Any = self.link
        if isinstance(link, str) and link and not _LINKED.fullmatch(link):
            yield ("link",), 'expected a URL such as "https://example.com/v2", percent-encoded'
        if self.sunset and self.sunset < self.since:
            yield ("sunset",), "is before since: it cannot end before it is deprecated"

    def warnings(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.warnings`."""
        if self.sunset and parse_day(self.sunset) <= time.time():
            yield ("sunset",), "is in the past: clients take this route for one that is gone"


_LINKED = re.compile(r"https?://[!#-;=?-~]+")


DeprecationKey = Annotated[
    Deprecation | None,
    about(
        "A route that is to end: its answers say since when, until when, and where to read about it.",
        examples=[{"since": "2026-01-01", "sunset": "2099-01-01"}],
        policy=True,
        also=["deprecated", "sunset"],
    ),
]


class FaultInjection(Table, frozen=True, kw_only=True):
    """Faults for tests of clients: a share of the requests waits, is answered with an error, or both."""

    delay: Annotated[
        Duration,
        about("How long a request waits before it goes on.", examples=["100ms"], also=["latency", "fixed_delay"]),
    ] = 0.0
    abort: Annotated[
        Annotated[int, Meta(ge=400, le=599)] | None,
        about(
            "The status of the error. Absent: the request goes on.",
            examples=[503],
            also=["status", "http_status", "code"],
        ),
    ] = None
    percent: Annotated[
        Annotated[float, Meta(ge=0, le=100)],
        about("How many of a hundred requests, by chance.", examples=[5], also=["percentage", "share", "rate"]),
    ] = 100.0

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.delay == 0 and self.abort is None:
            yield (), "injects nothing: give delay, abort or both"

    def warnings(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.warnings`."""
        yield (), "injects faults; remove it before production"


FaultInjectionKey = Annotated[
    FaultInjection | None,
    about(
        "Faults for tests of clients: a share of the requests waits, or is answered with an error.",
        examples=[{"delay": "100ms", "abort": 503, "percent": 5}],
        policy=True,
        also=["fault", "faults", "fault_filter", "chaos"],
    ),
]


class Fallback(Respond, frozen=True, kw_only=True):
    """An answer in the place of an upstream that fails, when the tries of `retry` are spent.

    A route without an upstream has no use for it.
    """

    on: Annotated[
        Annotated[list[Cause], Meta(min_length=1)],
        about(
            "What is replaced: `connect` (no connection, or no target that may be asked), `reset` (no whole "
            'and well-formed response head), `timeout` (none in time), `5xx`, `4xx`, or a status such as `"503"`.',
            examples=[["connect", "timeout"]],
            also=["when", "conditions", "statuses"],
        ),
    ] = field(default_factory=lambda: ["5xx", "connect", "reset", "timeout"])


FallbackKey = Annotated[
    Fallback | None,
    about(
        "An answer in the place of an upstream that fails.",
        examples=[{"status": 200, "body": "[]"}],
        policy=True,
        also=["fallback_response", "error_page", "proxy_intercept_errors", "backup_response"],
    ),
]


class PolicyKeys(Table, frozen=True, kw_only=True):
    """The policies for requests that match a route. Each key can also be set in `[defaults]`."""

    # One line a key; its type, beside the table that it is, says what it means. First those of the policies, in the
    # order in which a request meets them.

    # Defaults that are tables are one frozen object for every route: what is that object is left out of messages, and
    # ten thousand routes neither carry nor make it ten thousand times.

    maintenance: MaintenanceKey = None
    ip: IPKey = None
    cors: CORSKey = None
    rate_limit: RateLimitKey = field(default_factory=list)
    concurrency: ConcurrencyKey = None
    auth: AuthKey = None
    public: PublicKey = False
    fault_injection: FaultInjectionKey = None
    content_types: ContentTypesKey = field(default_factory=list)
    body_schema: BodySchemaKey = None
    policies: PoliciesKey = field(default_factory=list)
    strip_prefix: StripPrefixKey = ""
    add_prefix: AddPrefixKey = ""
    rewrite: RewriteKey = None
    request_headers: RequestHeadersKey = None
    response_headers: ResponseHeadersKey = None
    fallback: FallbackKey = None
    cache: CacheKey = None
    envelope: EnvelopeKey = None
    compression: CompressionKey = None
    deprecation: DeprecationKey = None
    security_headers: SecurityHeadersKey = None
    encoded_backslash: EncodedBackslashKey = "refuse"
    host_header: HostHeaderKey = "upstream"
    retry: RetryKey = Retry(attempts=2)
    timeouts: TimeoutsKey = Timeouts()
    max_body: MaxBodyKey = None
    min_rate: MinRateKey = None
    half_close: HalfCloseKey = "cancel"
    buffer_request: BufferRequestKey = False
    trailers: TrailersKey = False
    upgrades: UpgradesKey = field(default_factory=lambda: ["websocket"])

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        yield from content_type_faults(self.content_types)
        yield from self._host_faults()
        names = limit_names(list(self.rate_limit))
        for number, name in enumerate(names):
            if name in names[:number]:
                yield ("rate_limit", number, "name"), f"{quote(name)} is already the name of another limit here"

    def _host_faults(self) -> Iterator[tuple[PathKeys, str]]:
        """Host is set at one place, and only of requests."""
        for key in ("request_headers", "response_headers"):
            edits = getattr(self, key)
            if not isinstance(edits, HeaderEdits) or not isinstance(edits.set, dict):
                continue
            for name, value in edits.set.items():
                if name.lower() != "host" or not isinstance(value, str):
                    continue
                if key == "response_headers":
                    yield (key, "set", name), "is not a response field; set it in request_headers"
                elif self.host_header != "upstream":
                    yield (key, "set", name), "is also set by host_header: remove one of them"
                elif "{" not in value:
                    try:
                        check_authority(value)
                    except ValueError as error:
                        yield (key, "set", name), str(error)


class Route(PolicyKeys, frozen=True, kw_only=True):
    """Which requests go where.

    Of the routes that match, the one with the higher `priority` wins; then the one with the more specific host (exact,
    then the longer wildcard, then any); then the more specific path, segment by segment from the left (literal, then
    `{parameter}`, then the rest of the path; regular expressions last); then the one with methods; then the one with
    more header and more query conditions; then the first in the file.

    A route has exactly one of `upstream`, `split`, `respond` and `redirect`.
    """

    one_of: ClassVar[tuple[str, ...]] = ("upstream", "split", "respond", "redirect")

    name: Annotated[
        Text, about("The name of the route in logs and metrics. It must be unique.", examples=["api"], also=["id"])
    ]
    path: Annotated[
        PathPattern,
        about(
            'Paths that match: `"/exact"`, `"/users/{id}"` (one segment), `"/files/{path*}"` (the rest, which may be '
            'empty), `"/api/*"` (a prefix on a segment border, `/api` too), `"~^/v[0-9]+/.*$"` (a regular expression '
            "for the whole path). The gateway normalises the path first.",
            examples=["/api/*"],
            also=["uri", "url", "location", "match", "paths", "prefix", "uris", "pattern"],
        ),
    ]
    methods: Annotated[
        Annotated[list[Method], Meta(min_length=1)],
        about(
            "Methods that match. Absent: all but CONNECT and TRACE. GET includes HEAD.",
            examples=[["GET", "POST"]],
            also=["verbs"],
        ),
    ] = field(default_factory=list)
    hosts: Annotated[
        Annotated[list[HostPattern], Meta(min_length=1)],
        about(
            "Hosts that match, without a port. Absent: all. `*.example.com` is every name below it.",
            examples=[["api.example.com", "*.example.com"]],
            also=["domains", "server_name", "domain"],
        ),
    ] = field(default_factory=list)
    headers: Annotated[
        dict[HeaderName, HeaderCondition],
        about(
            'Fields that the request must have: a value, `"*"` (present), or `"~regex"`, a regular expression for the '
            "whole value.",
            examples=[{"x-version": "2"}],
        ),
    ] = field(default_factory=dict)
    query: Annotated[
        dict[str, QueryCondition],
        about(
            'Query parameters that the request must have: a value, `"*"` (present), or `"~regex"`, a regular '
            "expression for the whole value, percent-decoded.",
            examples=[{"debug": "*"}],
            also=["params", "query_parameters", "args"],
        ),
    ] = field(default_factory=dict)
    priority: Annotated[
        Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
        about(
            "The route with the higher priority wins, before anything else is compared.",
            also=["regex_priority", "weight"],
        ),
    ] = 0
    upstream: Annotated[
        Text,
        about(
            "The name of the upstream that answers.",
            examples=["backend"],
            also=["service", "cluster", "proxy_pass", "backend", "upstreams", "target", "upstream_id"],
        ),
    ] = ""
    split: Annotated[
        Annotated[list[Split], Meta(min_length=1, max_length=64)],
        about(
            "Several upstreams that share the requests by weight.",
            examples=[[{"upstream": "stable", "weight": 95}, {"upstream": "canary", "weight": 5}]],
            also=["weighted_clusters", "traffic_split", "split_clients", "canary", "weighted"],
        ),
    ] = field(default_factory=list)
    respond: Annotated[
        Respond | None,
        about(
            "An answer that needs no upstream.",
            examples=[{"status": 200, "body": "ok\n"}],
            also=["return", "response", "direct_response", "static_response", "answer"],
        ),
    ] = None
    redirect: Annotated[
        Redirect | None,
        about(
            "An answer that redirects the client to another URL.",
            examples=[{"to": "https://{host}{path}"}],
            also=["redir", "redirects", "redirect_to"],
        ),
    ] = None
    mirror: Annotated[
        Mirror | None,
        about(
            "Copies of the requests for another upstream. Only with `upstream` or `split`.",
            examples=[{"upstream": "shadow", "sample": 0.1}],
            also=["shadow", "request_mirror_policies", "mirroring", "traffic_mirror"],
        ),
    ] = None

    def body_limit(self, general: int) -> int:
        """The largest request body in bytes, 0 for no limit; ``general`` is that of the gateway."""
        if self.max_body is not None:
            return self.max_body
        if self.body_schema:
            return min(general, CHECKED_BODY) or CHECKED_BODY
        return general

    def upstreams(self) -> list[str]:
        """The names of the upstreams that may answer, without a mirror's."""
        return [self.upstream] if self.upstream else [part.upstream for part in self.split]

    def sticky(self) -> str:
        """What keeps a client on one side of `split`; empty where each request is drawn anew."""
        return next((part.sticky for part in self.split if part.sticky), "")

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        yield from super().faults()
        if self.split and all(part.weight == 0 for part in self.split):
            yield ("split",), "has only weights of 0: at least one must be larger"
        yield from self._split_faults()
        if self.mirror and (self.respond or self.redirect):
            yield ("mirror",), "copies requests to an upstream, but this route has no upstream"

    def _split_faults(self) -> Iterator[tuple[PathKeys, str]]:
        seen: set[str] = set()
        agreed = ""
        for number, part in enumerate(self.split):
            if part.upstream in seen:
                yield ("split", number, "upstream"), f"{quote(part.upstream)} is listed twice: give it one weight"
            if part.upstream:
                seen.add(part.upstream)
            if agreed and part.sticky and part.sticky != agreed:
                yield (
                    ("split", number, "sticky"),
                    f"differs from {quote(agreed)} above: all parts of a split share one sticky key",
                )
            agreed = agreed or part.sticky


class Defaults(PolicyKeys, frozen=True, kw_only=True):
    """Keys for every route that does not set them itself.

    A key of a route replaces the whole default; nothing is merged. `false` on the route switches the default off.
    """
