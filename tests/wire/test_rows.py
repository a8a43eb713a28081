"""Each rule has its tests, and each test its rule."""

import ast
from collections import Counter
from pathlib import Path

from wire.rows import TABLES

HERE = Path(__file__).parent


def named() -> list[str]:
    return [
        f"{file}::{test}" for rows in TABLES.values() for row in rows.values() for file, *tests in row for test in tests
    ]


def written() -> set[str]:
    found = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                found.add(f"{path.stem}::{node.name}")
    return found


def test_every_rule_has_tests_that_exist():
    assert set(named()) - written() == set()
    assert all(tests for rows in TABLES.values() for tests in rows.values())


def test_every_test_is_found_by_its_rule():
    assert {test for test in written() if not test.startswith("test_rows::")} - set(named()) == set()
    assert [test for test, count in Counter(named()).items() if count > 1] == []
