"""The types of the compiled modules say what is there: no name too many, none too few."""

import ast
import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "fastgate" / "_core"
MODULES = sorted(".".join(path.relative_to(CORE).with_suffix("").parts) for path in CORE.rglob("*.pyx"))


def declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names that the statements of a stub declare."""
    names: dict[str, ast.stmt] = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = statement
    return names


def public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def is_for_types_only(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ClassDef):
        return "Protocol" in map(ast.unparse, statement.bases)
    return isinstance(statement, ast.AnnAssign) and "TypeAlias" in ast.unparse(statement.annotation)


@pytest.mark.parametrize("name", MODULES)
def test_the_stub_and_the_module_have_the_same_names(name: str) -> None:
    module = importlib.import_module(f"fastgate._core.{name}")
    stub = declared(ast.parse(CORE.joinpath(*name.split(".")).with_suffix(".pyi").read_text()).body)
    said = public(key for key, statement in stub.items() if not is_for_types_only(statement))
    assert said - set(vars(module)) == set(), "declared, but not there"

    things = {key: value for key, value in vars(module).items() if inspect.isclass(value) or inspect.isroutine(value)}
    here = public(key for key, value in things.items() if getattr(value, "__module__", None) == module.__name__)
    assert here - set(stub) == set(), "there, but not declared"

    for key in sorted(here):
        statement = stub[key]
        if isinstance(statement, ast.ClassDef):
            members = set(declared(statement.body))
            own = set(vars(things[key])) - set(vars(object))
            inherited = {member for base in things[key].__bases__ for member in dir(base)}
            assert public(members) - set(dir(things[key])) == set(), f"declared in {key}, but not there"
            assert public(own) - members - inherited == set(), f"there in {key}, but not declared"
