from asyncio import Task
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self

from fastgate._core.exchange.exchange import Exchange, Gate
from fastgate._core.exchange.timers import Timed
from fastgate._core.exchange.views import Response
from fastgate._core.memory.plugin_times import Meter

class Hook:
    """One hook of a plugin in the chain of a route."""

    call: Callable[..., Any]
    meter: Meter | None
    def __init__(self, call: Callable[..., Any], meter: Meter | None = None) -> None: ...

class Stretches:
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
        self, hook: Hook, awaitable: Awaitable[None], task: Task[BaseException | None]
    ) -> None:
        """A task has ended."""

def let_go(awaitable: Awaitable[Any], task: Task[None]) -> None: ...
async def wait_for(x: Exchange, generation: int, awaitable: Awaitable[Response | None]) -> None:
    """The rest of the policies, after one that was not done at once."""

async def error_of(awaitable: Awaitable[Any]) -> BaseException | None:
    """Waits, and gives what was raised meanwhile; None: nothing."""

async def read_body(x: Exchange, whole: bool) -> bytes:
    """The request body, or its first 16 KB."""
