"""Keys of a route about bodies of requests: their size, their kind, what is in them, whether they are kept."""

from collections.abc import Iterable, Iterator
from typing import Annotated

from msgspec import Meta

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import MediaRange, Path, Size, about
from fastgate.config.schema.table import Table

CHECKED_BODY = 1024 * 1024
"""The largest request body that is checked by a schema, in bytes, where nothing is said of it."""


class BodySchema(Table, frozen=True, kw_only=True):
    """A JSON Schema for the request bodies of a route. A string in its place is the `file`."""

    file: Annotated[
        Annotated[Path, Meta(min_length=1)],
        about(
            "The file with the schema. Draft 2020-12, unless its `$schema` names another draft; `$ref` only inside the "
            "file.",
            examples=["schemas/order.json"],
            also=["path", "schema", "schema_file"],
        ),
    ]
    max_values: Annotated[
        Annotated[int, Meta(ge=1, le=100_000_000)],
        about(
            "The most values in a body; a body with more gets 413. These count: numbers, strings, `true`, `false`, "
            "`null`, arrays, objects and the names of their members. Each takes time and memory while the gateway "
            "checks the body.",
            also=["max_items", "max_elements", "max_nodes"],
        ),
    ] = 100_000
    max_depth: Annotated[
        Annotated[int, Meta(ge=0, le=128)],
        about(
            "How deep arrays and objects of a body may be nested; a deeper body gets 413. 0 means 128, or less if the "
            "schema refers to itself in such a way that each level could double the time of a check.",
            also=["depth", "max_nesting"],
        ),
    ] = 0


ContentTypesKey = Annotated[
    Annotated[list[MediaRange], Meta(min_length=1, max_length=64)],
    about(
        "Media types that a request body may have, without parameters; others get 415. `text/*` and "
        "`application/*+json` match several. A body without a Content-Type is also refused. Absent: any type, or with "
        "`body_schema` those of JSON.",
        examples=[["application/json"]],
        policy=True,
        also=["content_type", "allowed_content_types", "accept", "consumes", "media_types"],
    ),
]


BodySchemaKey = Annotated[
    BodySchema | None,
    about(
        "A file with a JSON Schema. A request body that is not valid against it gets 422, and one that is not JSON "
        "gets 400. Needs `pip install 'fastgate[schema]'`. The gateway reads the whole body first, as with "
        "`buffer_request`.",
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
            yield ("content_types", number), f"{quote(each)} is listed twice"


MaxBodyKey = Annotated[
    Size | None,
    about(
        "The largest request body; a larger one gets 413. Absent: `gateway.max_body`, and with `body_schema` at most "
        "1MB. 0 means no limit.",
        examples=["1MB"],
        policy=True,
        also=["client_max_body_size", "body_limit"],
    ),
]


BufferRequestKey = Annotated[
    bool,
    about(
        "Read the whole request body, up to `max_body`, before the gateway contacts the upstream. Costs that much "
        "memory for each request.",
        policy=True,
        also=["proxy_request_buffering", "request_buffering"],
    ),
]
