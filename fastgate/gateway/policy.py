"""The policy contract: what a plugin author writes.

A policy is a class with any of nine hooks. One object is made for each ``[[plugins]]`` entry in each worker and
serves every route that uses it, so what it keeps on itself is shared by all requests of that worker. Its life::

    Options → __init__(options) → on_startup(gateway) → on_request / on_response / on_error … → on_shutdown(gateway)

``on_health_change`` may be called at any time in between. Request hooks run in the order in which the route names its
policies; response and error hooks in the reverse order. ``on_request_body`` follows when every ``on_request`` has let
the request pass, ``on_response_body`` after every ``on_response``; ``on_finish`` when all is over.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

from fastgate._core.exchange.outcome import Outcome
from fastgate._core.exchange.views import ExchangeError, Request, Response

if TYPE_CHECKING:
    from fastgate.gateway.gateway import Gateway

__all__ = ["HOOKS", "ExchangeError", "HealthChange", "Outcome", "Policy", "Request", "Response", "defines"]

HOOKS = (
    "on_startup",
    "on_request",
    "on_request_body",
    "on_response",
    "on_response_body",
    "on_error",
    "on_finish",
    "on_health_change",
    "on_shutdown",
)

STREAM_HOOKS = ("on_request_body", "on_response_body")
"""Those that are called while a body streams, and so cannot wait."""


class HealthChange(NamedTuple):
    """One change of what is known of a target or an upstream, on this host, whoever noticed it."""

    upstream: str
    target: str
    """Its address as logs call it; empty: the upstream as a whole."""
    kind: str
    """``"health"`` (a probe), ``"ejected"``, ``"returned"``, ``"breaker"``, ``"drained"``, ``"enabled"`` or
    ``"panic"``."""
    old: str
    new: str
    """The states before and after: ``"up"``, ``"down"``, ``"open"``, ``"half-open"`` …"""
    value: int
    """What goes with the kind; of an ejection for how many milliseconds."""


class Policy:
    """Base class of policies. Every hook is optional; one that is not defined costs nothing.

    ``on_request``, ``on_response`` and ``on_error`` may be ordinary or async functions. They return None (go on), a
    `Response` (answer with it) or an awaitable of either. An ordinary function runs inside the event loop and must not
    block. What a hook raises is logged with the route, and the client gets 500; the worker goes on.
    """

    body: ClassVar[Literal["none", "peek", "full"]] = "none"
    """Which bodies the policy reads. ``"none"``: they stream past. ``"peek"``: ``await request.body()`` gives the first
    16 KB while the rest streams. ``"full"``: the request body is buffered up to the route's ``max_body`` where the
    policy defines ``on_request``, and the response body where it defines ``on_response``."""

    Options: ClassVar[type[Struct] | None] = None
    """What the options are: a `msgspec.Struct`, usually a class inside the policy's. ``__init__`` gets an object of it,
    and options that do not fit are errors of the configuration, also for ``fastgate check``. None: a dict."""

    def __init__(self, options: Any) -> None:
        """``options`` of the ``[[plugins]]`` entry. Raise ValueError for bad ones: the gateway does not start."""
        self.options = options

    async def on_startup(self, gateway: Gateway) -> None:
        """Before the first request. Raising keeps the worker from starting."""

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """A request that matched the route; nothing has been sent to the upstream. A `Response` answers it here."""

    def on_response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """The head of the answer, from the upstream or from a policy; nothing has been sent to the client.

        Edit ``response.headers`` and ``response.status``, or return another `Response` in its place.
        """

    def on_request_body(self, request: Request, piece: bytes, last: bool) -> bytes | None:
        """A piece of the request body on its way to the upstream, in whatever size it came; each byte is seen once.

        Returns what goes on in its place: None is the piece as it is, ``b""`` nothing of it. With ``last`` the body
        ends, perhaps with an empty piece. Not called for requests without a body. Never async. The body's length is not
        told to the upstream in advance, unless it is there at once. What it raises ends the exchange with 500.
        """

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes | None:
        """A piece of the response body on its way to the client; the same as for requests.

        Not called where there is no body (HEAD, 204, 304). When something has been sent, what it raises cuts the
        connection.
        """

    def on_error(self, request: Request, error: ExchangeError) -> Response | Awaitable[Response | None] | None:
        """The exchange failed and nothing has been sent to the client.

        The first `Response` wins over the gateway's own.
        """

    def on_finish(self, request: Request, outcome: Outcome) -> Awaitable[None] | None:
        """The exchange is over, however it ended. Called once for each whose ``on_request`` of this policy was called.

        So it is called for what the policy itself refused or answered, and where the client left, the upstream failed
        or the gateway stops; not for what was refused before the request came to this policy. In the reverse order of
        the route. A policy without ``on_request`` is told of what came to its place in the route.

        It can read the request and changes nothing any more. What it returns to wait for runs beside all later
        requests, for at most 30 seconds. What it raises is logged and counted in ``policy_errors``.
        """

    def on_health_change(self, change: HealthChange) -> Awaitable[None] | None:
        """A target or an upstream is in another state; told in order, within two tenths of a second, in each worker.

        What it raises is logged.
        """

    async def on_shutdown(self, gateway: Gateway) -> None:
        """After the last request, and when another policy's ``on_startup`` failed after this one's had succeeded."""


def defines(policy: object, hook: str) -> bool:
    """Whether the policy's class has a hook of its own."""
    own = getattr(type(policy), hook, None)
    return own is not None and own is not getattr(Policy, hook)
