"""The keys of ``[auth.forward]``: a service that says who may come in."""

from fastgate.config.table import Table


class ForwardAuth(Table, frozen=True, kw_only=True):
    """A service that is asked for each request."""
