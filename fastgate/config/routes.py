"""The keys of ``[[routes]]`` and ``[defaults]``: which requests, what is done with them, and who answers."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from fastgate.config.access import (
    BodySchemaKey,
    ContentTypesKey,
    IPKey,
    MaintenanceKey,
    content_type_faults,
)
from fastgate.config.addresses import check_authority
from fastgate.config.auth import AuthKey, PublicKey
from fastgate.config.bodies import CompressionKey, EnvelopeKey
from fastgate.config.browser import CORSKey, SecurityHeadersKey
from fastgate.config.errors import PathKeys, quote
from fastgate.config.kinds import (
    AnswerHeader,
    Cause,
    Duration,
    EditedHeader,
    Expression,
    HeaderCondition,
    HeaderName,
    HeaderTemplate,
    HeaderValue,
    HostHeader,
    HostPattern,
    Method,
    PathPattern,
    PathPrefix,
    Protocol,
    QueryCondition,
    RedirectTarget,
    SetHeader,
    Share,
    Size,
    StickyKey,
    Text,
    Wait,
    about,
)
from fastgate.config.limits import ConcurrencyKey, RateLimitKey, limit_names
from fastgate.config.table import Table

CHECKED_BODY = 1024 * 1024
"""The largest request body that is checked by a schema, in bytes, where nothing is said of it."""


class HeaderEdits(Table, frozen=True, kw_only=True):
    """Changes to header fields, in the order remove, set, add.

    Values may use `{client_ip}`, `{request_id}`, `{host}`, `{path}`, `{param.NAME}`, `{key.id}` (who was
    authenticated) and `{claim.NAME}`; `{{` is a literal brace. A
    value may be `{ env = "NAME" }` or `{ file = "path" }`.
    """

    set: Annotated[
        dict[SetHeader, HeaderTemplate],
        about(
            "Fields that have exactly this value, whatever was there, also where the gateway sends them itself. In "
            "`request_headers` Host may be among them.",
            examples=[{"x-client": "{client_ip}"}],
        ),
    ] = field(default_factory=dict)
    add: Annotated[
        dict[EditedHeader, HeaderTemplate | list[HeaderTemplate]],
        about("Fields that are added to those there; a list adds several.", examples=[{"x-tag": ["a", "b"]}]),
    ] = field(default_factory=dict)
    remove: Annotated[
        list[EditedHeader],
        about(
            "Fields that are taken away; the gateway does not send them either.",
            examples=[["x-internal"]],
            also=["delete", "unset"],
        ),
    ] = field(default_factory=list)


class Rewrite(Table, frozen=True, kw_only=True):
    """The path's new form, by a regular expression."""

    pattern: Annotated[
        Expression,
        about(
            "A regular expression that is searched in the path, percent-encoded as it was matched; the first match is "
            "replaced. No match leaves the path as it is.",
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


class Hedge(Table, frozen=True, kw_only=True):
    """A second try beside a slow one; the first answer wins and the other is dropped."""

    delay: Annotated[
        Wait,
        about("How long a try may be without an answer before another is sent.", examples=["200ms"], also=["after"]),
    ]


class Retry(Table, frozen=True, kw_only=True):
    """What is tried again, each time on another target.

    Only while nothing has been answered and the request's body can be sent once more: there is none, or it is buffered.
    """

    attempts: Annotated[
        Annotated[int, Meta(ge=1, le=10)],
        about(
            "Tries in all, the first among them. Without a `retry` table: 2, on `connect` and `reset`; with "
            "`retry = false`: 1.",
            also=["retries", "max_retries", "max", "num_retries", "tries", "count"],
        ),
    ] = 3
    on: Annotated[
        Annotated[list[Cause], Meta(min_length=1)],
        about(
            "What is tried again: `connect` (no connection; any method), and for idempotent methods `reset` (it ended "
            'before a response head), `timeout` (no head in time), `5xx`, `4xx`, or a status such as `"503"`.',
            examples=[["connect", "reset", "5xx"]],
            also=["retry_on", "when", "conditions", "statuses", "proxy_next_upstream"],
        ),
    ] = field(default_factory=lambda: ["connect", "reset"])
    backoff: Annotated[
        Duration,
        about("How long the first wait is; each one after it is twice as long.", also=["delay", "base_interval"]),
    ] = 0.025
    max_backoff: Annotated[Duration, about("The longest wait.", also=["max_interval", "max_delay"])] = 1.0
    jitter: Annotated[
        Literal["full", "none"],
        about("`full`: each wait is a random part of its length, so that clients that failed together come apart."),
    ] = "full"
    budget: Annotated[
        Annotated[float, Meta(ge=0, le=10)],
        about(
            "How much of a retry each first try pays for, counted for the whole upstream over all workers: 0.2 is one "
            "in five. Three are there to begin with. Keeps retries from multiplying what an upstream in trouble gets.",
            also=["retry_budget", "budget_percent", "ratio"],
        ),
    ] = 0.2
    per_try_timeout: Annotated[
        Duration,
        about("How long one try may be without a response head. 0: `timeouts.read` alone.", also=["try_timeout"]),
    ] = 0.0
    non_idempotent: Annotated[
        bool,
        about(
            "Try POST and the like again too, although the upstream may have done it already.",
            also=["retry_non_idempotent", "all_methods"],
        ),
    ] = False
    hedge: Annotated[
        Hedge | None,
        about(
            "For idempotent methods: a second try beside a slow one. Pays from the budget as a retry does.",
            examples=[{"delay": "200ms"}],
            also=["hedging", "hedge_policy"],
        ),
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.max_backoff < self.backoff:
            yield ("max_backoff",), "is shorter than backoff"


class Split(Table, frozen=True, kw_only=True):
    """One of several upstreams that share a route's requests."""

    upstream: Annotated[Text, about("Its name.", examples=["stable"], also=["name", "service", "cluster", "backend"])]
    weight: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        about("Its share, beside the weights of the others. 0 gets none.", examples=[95], also=["percent", "share"]),
    ] = 1
    sticky: Annotated[
        StickyKey,
        about(
            "What keeps a client on one side: `header:NAME`, `cookie:NAME` or `client_ip`. Holds for the whole split, "
            "also where only one part gives it. Absent: each request is drawn anew.",
            examples=["header:x-user"],
            also=["stickiness", "sticky_session", "key"],
        ),
    ] = ""


class Mirror(Table, frozen=True, kw_only=True):
    """Copies of requests for another upstream, whose answers are dropped. No client waits for them."""

    upstream: Annotated[Text, about("The name of the upstream.", examples=["shadow"], also=["name", "backend", "to"])]
    sample: Annotated[
        Share, about("Share of the requests that is copied.", examples=[0.1], also=["percent", "fraction", "rate"])
    ] = 1.0
    timeout: Annotated[Wait, about("How long a copy may take in all.")] = 60.0


class Respond(Table, frozen=True, kw_only=True):
    """An answer that needs no upstream."""

    status: Annotated[
        Annotated[int, Meta(ge=200, le=599)], about("Its status.", examples=[200], also=["code", "status_code"])
    ] = 200
    body: Annotated[
        str,
        about(
            "Its body, as UTF-8; text/plain unless `headers` has a Content-Type.",
            examples=["ok\n"],
            also=["content", "text"],
        ),
    ] = ""
    headers: Annotated[
        dict[AnswerHeader, HeaderValue], about("Its fields.", examples=[{"cache-control": "no-store"}])
    ] = field(default_factory=dict)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.body and self.status in (204, 205, 304):
            yield ("body",), f"cannot be sent: an answer with status {self.status} has none"
        headers: Any = self.headers
        for name in headers if isinstance(headers, dict) else ():
            if name.lower() == "upgrade" and self.status != 426:
                yield ("headers", name), "belongs to an answer with status 426"


class Redirect(Table, frozen=True, kw_only=True):
    """An answer that sends the client elsewhere."""

    to: Annotated[
        RedirectTarget,
        about(
            "Where: a path, or a whole URL with http or https. May use `{host}`, `{path}` and `{param.NAME}`. The "
            "request's query is added unless there is a `?` in it.",
            examples=["https://{host}{path}"],
            also=["location", "url", "uri", "target"],
        ),
    ]
    status: Annotated[
        Literal[301, 302, 303, 307, 308],
        about(
            "301 and 308 are remembered by browsers; 307 and 308 keep the method and the body.",
            also=["code", "status_code", "type"],
        ),
    ] = 308


StripPrefixKey = Annotated[
    PathPrefix,
    about(
        "Taken from the front of the path, on a segment border, before it is forwarded.",
        examples=["/api"],
        policy=True,
        also=["strip_path", "prefix_rewrite", "stripprefix"],
    ),
]

AddPrefixKey = Annotated[
    PathPrefix, about("Put in front of the path, after `strip_prefix`.", examples=["/v2"], policy=True)
]

RewriteKey = Annotated[
    Rewrite | None,
    about(
        "Replaces a part of the path by a regular expression, after `strip_prefix` and `add_prefix`.",
        examples=[{"pattern": "^/old/(.*)", "to": "/new/\\1"}],
        policy=True,
        also=["regex_rewrite", "uri_rewrite"],
    ),
]

EncodedBackslashKey = Annotated[
    Literal["refuse", "keep"],
    about(
        "What becomes of a path with an encoded backslash, `/users/CORP%5Cann`: `refuse` answers 400, `keep` "
        "matches and forwards it as it is. To servers of Windows it is a slash: keep it only where the upstream "
        "takes it for a character of a name.",
        policy=True,
        also=["allow_encoded_backslash", "encoded_backslashes", "path_with_escaped_slashes_action"],
    ),
]

HostHeaderKey = Annotated[
    HostHeader,
    about(
        "The `Host` that is forwarded: `upstream` is the target's own name, `client` what the client sent, "
        "anything else is sent as it is written.",
        examples=["client"],
        policy=True,
        also=["preserve_host", "host_rewrite", "host_rewrite_literal"],
    ),
]

RequestHeadersKey = Annotated[
    HeaderEdits | None,
    about(
        "Changes to the request's fields before it is forwarded.",
        examples=[{"set": {"x-client": "{client_ip}"}, "remove": ["cookie"]}],
        policy=True,
        also=["headers_to_add", "proxy_set_header", "request_header"],
    ),
]

ResponseHeadersKey = Annotated[
    HeaderEdits | None,
    about(
        "Changes to the response's fields before it is answered.",
        examples=[{"remove": ["x-powered-by"]}],
        policy=True,
        also=["add_header", "response_header", "response_headers_to_add"],
    ),
]

RetryKey = Annotated[
    Retry,
    about(
        "What is tried again. Absent: `connect` and `reset`, once. `false`: nothing is.",
        examples=[{"attempts": 3, "on": ["connect", "reset", "5xx"]}],
        policy=True,
        off={"attempts": 1},
        also=["retries", "retry_policy", "proxy_next_upstream"],
    ),
]

TimeoutsKey = Annotated[
    Timeouts,
    about(
        "How long each part may take. A part that is not given has the value below.",
        examples=[{"read": "10m"}],
        policy=True,
        also=["timeout"],
    ),
]

MaxBodyKey = Annotated[
    Size | None,
    about(
        "The largest request body; above it 413. Absent: `gateway.max_body`, and with `body_schema` at most 1MB. "
        "0 is no limit.",
        examples=["1MB"],
        policy=True,
        also=["client_max_body_size", "body_limit"],
    ),
]

MinRateKey = Annotated[
    Size | None,
    about(
        "As `gateway.min_rate`, for this route. Absent: `gateway.min_rate`. 0 asks for nothing.",
        policy=True,
        also=["min_data_rate"],
    ),
]

HalfCloseKey = Annotated[
    Literal["cancel", "serve"],
    about(
        "What becomes of a request whose client has sent it whole, shut its sending side and waits: `cancel` takes "
        "it for a client that has left, `serve` sends it the answer. Connections with TLS are always cancelled.",
        policy=True,
        also=["abortonclose", "proxy_ignore_client_abort"],
    ),
]

BufferRequestKey = Annotated[
    bool,
    about(
        "Read the whole request body, up to `max_body`, before the upstream is asked. Costs that much memory a "
        "request.",
        policy=True,
        also=["proxy_request_buffering", "request_buffering"],
    ),
]

UpgradesKey = Annotated[
    list[Protocol],
    about(
        "Protocols that a connection may be upgraded to. `false` or `[]` allows none; `h2c` cannot be listed.",
        policy=True,
        off=(),
        also=["upgrade", "websocket", "upgrade_configs"],
    ),
]

PoliciesKey = Annotated[
    list[PolicyUse],
    about(
        "Plugins on this route, in the order in which they run.",
        examples=[[{"use": "tenant"}]],
        policy=True,
        also=["plugins", "filters", "middlewares", "middleware"],
    ),
]


class PolicyKeys(Table, frozen=True, kw_only=True):
    """What is done with a request that a route has matched. Each key can be given in `[defaults]` too."""

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
    content_types: ContentTypesKey = field(default_factory=list)
    body_schema: BodySchemaKey = None
    policies: PoliciesKey = field(default_factory=list)
    strip_prefix: StripPrefixKey = ""
    add_prefix: AddPrefixKey = ""
    rewrite: RewriteKey = None
    request_headers: RequestHeadersKey = None
    response_headers: ResponseHeadersKey = None
    envelope: EnvelopeKey = None
    compression: CompressionKey = None
    security_headers: SecurityHeadersKey = None
    encoded_backslash: EncodedBackslashKey = "refuse"
    host_header: HostHeaderKey = "upstream"
    retry: RetryKey = Retry(attempts=2)
    timeouts: TimeoutsKey = Timeouts()
    max_body: MaxBodyKey = None
    min_rate: MinRateKey = None
    half_close: HalfCloseKey = "cancel"
    buffer_request: BufferRequestKey = False
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
                    yield (key, "set", name), "is no field of a response: request_headers can set it"
                elif self.host_header != "upstream":
                    yield (key, "set", name), "is said by host_header too: leave one of them out"
                elif "{" not in value:
                    try:
                        check_authority(value)
                    except ValueError as error:
                        yield (key, "set", name), str(error)


class Route(PolicyKeys, frozen=True, kw_only=True):
    """Which requests go where.

    Of the routes that match, the one with the higher `priority` wins; then the one with the more specific host (exact,
    then the longer wildcard, then any); then the more specific path, segment by segment from the left (literal, then
    `{parameter}`, then the rest of the path; regular expressions last); then the one that gives methods; then more
    header and more query conditions; then the order in the file.

    It has one of `upstream`, `split`, `respond` and `redirect`.
    """

    one_of: ClassVar[tuple[str, ...]] = ("upstream", "split", "respond", "redirect")

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
        dict[HeaderName, HeaderCondition],
        about(
            'Fields that the request must have: a value, `"*"` (present), or `"~regex"`, a regular expression over the '
            "whole value.",
            examples=[{"x-version": "2"}],
        ),
    ] = field(default_factory=dict)
    query: Annotated[
        dict[str, QueryCondition],
        about(
            'Query parameters that the request must have: a value, `"*"` (present), or `"~regex"`, a regular '
            "expression over the whole value, percent-decoded.",
            examples=[{"debug": "*"}],
            also=["params", "query_parameters", "args"],
        ),
    ] = field(default_factory=dict)
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
            "An answer that sends the client elsewhere.",
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
            yield ("split",), "has only weights of 0: one at least must be more"
        yield from self._split_faults()
        if self.mirror and (self.respond or self.redirect):
            yield ("mirror",), "copies what goes to an upstream, and this route has none"

    def _split_faults(self) -> Iterator[tuple[PathKeys, str]]:
        seen: set[str] = set()
        agreed = ""
        for number, part in enumerate(self.split):
            if part.upstream in seen:
                yield ("split", number, "upstream"), f"{quote(part.upstream)} is there twice: give it one weight"
            if part.upstream:
                seen.add(part.upstream)
            if agreed and part.sticky and part.sticky != agreed:
                yield ("split", number, "sticky"), f"is another than before, {quote(agreed)}: a split has one"
            agreed = agreed or part.sticky


class Defaults(PolicyKeys, frozen=True, kw_only=True):
    """For every route that does not set the key itself.

    A route's own key replaces the whole default, nothing is merged; `false` on the route switches the default off.
    """
