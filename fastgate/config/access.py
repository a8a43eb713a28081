"""Keys of a route that close it to some requests: addresses, maintenance, the kind of body."""

from fastgate.config.auth import AuthKeys


class AccessKeys(AuthKeys, frozen=True, kw_only=True):
    """The keys of a route that close it to some requests."""
