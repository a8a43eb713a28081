"""What built-in policies add to a proxied request, in instructions, as the callgrind lane counts them.

Each policy is compared with the same request on a route without it, so that what a longer request costs anyway is not
counted as the policy's.
"""

from __future__ import annotations

import sys

from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import Options, say
from benchmarks.load import WORK

TITLE = "What built-in policies add"
SHORT, LONG = 200, 1200

PAIRS: tuple[tuple[str, str], ...] = (("jwt", "bearer"),)
"""Features of the driver: the policy, and what it is compared with ("": the plain path)."""


def run(options: Options) -> dict[str, object]:
    """The instructions of every pair."""
    WORK.mkdir(exist_ok=True)
    known: dict[str, float] = {"": _instructions("")}
    rows = []
    for feature, base in PAIRS:
        for name in (base, feature):
            if name not in known:
                known[name] = _instructions(name)
        added = known[feature] - known[base]
        rows.append({"feature": feature, "base": base, "instructions": known[feature], "added": added})
        say(f"  {feature}: {known[feature]:,.0f} instructions a request, {added:+,.0f}")
    return {"settings": {"short": SHORT, "long": LONG}, "plain": known[""], "instructions": rows}


def _instructions(feature: str) -> float:
    features = [feature] if feature else []
    few, many = (
        run_callgrind(
            [sys.executable, "-m", "benchmarks.driver", str(count), *features], WORK / f"policies.{count}"
        ).total
        for count in (SHORT, LONG)
    )
    return (many - few) / (LONG - SHORT)
