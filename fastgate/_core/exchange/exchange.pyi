import asyncio
from collections.abc import Coroutine

from fastgate._core.exchange.head import Head
from fastgate._core.exchange.timers import Timed
from fastgate._core.exchange.worker import Engine

class Endpoint(Timed):
    """One end of an exchange with a transport; the flow-control half of an asyncio protocol."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """None before the connection was made and after it was lost."""
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def sink_changed(self, hold: int) -> None:
        """Passes back-pressure on to whoever feeds this side."""

class ClientSide(Endpoint):
    """The client's end of an exchange."""

class UpstreamSide(Endpoint):
    """A connection to an upstream."""

class Upstream:
    """Where a route's requests go: targets and the connections to them."""

    @property
    def name(self) -> str: ...

class Gate:
    """A built-in policy on the request side. Only compiled subclasses can be one."""

class BodyFilter:
    """What one policy does to a body while it passes. Only compiled subclasses can do something."""

    @property
    def name(self) -> str: ...

class BodyRule:
    """A policy on response bodies, compiled into a route. Only compiled subclasses can be one."""

    @property
    def name(self) -> str: ...

class Attempt:
    """One try of an exchange with one target."""

class Debt:
    """What a feature owes for an exchange until its end. Only compiled subclasses can be settled."""

class Spares:
    """Debts of one kind that are settled, kept for later."""

class Stamp:
    """Fields of every answer of a route. Only compiled subclasses can put them."""

    @property
    def own(self) -> int:
        """Bits of the gateway's own fields that it may put."""

class Observer:
    """Told once of each exchange that is over. Only compiled subclasses can see it."""

class Answer:
    """A response that does not come from an upstream."""

class Exchange(Timed):
    """One request and its answer. Made by the connections only."""

    def __init__(self, engine: Engine) -> None: ...
    @property
    def request(self) -> Head: ...
    @property
    def response(self) -> Head: ...
    @property
    def status(self) -> int:
        """What the client is told; 0 until that is known."""
    @property
    def target_name(self) -> str | None:
        """The target of the last try."""
    def read_body(self, whole: bool) -> Coroutine[None, None, bytes]:
        """The request body, or its first 16 KB. For `Request.body`."""
    def next_try(self, generation: int) -> None:
        """The pause between two tries is over."""
    def hedge_now(self, generation: int) -> None:
        """No answer yet: a second target is asked too."""
    def abort(self) -> None:
        """Ends a copy: the gateway stops."""
