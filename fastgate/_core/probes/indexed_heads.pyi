"""The index of heads for tests. The gateway never loads it."""

from typing import Any

def read_answer(head: bytes) -> dict[str, Any]:
    """What the head of an answer says, read as one from an upstream. ValueError: it is refused."""

def index_of_answer(head: bytes) -> bytes | None:
    """Its index. ValueError: it is refused."""

def same_name(text: bytes, lower: bytes) -> bool:
    """Whether a text is a name that is given in lower case. Both lie in blocks of just their size."""

def open_answer(text: bytes, index: bytes) -> dict[str, Any] | None:
    """What a head says that is opened by an index; None: it is not its index."""
