import asyncio
from typing import Protocol
from weakref import WeakSet

from fastgate._core.delivery.pool import Pool
from fastgate._core.exchange.route import Runtime
from fastgate._core.exchange.timers import Wheel
from fastgate._core.memory.region import Region
from fastgate._core.memory.targets import TargetRows

class Log(Protocol):
    """Takes what an operator should know: "debug", "info", "warning" or "error", and one line."""

    def __call__(self, level: str, message: str, exception: BaseException | None = None) -> object: ...

class Part:
    """What a feature keeps for a worker."""

class Engine:
    """What a worker has one of: loop, timer wheel, counters, scratch space and the runtime that new exchanges use."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slot: int,
        log: Log,
        *,
        workers: Region,
        counters: Region,
        rows: TargetRows,
    ) -> None: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def rows(self) -> TargetRows: ...
    @property
    def slot(self) -> int: ...
    @property
    def wheel(self) -> Wheel: ...
    @property
    def runtime(self) -> Runtime: ...
    max_connections: int
    """Of clients; 0 = no limit."""
    max_per_client: int
    """Connections of one client address (of one /64 for IPv6); 0 = no limit."""
    @property
    def log(self) -> Log: ...
    ready: bool
    """What the health path answers."""
    draining: bool
    """Every answer says ``Connection: close`` and no connection is kept."""
    @property
    def afterwards(self) -> set[asyncio.Task[BaseException | None]]:
        """What ``on_finish`` hooks of plugins still wait for; their exchanges are over."""
    def start(self) -> None:
        """Sets the wheel going."""
    def turn(self) -> None:
        """One turn of the wheel and a heartbeat; goes on by itself until `stop`."""
    def stop(self) -> None:
        """Stops the wheel and what waits after its exchange, and lets go of what was kept for later."""
    def use(self, runtime: Runtime) -> None:
        """New exchanges use this runtime; those under way keep theirs."""
    def identify_anew(self) -> None:
        """What is believed of open connections is asked for again at their next request: a reload may have changed it.
        """
    def close_idle(self) -> None:
        """Closes the client connections on which nothing is under way and nothing unread."""
    def close_idle_upstreams(self, most: int = 64) -> int:
        """Closes some connections to upstreams that have rested longest, because files are needed; says how many."""
    @property
    def repeats(self) -> object:
        """What the wire knows of requests that come again, for this configuration; None: nothing yet."""
    @property
    def pools(self) -> WeakSet[Pool]:
        """The pools of connections to upstreams, as long as something else needs them."""
    def abort_connections(self) -> None:
        """Ends every client connection now, and what no client waits for."""
    def timer_failed(self, error: BaseException) -> None:
        """Hands what a deadline raised to the loop's exception handler."""
    @property
    def open_connections(self) -> int:
        """Client connections that are open."""

def tune_allocator() -> None:
    """Keeps up to 8 MB of freed memory in the process, for a process that is all gateway.

    Reads are objects of up to 256 KB, which glibc would otherwise map and unmap one by one.
    """
