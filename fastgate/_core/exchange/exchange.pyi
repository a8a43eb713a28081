import asyncio
from collections.abc import Coroutine

from fastgate._core.exchange.head import Head
from fastgate._core.exchange.timers import Timed
from fastgate._core.exchange.worker import Engine

class Source(Timed):
    """Where the bytes of a body come from: a connection, a stored answer, a generator."""

class Peer:
    """Who is at the other end of a client's connection, and what is believed of it."""

class Side(Source):
    """One end of an exchange; the flow-control half of an asyncio protocol."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """None before the connection was made and after it was lost, and where it has none of its own."""
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

class ClientSide(Side):
    """The client's end of an exchange."""

class UpstreamSide(Side):
    """The upstream's end of an exchange."""

class Delivery:
    """Who answers the requests of a route. Only compiled subclasses can."""

    @property
    def outer(self) -> Delivery | None:
        """The one around it; None: the exchange."""

class Around(Delivery):
    """A delivery around another one. Only compiled subclasses can answer."""

    @property
    def inner(self) -> Delivery: ...

class Facts:
    """What a feature knows of an exchange. Only compiled subclasses know something."""

class AnswerEdits:
    """What a route does to the heads of answers. Only compiled subclasses do something."""

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

class Debt:
    """What a feature owes for an exchange until its end. Only compiled subclasses can be settled."""

class OpenFilters(Debt):
    """The filters of a body, which have to hear that the exchange is over."""

class Spares:
    """Debts of one kind that are settled, kept for later."""

class Stamp:
    """Fields of every answer of a route. Only compiled subclasses can put them."""

    @property
    def own(self) -> int:
        """Bits of the gateway's own fields that it may put."""

class Observer:
    """Told once of each exchange that is over. Only compiled subclasses can see it."""

class Problems:
    """The shape of the gateway's own errors. Only compiled subclasses have one."""

class NoClient(ClientSide):
    """The client's end of a copy: takes everything and tells nobody."""

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
    def abort(self) -> None:
        """Ends a copy: the gateway stops."""
