"""The policy contract: what a plugin author writes.

A policy is a class with any of nine hooks. One object is made for each ``[[plugins]]`` entry in each worker and
serves every route that uses it, so all requests of that worker share its state. Its life::

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
"""The hooks that the gateway calls while a body streams; they cannot wait."""


class HealthChange(NamedTuple):
    """One change of the state of a target or an upstream on this host, whichever process noticed it."""

    upstream: str
    target: str
    """The target's address as in the log; empty: the upstream as a whole."""
    kind: str
    """``"health"`` (a probe), ``"ejected"``, ``"returned"``, ``"breaker"``, ``"drained"``, ``"enabled"`` or
    ``"panic"``."""
    old: str
    new: str
    """The states before and after: ``"up"``, ``"down"``, ``"open"``, ``"half-open"`` …"""
    value: int
    """A number that depends on the kind; for an ejection its length in milliseconds."""


class Policy:
    """Base class of policies. Every hook is optional; a hook that is not defined costs nothing.

    ``on_request``, ``on_response`` and ``on_error`` may be ordinary or async functions. They return None (go on), a
    `Response` (answer with it) or an awaitable of either. An ordinary function runs inside the event loop and must not
    block. If a hook raises, the gateway logs it with the route, and the client gets 500; the worker continues.
    """

    body: ClassVar[Literal["none", "peek", "full"]] = "none"
    """Which bodies the policy reads. ``"none"``: they stream past. ``"peek"``: ``await request.body()`` gives the first
    16 KB while the rest streams. ``"full"``: the request body is buffered up to the route's ``max_body`` where the
    policy defines ``on_request``, and the response body where it defines ``on_response``."""

    Options: ClassVar[type[Struct] | None] = None
    """Declares the options: a `msgspec.Struct`, usually a class inside the policy's. ``__init__`` gets an object of it,
    and options that do not fit are errors of the configuration, also for ``fastgate check``. None: a dict."""

    def __init__(self, options: Any) -> None:
        """``options`` of the ``[[plugins]]`` entry. Raise ValueError for invalid ones: the gateway does not start."""
        self.options = options

    async def on_startup(self, gateway: Gateway) -> None:
        """Called before the first request. If it raises, the worker does not start."""

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """A request that matches the route; nothing was sent to the upstream. A `Response` answers it at once."""

    def on_response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """The head of the answer, from the upstream or from a policy; nothing was sent to the client.

        Edit ``response.headers`` and ``response.status``, or return another `Response` instead.
        """

    def on_request_body(self, request: Request, piece: bytes, last: bool) -> bytes | None:
        """A piece of the request body on its way to the upstream, of any size. The hook gets each byte once.

        Returns the bytes to forward: None is the piece as it is, ``b""`` drops it. With ``last`` the body
        ends, perhaps with an empty piece. Not called for requests without a body. Never async. The upstream gets the
        body's length in advance only if all of it is there at once. If the hook raises, the client gets 500.
        """

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes | None:
        """A piece of the response body on its way to the client; the same as for requests.

        Not called for answers without a body (HEAD, 204, 304). If the hook raises after a part of the answer was sent,
        the gateway cuts the connection.
        """

    def on_error(self, request: Request, error: ExchangeError) -> Response | Awaitable[Response | None] | None:
        """The exchange failed and nothing was sent to the client.

        The first `Response` replaces the gateway's own.
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
        """The state of a target or an upstream has changed; called in order, within 0.2 s, in each worker.

        The gateway logs what it raises.
        """

    async def on_shutdown(self, gateway: Gateway) -> None:
        """Called after the last request, and if another policy's ``on_startup`` failed after this one's succeeded."""


def defines(policy: object, hook: str) -> bool:
    """Whether the policy's class has a hook of its own."""
    own = getattr(type(policy), hook, None)
    return own is not None and own is not getattr(Policy, hook)
