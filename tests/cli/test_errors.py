"""What the command line says when something is wrong, and the exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fastgate.cli import COMMANDS, CommandError, main

CHOICES = "'{on|off|reset|status}'. Choose from: on, off, reset, status"
HOW = "`fastgate init` makes one, `fastgate demo` needs none"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 0
    assert all(name in result.stdout and text in result.stdout for name, text in COMMANDS.items())
    assert result.stdout == run("--help").stdout == run("-h").stdout


def test_version() -> None:
    assert run("--version").stdout.startswith("fastgate ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["chek"], 2, 'fastgate: unknown command "chek", did you mean "check"? (fastgate --help)\n'),
        (["zzz"], 2, f'fastgate: unknown command "zzz"; the commands are {", ".join(COMMANDS)} (fastgate --help)\n'),
        (["--nope"], 2, "fastgate: no such option '--nope' (fastgate --help)\n"),
        (["check", "--nope"], 2, "fastgate check: no such option '--nope' (fastgate check --help)\n"),
        (["check", "a", "b"], 2, "fastgate check: got unexpected extra argument (b) (fastgate check --help)\n"),
        (["maintenance"], 2,
         f"fastgate maintenance: missing argument {CHOICES} (fastgate maintenance --help)\n"),
        (["check"], 2, f"fastgate: fastgate.toml not found in this folder; {HOW}\n"),
        (["routes", "x.toml"], 2, f"x.toml: no such file; {HOW.replace('init', 'init x.toml')}\n"),
    ],
)  # fmt: skip
def test_one_line_on_standard_error(words: list[str], code: int, said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


def test_all_errors_of_a_file_then_their_number() -> None:
    Path("a.toml").write_text('[gateway]\nprot = 1\n[[routes]]\nname = "a"\npath = "a"\nupstream = "b"\n')
    result = run("check", "a.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        'a.toml:2: gateway.prot: unknown key, did you mean "port"?\n'
        'a.toml:5: routes[0].path: a path must start with "/", or with "~" if it is a regular expression\n'
        'a.toml:6: routes[0].upstream: unknown upstream "b": add [upstreams.b] with its targets\n'
        "3 errors\n"
    )


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("the port is taken"), 1, "fastgate: the port is taken\n"),
        (Broken("first line\nsecond"), 1, "fastgate: Broken: first line (use --debug for the traceback)\n"),
        (Broken(), 1, "fastgate: Broken (use --debug for the traceback)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_whatever_a_command_raises(error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*args: Any) -> None:
        raise error

    monkeypatch.setattr("fastgate.cli.check.read", raising)
    result = run("check", "a.toml")
    assert (result.exit_code, result.stderr.removeprefix("\n")) == (code, said)


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*args: Any) -> None:
        raise Broken

    monkeypatch.setattr("fastgate.cli.check.read", raising)
    for words in (["--debug", "check", "a.toml"], ["check", "a.toml", "--debug"]):
        assert isinstance(run(*words).exception, Broken)


def fastgate(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    code = "from fastgate.cli import main; main()"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=environ, **options
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    Path("a.toml").write_text(
        "".join(f'[[routes]]\nname = "r{n}"\npath = "/{n}"\nupstream = "b"\n' for n in range(3000))
        + '[upstreams.b]\ntargets = ["b:80"]\n'
    )
    read, write = os.pipe()
    os.close(read)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", "from fastgate.cli import main; main()", "routes", "a.toml"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=environ)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from fastgate.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name in ('rich', 'msgspec', 'uvloop', 'yaml', 'asyncio') "
        "or name.startswith(('fastgate.config', 'fastgate.cli.'))])"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-1] == "[]"


def test_decoding_a_configuration_loads_no_reader() -> None:
    code = (
        "import sys, msgspec; from fastgate.config import GatewayConfig\n"
        "made = msgspec.msgpack.encode(GatewayConfig())\n"
        "msgspec.msgpack.decode(made, type=GatewayConfig).gateway.listen_addresses()\n"
        "print([name for name in sys.modules if name.startswith('fastgate.config.')])"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    folder = Path(__file__).parents[2] / "fastgate" / "config" / "schema"
    schema = {f"schema.{path.stem}" for path in folder.glob("[!_]*.py")} - {"schema.described"}
    parts = {"errors", "suggest", "schema", "syntax", "read", "read.gateway_config"}
    names = ("addresses", "headers", "origins", "patterns", "request_key", "statuses", "units")
    syntax = {f"syntax.{name}" for name in names}
    needed = {f"fastgate.config.{name}" for name in schema | parts | syntax}
    assert set(eval(done.stdout)) == needed
