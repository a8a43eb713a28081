"""What a limit counts by, and what follows from it."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from fastgate.config.schema.kinds import LimitKey
from fastgate.config.syntax.request_key import is_chosen_by_clients, names_identity

LimitKeys = Annotated[list[LimitKey], Meta(min_length=1, max_length=8)]


def counts_by_identity(key: Sequence[str]) -> bool:
    """Whether a limit with this key can only be asked once it is known who asks."""
    return any(names_identity(word) for word in key)


def chosen_by_clients(key: Sequence[str]) -> bool:
    """Whether clients can invent as many values of this key as they like: their counts have room apart."""
    return any(is_chosen_by_clients(word) for word in key)


def count_name(route: str, key: Sequence[str], position: int | str) -> str:
    """What a count belongs to beside its key: a limit of the route; for a global one all that stand at its position."""
    return f"{position}" if "global" in key else f"{route}\0{position}"
