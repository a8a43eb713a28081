"""Keys of a route for browsers: CORS and security headers."""

from fastgate.config.access import AccessKeys


class BrowserKeys(AccessKeys, frozen=True, kw_only=True):
    """The keys of a route for browsers."""
