"""Addresses in the one form in which stored answers are purged by them: ``scheme://host[:port]path[?query]``."""

from fastgate._core.delivery.cache.rules import CacheRules

def origin_of(scheme: bytes, host: bytes) -> bytes | None:
    """The beginning of an address, as far as its path; None: the host is not one.

    ``scheme`` is in lower case, ``host`` may have a port.
    """

def query_of(rules: CacheRules, query: bytes) -> bytes | None:
    """A query as a route with these rules forwards it; None: nothing is left of it."""
