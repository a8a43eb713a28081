"""Keys of a route that close it to some requests: addresses, maintenance, the kind of body."""

from collections.abc import Iterable, Iterator
from typing import Annotated

from msgspec import Meta, field

from fastgate.config.errors import PathKeys, quote
from fastgate.config.kinds import MediaRange, MediaType, Network, Path, Wait, about
from fastgate.config.table import Table


class IP(Table, frozen=True, kw_only=True):
    """Who may use a route, by the address of the client. The most specific network with the address in it decides.

    The address is the peer's, or what a proxy of `gateway.trusted_proxies` says. An IPv4 address is only in networks
    of IPv4, also where it is written as `::ffff:10.0.0.1`. The peer of a Unix socket has no address.
    """

    allow: Annotated[
        list[Network],
        about(
            "Networks that may. If there is one, who is in none may not.",
            examples=[["10.0.0.0/8", "2001:db8::/32"]],
            also=["allowed", "whitelist", "allowlist", "whitelist_source_range", "source_range", "permit"],
        ),
    ] = field(default_factory=list)
    deny: Annotated[
        list[Network],
        about(
            "Networks that may not.",
            examples=[["10.1.0.0/16"]],
            also=["denied", "blacklist", "denylist", "blocklist", "block"],
        ),
    ] = field(default_factory=list)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.allow == [] and self.deny == []:
            yield (), "says nothing: give it allow or deny"
        for number, network in enumerate(self.deny):
            if network and network in list(self.allow):
                yield ("deny", number), f"{network} is in allow too"


class Maintenance(Table, frozen=True, kw_only=True):
    """A route that is closed for a while. `fastgate maintenance` closes and opens routes of a running gateway too."""

    enabled: Annotated[
        bool, about("Whether it is closed. `fastgate maintenance` goes before.", also=["on", "active", "enable"])
    ] = False
    status: Annotated[
        Annotated[int, Meta(ge=400, le=599)], about("The answer's status.", also=["code", "status_code"])
    ] = 503
    retry_after: Annotated[
        Wait, about("What `Retry-After` says, in whole seconds.", examples=["1h"], also=["retry", "duration"])
    ] = 300.0
    allow: Annotated[
        list[Network],
        about("Who is served all the same.", examples=[["10.0.0.0/8"]], also=["allowed", "whitelist", "except"]),
    ] = field(default_factory=list)
    body: Annotated[
        str,
        about(
            "The answer's body, as UTF-8. `\"\"` is the gateway's own error.",
            examples=["<h1>Back at noon</h1>\n"],
            also=["content", "message", "page", "text"],
        ),
    ] = ""
    content_type: Annotated[
        MediaType,
        about(
            "What `body` is. Absent: `text/html` where it begins with `<`, `application/json` where it is a JSON "
            "object or array, else `text/plain`.",
            examples=["text/html; charset=utf-8"],
            also=["type", "mime_type", "media_type"],
        ),
    ] = ""

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.content_type and self.body == "":
            yield ("content_type",), "is that of body, and there is none"


class BodySchema(Table, frozen=True, kw_only=True):
    """A JSON Schema that every request body of a route must be valid by. A string in its place is the `file`."""

    file: Annotated[
        Annotated[Path, Meta(min_length=1)],
        about(
            "The file with the schema. Draft 2020-12, unless its `$schema` says another; `$ref` only inside the file.",
            examples=["schemas/order.json"],
            also=["path", "schema", "schema_file"],
        ),
    ]
    max_values: Annotated[
        Annotated[int, Meta(ge=1, le=100_000_000)],
        about(
            "The most values that a body may have; above it 413. These count: numbers, strings, `true`, `false`, "
            "`null`, arrays, objects and the names of their members. Each takes time and memory while the body is "
            "checked.",
            also=["max_items", "max_elements", "max_nodes"],
        ),
    ] = 100_000
    max_depth: Annotated[
        Annotated[int, Meta(ge=0, le=128)],
        about(
            "How deep arrays and objects of a body may be nested; above it 413. 0 is 128, or less where the schema "
            "refers to itself in such a way that a check could take twice the time for each level.",
            also=["depth", "max_nesting"],
        ),
    ] = 0


IPKey = Annotated[
    IP | None,
    about(
        "Who may use the route, by the address of the client. Absent: everybody.",
        examples=[{"allow": ["10.0.0.0/8"]}],
        policy=True,
        also=["ip_restriction", "ip_allow", "ip_allowlist", "ip_whitelist", "ipfilter", "allow", "deny"],
    ),
]


MaintenanceKey = Annotated[
    Maintenance | None,
    about(
        "A route that is closed for a while.",
        examples=[{"enabled": True, "retry_after": "1h"}],
        policy=True,
        also=["maintenance_mode", "downtime", "request_termination"],
    ),
]

ContentTypesKey = Annotated[
    Annotated[list[MediaRange], Meta(min_length=1, max_length=64)],
    about(
        "Media types that a request body may have, without parameters; else 415. `text/*` and `application/*+json` "
        "are several. A body without a Content-Type is refused too. Absent: any, or with `body_schema` those of "
        "JSON.",
        examples=[["application/json"]],
        policy=True,
        also=["content_type", "allowed_content_types", "accept", "consumes", "media_types"],
    ),
]

BodySchemaKey = Annotated[
    BodySchema | None,
    about(
        "A file with the JSON Schema that every request body must be valid by; else 422, and 400 for what is not "
        "JSON. Needs `pip install 'fastgate[schema]'`. The whole body is read first, as with `buffer_request`.",
        examples=["schemas/order.json"],
        policy=True,
        text="file",
        also=["schema", "json_schema", "request_schema", "request_validator", "request_validation"],
    ),
]


def content_type_faults(content_types: Iterable[str]) -> Iterator[tuple[PathKeys, str]]:
    """Media types that are there twice; see `Table.faults`."""
    given = list(content_types)
    for number, each in enumerate(given):
        if each and each in given[:number]:
            yield ("content_types", number), f"{quote(each)} is there twice"
