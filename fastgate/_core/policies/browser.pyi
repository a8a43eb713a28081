from collections.abc import Callable, Iterable

from fastgate._core.exchange.exchange import Gate

class CrossOrigin:
    """The rules of CORS for one route.

    ``origins`` are compared byte by byte. Each of ``wildcards`` is what stands before and behind the labels that a
    wildcard stands for; each of ``expressions`` gives None for an origin that it does not match. ``methods`` and
    ``headers``: None allows all. ``max_age`` is seconds.
    """

    def __init__(
        self,
        *,
        origins: Iterable[str] = (),
        wildcards: Iterable[tuple[str, str]] = (),
        expressions: Iterable[Callable[[bytes], object]] = (),
        any_origin: bool = False,
        methods: Iterable[str] | None = None,
        headers: Iterable[str] | None = None,
        expose: Iterable[str] = (),
        expose_all: bool = False,
        credentials: bool = False,
        max_age: int = 0,
        private_network: bool = False,
    ) -> None: ...
    def allow(self, origin: bytes) -> bytes:
        """The lines that let an origin read the answer."""
    def suits(self, origin: bytes) -> bool:
        """Whether a wildcard or an expression stands for an origin."""

class SecurityFields:
    """The security headers of one route.

    ``override``: they replace those that an answer has; without it those stay.
    """

    def __init__(self, fields: Iterable[tuple[str, str]], *, override: bool = False) -> None: ...

class Browser:
    """What a route tells browsers with each answer."""

    def __init__(self, cors: CrossOrigin | None = None, security: SecurityFields | None = None) -> None: ...
    @property
    def cors(self) -> CrossOrigin | None: ...
    @property
    def security(self) -> SecurityFields | None: ...

class PreflightGate(Gate):
    """Answers preflights, on a route whose `Browser` has rules of CORS."""
