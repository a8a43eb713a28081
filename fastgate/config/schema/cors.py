"""The key ``cors`` of a route."""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, field

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import HeaderName, Method, Origin, about
from fastgate.config.schema.table import Table
from fastgate.config.syntax.origins import OPAQUE, takes_any


class CORS(Table, frozen=True, kw_only=True):
    """Which pages of other origins may read the answers: the rules of CORS (Fetch standard)."""

    origins: Annotated[
        Annotated[list[Origin], Meta(min_length=1)],
        about(
            "Origins whose pages may read the answers: `scheme://host[:port]`; `https://*.example.com` (every name "
            'below it); `"~regex"`, which matches the whole origin; `"null"` (pages without an origin); `"*"` (all).',
            examples=[["https://app.example.com"]],
            single=True,
            also=["allow_origins", "allowed_origins", "allow_origin", "origin", "allow_origin_string_match"],
        ),
    ]
    methods: Annotated[
        Annotated[list[Method], Meta(min_length=1)],
        about(
            'Methods that these pages may use. `"*"`: every method that the route accepts.',
            examples=[["GET", "PUT"]],
            single=True,
            also=["allow_methods", "allowed_methods", "access_control_allow_methods"],
        ),
    ] = field(default_factory=lambda: ["*"])
    headers: Annotated[
        list[HeaderName],
        about(
            'Request fields that these pages may set, beside those that need no permission. `"*"`: every field.',
            examples=[["content-type", "authorization"]],
            single=True,
            also=["allow_headers", "allowed_headers", "access_control_allow_headers"],
        ),
    ] = field(default_factory=lambda: ["*"])
    expose: Annotated[
        list[HeaderName],
        about(
            'Response fields that these pages may read, beside those that need no permission. `"*"`: every field.',
            examples=[["x-request-id"]],
            single=True,
            also=["expose_headers", "exposed_headers", "access_control_expose_headers"],
        ),
    ] = field(default_factory=list)
    credentials: Annotated[
        bool,
        about(
            "Whether requests of these pages may carry cookies and other credentials of the user.",
            also=["allow_credentials", "access_control_allow_credentials", "supports_credentials"],
        ),
    ] = False
    max_age: Annotated[
        Annotated[float, Meta(ge=0, le=86400, extra={"kind": "duration"})],
        about(
            "How long a browser may remember the answer to a preflight; browsers have limits of their own.",
            also=["access_control_max_age", "max_age_seconds"],
        ),
    ] = 600.0
    private_network: Annotated[
        bool,
        about(
            "Whether pages of public sites may use this route if it is in a private network.",
            also=["allow_private_network", "allow_private_network_access", "private_network_access"],
        ),
    ] = False

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        origins: list[Any] = list(self.origins) if self.credentials is True else []
        for origin in origins:
            if isinstance(origin, str) and takes_any(origin):
                where = f"cannot be true with the origin {quote(origin)}"
                yield (
                    ("credentials",),
                    f"{where}: every site could read what its visitors can see here; list the origins",
                )
        seconds: Any = self.max_age
        if isinstance(seconds, float) and not seconds.is_integer():
            yield ("max_age",), "must be a whole number of seconds"

    def opaque_with_credentials(self) -> bool:
        """Whether pages that can be anybody's get what only a user may see."""
        return self.credentials and OPAQUE in self.origins


CORSKey = Annotated[
    CORS | None,
    about(
        "Which pages of other origins may read the answers. The gateway answers preflights itself.",
        examples=[{"origins": ["https://app.example.com"]}],
        policy=True,
        also=["cross_origin", "cors_policy", "access_control", "enable_cors"],
    ),
]
