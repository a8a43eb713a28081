"""Every function of the core that writes into memory by a length or an index is in the table of docs/memory-writes.md.

What is looked for are the primitives: copies, writers that are given a pointer, `room` of a buffer, stores by an index
into what is a pointer or an array in C, and bytes objects that are filled later. Stores by a constant index, into a
variable as a whole, and everything that goes through `put` need no row: `put` looks itself.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "fastgate" / "_core"
TABLE = ROOT / "docs" / "memory-writes.md"
SUFFIXES = (".pyx", ".pxi", ".pxd", ".h")

CALL = re.compile(
    r"(?<![.\w])(?:memcpy|memmove|memset|strn?cpy|stpcpy|v?sn?printf|inet_pton|(?:buffer_)?room|write_\w+)\s*\("
    r"|FromStringAndSize\(NULL|PyUnicode_New\(|\batomic_(?!load)\w+\(&?[\w.]+\["
)
WHOLE = re.compile(r"mem(?:cpy|set)\(&\w+, [^,]+, (?:sizeof\(?\s*\w+\)?|\d+)\)")
STORE = re.compile(
    r"(?<![\w.])((?:\w+(?:\.|->))*)(\w+)\[([^\]]+)\](?:(?:\.|->)\w+|\[[^\]]*\])*\s*(?:[|&^+*-]|<<|>>)?=(?!=)"
)
CONSTANT = re.compile(r"[A-Z_\d]+(?: - \d+)?")
POINTER = re.compile(r"\b(\w+) = (?:<\w+\*+>)?(?:&[\w.]+\[|\w+ \+ |[^=]*\) \+ )")
CURSOR = re.compile(r"\*\w+(?:\+\+)? = ")
DECLARED = re.compile(
    r"\*+\s*(\w+)\s*(?=[=,)#;\n])|\w+(?:\[\w*\])+ (\w+)\b|(?:\w+|\*) \*?(\w+)\[[^\]\n=]+\](?=\s*[;,#\n=])"
)
OBJECT = re.compile(r"\b(?:list|dict|object|bytearray) (\w+)")


class Function(NamedTuple):
    name: str
    lines: list[str]


def without_strings(text: str) -> str:
    """Code without doc strings and comments."""
    text = re.sub(r'"""(?:.|\n)*?"""', lambda found: '"' * 2 + "\n" * found[0].count("\n"), text)
    return re.sub(r"/\*(?:.|\n)*?\*/", lambda found: "\n" * found[0].count("\n"), text)


def functions_of_c(text: str) -> Iterator[Function]:
    for found in re.finditer(r"^static .*?(\w+)\((?!\()[^;{}]*?\)\s\{\n((?:.*\n)*?)\}", text, re.MULTILINE):
        yield Function(found[1], found[2].splitlines())


def functions_of_cython(text: str) -> Iterator[Function]:
    inside, indent = Function("module", []), -1
    owner = ""
    for line in text.splitlines():
        code = line.split(" #")[0]
        depth = len(code) - len(code.lstrip())
        if not code.strip():
            continue
        begins = re.match(r"\s*(?:cdef|cpdef|def)\b(?! class| extern| enum| struct)[^=:(]*?\b(\w+)\(", code)
        if depth == 0 and not code.startswith(")"):
            found = re.match(r"(?:cdef )?class (\w+)", code)
            owner = found[1] + "." if found else owner if code.startswith("@") else ""
        if begins and depth <= 4 and (depth == 0 or owner):
            yield inside
            inside, indent = Function((owner if depth else "") + begins[1], []), depth
        elif depth <= indent and not code.strip().startswith(")"):
            yield inside
            inside, indent = Function("module", []), -1
        inside.lines.append(code)
    yield inside


def functions(path: Path) -> Iterator[Function]:
    text = without_strings(path.read_text())
    # Declarations of what is elsewhere.
    text = re.sub(r"^cdef extern from (?:.|\n)*?(?=^\S|\Z)", "", text, flags=re.MULTILINE)
    return functions_of_c(text) if path.suffix == ".h" else functions_of_cython(text)


@cache
def module_of(path: Path) -> tuple[Path, ...]:
    """The files that are compiled together with this one, as far as they declare its names."""
    if path.suffix == ".pxi":
        owner = next(each for each in path.parent.glob("*.p[xy][xd]") if f'include "{path.name}"' in each.read_text())
        return module_of(owner)
    parts = [each for each in (path.with_suffix(".pyx"), path.with_suffix(".pxd"), path) if each.exists()]
    if path.suffix == ".pyx":
        parts += [path.parent / name for name in re.findall(r'^include "(.+)"', path.read_text(), re.MULTILINE)]
    return tuple(dict.fromkeys(parts))


def declared(text: str) -> set[str]:
    return {name for found in DECLARED.findall(without_strings(text)) for name in found if name}


@cache
def attributes() -> frozenset[str]:
    """Names of pointers and arrays that other modules may have of an object."""
    return frozenset().union(*(declared(path.read_text()) for path in CORE.rglob("*.pxd")))


def writes(path: Path) -> dict[str, list[str]]:
    """The functions of a file that write by a length or an index, with the lines that do."""
    own = set().union(*(declared(part.read_text()) for part in module_of(path)))
    found: dict[str, list[str]] = {}
    for function in functions(path):
        objects = {name for line in function.lines for name in OBJECT.findall(line)}
        pointers = {name for line in function.lines for name in POINTER.findall(line)}
        for line in function.lines:
            if hits(WHOLE.sub("", line), own - objects, pointers - objects, path.suffix == ".h"):
                found.setdefault(function.name, []).append(line.strip())
    return found


def hits(line: str, own: set[str], pointers: set[str], is_c: bool) -> bool:
    if CALL.search(line) and not re.match(r"\s*(?:cdef |from |static )", line.replace(" = ", "=")):
        return True
    if CALL.search(line) and " = " in line:
        return True
    for base, name, index in STORE.findall(line):
        known = own if base in ("", "self.") else attributes() | own
        if name in known and not CONSTANT.fullmatch(index.strip()):
            return True
    if any(re.search(rf"(?<![\w.]){name}(?:\.|->)\w+ (?:[|&^+*-])?= ", line) for name in pointers):
        return True
    return is_c and CURSOR.match(line.strip()) is not None


def table() -> dict[tuple[str, str], str]:
    """The rows of the page: file and function, and why it is right."""
    rows: dict[tuple[str, str], str] = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        for function in re.findall(r"`([\w.]+)`", cells[1]):
            key = (cells[0].strip("`"), function)
            assert key not in rows, f"{key} stands twice in {TABLE.name}"
            rows[key] = cells[2]
    return rows


def test_the_table_has_a_row_for_each_function_that_writes_by_a_length() -> None:
    found = {
        (path.relative_to(CORE).as_posix(), name): lines
        for path in sorted(CORE.rglob("*"))
        if path.suffix in SUFFIXES
        for name, lines in writes(path).items()
    }
    rows = table()
    missing = {f"{file}: {name}": lines[0] for (file, name), lines in found.items() if (file, name) not in rows}
    assert not missing, f"say in {TABLE.name} what keeps each of these inside its memory"
    left = [f"{file}: {name}" for file, name in rows.keys() - found.keys()]
    assert not left, f"{TABLE.name} has rows of functions that write nothing by a length (any more)"
    assert all(rows.values())


def test_what_writes_is_found() -> None:
    """The search itself, on functions that it has to find."""
    found = {
        (path.relative_to(CORE).as_posix(), name)
        for path in CORE.rglob("*")
        if path.suffix in SUFFIXES
        for name in writes(path)
    }
    assert found >= {
        ("memory/buffer.h", "buffer_put"),
        ("observe/log_text.h", "copy_plain"),
        ("observe/access_log.pyx", "AccessLog.put_json_line"),
        ("wire/h1/framing.pyx", "take"),
        ("exchange/head.pyx", "Head.index"),
        ("routing/router_path.pxi", "rewrite_path"),
        ("auth/sha256.h", "sha256"),
        ("limits/rate_log.pxi", "claim_head"),
    }


LITERAL = re.compile(r'\bput\(\w+, b"((?:[^"\\]|\\.)*)", (\d+)\)')


def test_lengths_of_literals_are_right() -> None:
    """`put` is told the length of a text that stands beside it."""
    wrong = []
    for path in [*CORE.rglob("*.pyx"), *CORE.rglob("*.px[di]")]:
        for text, length in LITERAL.findall(path.read_text()):
            if len(text.encode().decode("unicode_escape")) != int(length):
                wrong.append(f"{path.name}: {text!r} has not {length} bytes")
    assert not wrong
