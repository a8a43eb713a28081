"""The keys ``request_headers`` and ``response_headers`` of a route."""

from typing import Annotated

from msgspec import field

from fastgate.config.schema.kinds import EditedHeader, HeaderTemplate, SetHeader, about
from fastgate.config.schema.table import Table


class HeaderEdits(Table, frozen=True, kw_only=True):
    """Changes to header fields, in the order remove, set, add.

    Values may use `{client_ip}`, `{request_id}`, `{host}`, `{path}`, `{param.NAME}`, `{key.id}` (the authenticated
    client) and `{claim.NAME}`; `{{` is a literal brace. A value may be `{ env = "NAME" }` or `{ file = "path" }`.
    """

    set: Annotated[
        dict[SetHeader, HeaderTemplate],
        about(
            "Fields that get exactly this value, whatever they were before, also if the gateway sets them itself. "
            "`request_headers` can set Host.",
            examples=[{"x-client": "{client_ip}"}],
        ),
    ] = field(default_factory=dict)
    add: Annotated[
        dict[EditedHeader, HeaderTemplate | list[HeaderTemplate]],
        about("Fields that are added to the existing ones; a list adds several.", examples=[{"x-tag": ["a", "b"]}]),
    ] = field(default_factory=dict)
    remove: Annotated[
        list[EditedHeader],
        about(
            "Fields that are removed; the gateway does not send its own either.",
            examples=[["x-internal"]],
            also=["delete", "unset"],
        ),
    ] = field(default_factory=list)


RequestHeadersKey = Annotated[
    HeaderEdits | None,
    about(
        "Changes to the fields of the request before the gateway forwards it.",
        examples=[{"set": {"x-client": "{client_ip}"}, "remove": ["cookie"]}],
        policy=True,
        also=["headers_to_add", "proxy_set_header", "request_header"],
    ),
]


ResponseHeadersKey = Annotated[
    HeaderEdits | None,
    about(
        "Changes to the fields of the response before the gateway sends it.",
        examples=[{"remove": ["x-powered-by"]}],
        policy=True,
        also=["add_header", "response_header", "response_headers_to_add"],
    ),
]
