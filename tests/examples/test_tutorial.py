"""``docs/plugin-tutorial.md``, followed to the letter by one who has nothing but the page, in an empty folder.

Blocks are taken in order: one with a file name above it is saved under that name, the commands of the others are given
to one shell, and what they print is compared with what the page says. Two things are not as on the page: what
``pip install fastgate pytest`` would fetch is there already, pip itself too, and ports are free ones.
"""

import os
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from server.harness import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugin-tutorial.md"
BLOCK = re.compile(r"(?:^`([\w.]+)`\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = "pip install fastgate pytest"
ENVIRONMENT = "python3 -m venv .venv"
END = "--- done"

# What installing fastgate leaves in an environment: the package with all it needs, and its commands.
SITE = f"""
import pathlib, sys, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
site.joinpath("given.pth").write_text({str(ROOT)!r} + "\\n" + {sysconfig.get_path("purelib")!r} + "\\n")
for name, module in (("fastgate", "fastgate.cli"), ("pytest", "pytest"), ("pip", "pip._internal.cli.main")):
    script = pathlib.Path(sys.executable).with_name(name)
    script.write_text(f"#!{{sys.executable}}\\nimport sys\\nfrom {{module}} import main\\nsys.exit(main())\\n")
    script.chmod(0o755)
"""


def blocks() -> Iterator[tuple[str, str, str]]:
    """File name (or nothing), language, text of each block."""
    for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        yield match[1] or "", match[2], match[3]


class Shell:
    """One shell; `do` gives it a command and returns what it printed."""

    def __init__(self, folder: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        path = f"{Path(sys.executable).parent}:{inherited['PATH']}"
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HOME": str(folder), "COLUMNS": "80"}
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, **offline, **alone, "PATH": path},
        )

    def do(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # What runs on in the background would mix its words with those that are compared.
        quiet = f"{command[:-1]} >>background.txt 2>&1 &" if command.endswith("&") else command
        self._process.stdin.write(f"{quiet}\necho '{END}' $?\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            rest, end, code = line.partition(END)
            said.append(f"{rest}\n" if end and rest else rest)  # not every answer ends its line
            if end:
                assert code == " 0\n", f"{command} failed: {''.join(said)}"
                return "".join(said)
        raise AssertionError(f"the shell ended at {command}: {''.join(said)}")

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("kill $(jobs -p) 2>/dev/null\n")
        self._process.communicate(timeout=15)


def alike(said: str) -> str:
    """What differs from one time to the next is not compared."""
    return re.sub(r"passed in [0-9.]+s", "passed", said)


@pytest.mark.needs("curl")
def test_the_page_works_to_the_letter(tmp_path: Path) -> None:
    gateway, upstream = free_port(), free_port()
    elsewhere = tmp_path / "elsewhere"

    def here(text: str) -> str:
        text = text.replace("8080", str(gateway)).replace("5000", str(upstream))
        return text.replace("/tmp/elsewhere", str(elsewhere))

    folder = tmp_path / "fastgate-version"
    shell = Shell(tmp_path)
    try:
        for name, language, text in blocks():
            if language != "console":
                assert name, f"a block that is saved nowhere: {text}"
                (folder / name).write_text(here(text))
                continue
            for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, expected = step.partition("\n")
                if command == ENVIRONMENT:
                    command += " --without-pip"  # which takes seconds
                if command == INSTALL:
                    (tmp_path / "given.py").write_text(SITE)
                    command = f"python {tmp_path / 'given.py'}"
                said = shell.do(here(command))
                if command.endswith("serve gateway.toml &"):
                    listens(folder / "background.txt", shell)
                if not command.startswith("kill"):  # the shell says which jobs ended when it likes to
                    assert alike(said) == alike(here(expected)), command
    finally:
        shell.end()
    assert (elsewhere / "gateway.toml").exists()


def listens(file: Path, shell: Shell) -> None:
    """The page says when to go on: when the gateway has said that it listens."""
    for _ in range(300):
        if file.exists() and "listens on" in file.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"the gateway did not come up: {file.read_text()}")


def test_what_it_installs_is_what_the_project_is_called() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert INSTALL.split()[2:] == [project["name"], "pytest"]
    assert f"$ {ENVIRONMENT}\n$ . .venv/bin/activate\n$ {INSTALL}\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.needs("mypy")
def test_its_policy_has_types(tmp_path: Path) -> None:
    source = next(text for name, _, text in blocks() if name == "fastgate_version.py")
    (tmp_path / "fastgate_version.py").write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "fastgate_version.py"]
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE.read_text(encoding="utf-8")))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (PAGE.parent / target).exists()
