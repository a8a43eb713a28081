"""Heads that are not read again, for tests. The gateway never loads it."""

from typing import Any

def read_and_repeated(
    first: bytes, second: bytes, field_names: int, most: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None] | None:
    """What the second request's head says when it is read, and when only the first one was: None where it is refused,
    where it has to be read. ``most``: how many bytes it may have. None: the first one is not kept.
    """
