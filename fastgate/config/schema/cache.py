"""The key ``cache`` of a route: answers of its upstream that are stored for all workers of the host."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import Duration, HeaderName, Share, Text, Wait, about
from fastgate.config.schema.table import Table
from fastgate.config.syntax.headers import CONNECTION_FIELDS
from fastgate.config.syntax.request_key import check_key
from fastgate.config.syntax.statuses import check_status

NEVER_STORED = ("206", "304", "428", "429", "431", "511")
"""Statuses of answers that no cache may store: two of them have no whole body, of the others RFC 6585 says so."""

NEVER_IGNORED = ("cookie", "authorization", "accept-encoding")
"""Fields that `vary_except` may not name."""

KEY_PARTS = ("header", "cookie", "param", "claim")
"""Kinds of parts of a key that have a name."""

CacheKeyPart = Annotated[str, Meta(extra={"kind": "cache key"})]
BypassCondition = Annotated[str, Meta(extra={"kind": "cache bypass"})]
StoredStatus = Annotated[str, Meta(extra={"kind": "stored status"})]
CachedMethod = Literal["GET", "HEAD", "QUERY", "POST"]

_NEEDED = CONNECTION_FIELDS | {"host", "expect"}


class CacheQuery(Table, frozen=True, kw_only=True):
    """The parameters of a query that the key has, and that the upstream gets. The others reach neither of them.

    Names are compared percent-decoded; one `*` or more in a name stands for any characters.
    """

    only: Annotated[
        list[Text] | None,
        about(
            "Names of the parameters that stay. `[]` removes the whole query.",
            examples=[["page", "sort_*"]],
            also=["include", "whitelist", "keep", "allow"],
        ),
    ] = None
    excluded: Annotated[
        Annotated[list[Text], Meta(min_length=1)] | None,
        about(
            "Names of the parameters that are removed.",
            also=["ignore", "exclude", "blacklist", "without", "drop"],
        ),
    ] = field(default=None, name="except")
    sort: Annotated[
        bool,
        about(
            "Sort the parameters by name, so that `?a=1&b=2` and `?b=2&a=1` share one answer. Parameters of one name "
            "keep their order; a query with more than 64 parameters is not sorted.",
            examples=[True],
            also=["sorted", "normalize", "order"],
        ),
    ] = False

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.only is None and self.excluded is None and self.sort is False:
            yield (), "changes nothing: set only, except or sort"
        if isinstance(self.only, list) and isinstance(self.excluded, list):
            yield ("except",), "cannot be used with only: remove one of them"


class Cache(Table, frozen=True, kw_only=True):
    """Stores answers of the upstream and answers repeats from memory, as RFC 9111 asks of a shared cache.

    All workers of the host use one store. Without further keys the gateway stores what the upstream allows it to store,
    for as long as the upstream says.
    """

    methods: Annotated[
        Annotated[list[CachedMethod], Meta(min_length=1)],
        about(
            "Methods whose answers are stored. `HEAD` is answered from what `GET` stored. For `POST` and `QUERY` the "
            "key also has the Content-Type and a hash of the body; a `POST` that is listed here does not remove stored "
            "answers, as other requests that change something do.",
            examples=[["GET", "HEAD", "QUERY"]],
            also=["cache_methods", "request_method", "proxy_cache_methods", "verbs"],
        ),
    ] = field(default_factory=lambda: ["GET", "HEAD"])
    max_key_body: Annotated[
        Annotated[int, Meta(ge=0, le=16 * 1024 * 1024, extra={"kind": "size"})],
        about(
            "The largest body of a `POST` or `QUERY` request that is part of a key. Requests with larger bodies go to "
            "the upstream, and their answers are not stored.",
            also=["max_request_body", "max_body"],
        ),
    ] = 65536
    key: Annotated[
        Annotated[list[CacheKeyPart], Meta(max_length=16)],
        about(
            "What else the key has, beside scheme, host, port, path and query: `header:NAME`, `cookie:NAME`, "
            "`param:NAME` (a parameter of the path), `claim:NAME`, `client_ip`, `identity` (the client that the route "
            "authenticated).",
            examples=[["header:x-tenant"]],
            single=True,
            also=["cache_key", "by", "proxy_cache_key", "key_parts", "vary_by"],
        ),
    ] = field(default_factory=list)
    query: Annotated[
        CacheQuery | None,
        about(
            "Which parameters of the query are in the key. The gateway removes the others from what it sends to the "
            "upstream.",
            examples=[{"except": ["utm_*", "gclid"], "sort": True}],
            also=["query_string", "query_params", "params"],
        ),
    ] = None
    drop: Annotated[
        list[HeaderName],
        about(
            "Request fields that the upstream does not get, because they could select another answer than the key "
            "says. The list replaces the default.",
            examples=[["x-http-method-override", "x-original-url"]],
            also=["remove", "drop_headers", "remove_headers", "ignore_headers"],
        ),
    ] = field(
        default_factory=lambda: [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
        ]
    )
    vary: Annotated[
        list[HeaderName],
        about(
            "Request fields that select an answer, beside those that its `Vary` names.",
            examples=[["accept-language"]],
            also=["vary_headers", "vary_by_headers"],
        ),
    ] = field(default_factory=list)
    vary_except: Annotated[
        list[HeaderName],
        about(
            "Request fields that select no answer, even if its `Vary` names them. Never `Cookie`, `Authorization` and "
            "`Accept-Encoding`.",
            examples=[["user-agent"]],
            also=["ignore_vary", "vary_ignore", "no_vary"],
        ),
    ] = field(default_factory=list)
    targeted: Annotated[
        list[HeaderName],
        about(
            "Response fields of RFC 9213 that outweigh `Cache-Control` and `Expires`: the first one that is present "
            "and valid counts. `[]` ignores all of them.",
            examples=[["fastgate-cache-control", "cdn-cache-control"]],
            also=["targeted_cache_control", "cache_control_headers"],
        ),
    ] = field(default_factory=lambda: ["fastgate-cache-control"])
    ttl: Annotated[
        Duration | dict[StoredStatus, Duration] | None,
        about(
            "The lifetime of answers that have none: one for the statuses 200, 203, 204, 300, 301, 308 and 410, or a "
            "table by status (`\"404\"`, `\"5xx\"`). It never outweighs what the upstream says, and does not apply if "
            "the request has an identity, `Authorization` or a cookie that is not in the key, unless the answer says "
            "`public`.",
            examples=["60s", {"200": "60s", "404": "5s"}],
            also=["default_ttl", "proxy_cache_valid", "cache_ttl", "max_age", "lifetime", "cache_valid", "duration"],
        ),
    ] = None
    heuristic: Annotated[
        Share,
        about(
            "For answers without any lifetime: the share of the time since `Last-Modified` for which they are fresh, "
            "at most a day. 0 means none.",
            examples=[0.1],
            also=["lm_factor", "last_modified_factor", "heuristic_fraction"],
        ),
    ] = 0.0
    honor: Annotated[
        bool | Literal["response"],
        about(
            "Whose `Cache-Control` counts: `true`, that of requests and answers; `\"response\"`, that of answers only; "
            "`false`: only `ttl` decides about lifetimes. `no-store`, `private`, `Vary` and the rules for credentials "
            "always count.",
            examples=["response"],
            also=["cache_control", "respect_cache_control", "honor_cache_control", "ignore_cache_control"],
        ),
    ] = True
    private: Annotated[
        bool,
        about(
            "Store answers for one client each: the identity is in the key, and answers that say `private` are stored "
            "for that client. Needs `auth`.",
            also=["per_user", "by_user", "by_identity"],
        ),
    ] = False
    shared: Annotated[
        bool,
        about(
            "All clients that the policies of the route accept get the same stored answers, whatever their identity. "
            "A credential that the upstream gets still counts.",
            also=["ignore_identity", "share", "ignore_authorization"],
        ),
    ] = False
    set_cookie: Annotated[
        Literal["bypass", "strip", "store"],
        about(
            "Answers with `Set-Cookie`: `bypass` does not store them, `strip` stores them without the field, `store` "
            "stores them as they are, so that other clients get the same cookie.",
            examples=["strip"],
            also=["cookies", "set_cookies", "ignore_set_cookie"],
        ),
    ] = "bypass"
    bypass: Annotated[
        list[BypassCondition],
        about(
            "Requests with one of these, `header:NAME` or `cookie:NAME`, are not answered from the store, and their "
            "answers are not stored.",
            examples=[["cookie:session", "header:x-preview"]],
            single=True,
            also=["no_cache", "proxy_cache_bypass", "proxy_no_cache", "skip", "cache_bypass", "unless"],
        ),
    ] = field(default_factory=list)
    max_object: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40, extra={"kind": "size"})],
        about(
            "The largest body that is stored.",
            also=["max_size", "max_object_size", "max_file_size", "max_body_size", "object_size"],
        ),
    ] = 1048576
    stale_while_revalidate: Annotated[
        Duration,
        about(
            "How long after its lifetime an answer is still given while the gateway fetches a new one, if the upstream "
            "does not say so itself.",
            examples=["30s"],
            also=["swr", "background_update", "proxy_cache_background_update", "grace"],
        ),
    ] = 0.0
    stale_if_error: Annotated[
        Duration,
        about(
            "How long after its lifetime an answer is given if the upstream fails (no connection, timeout, open "
            "breaker, 500, 502, 503, 504), if the upstream does not say so itself.",
            examples=["1h"],
            also=["sie", "use_stale", "proxy_cache_use_stale", "keep"],
        ),
    ] = 0.0
    retry_stale: Annotated[
        Duration,
        about(
            "After a failed attempt to renew a stored answer, the gateway does not try again for this time, or for the "
            "`Retry-After` of the upstream, up to 60 s.",
            also=["retry", "retry_after", "error_backoff"],
        ),
    ] = 1.0
    collapse: Annotated[
        bool,
        about(
            "Of all requests for one missing answer only one goes to the upstream; the others get the same answer "
            "while it arrives.",
            also=["cache_lock", "proxy_cache_lock", "coalesce", "request_collapsing", "lock", "single_flight"],
        ),
    ] = True
    hit_for_miss: Annotated[
        Duration,
        about(
            "After an answer that others may not share, requests for the same key do not wait for each other for this "
            "time.",
            also=["hit_for_pass", "uncacheable_ttl"],
        ),
    ] = 10.0
    collapse_timeout: Annotated[
        Wait,
        about(
            "The longest time that a request waits for the head of an answer that another request fetches; then it "
            "goes to the upstream itself.",
            also=["lock_timeout", "proxy_cache_lock_timeout", "cache_lock_timeout", "cache_lock_age"],
        ),
    ] = 5.0
    tags: Annotated[
        Annotated[list[Text], Meta(max_length=32)],
        about(
            "Tags of every answer that the route stores, beside those in its `Cache-Tag`, `Surrogate-Key` and "
            "`Cache-Groups`. A purge of a tag removes all answers that have it.",
            examples=[["shop"]],
            also=["cache_tags", "surrogate_keys", "groups"],
        ),
    ] = field(default_factory=list)
    cache_status: Annotated[
        bool,
        about(
            "Add `Cache-Status` (RFC 9211) to answers: whether they came from the store, and if not, why.",
            also=["x_cache", "debug", "status_header"],
        ),
    ] = True
    etag: Annotated[
        bool,
        about(
            "Give stored answers with status 200 that have no `ETag` a strong one.",
            examples=[True],
            also=["generate_etag", "add_etag"],
        ),
    ] = False

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        yield from self._method_faults()
        yield from _repeated("key", self.key)
        yield from _repeated("bypass", self.bypass)
        yield from _repeated("tags", self.tags)
        yield from self._field_faults()
        if self.private is True and self.shared is True:
            yield ("shared",), "contradicts private: remove one of them"

    def _method_faults(self) -> Iterator[tuple[PathKeys, str]]:
        methods = list(self.methods)
        yield from _repeated("methods", methods)
        if "HEAD" in methods and "GET" not in methods:
            yield ("methods",), "has HEAD without GET, but HEAD is answered from what GET stored: add GET"
        for number, method in enumerate(methods):
            if method in ("POST", "QUERY") and self.max_key_body == 0:
                yield (
                    ("methods", number),
                    f"{method} needs the body in the key, but max_key_body is 0: set a larger one, or remove {method}",
                )

    def _field_faults(self) -> Iterator[tuple[PathKeys, str]]:
        """Names of fields that cannot have the meaning of the key."""
        for number, name in enumerate(self.drop):
            if name in _NEEDED:
                yield ("drop", number), f"{name} cannot be dropped: the gateway sets it itself"
        for number, name in enumerate(self.vary):
            if name == "*":
                yield ("vary", number), '"*" is not a field: with it nothing could be stored'
        for number, name in enumerate(self.vary_except):
            if name in NEVER_IGNORED:
                yield (
                    ("vary_except", number),
                    f"{name} cannot be ignored: clients would get answers that are not for them",
                )
            elif name and name in list(self.vary):
                yield ("vary_except", number), f"{name} is also in vary: remove it from one of them"
        for number, name in enumerate(self.targeted):
            if name == "cache-control":
                yield ("targeted", number), "Cache-Control always counts, after the fields in this list: remove it"

    def needs_identity(self) -> Iterator[tuple[PathKeys, str]]:
        """Each place of this table that needs to know the client, with what is wrong if nothing can know it."""
        for number, part in enumerate(self.key):
            if part and names_identity(part):
                yield (
                    ("key", number),
                    f"{quote(part)} is unknown here, because the route has no auth and no plugin that could provide it",
                )
        if self.private is True:
            yield ("private",), "needs auth, or a plugin that identifies the client: the route has neither"

    def by_identity(self) -> bool:
        """Whether each client has answers of its own."""
        return self.private or "identity" in self.key


def _repeated(key: str, values: Iterable[Any]) -> Iterator[tuple[PathKeys, str]]:
    seen: set[str] = set()
    for number, value in enumerate(values):
        if isinstance(value, str):
            if value in seen:
                yield (key, number), f"{quote(value)} is listed twice"
            seen.add(value)


def names_identity(part: str) -> bool:
    """Whether a checked part of a key can only be known after authentication."""
    return part == "identity" or part.startswith("claim:")


def check_cache_key(text: str) -> str:
    """A part of a key, the name of a header in lower case; ValueError with the reason."""
    return check_key(text, ("client_ip", "identity"), KEY_PARTS)


def check_cache_bypass(text: str) -> str:
    """A condition of ``bypass``, the name of a header in lower case; ValueError with the reason."""
    return check_key(text, (), ("header", "cookie"))


def check_stored_status(text: str) -> str:
    """A status or a class of those that can be stored; ValueError with the reason."""
    check_status(text)
    if text.startswith("1"):
        raise ValueError("answers with status 1xx are not final and never stored: remove it")
    if text in NEVER_STORED:
        raise ValueError(f"answers with status {text} are never stored: remove it")
    return text


CacheKey = Annotated[
    Cache | None,
    about(
        "Answers repeats from a store that all workers share. `true`: with the defaults.",
        examples=[{"ttl": "60s", "query": {"except": ["utm_*"]}}],
        policy=True,
        on={},
        also=["caching", "proxy_cache", "http_cache", "response_cache", "cache_policy", "proxy_cache_valid"],
    ),
]
