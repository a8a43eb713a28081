"""Keys of a route that change bodies: envelope and compression."""

from fastgate.config.browser import BrowserKeys


class BodyKeys(BrowserKeys, frozen=True, kw_only=True):
    """The keys of a route that change response bodies."""
