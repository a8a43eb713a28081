"""The English of messages, help texts and pages: wordings that hide who does what are refused.

A message names its subject (client, upstream, key, token, gateway), uses the verbs of the field, and says "is not a
valid X". What is read here: every string literal of the package that is not a docstring, the help of commands, and the
pages for users.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastgate"

LATER: tuple[str, ...] = ()

PATTERNS = {
    "say: is not a valid X": r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b)",
    "name the client, the user, the process": r"\b(?:no|some|any|every)body\b|\bwho(?:so)?ever\b|\bhimself\b",
    "begin with the noun that does it, not with who": r"(?:^|[.:;,(|] )who (?!is\b.*\?)",
    "say: fetch, get, find": r"\b(?:be|been) had\b",
    "say: gets, reports": r"\b(?:is|are|was|were|be|been) told\b",
    "say: trusts": r"\bbeliev(?:e|es|ed|ing)\b",
    "say: remove": r"\btak(?:e|es|en|ing) away\b",
    "say: differs": r"(?<!there )\bis another\b",
    "say: release, close": r"\blet(?:s|ting)? go\b",
    "say: log, report": r"\b(?:is|are|was|were) told of\b|\bnot all of them are told\b",
    "say: without, because X is missing": r"\bfor want of\b",
    "say: has expired": r"\bout of its time\b",
    "say: the client, the identity": r"\bwho asks\b",
    "say: close, replace": r"\bg(?:ive|ives|ave|iving) way\b",
    "say: has not responded": r"\bsign of life\b",
    "say it without the double negation": (
        r"\bnot (?:un(?!der|til|less|i)\w+|impossible|invalid|incorrect)\b"
        r"|\b(?:never|without|nor) (?:not|no|none|nothing)\b"
    ),
}

EXCEPTIONS = {
    "is another instance running?": "a question, and another is an adjective",
}
"""Wordings that a pattern meets and that are right, with the reason."""

PAGES = sorted(
    path
    for path in (
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks" / "README.md",
    )
)

CYTHON = re.compile(r'"""[\s\S]*?"""|#[^\n]*|("(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')')


def faults(text: str) -> list[str]:
    """What is wrong with a sentence, with what to write instead."""
    for right in EXCEPTIONS:
        text = text.replace(right, "")
    text = " ".join(text.split())
    found = ((mend, hit[0]) for mend, pattern in PATTERNS.items() for hit in re.finditer(pattern, text, re.IGNORECASE))
    return [f"{words.strip()!r}: {mend}" for mend, words in found]


def is_command(node: ast.AST) -> bool:
    """Whether a function is a command: its docstring is its help."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else ()
    return any(re.search(r"\b(?:command|group)\b", ast.unparse(each)) for each in decorators)


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the text of every string that is a value, and of the help of commands."""
    for child in ast.iter_child_nodes(tree):
        match child:
            case ast.Expr(value=ast.Constant(value=str(text))):
                if is_command(tree):
                    yield child.lineno, text
            case ast.Constant(value=str(text)):
                yield child.lineno, text
            case ast.JoinedStr(values=parts):
                # A formatted value is one word, so that a pattern does not reach over it.
                yield child.lineno, "".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts)
                for part in parts:
                    yield from literals(part)
            case _:
                yield from literals(child)


def strings_of(path: Path) -> Iterator[tuple[int, str]]:
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from literals(ast.parse(source))
        return
    for found in CYTHON.finditer(source):
        if found[1]:
            yield source.count("\n", 0, found.start()) + 1, found[1][1:-1]


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """The paragraphs and rows of a page, with the line at which each begins."""
    begin, lines = 0, list[str]()
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        if lines and (not line.strip() or line.startswith(("|", "* ", "- ", "#"))):
            yield begin, "\n".join(lines)
            lines = []
        if line.strip():
            begin = begin if lines else number
            lines.append(line)


def sources() -> list[Path]:
    found = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx", ".pxi"))
    return sorted(path for path in found if not name_of(path).startswith(LATER))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_messages(path: Path) -> None:
    found = [f"{name_of(path)}:{line}: {fault}" for line, text in strings_of(path) for fault in faults(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [page for page in PAGES if not name_of(page).startswith(LATER)], ids=name_of)
def test_pages(path: Path) -> None:
    found = [f"{name_of(path)}:{line}: {fault}" for line, text in paragraphs(path) for fault in faults(text)]
    assert not found, "\n".join(found)


def test_every_exception_is_used() -> None:
    texts = [text for path in sources() for _, text in strings_of(path)] + [page.read_text() for page in PAGES]
    assert [each for each in EXCEPTIONS if not any(each in text for text in texts)] == []


@pytest.mark.parametrize(
    "text",
    [
        '"*" is no address',
        "nobody is kept out before a route has auth",
        "so that nobody can say who he is by himself",
        "lets whoever makes a link choose the site",
        "the set of keys at X cannot be had",
        'is another than before, "header:x": a split has one',
        "every field of it is taken away",
        "a start that takes long\nis told of in the log",
        "closed for want of a header",
        "Who is refused has none",
        "is not unavailable",
    ],
)
def test_such_wordings_are_refused(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        '"*" is not a valid address',
        "there is no route of this name",
        "versions that are no longer served",
        "an attacker who can choose text",
        "the connection is not under a limit",
        "cannot fetch the JWK set from X; keeping the previous one",
    ],
)
def test_plain_wordings_are_not(text: str) -> None:
    assert not faults(text)


def test_what_is_read_of_a_module() -> None:
    source = '''
"""A module."""
MESSAGE = "one"

@click.command()
def run():
    """Help."""
    raise ValueError(f"two {name('three')}")

def other():
    """Not read."""
'''
    assert [text for _, text in literals(ast.parse(source))] == ["one", "Help.", "two X", "three"]
    assert [found[1] for found in CYTHON.finditer('"""no"""\nx = "a"  # "b"\ny = b\'c\'') if found[1]] == ['"a"', "'c'"]
