"""Who asks, as a fact of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

class Identity:
    """Who asks, as an authentication method found out; immutable, and shared by the requests of one client.

    ``id`` is unique among those of ``method``. ``claims`` are what is known beside it, by name; ``source`` is what the
    method found it in. ``fields`` are header fields for the upstream, ``client_fields`` for the client.
    """

    def __init__(
        self,
        id: str,
        method: str,
        *,
        claims: Mapping[str, Any] | None = None,
        source: object = None,
        fields: Iterable[tuple[str, str]] = (),
        client_fields: Iterable[tuple[str, str]] = (),
    ) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def method(self) -> str:
        """"key", "jwt", "basic" …"""
    @property
    def claims(self) -> Mapping[str, Any]:
        """For reading only: the next request of the same client has them too."""
    @property
    def source(self) -> object: ...
    def with_others(self, other: Identity) -> Identity:
        """This one, with the claims and fields of another method that was needed too."""
