"""One word for one thing: modules with one stem, old names, and the page of words (docs/words.md).

What is still to be renamed stands in lists which may only become shorter: what is gone has to be taken out.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fastgate.cli import COMMANDS
from fastgate.config.read.unknown import tables
from fastgate.config.schema.auth import METHODS
from fastgate.config.schema.described import struct_fields
from fastgate.config.schema.root import Root
from fastgate.policies.chain import CHAIN

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastgate"
PAGE = ROOT / "docs" / "words.md"
SOURCES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd", ".pxi"))

KEYS = {field.encode_name for _, table in tables(Root) for field in struct_fields(table)}
"""Every key of the configuration."""

# -- modules of one stem ----------------------------------------------------------------------------------------------

AGREED = {
    "answers": "the feature of the keys respond and redirect",
    "api_keys": "the feature of [gateway.keys]",
    "client": "an end of a connection, on the wire, in the HTTP client and in the test kit",
    "client_certificates": "the feature of [auth.certificate]",
    "delivery": "a room of the core, and what compiles its objects",
    "forward_auth": "the feature of [auth.forward]",
    "limits": "a room of the core, its probes and its duty",
    "memory": "a room of the core, and what makes the segment for it",
    "observe": "a room of the core, and the room around it",
    "request_key": "what a limit counts by: syntax, schema, check and core",
    "router": "its public name is a re-export",
    "store": "what policies ask, and the counters that it gives to gates",
    "templates": "variables in header fields: syntax, and what compiles them",
    "wire": "a room of the core, and raw connections in the test kit",
    "worker": "what runs in a worker: its process, and the compiled engine",
}
"""Stems of several modules that are one thing, beside policies and keys of the configuration."""


def stems() -> dict[str, set[str]]:
    """The modules and packages of each stem; a package and its module of the same name are one."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*")):
        name = path.relative_to(PACKAGE)
        if path.name == "__init__.py":
            place = name.parent
        elif path.suffix in (".py", ".pyx") and not path.stem.startswith("__"):
            place = name.with_suffix("")
        else:
            continue
        if place.name and place.parent.name != place.name:
            found.setdefault(place.name, set()).add(place.as_posix())
    return found


def several(found: dict[str, set[str]]) -> set[str]:
    """The stems of more than one module. A command of the command line is called what it shows, and does not count."""
    others = {
        stem: {place for place in places if place not in {f"cli/{name}" for name in COMMANDS}}
        for stem, places in found.items()
    }
    return {stem for stem, places in others.items() if len(places) > 1}


def features() -> set[str]:
    """Names that a feature has in all rooms."""
    return {row.policy for row in CHAIN} | KEYS | set(METHODS)


def test_a_stem_is_one_thing() -> None:
    assert several(stems()) - features() - set(AGREED) == set(), "two modules of one stem"


def test_agreed_stems_are_those_of_several_modules() -> None:
    found = several(stems())
    assert set(AGREED) - found == set(), "one module alone has this stem: take it out of AGREED"
    assert set(AGREED) & features() == set(), "a policy or a key of the configuration: it needs no line"


def test_a_second_module_of_one_stem_is_found() -> None:
    found = stems()
    assert "pools" not in several(found)
    found["pools"] = {*found["pools"], "upstreams/pools"}
    assert "pools" in several(found) - features() - set(AGREED)


# -- names that have gone ---------------------------------------------------------------------------------------------

OLD_MODULES = {
    "access": "ip, maintenance, request_body, access_log or paths",
    "copies": "mirror and hedge",
    "keys": "request_key, api_keys, jwk or settings",
    "messages": "views, control_messages or http_messages",
    "meters": "plugin_times",
    "operator": "control_socket",
    "pieces": "config_stream",
    "remote": "supervised_control",
    "runnable": "worker_target",
    "slices": "cooperative",
    "words": "what is read: request_key, statuses, media_types",
}
"""Stems that no module has any more, and what it is called instead."""

OLD_NAMES = {
    "Attempt": "Try",
    "Meter": "PluginTimes",
    "Nobody": "NoClient",
    "Passage": "GateResult",
    "Stretches": "TimedAwaitable",
    "Surroundings": "BuildContext",
    "fellows": "count",
    "meters": "plugin_times",
    "see_off": "wait_for_exit",
    "strangers": "unknown_routes",
}
"""Names in the code, and what became of them."""

ONE_TYPE = ("Answer", "Endpoint", "Found", "Pools", "Service", "TargetHealth", "Verdict")
"""Names of types that were two to four types each."""

TYPES_LEFT = {
    "Answer": {"_core/exchange/exchange", "testing/upstream"},
}
"""Those that still are, with their modules. The test kit's is public, and the core's has no other name for Python."""

QUOTED = re.compile(r'"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*')
TYPE = re.compile(r"^[ \t]*(?:cdef |ctypedef )?(?:class|struct|enum) (\w+)|^(\w+) = [\w.]*\w\[", re.MULTILINE)


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def names_in(path: Path) -> Iterator[str]:
    """The names of a source, without its texts and comments."""
    source = path.read_text(encoding="utf-8")
    if path.suffix in (".py", ".pyi"):
        for node in ast.walk(ast.parse(source)):
            for attribute in ("id", "name", "attr", "arg", "asname"):
                if isinstance(name := getattr(node, attribute, None), str):
                    yield name
    else:
        yield from re.findall(r"\w+", QUOTED.sub("", source))


def types_in(path: Path) -> set[str]:
    """The classes, structs, enums and aliases of types that a source defines."""
    source = QUOTED.sub('""', path.read_text(encoding="utf-8"))
    return {name or alias for name, alias in TYPE.findall(source)}


def modules_with(names: Iterable[str], found: Iterable[tuple[str, Iterable[str]]]) -> dict[str, set[str]]:
    """Which modules have each of these names."""
    wanted = set(names)
    made: dict[str, set[str]] = {}
    for module, words in found:
        for name in wanted.intersection(words):
            made.setdefault(name, set()).add(module)
    return made


def test_no_module_has_an_old_name() -> None:
    commands = {f"cli/{name}" for name in COMMANDS}
    found = {stem: stems().get(stem, set()) - commands for stem in OLD_MODULES}
    assert {stem: places for stem, places in found.items() if places} == {}


def test_old_names_are_gone() -> None:
    assert modules_with(OLD_NAMES, ((module_of(path), names_in(path)) for path in SOURCES)) == {}


def test_a_name_is_one_type() -> None:
    """What a `.pxd` declares, an included `.pxi` defines and a `.pyi` shows is one."""
    included = {"_core/exchange/exchange_sides": "_core/exchange/exchange"}
    found = ((included.get(module_of(path), module_of(path)), types_in(path)) for path in SOURCES)
    made = modules_with(ONE_TYPE, found)
    assert {name: modules for name, modules in made.items() if len(modules) > 1} == TYPES_LEFT


def test_what_the_reader_of_sources_sees(tmp_path: Path) -> None:
    compiled = '"""Passage."""\ncdef enum Found:\n    A  # Meter\ncdef class B(C):\n    x = "see_off"\n'
    (tmp_path / "a.pyx").write_text(compiled)
    (tmp_path / "b.py").write_text('"""Passage."""\nFound = dict[str, int]\nx.meters = "see_off"  # Meter\n')
    assert types_in(tmp_path / "a.pyx") == {"Found", "B"}
    assert types_in(tmp_path / "b.py") == {"Found"}
    assert not {"Passage", "Meter", "see_off"} & {*names_in(tmp_path / "a.pyx"), *names_in(tmp_path / "b.py")}
    assert {"Found", "meters"} <= set(names_in(tmp_path / "b.py"))


# -- the page of words ------------------------------------------------------------------------------------------------

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| word ")
]
TYPES = {name for path in SOURCES for name in types_in(path)}


def test_the_words_are_in_order() -> None:
    words = [row[0] for row in ROWS]
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words)) > 50


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_line_names_is_there(row: list[str]) -> None:
    word, meaning, keys, code, page = row
    assert word
    assert re.fullmatch(r".*\w.*[^.]", meaning)
    assert [key for key in re.findall(r"`([^`]+)`", keys) if key not in KEYS | set(METHODS)] == []
    names = re.findall(r"`([^`]+)`", code)
    assert [name for name in names if "/" not in name and name not in TYPES] == []
    assert [name for name in names if "/" in name and not (PACKAGE / name).is_file()] == []
    assert [link for link in re.findall(r"\]\(([^)#]+)", page) if not (PAGE.parent / link).is_file()] == []
