"""The nearest known word to one that was mistyped."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that an operator most likely meant, or None when none is near; ``cutoff`` as difflib has it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    lower = word.lower().replace("-", "_") if "-" not in "".join(by_lower) else word.lower()
    found = get_close_matches(lower, by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``, did you mean "x"?`` or an empty string."""
    found = nearest(word, known)
    return f', did you mean "{found}"?' if found else ""
