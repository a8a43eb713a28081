from fastgate._core.exchange.exchange import ClientSide, Upstream

class Mirror:
    """Where copies of a route's requests go. ``sample`` is the share that is copied, ``timeout`` is seconds."""

    upstream: Upstream
    sample: float
    def __init__(self, upstream: Upstream, *, sample: float = 1.0, timeout: float = 60.0) -> None: ...

class Nobody(ClientSide):
    """The client's end of a copy."""
