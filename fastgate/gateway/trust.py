"""Whose word is believed about where a request comes from: the peers of ``gateway.trusted_proxies``."""

from collections.abc import Sequence

from fastgate._core.routing.networks import Networks


class TrustedPeers:
    """Addresses, networks, ``unix:`` (the peers of every Unix socket) and ``unix:/path`` (of one).

    ``address in peers`` asks about an address, ``"unix:/path" in peers`` about the peers of a Unix socket.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._sockets = {entry for entry in entries if entry.startswith("unix:")}
        self._networks = Networks([entry for entry in entries if entry not in self._sockets])

    def __contains__(self, peer: str) -> bool:
        if peer.startswith("unix:"):
            return "unix:" in self._sockets or peer in self._sockets
        return peer in self._networks

    def __bool__(self) -> bool:
        return bool(self._sockets) or bool(self._networks)
