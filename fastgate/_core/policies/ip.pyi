"""The gate of a route that is open to some addresses only."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Gate

class IpRules(Gate):
    """Who may use a route, by the address of the client: the most specific network decides.

    Who is in none of them may use it if nobody is named in ``allow``.
    """

    def __init__(self, *, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None: ...
