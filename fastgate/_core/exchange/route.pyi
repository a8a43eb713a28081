from collections.abc import Callable, Iterable
from typing import Literal

from fastgate._core.exchange.exchange import (
    AnswerEdits,
    BodyFilter,
    BodyRule,
    Delivery,
    Gate,
    Hook,
    Observer,
    Problems,
    Stamp,
)
from fastgate._core.routing.router import Entry, Router

class Route:
    """One route with everything it needs bound to it; immutable.

    Timeouts are seconds, 0 = none; ``max_body`` is bytes, 0 = no limit. ``host_header`` is "upstream", "client" or the
    value to send. ``on_request`` are the steps of a request in their order: gates, which are built-in policies, and
    hooks, which are bound methods of the policies that define them.
    """

    def __init__(
        self,
        *,
        name: str,
        delivery: Delivery,
        stamps: Iterable[Stamp] = (),
        on_request: Iterable[Gate | Hook] = (),
        on_response: Iterable[Hook] = (),
        on_error: Iterable[Hook] = (),
        buffer_request: bool = False,
        read_request: bool = False,
        buffer_response: bool = False,
        request_filters: Iterable[BodyFilter] = (),
        response_filters: Iterable[BodyRule] = (),
        edits: AnswerEdits | None = None,
        answers_preflights: bool = False,
        host_header: str = "upstream",
        names_trace: bool = False,
        encoded_backslash: Literal["refuse", "keep"] = "refuse",
        upgrades: Iterable[str] = ("websocket",),
        half_close: str = "cancel",
        trailers: bool = False,
        min_rate: int = 0,
        max_body: int = 0,
        read_timeout: float = 60.0,
        write_timeout: float = 60.0,
        idle_timeout: float = 300.0,
        total_timeout: float = 0.0,
        problems: Problems | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def delivery(self) -> Delivery:
        """Who answers."""
    @property
    def edits(self) -> AnswerEdits | None:
        """Of the heads of answers; None where there are none."""
    @property
    def stamps(self) -> tuple[Stamp, ...] | None:
        """None where there are none."""
    @property
    def on_request(self) -> tuple[Gate | Hook, ...] | None:
        """None where there are none."""
    @property
    def on_response(self) -> tuple[Hook, ...] | None: ...
    @property
    def on_error(self) -> tuple[Hook, ...] | None: ...
    @property
    def problems(self) -> Problems | None:
        """None: those of the path's prefix, or of the runtime."""
    @property
    def request_filters(self) -> tuple[BodyFilter, ...] | None: ...
    @property
    def response_filters(self) -> tuple[BodyRule, ...] | None: ...

class Runtime:
    """A compiled configuration: the router, whose values are `Route`, and what holds for every route; immutable.

    Times are seconds, sizes bytes. ``methods`` is what ``OPTIONS *`` answers. ``request_id`` is the name of the field,
    "" = off; ``health_path`` "" = none. ``trusted`` says of an address whether its X-Forwarded-* are believed; None:
    nobody's are. ``check_server_name``: a Host that is not the name the TLS connection was opened for is refused.
    ``unlogged`` are parameters of queries that the access log leaves out. ``problems`` give the gateway's own errors
    their shape, the first that has one; before them those of a route are asked, and those in ``problems_below`` of the
    prefixes of the path. ``observers`` are told of each exchange that is over.
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
        server_header: str = "fastgate",
        health_path: str = "",
        trusted: Callable[[str], bool] | None = None,
        check_server_name: bool = False,
        unlogged: Iterable[str] = (),
        observers: Iterable[Observer] = (),
        problems: Iterable[Problems] = (),
        problems_below: Iterable[tuple[str, Problems]] = (),
    ) -> None: ...
    @property
    def observers(self) -> tuple[Observer, ...]:
        """Told of each exchange that began with this runtime; to be set before it is used."""
    @observers.setter
    def observers(self, observers: Iterable[Observer]) -> None: ...
    @property
    def problems(self) -> tuple[Problems, ...]: ...
    @property
    def problems_below(self) -> tuple[tuple[bytes, Problems], ...] | None:
        """The longest prefix first; None where there are none."""
    @property
    def router(self) -> Router | None: ...
    def dissolve(self) -> list[Entry]:
        """Lets go of the router, once another runtime is in use, and returns its routes, to be freed in slices.

        Exchanges that began with this runtime need the rest of it only.
        """
