from collections.abc import Callable, Iterable
from typing import Literal

from fastgate._core.delivery.copies import Mirror
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.split import Split
from fastgate._core.exchange.chain import Hook
from fastgate._core.exchange.exchange import BodyFilter, BodyRule, Gate, Stamp, Upstream
from fastgate._core.routing.router import Entry, Router

VARIABLES: dict[str, int]
"""The variables of a `Template` by the names that a configuration uses."""

class Template:
    """A field value: literal bytes and (variable, argument) pairs, a variable being one of `VARIABLES`."""

    def __init__(self, parts: Iterable[bytes | tuple[int, str]]) -> None: ...
    @property
    def parts(self) -> tuple[bytes | tuple[int, str], ...]: ...

class Edits:
    """What is done to the fields of a head: ``removed`` names go, ``added`` pairs are appended, in this order."""

    def __init__(
        self,
        *,
        removed: Iterable[str] = (),
        added: Iterable[tuple[str, bytes | Template]] = (),
        request_id: str = "",
    ) -> None:
        """``request_id`` is the name of the field that the gateway has for the id; ``""``: it has none."""
    @property
    def removed(self) -> tuple[bytes, ...]:
        """In lower case."""
    @property
    def added(self) -> tuple[tuple[bytes, bytes | Template], ...]: ...

class FixedAnswer:
    """What a route answers without an upstream. Field values may be templates.

    ``keeps_query``: the first field is Location and gets the query of the request, unless it has one.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        fields: Iterable[tuple[str, bytes | Template]] = (),
        content: bytes = b"",
        keeps_query: bool = False,
    ) -> None: ...
    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> tuple[tuple[bytes, bytes | Template], ...]: ...
    @property
    def content(self) -> bytes: ...

DEFAULT_RETRY: RetryRule
"""What a route without a rule of its own does."""

class Route:
    """One route with everything it needs bound to it; immutable.

    Timeouts are seconds, 0 = none; ``max_body`` is bytes, 0 = no limit. ``rewrite`` makes the path to forward of the
    normalised path; None from it refuses the request. ``host_header`` is "upstream", "client" or the value to send.
    ``gates`` are the built-in policies; the hooks are bound methods of the policies that define them.
    """

    def __init__(
        self,
        *,
        name: str,
        upstream: Upstream | None = None,
        split: Split | None = None,
        mirror: Mirror | None = None,
        fixed: FixedAnswer | None = None,
        stamps: Iterable[Stamp] = (),
        retry: RetryRule | None = ...,
        gates: Iterable[Gate] = (),
        on_request: Iterable[Hook] = (),
        on_response: Iterable[Hook] = (),
        on_error: Iterable[Hook] = (),
        buffer_request: bool = False,
        read_request: bool = False,
        buffer_response: bool = False,
        request_filters: Iterable[BodyFilter] = (),
        response_filters: Iterable[BodyRule] = (),
        rewrite: Callable[[bytes], bytes | None] | None = None,
        request_edits: Edits | None = None,
        response_edits: Edits | None = None,
        answers_preflights: bool = False,
        host_header: str = "upstream",
        names_trace: bool = False,
        encoded_backslash: Literal["refuse", "keep"] = "refuse",
        upgrades: Iterable[str] = ("websocket",),
        half_close: str = "cancel",
        min_rate: int = 0,
        max_body: int = 0,
        connect_timeout: float = 2.0,
        read_timeout: float = 60.0,
        write_timeout: float = 60.0,
        idle_timeout: float = 300.0,
        total_timeout: float = 0.0,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def upstream(self) -> Upstream | None:
        """None where a split or a fixed answer stands for it."""
    @property
    def split(self) -> Split | None: ...
    @property
    def mirror(self) -> Mirror | None: ...
    @property
    def fixed(self) -> FixedAnswer | None: ...
    @property
    def stamps(self) -> tuple[Stamp, ...] | None:
        """None where there are none."""
    @property
    def retry(self) -> RetryRule | None:
        """None: one try."""
    @property
    def on_request(self) -> tuple[Gate | Hook, ...] | None:
        """Gates, then hooks; None where there are none."""
    @property
    def on_response(self) -> tuple[Hook, ...] | None: ...
    @property
    def on_error(self) -> tuple[Hook, ...] | None: ...
    @property
    def request_filters(self) -> tuple[BodyFilter, ...] | None: ...
    @property
    def response_filters(self) -> tuple[BodyRule, ...] | None: ...

class Runtime:
    """A compiled configuration: the router, whose values are `Route`, and what holds for every route; immutable.

    Times are seconds, sizes bytes. ``methods`` is what ``OPTIONS *`` answers. ``request_id`` is the name of the field,
    "" = off; ``health_path`` "" = none. ``trusted`` says of an address whether its X-Forwarded-* are believed; None:
    nobody's are. ``check_server_name``: a Host that is not the name the TLS connection was opened for is refused.
    ``unlogged`` are parameters of queries that the access log leaves out.
    """

    def __init__(
        self,
        *,
        router: Router,
        methods: Iterable[str] = (),
        merge_slashes: bool = True,
        field_names: Literal["drop", "pass", "reject"] = "drop",
        max_headers: int = 100,
        max_header_bytes: int = 32768,
        keepalive: float = 75.0,
        header_timeout: float = 10.0,
        body_timeout: float = 30.0,
        min_rate: int = 0,
        forwarded: bool = False,
        via: bool = False,
        request_id: str = "x-request-id",
        error_format: Literal["problem", "html"] = "problem",
        server_header: str = "fastgate",
        health_path: str = "",
        trusted: Callable[[str], bool] | None = None,
        check_server_name: bool = False,
        unlogged: Iterable[str] = (),
    ) -> None: ...
    @property
    def router(self) -> Router | None: ...
    def dissolve(self) -> list[Entry]:
        """Lets go of the router, once another runtime is in use, and returns its routes, to be freed in slices.

        Exchanges that began with this runtime need the rest of it only.
        """
