"""The types of the compiled modules say what is there: no name that does not exist, none that exists and is not said."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "fastgate" / "_core"
MODULES = sorted(path.stem for path in CORE.glob("*.pyx"))


def declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names that the statements of a stub declare."""
    names: dict[str, ast.stmt] = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = statement
    return names


def public(names: object) -> set[str]:
    return {name for name in names if not name.startswith("_")}  # type: ignore[attr-defined]


def is_alias(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and "TypeAlias" in ast.unparse(statement.annotation)


@pytest.mark.parametrize("name", MODULES)
def test_the_stub_and_the_module_have_the_same_names(name: str) -> None:
    module = importlib.import_module(f"fastgate._core.{name}")
    stub = declared(ast.parse((CORE / f"{name}.pyi").read_text()).body)
    said = {key for key, statement in stub.items() if not is_alias(statement)}
    assert public(said) - set(vars(module)) == set(), "declared, but not there"

    here = {
        key
        for key, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and getattr(value, "__module__", None) == module.__name__
    }
    assert public(here) - set(stub) == set(), "there, but not declared"

    for key in sorted(public(here)):
        statement = stub[key]
        if isinstance(statement, ast.ClassDef):
            members = set(declared(statement.body))
            made = getattr(module, key)
            assert public(members) - set(dir(made)) == set(), f"declared in {key}, but not there"
            own = {member for member in vars(made) if member not in vars(object)}
            inherited = {member for base in statement.bases for member in dir(getattr(module, ast.unparse(base), object))}
            assert public(own) - members - inherited == set(), f"there in {key}, but not declared"
