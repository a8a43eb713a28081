"""Keys of a route that change bodies: envelope and compression."""

from fastgate.config.table import Table


class BodyKeys(Table, frozen=True, kw_only=True):
    """The keys of a route that change response bodies."""
