import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Self

from fastgate._core.exchange.head import Head
from fastgate._core.exchange.timers import Timed
from fastgate._core.exchange.views import Response
from fastgate._core.exchange.worker import Engine, Part
from fastgate._core.memory.plugin_times import PluginTimes

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

class Outbox(Part):
    """What the sides of a worker have written in this turn of its event loop and have not sent yet."""

    def turn_ends(self) -> None: ...

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

class Hook:
    """One hook of a plugin in the chain of a route."""

    call: Callable[..., Any]
    meter: PluginTimes | None
    def __init__(self, call: Callable[..., Any], meter: PluginTimes | None = None) -> None: ...

class TimedAwaitable:
    """What a hook returned to wait for, driven step by step to see how long each keeps the event loop."""

    def __init__(self, hook: Hook, x: Exchange, awaitable: Awaitable[Any], began: int) -> None: ...
    def __await__(self) -> Iterator[Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> object: ...
    def send(self, value: object) -> object: ...
    def throw(self, *error: Any) -> object: ...
    def close(self) -> None: ...

class FinishMark(Gate):
    """The place of a plugin with ``on_finish`` in the chain of a route."""

    def __init__(self, hook: Hook) -> None: ...

class Afterwards(Timed):
    """What ``on_finish`` hooks wait for when their exchange is over."""

    def done(
        self, hook: Hook, awaitable: Awaitable[None], task: asyncio.Task[BaseException | None]
    ) -> None:
        """A task has ended."""

class Chain:
    """The filters of one response body. Made by the exchange only."""

    def go_on(self) -> None:
        """The next slice of a large piece."""

def use_views(request: type, response: type, upstream_response: type, error: type) -> None:
    """What hooks see, told by the module that has it, which knows this one."""

def let_go(awaitable: Awaitable[Any], task: asyncio.Task[None]) -> None: ...
async def wait_for(x: Exchange, generation: int, awaitable: Awaitable[Response | None]) -> None:
    """The rest of the policies, after one that was not done at once."""

async def error_of(awaitable: Awaitable[Any]) -> BaseException | None:
    """Waits, and gives what was raised meanwhile; None: nothing."""

async def read_body(x: Exchange, whole: bool) -> bytes:
    """The request body, or its first 16 KB."""
