"""The keys of ``[auth.jwt]``: JSON Web Tokens."""

from fastgate.config.table import Table


class JWT(Table, frozen=True, kw_only=True):
    """JSON Web Tokens (RFC 7519)."""
