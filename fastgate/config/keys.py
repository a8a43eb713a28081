"""The keys of ``[auth.key]`` and of ``[gateway.keys]``."""

from fastgate.config.table import Table


class KeyAuth(Table, frozen=True, kw_only=True):
    """Where a request carries its key."""
