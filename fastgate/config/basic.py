"""The keys of ``[auth.basic]``: names and passwords."""

from fastgate.config.table import Table


class Basic(Table, frozen=True, kw_only=True):
    """Names and passwords (RFC 7617)."""
