from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, TypeAlias

from fastgate._core.exchange import Upstream
from fastgate._core.messages import ExchangeError, Request, Response
from fastgate._core.router import Router

Answered: TypeAlias = Response | Awaitable[Response | None] | None
RequestHook: TypeAlias = Callable[[Request], Answered]
ResponseHook: TypeAlias = Callable[[Request, Response], Answered]
ErrorHook: TypeAlias = Callable[[Request, ExchangeError], Answered]

VARIABLES: dict[str, int]
"""The variables of a `Template` by the names that a configuration uses."""

class Template:
    """A field value: literal bytes and (variable, argument) pairs, a variable being one of `VARIABLES`."""

    def __init__(self, parts: Iterable[bytes | tuple[int, str]]) -> None: ...
    @property
    def parts(self) -> tuple[bytes | tuple[int, str], ...]: ...

class Edits:
    """What is done to the fields of a head: ``removed`` names go, ``added`` pairs are appended, in this order."""

    def __init__(self, *, removed: Iterable[str] = (), added: Iterable[tuple[str, bytes | Template]] = ()) -> None: ...
    @property
    def removed(self) -> tuple[bytes, ...]:
        """In lower case."""
    @property
    def added(self) -> tuple[tuple[bytes, bytes | Template], ...]: ...

class Route:
    """One route with everything it needs bound to it; immutable.

    Timeouts are seconds, 0 = none; ``max_body`` is bytes, 0 = no limit. ``rewrite`` makes the path to forward of the
    normalised path; None from it refuses the request. ``host_header`` is "upstream", "client" or the value to send.
    The hooks are bound methods of the policies that define them.
    """

    def __init__(
        self,
        *,
        name: str,
        upstream: Upstream,
        on_request: Iterable[RequestHook] = (),
        on_response: Iterable[ResponseHook] = (),
        on_error: Iterable[ErrorHook] = (),
        buffer_request: bool = False,
        read_request: bool = False,
        buffer_response: bool = False,
        rewrite: Callable[[bytes], bytes | None] | None = None,
        request_edits: Edits | None = None,
        response_edits: Edits | None = None,
        host_header: str = "upstream",
        names_trace: bool = False,
        upgrades: Iterable[str] = ("websocket",),
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
    def upstream(self) -> Upstream: ...
    @property
    def on_request(self) -> tuple[RequestHook, ...] | None:
        """None where no policy has the hook."""
    @property
    def on_response(self) -> tuple[ResponseHook, ...] | None: ...
    @property
    def on_error(self) -> tuple[ErrorHook, ...] | None: ...

class Runtime:
    """A compiled configuration: the router, whose values are `Route`, and what holds for every route; immutable.

    Times are seconds, sizes bytes. ``methods`` is what ``OPTIONS *`` answers. ``request_id`` is the name of the field,
    "" = off; ``health_path`` "" = none. ``trusted`` says of an address whether its X-Forwarded-* are believed; None:
    nobody's are. ``check_server_name``: a Host that is not the name the TLS connection was opened for is refused.
    """

    def __init__(
        self,
        *,
        router: Router,
        methods: Iterable[str] = (),
        merge_slashes: bool = True,
        underscore_headers: Literal["drop", "pass", "reject"] = "drop",
        max_headers: int = 100,
        max_header_bytes: int = 32768,
        keepalive: float = 75.0,
        header_timeout: float = 10.0,
        body_timeout: float = 30.0,
        forwarded: bool = False,
        via: bool = False,
        request_id: str = "x-request-id",
        error_format: Literal["problem", "html"] = "problem",
        server_header: str = "fastgate",
        health_path: str = "",
        trusted: Callable[[str], bool] | None = None,
        check_server_name: bool = False,
    ) -> None: ...
    @property
    def router(self) -> Router: ...

def milliseconds(seconds: float) -> int:
    """Whole milliseconds; anything above zero is at least one."""
