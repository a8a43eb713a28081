"""The arithmetic between raw rounds and a table: medians, spreads, ratios of interleaved rounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratios(values: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Spread of the ratios of two rows, round by round.

    Both rows must come from the same interleaved rounds: what disturbed a round then disturbed both sides of its ratio.
    Raises ``ValueError`` when they do not have the same number of rounds.
    """
    if len(values) != len(base):
        raise ValueError(f"{len(values)} rounds against {len(base)}: not from the same run")
    return spread([value / other for value, other in zip(values, base, strict=True)])


def microseconds(seconds: float, count: int) -> float:
    """Microseconds for each of ``count`` requests."""
    return seconds * 1e6 / count


def saturated(proxy: float, load: float) -> str:
    """Which core had no time left, from the busy share of each: ``"proxy"``, ``"load"``, ``"both"`` or ``"neither"``.

    A run in which only the load side was full says nothing about the proxy's requests per second.
    """
    full = 0.95
    if proxy >= full:
        return "both" if load >= full else "proxy"
    return "load" if load >= full else "neither"


def per_connection(before: int, after: int, connections: int) -> float:
    """Bytes that each of ``connections`` added."""
    return (after - before) / connections
