"""Keys of a route for browsers: CORS and security headers."""

from fastgate.config.table import Table


class BrowserKeys(Table, frozen=True, kw_only=True):
    """The keys of a route for browsers."""
