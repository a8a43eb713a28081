from collections.abc import Iterable

def date(text: bytes, now: int) -> int | None:
    """The seconds since 1970 of an HTTP date; None: it is none."""

def line(text: bytes) -> dict[str, int]:
    """What one line of Cache-Control says: the names of directives with their seconds, or True."""

def dictionary(text: bytes) -> dict[str, int] | None:
    """What one line of a targeted field says; None: it is not a dictionary of Structured Fields."""

def directives(
    head: bytes, targeted: tuple[bytes, ...] = (), names: Iterable[bytes] = ()
) -> tuple[dict[str, int], str | bytes | None, list[bytes]]:
    """What the head of an answer says, from where, and which of ``names`` are not to be stored."""

def request_directives(head: bytes) -> tuple[dict[str, int], str | None]:
    """What the head of a request says, and from where."""

def age(head: bytes) -> int | None:
    """The seconds of Age in the head of an answer; None: there is none that counts."""
