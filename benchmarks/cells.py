"""What cells of the tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Result = dict[str, Any]


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is aligned right."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float) -> str:
    """Three significant digits or all before the point, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ranged(spread: dict[str, float], shape: Callable[[float], str] = number) -> str:
    """Median with smallest and largest."""
    return f"{shape(spread['median'])} ({shape(spread['min'])}–{shape(spread['max'])})"


def ratio(spread: dict[str, float] | None) -> str:
    """A ratio with its spread, two decimals; a dash where there is no base."""
    return "–" if spread is None else ranged(spread, lambda value: f"{value:.2f}")


def named(row: Result, versions: dict[str, str]) -> str:
    """A row's label with the version of the program, whichever of its configurations it runs."""
    version = versions.get(row["kind"].partition("-")[0], "")
    return " ".join(filter(None, [row.get("label", row["kind"]), version]))
