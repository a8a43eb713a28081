"""What check and serve say of plugins that cannot be used: a line each, with its place."""

import subprocess
import sys
from pathlib import Path

from server.harness import environment

MAIN = "from fastgate.cli import main; main()"

MODULE = """\
import msgspec
from fastgate import Policy

class Fine(Policy):
    class Options(msgspec.Struct):
        header: str = "x"
        count: int = 1

class Explains(Policy):
    def __init__(self, options): raise ValueError("needs\\n a url")

class Raises(Policy):
    def __init__(self, options): raise KeyError("url")

class Leaves(Policy):
    def __init__(self, options): raise SystemExit(1)

class Wrong(Policy):
    Options = dict

class Misspelt(Policy):
    def on_requst(self, request): ...

class Own(Policy):
    def on_request_slow(self, request): ...
    def on_connect(self): ...

def function(options): ...
"""

UNUSABLE = [
    ('use = "mien:Fine"', "", 'NAME: cannot find module "mien" on the import path'),
    ('use = "broken:Fine"', "", "NAME: ModuleNotFoundError: No module named 'nowhere_at_all' (broken.py:1)"),
    ('use = "mine:Fien"', "", 'NAME: module "mine" has no "Fien", did you mean "Fine"?'),
    ('use = "mine:Nothing"', "",
     'NAME: module "mine" has no "Nothing"; its policies are Fine, Explains, Raises, Leaves, Wrong, Misspelt, Own'),
    ('use = "mine:function"', "", "NAME: mine:function is not a class derived from fastgate.Policy"),
    ('use = "mine:Wrong"', "", "NAME: Wrong.Options must be a class derived from msgspec.Struct"),
    ('use = "mine:Misspelt"', "", 'NAME: Misspelt.on_requst is not a valid hook, did you mean "on_request"?'),
    ('use = "unread:Mine"', "", "NAME: SyntaxError: invalid syntax (unread.py:2)"),
    ('use = "mine:Fine"\noptions = { heder = "y" }', ".options.heder", 'unknown key, did you mean "header"?'),
    ('use = "mine:Fine"\noptions.count = "two"', ".options.count", "expected `int`, got `str`"),
]  # fmt: skip
"""An entry, the place of what is wrong with it, and what is said."""

UNMADE = [
    ('use = "mine:Explains"', "", "NAME: needs a url"),
    ('use = "mine:Raises"', "", "NAME: KeyError: 'url' (mine.py:13)"),
    ('use = "mine:Leaves"', "", "NAME: SystemExit: 1 (mine.py:16)"),
]
"""Those of which nothing is known before they are made."""


def configuration(entries: list[str]) -> str:
    """All of them, each used by the only route."""
    plugins = "\n".join(f'[[plugins]]\nname = "p{number}"\n{entry}' for number, entry in enumerate(entries))
    uses = ", ".join(f'{{ use = "p{number}" }}' for number in range(len(entries)))
    route = f'[[routes]]\nname = "a"\npath = "/*"\nupstream = "b"\npolicies = [{uses}]'
    return f'[gateway]\nport = 0\nworkers = 1\n{plugins}\n{route}\n[upstreams.b]\ntargets = ["127.0.0.1:1"]\n'


def fastgate(folder: Path, command: str, entries: list[str]) -> tuple[int, list[str]]:
    """The exit code, and what was said on standard error."""
    (folder / "mine.py").write_text(MODULE)
    (folder / "unread.py").write_text("import sys\ndef f(:\n")
    (folder / "broken.py").write_text("import nowhere_at_all\n")
    (folder / "fastgate.toml").write_text(configuration(entries))
    # As the installed command: the folder is not on the path by itself.
    program = [sys.executable, "-c", f"import sys; sys.path[:] = [each for each in sys.path if each]; {MAIN}", command]
    done = subprocess.run(program, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def told(rows: list[tuple[str, str, str]]) -> list[str]:
    named = [(place, said.replace("NAME", f"p{number}")) for number, (_, place, said) in enumerate(rows)]
    return [f"plugins[{number}]{place}: {said}" for number, (place, said) in enumerate(named)]


def test_check_says_all_that_can_be_known(tmp_path: Path) -> None:
    code, said = fastgate(tmp_path, "check", [entry for entry, _, _ in UNUSABLE])
    lines = (tmp_path / "fastgate.toml").read_text().splitlines()
    assert (code, said.pop()) == (2, f"{len(UNUSABLE)} errors")
    assert [line.split(": ", 1)[1] for line in said] == told(UNUSABLE)
    places = [lines[int(line.split(":")[1]) - 1] for line in said]
    assert places == ["[[plugins]]"] * 8 + ['options = { heder = "y" }', 'options.count = "two"']


def test_names_that_are_only_like_those_of_hooks(tmp_path: Path) -> None:
    assert fastgate(tmp_path, "check", ['use = "mine:Own"']) == (0, [])


def test_check_makes_none(tmp_path: Path) -> None:
    assert fastgate(tmp_path, "check", [entry for entry, _, _ in UNMADE]) == (0, [])


def test_serve_says_the_same_and_what_the_constructors_say(tmp_path: Path) -> None:
    rows = UNUSABLE + UNMADE
    code, said = fastgate(tmp_path, "serve", [entry for entry, _, _ in rows])
    assert code != 0
    assert said == [f"fastgate: {'; '.join(told(rows))}"]
