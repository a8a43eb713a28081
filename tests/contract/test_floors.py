"""Floors of the core and of the configuration, and circles: from ``cimport`` and ``import`` lines, in functions too.

A room may know the rooms below it, and modules of its own room; no modules need each other.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from fastgate.policies.chain import CHAIN

PACKAGE = Path(__file__).resolve().parents[2] / "fastgate"
CORE = PACKAGE / "_core"

FLOORS = (
    "memory", "routing", "exchange", "wire", "delivery", "limits", "auth", "policies", "observe", "probes",
)  # fmt: skip
"""From the ground up."""

CONFIG = PACKAGE / "config"
CONFIG_FLOORS = ("errors", "suggest", "syntax", "schema", "check", "read", "publish")
"""The same of the configuration; the first two are modules."""

IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(\([^)]*\)|.+)|c?import[ \t]+([\w., \t]+))", re.MULTILINE
)
INCLUDE = re.compile(r'^[ \t]*include "(.+)"', re.MULTILINE)

Graph = Mapping[str, set[str]]


def code_of(text: str) -> str:
    """Without texts and comments, in which imports are shown; what is included is named in quotes and stays."""
    text = re.sub(r'"""(?:.|\n)*?"""', '""', text)
    return re.sub(r"#.*", "", text)


def modules_below(package: Path, prefix: str) -> dict[str, str]:
    """Name and code of each module: the declarations and the included parts of a compiled one are its own."""
    modules: dict[str, str] = {}
    for path in sorted(package.rglob("*")):
        if path.suffix not in {".pyx", ".pxd", ".py"} or path.name.startswith("__init__"):
            continue
        name = ".".join((prefix, *path.relative_to(package).with_suffix("").parts))
        text = code_of(path.read_text())
        for part in INCLUDE.findall(text):
            text += "\n" + code_of((path.parent / part).read_text())
        modules[name] = modules.get(name, "") + "\n" + text
    return modules


def imports_of(text: str, known: Iterable[str]) -> set[str]:
    """The known modules that a source names, in whichever form."""
    known = set(known)
    found: set[str] = set()
    for source, names, plain in IMPORT.findall(text):
        if plain:
            found |= {part.split()[0] for part in plain.split(",") if part.strip()}
        else:
            found.add(source)
            found |= {f"{source}.{name.split()[0]}" for name in names.strip("()").split(",") if name.strip()}
    return found & known


def graph_of(modules: Mapping[str, str]) -> Graph:
    return {name: imports_of(text, modules) - {name} for name, text in modules.items()}


def circles_of(graph: Graph) -> list[frozenset[str]]:
    """Sets of modules that reach each other: the strongly connected components of more than one."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[frozenset[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            place = stack.index(name)
            members = frozenset(stack[place:])
            del stack[place:]
            if len(members) > 1:
                found.append(members)

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return sorted(found, key=sorted)


def against_the_floors(graph: Graph, floors: Sequence[str] = FLOORS) -> set[str]:
    """Edges that lead up, as "module -> module", without the prefix of the package."""
    level = {room: number for number, room in enumerate(floors)}
    return {
        f"{short(name)} -> {short(other)}"
        for name, others in graph.items()
        for other in others
        if level[short(other).partition(".")[0]] > level[short(name).partition(".")[0]]
    }


def short(name: str) -> str:
    return name.removeprefix("fastgate._core.").removeprefix("fastgate.config.")


def shortened(circles: Iterable[frozenset[str]]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(short(name) for name in circle) for circle in circles)


@pytest.fixture(scope="module")
def core() -> Graph:
    modules = modules_below(CORE, "fastgate._core")
    del modules["fastgate._core.router"]  # the name by which programs import it
    return graph_of(modules)


def test_every_module_of_the_core_has_a_room() -> None:
    rooms = {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(FLOORS)
    assert {path.name for path in CORE.iterdir() if path.suffix in {".py", ".pyx"}} == {"__init__.py", "router.py"}


def test_rooms_know_only_what_is_below_them(core: Graph) -> None:
    assert against_the_floors(core) == set()


def test_no_modules_of_the_core_need_each_other(core: Graph) -> None:
    assert circles_of(core) == []


def test_an_exchange_names_no_feature() -> None:
    """No name of a row of the table of policies is a word of the room's code."""
    names = {row.policy for row in CHAIN}
    assert {"cors", "rate_limit", "auth", "mirror"} <= names
    found = {
        f"{path.name}: {word}"
        for path in sorted((CORE / "exchange").iterdir())
        if path.suffix in {".pyx", ".pxd", ".pxi", ".py"}
        for word in re.findall(r"\w+", re.sub(r'"[^"\n]*"', "", code_of(path.read_text())))
        if word in names
    }
    assert found == set()


def test_the_contract_of_an_exchange_needs_little() -> None:
    """Its declaration knows memory, routing, and parts of its own room that do not know it."""
    text = code_of((CORE / "exchange" / "exchange.pxd").read_text())
    declared = imports_of(text, modules_below(CORE, "fastgate._core"))
    rooms = {short(name).partition(".")[0] for name in declared}
    assert rooms == {"memory", "routing", "exchange"}
    own = {short(name) for name in declared if short(name).startswith("exchange.")} - {"exchange.exchange"}
    assert own == {"exchange.head", "exchange.route", "exchange.timers", "exchange.worker"}


def test_every_module_of_the_configuration_has_a_room() -> None:
    rooms = {path.name for path in CONFIG.iterdir() if path.is_dir() and path.name != "__pycache__"}
    modules = {path.stem for path in CONFIG.glob("*.py")}
    assert rooms | modules == {"__init__", *CONFIG_FLOORS}
    assert modules == {"__init__", "errors", "suggest"}


def test_rooms_of_the_configuration_know_only_what_is_below_them_and_have_no_circle() -> None:
    graph = graph_of(modules_below(CONFIG, "fastgate.config"))
    assert len(graph) > 50
    assert against_the_floors(graph, CONFIG_FLOORS) == set()
    assert circles_of(graph) == []


def test_no_room_of_the_configuration_goes_through_a_door_above_it() -> None:
    """What ``fastgate.config`` and the packages of rooms offer beside modules would lead anywhere."""
    modules = modules_below(CONFIG, "fastgate.config")
    packages = {"fastgate.config", *(name.rpartition(".")[0] for name in modules)}
    offered = {
        (name, f"{source}.{each.split()[0]}")
        for name, text in modules.items()
        for source, names, _ in IMPORT.findall(text)
        if source in packages
        for each in names.strip("()").split(",")
        if each.strip()
    }
    assert {(name, each) for name, each in offered if each not in modules} == set()
    for room in CONFIG.glob("*/__init__.py"):
        assert code_of(room.read_text()).strip() == '""', f"{room} does something"


def test_a_planted_circle_is_found() -> None:
    """Also one that runs through an import in a function, and one that leads up."""
    modules = {
        "fastgate._core.memory.a": "cdef int f():\n    from fastgate._core.exchange.b cimport B\n",
        "fastgate._core.exchange.b": "from fastgate._core.exchange.c cimport (\n    X,\n    Y,\n)\n",
        "fastgate._core.exchange.c": "from fastgate._core.memory cimport a\n",
        "fastgate._core.exchange.d": "import fastgate._core.exchange.c\n",
    }
    graph = graph_of(modules)
    assert shortened(circles_of(graph)) == (frozenset({"memory.a", "exchange.b", "exchange.c"}),)
    assert against_the_floors(graph) == {"memory.a -> exchange.b"}


def test_a_circle_that_is_planted_in_the_configuration_is_found() -> None:
    modules = modules_below(CONFIG, "fastgate.config")
    modules["fastgate.config.syntax.units"] += "\ndef f():\n    from fastgate.config.read.load import load_dict\n"
    graph = graph_of(modules)
    assert against_the_floors(graph, CONFIG_FLOORS) == {"syntax.units -> read.load"}
    (circle,) = shortened(circles_of(graph))
    assert {"syntax.units", "read.load"} <= circle
