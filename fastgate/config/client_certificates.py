"""The keys of ``[auth.certificate]``: certificates of clients as identity."""

from fastgate.config.table import Table


class ClientCertificates(Table, frozen=True, kw_only=True):
    """Who asks is the subject of the client's certificate."""
