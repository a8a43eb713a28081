"""docs/cache-rules.md: each file and each test that its tables name exists, and nothing is claimed without a test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cache-rules.md"
ROOM = ROOT / "fastgate" / "_core" / "delivery" / "cache"
TESTS = [ROOT / "tests" / "core", ROOT / "tests" / "cache"]
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT"}

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not re.match(r"\| (?:section|standard|module) ", line)
]
REQUIREMENTS = [row for row in ROWS if len(row) in (4, 5)]
"""Their last two cells are the file and the test."""


def files_of(cell: str) -> list[str]:
    return re.findall(r"`(\w+\.p\w+)`", cell)


def named_in(cell: str) -> list[tuple[str, str]]:
    """Files and tests: a file, a colon, and its tests with commas between them."""
    files = re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", cell)
    return [(name, test) for name, tests in files for test in re.findall(r"`(\w+)`", tests)]


def text_of(name: str) -> str:
    """What is in the test file of this name; there is one."""
    [path] = [folder / name for folder in TESTS if (folder / name).is_file()]
    return path.read_text(encoding="utf-8")


def test_there_are_requirements() -> None:
    assert len([row for row in REQUIREMENTS if len(row) == 5]) > 60
    assert {row[1] for row in REQUIREMENTS if len(row) == 5} <= LEVELS
    assert len({test for row in REQUIREMENTS for test in named_in(row[-1])}) > 60


@pytest.mark.parametrize("row", REQUIREMENTS, ids=[f"{row[0]} {row[-3]}" for row in REQUIREMENTS])
def test_what_a_row_names_exists(row: list[str]) -> None:
    *_, place, shown = row
    assert [name for name in files_of(place) if not (ROOM / name).is_file()] == []
    for name, test in named_in(shown):
        assert re.search(rf"^(?:async )?def {test}\(", text_of(name), re.MULTILINE), test
    if files_of(place):
        assert named_in(shown), "a file without a test that shows it"
    else:
        assert place == shown == "not yet" or place.startswith(("parts are never stored", "does not apply"))


def test_every_module_is_on_the_page() -> None:
    named = {name for row in ROWS if len(row) == 2 for name in files_of(row[0])}
    assert named == {path.name for path in ROOM.glob("*.pyx")}
