import ssl
from collections.abc import Callable, Iterable

from fastgate._core.delivery.balancer import Balancer
from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.delivery.retry import Judgement
from fastgate._core.delivery.tries import Try, Upstream
from fastgate._core.exchange.exchange import Exchange
from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.store import Budget
from fastgate._core.wire.pooled import Home

class Target(Home):
    """One address of an upstream: ``host`` and ``port``, or the ``path`` of a Unix socket.

    ``authority`` is what Host says. ``number`` is the row in the shared table of targets. Weight, being a backup and
    the breaker may be changed before a `Pool.update`.
    """

    weight: float
    backup: bool
    breaker: Breaker | None

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        host: str = "",
        port: int = 0,
        path: str = "",
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        authority: str = "",
        number: int = 0,
        weight: float = 1.0,
        backup: bool = False,
        breaker: Breaker | None = None,
    ) -> None: ...
    @property
    def number(self) -> int: ...
    @property
    def retired(self) -> bool:
        """No longer a target of its pool: what is under way is the last."""
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def server_name(self) -> str: ...
    @property
    def idle(self) -> int:
        """Connections that rest and can be used at once."""
    @property
    def open(self) -> int:
        """Connections of this worker: idle, busy and being made."""

class Ticket:
    """What an exchange holds while a connection is made for it."""

class Pool(Upstream):
    """The targets of one upstream with this worker's connections to them.

    Times are seconds; counts are of one target and this worker. ``max_requests`` on one connection: 0 = no limit.
    ``passive`` is what counts against a target, ``breaks`` what counts for breakers; ``hash_key`` is for balancers that
    hash. With ``awaits_names`` (a name has not been resolved yet) requests wait while there is no target, for as long
    as they would for a connection. ``budgets`` gives the budget of retries for the name of an upstream and a share of
    its first tries.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        targets: Iterable[Target],
        balancer: Balancer[Target],
        health: UpstreamHealth,
        *,
        budgets: Callable[[str, float], Budget],
        breaker: Breaker | None = None,
        hash_key: RequestKey | None = None,
        passive: Judgement | None = None,
        breaks: Judgement | None = None,
        max_connections: int = 0,
        max_idle: int = 0,
        queue: int = 128,
        queue_timeout: float = 1.0,
        idle_timeout: float = 4.0,
        max_requests: int = 0,
        awaits_names: bool = False,
    ) -> None: ...
    def update(
        self,
        targets: Iterable[Target],
        balancer: Balancer[Target],
        health: UpstreamHealth,
        *,
        breaker: Breaker | None = None,
        hash_key: RequestKey | None = None,
        passive: Judgement | None = None,
        breaks: Judgement | None = None,
        max_connections: int = 0,
        max_idle: int = 0,
        queue: int = 128,
        queue_timeout: float = 1.0,
        idle_timeout: float = 4.0,
        max_requests: int = 0,
        awaits_names: bool = False,
    ) -> None:
        """Other targets or settings from now on; ``balancer`` and ``health`` are made for these targets."""
    @property
    def targets(self) -> tuple[Target, ...]: ...
    @property
    def health(self) -> UpstreamHealth: ...
    @property
    def breaker(self) -> Breaker | None:
        """Of the whole upstream."""
    @property
    def max_connections(self) -> int: ...
    @property
    def max_idle(self) -> int: ...
    @property
    def queue(self) -> int: ...
    @property
    def open(self) -> int:
        """Connections of this worker: idle, busy and being made."""
    def close(self) -> None:
        """Closes what rests; what is busy closes when it is done."""
    def close_oldest(self, most: int) -> int:
        """Closes the connections that have rested longest, target by target, at most so many; says how many."""
    def serve_waiting(self, target: Target) -> None:
        """Gives a connection that came free to the next request that waits for one of this target."""
    async def open_connection(self, target: Target, ticket: Ticket, x: Exchange, t: Try) -> None:
        """Makes a connection for an exchange and hands it over."""
