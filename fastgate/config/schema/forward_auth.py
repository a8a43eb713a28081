"""The keys of ``[auth.forward]``: a service that says who may come in."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Count, Duration, HeaderName, Positive, Wait, about
from fastgate.config.schema.table import Table
from fastgate.config.schema.upstreams import UpstreamTLS
from fastgate.config.syntax.headers import CONNECTION_FIELDS, meaning_of
from fastgate.config.syntax.request_key import check_key

CREDENTIALS = ("authorization", "cookie")
"""Fields in which clients send what the service, or another method, verifies."""

ServiceURL = Annotated[str, Meta(extra={"kind": "service url"})]
OptionalHeaderName = Annotated[str, Meta(extra={"kind": "optional header name"})]
DecisionKey = Annotated[str, Meta(extra={"kind": "decision key"})]

_NOT_TO_BE_SET = CONNECTION_FIELDS | {"host", "expect", "proxy"}
_OF_THE_ANSWER = frozenset((
    "accept-ranges", "age", "date", "etag", "expires", "last-modified", "location", "server", "via",
))


class DecisionPart(NamedTuple):
    """One part of what a decision is kept by: ``("header", "authorization")``, ``("path", "")``."""

    kind: str
    name: str


class DecisionCache(Table, frozen=True, kw_only=True):
    """Decisions of the service that each worker keeps, until a reload."""

    by: Annotated[
        Annotated[list[DecisionKey], Meta(min_length=1, max_length=16)],
        about(
            "The parts of a request that a decision depends on: `header:NAME`, `cookie:NAME`, `client_ip`, `method`, "
            "`host`, `path`, `query`. Requests that are equal in all these parts get the same decision. A request "
            "without any of the named header fields and cookies always goes to the service.",
            examples=[["header:authorization"]],
            single=True,
            also=["key", "keys", "vary", "cache_key", "auth_cache_key"],
        ),
    ]
    ttl: Annotated[Wait, about("How long a decision that grants is kept.", also=["duration", "timeout"])] = 60.0
    negative_ttl: Annotated[
        Duration, about("How long a decision that refuses is kept. 0: it is not kept.", also=["negative", "error_ttl"])
    ] = 1.0
    max_entries: Annotated[Positive, about("The most decisions that are kept.", also=["size", "max_size"])] = 10_000

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.negative_ttl > self.ttl:
            yield ("negative_ttl",), f"is longer than ttl, {self.ttl:g} s"


class ForwardAuth(Table, frozen=True, kw_only=True):
    """An authentication service decides about each request: a 2xx answer accepts it.

    The client gets 401, 403 and redirects of the service. With any other answer, or without one, the client gets 503:
    if the service is not available, the gateway accepts no request.
    """

    url: Annotated[
        ServiceURL,
        about(
            "The URL of the service, which gets GET requests. The gateway does not follow redirects.",
            examples=["http://127.0.0.1:9091/verify"],
            also=["address", "uri", "endpoint", "auth_url", "server", "service", "upstream"],
        ),
    ]
    timeout: Annotated[Wait, about("The longest time for an answer, including connecting and queueing.")] = 5.0
    request_headers: Annotated[
        list[HeaderName],
        about(
            "Fields of the client that the service gets. The service also gets `X-Forwarded-Method`, `-Proto`, "
            "`-Host`, `-Uri` and `-For`.",
            examples=[["authorization", "cookie"]],
            also=["auth_request_headers", "authrequestheaders", "headers", "copy_request_headers", "allowed_headers"],
        ),
    ] = field(default_factory=lambda: list(CREDENTIALS))
    response_headers: Annotated[
        list[HeaderName],
        about(
            "Fields of the service's answer that the upstream gets; policies get them as claims of the same name. The "
            "gateway removes these fields from the requests of clients.",
            examples=[["x-auth-user", "x-auth-groups"]],
            also=["auth_response_headers", "authresponseheaders", "copy_headers", "upstream_headers"],
        ),
    ] = field(default_factory=list)
    client_headers: Annotated[
        list[HeaderName],
        about(
            "Fields of a granting answer that the client gets, beside those of the response, whether the upstream or "
            "the gateway sends it. The upstream never gets them.",
            examples=[["set-cookie"]],
            also=["add_auth_cookies_to_response", "auth_cookies", "allowed_client_headers_on_success", "cookies"],
        ),
    ] = field(default_factory=lambda: ["set-cookie"])
    identity_header: Annotated[
        OptionalHeaderName,
        about(
            "The field of the service's answer that contains the identity, for limits, logs and policies.",
            examples=["x-auth-user"],
            also=["user_header", "identity", "remote_user", "authenticated_user_header"],
        ),
    ] = ""
    max_connections: Annotated[
        Count,
        about(
            "The most connections to the service, in each worker. Further questions wait for a connection, within "
            "`timeout`. 0: only the limit of open files applies.",
            also=["connections", "pool"],
        ),
    ] = 0
    cache: Annotated[
        DecisionCache | None,
        about(
            "Decisions that are kept. Absent: the service decides about every request.",
            examples=[{"by": ["header:authorization", "header:cookie"], "ttl": "30s"}],
            also=["caching", "auth_cache"],
        ),
    ] = None
    tls: Annotated[
        UpstreamTLS | None, about("TLS to the service.", examples=[{"ca": "ca.pem"}], also=["ssl"])
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        url: Any = self.url
        if self.tls and isinstance(url, str) and url.lower().startswith("http:"):
            yield ("tls",), "has no effect, because url begins with http:"
        for key in ("request_headers", "response_headers", "client_headers"):
            for number, name in enumerate(getattr(self, key)):
                if not isinstance(name, str):
                    continue
                if name in _NOT_TO_BE_SET:
                    yield (key, number), f"{name} belongs to the connection and cannot be forwarded"
                elif key == "request_headers" and name.startswith(("x-forwarded-", "x-original-")):
                    yield (key, number), f"{name} is a field that the gateway sets itself"
                elif key == "response_headers" and meaning_of(name):
                    yield (key, number), f"{name} {meaning_of(name)}"
                elif key == "response_headers" and name == "set-cookie":
                    yield (key, number), "set-cookie is for the client; list it in client_headers"
                elif key == "client_headers" and (name in _OF_THE_ANSWER or name.startswith("content-")):
                    yield (key, number), f"{name} describes the body or the connection of the service's own answer"
        if self.cache:
            yield from self._missing_keys(list(self.cache.by), list(self.request_headers))

    def _missing_keys(self, by: list[Any], sent: list[Any]) -> Iterator[tuple[PathKeys, str]]:
        if not by or not all(isinstance(each, str) for each in (*by, *sent)):
            return
        for name in sent:
            by_cookie = name == "cookie" and any(each.startswith("cookie:") for each in by)
            if f"header:{name}" not in by and not by_cookie:
                message = (
                    f'lacks "header:{name}", which the service gets: a client could get the decision about another '
                    "client. Add it here, or remove it from request_headers"
                )
                yield ("cache", "by"), message


def check_decision_key(text: str) -> str:
    """What a decision is kept by, the name of a header in lower case; ValueError with the reason."""
    return check_key(text, ("client_ip", "method", "host", "path", "query"), ("header", "cookie"))


def parse_decision_key(text: str) -> DecisionPart:
    """The parts of a checked key."""
    kind, _, name = text.partition(":")
    return DecisionPart(kind, name)
