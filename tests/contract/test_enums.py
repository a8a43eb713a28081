"""Enumerations of the core: a value stands for one name."""

import re
from collections import Counter
from pathlib import Path

CORE = Path(__file__).parents[2] / "fastgate" / "_core"


def test_no_value_has_two_names() -> None:
    seen = 0
    for path in CORE.rglob("*.pxd"):
        for name, body in re.findall(r"^c(?:p)?def enum (\w+):\n((?:[ \t]+.*\n|\n)+)", path.read_text(), re.MULTILINE):
            counts = Counter(re.findall(r"^\s+\w+ = (\d+)\b", body, re.MULTILINE))
            assert not [value for value, count in counts.items() if count > 1], f"{path.name}: {name}"
            seen += len(counts)
    assert seen > 20
