import ssl

from fastgate._core.exchange.exchange import UpstreamSide

class Home:
    """Where connections to one target belong, as these see it."""

    @property
    def name(self) -> str: ...
    @property
    def tls(self) -> ssl.SSLContext | None: ...

class PooledConnection(UpstreamSide):
    """A connection that serves one exchange after the other and rests between them, whatever its wire."""
