"""Which room may know which: what import-linter cannot see, because it does not read Cython."""

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "fastgate"
IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<source>[\w.]+)\s+c?import\s+(?P<names>.+)|c?import\s+(?P<modules>[\w., ]+))", re.MULTILINE
)


def imported(text: str) -> set[str]:
    """The modules that a source names in its imports, ``cimport`` included."""
    found = set()
    for match in IMPORT.finditer(text):
        if match["modules"]:
            found |= {part.split()[0] for part in match["modules"].split(",") if part.strip()}
        elif match["source"] in {"fastgate", "."}:
            found |= {f"fastgate.{name.split()[0]}" for name in match["names"].strip("()").split(",") if name.strip()}
        else:
            found.add(match["source"])
    return found


def test_the_reader_of_imports_sees_every_form() -> None:
    text = """
from fastgate.config import X
from fastgate cimport server, gateway as g
    import fastgate.cli as c, os
cimport cython
"""
    assert imported(text) == {"fastgate.config", "fastgate.server", "fastgate.gateway", "fastgate.cli", "os", "cython"}


def test_the_compiled_core_knows_nothing_of_the_package_above_it() -> None:
    above = {}
    for source in sorted((PACKAGE / "_core").rglob("*")):
        if source.suffix in {".pyx", ".pxd", ".pxi", ".pyi", ".py"}:
            names = {name for name in imported(source.read_text()) if re.match(r"(fastgate\b(?!\._core\b)|\.\.)", name)}
            if names:
                above[str(source.relative_to(PACKAGE))] = names
    assert above == {}


def test_the_router_needs_no_other_module_of_the_core_at_run_time() -> None:
    names = imported((PACKAGE / "_core" / "routing" / "router.pyx").read_text())
    assert {name for name in names if name.startswith("fastgate.")} <= {"fastgate._core.routing.router"}


def test_policies_do_not_know_each_other() -> None:
    policies = {path.stem for path in (PACKAGE / "policies").glob("*.py")} - {"__init__"}
    known = {}
    for source in sorted((PACKAGE / "policies").glob("*.py")):
        if source.stem in ("__init__", "chain"):  # their table knows them all, and none of them the table
            continue
        others = {f"fastgate.policies.{name}" for name in policies - {source.stem}} | {"fastgate.policies"}
        names = others & imported(source.read_text())
        if names:
            known[source.name] = names
    assert known == {}


def test_only_the_command_line_reaches_the_server() -> None:
    outside = [
        str(source.relative_to(PACKAGE))
        for source in sorted(PACKAGE.rglob("*.py"))
        if source.relative_to(PACKAGE).parts[0] not in {"server", "cli", "__init__.py"}
        and any(re.match(r"fastgate\.server\b", name) for name in imported(source.read_text()))
    ]
    assert outside == []
