"""`fastgate keys`: each command, what it prints where, and what it leaves of a file."""

import datetime as dt
import hashlib
import json
import os
import pty
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from click.testing import CliRunner, Result

from fastgate.cli import main
from fastgate.config import GatewayConfig

OLD = hashlib.sha256(b"old").hexdigest()
SECRET = re.compile(r"fg_[A-Za-z0-9_-]{43}")

CONFIG = f"""\
# the gateway
[gateway]
port = 8080   # as ever

[gateway.keys.team-a]   # the first
hash = "{OLD}"   # of team A
tags = ["mobile", "beta"]

# where requests go
[[routes]]
name = "api"
path = "/api/*"
respond = {{ status = 200 }}
auth = {{ any = ["key"] }}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file() -> Path:
    path = Path("fastgate.toml")
    path.write_text(CONFIG)
    return path


def run(*words: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *words], input=stdin)


def key(path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(path.read_text())["gateway"]["keys"][name]
    GatewayConfig.from_file(path)
    return found


def in_hours(instant: dt.datetime) -> float:
    return (instant - dt.datetime.now(dt.UTC)).total_seconds() / 3600


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- new


def test_new_prints_the_table_and_the_secret_apart() -> None:
    result = run("new", "--id", "team-b")
    (secret,) = SECRET.findall(result.stderr)
    assert result.exit_code == 0
    assert result.stdout == f'\n[gateway.keys.team-b]\nhash = "{hash_of(secret)}"\n'
    assert result.stderr == (
        f'\nThe secret of "team-b" is shown only once; the configuration stores its hash:\n\n  {secret}\n'
    )
    assert SECRET.findall(run("new", "--id", "team-b").stderr) != [secret]


def test_new_can_be_appended_to_a_file_without_its_last_newline() -> None:
    path = Path("fastgate.toml")
    path.write_text(CONFIG.rstrip("\n"))
    path.write_text(path.read_text() + run("new", "--id", "team-b").stdout)
    assert "team-b" in tomllib.loads(path.read_text())["gateway"]["keys"]


def test_new_with_everything() -> None:
    words = ("--tag", "a", "--tag", 'b"c', "--tag", "a", "--route", "api", "--expires", "90d")
    table = tomllib.loads(run("new", "--id", "team b.c", *words).stdout)["gateway"]["keys"]["team b.c"]
    assert (table["tags"], table["routes"]) == (["a", 'b"c'], ["api"])
    assert in_hours(table["expires"]) == pytest.approx(90 * 24, abs=0.1)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2099-01-01", "2099-01-01T00:00:00Z"),
        ("2099-01-01T00:00:00+02:00", "2098-12-31T22:00:00Z"),
    ],
)
def test_new_takes_dates_and_times(written: str, meant: str) -> None:
    assert f"\nexpires = {meant}\n" in run("new", "--id", "a", "--expires", written).stdout


def test_new_writes_into_the_file_and_gives_the_secret_to_a_script(file: Path) -> None:
    result = run("new", "--id", "team-b", "--route", "api", "--write")
    assert result.exit_code == 0
    secret = result.stdout.rstrip("\n")
    assert SECRET.fullmatch(secret)
    assert file.read_text() == (
        f'{CONFIG}\n[gateway.keys.team-b]\nhash = "{hash_of(secret)}"\nroutes = ["api"]\n'
    )  # fmt: skip
    assert "fastgate reload" in result.stderr
    assert secret not in result.stderr
    assert key(file, "team-b")["hash"] == hash_of(secret)


def test_new_writes_into_an_empty_file_and_behind_a_line_without_end() -> None:
    path = Path("a.toml")
    path.write_text("")
    run("new", "--id", "a", "--config", "a.toml", "--write")
    path.write_text(path.read_text().rstrip("\n"))
    run("new", "--id", "b", "--config", "a.toml", "--write")
    assert [key(path, name) for name in "ab"]


NO_DURATION = 'expected a duration such as "90d", a date or a time such as "2027-01-01T00:00:00Z"'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "missing option '--id'"),
        (("--id", ""), "--id: the length must be 1 to 128 characters"),
        (("--id", "a\tb"), "--id: control characters are not allowed here"),
        (("--id", "x" * 129), "--id: the length must be 1 to 128 characters"),
        (("--id", "a", "--tag", " "), "--tag: must not begin or end with white space"),
        (("--id", "a", "--expires", "soon"), f"--expires: {NO_DURATION}"),
        (
            ("--id", "a", "--expires", "2099-02-30"),
            "--expires: this is not a valid time: day is out of range for month",
        ),
        (("--id", "a", "--expires", "2020-01-01"), "--expires: the time is in the past"),
        (("--id", "a", "--expires", "0"), "--expires: the time is in the past"),
    ],
)
def test_new_says_which_argument_is_wrong(words: tuple[str, ...], said: str) -> None:
    result = run("new", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"fastgate keys new: {said} (fastgate keys new --help)\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("--id", "team-a", "--config", "fastgate.toml"),
            1,
            'fastgate: fastgate.toml: key "team-a" already exists; `fastgate keys rotate` gives it a new secret',
        ),
        (
            ("--id", "a", "--route", "apis", "--write"),
            1,
            'fastgate: fastgate.toml: unknown route "apis", did you mean "api"?',
        ),
        (
            ("--id", "a", "--config", "none.toml", "--write"),
            2,
            "none.toml: no such file; `fastgate init none.toml` makes one, `fastgate demo` needs none",
        ),
    ],
)
def test_new_says_what_is_wrong_and_makes_nothing(file: Path, words: tuple[str, ...], code: int, said: str) -> None:
    result = run("new", *words)
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"{said}\n", "")
    assert file.read_text() == CONFIG


# --- list


def test_list_is_a_table_with_the_state_of_each_key(file: Path) -> None:
    more = "".join(
        f'[gateway.keys.{name}]\nhash = "{hash_of(name)}"\n{rest}\n'
        for name, rest in (
            ("b", 'routes = ["api"]\nexpires = 2099-01-01T00:00:00Z'),
            ("c", "expires = 2020-01-01T00:00:00Z"),
            ("d", "disabled = true\nexpires = 2020-01-01T00:00:00Z"),
            ("e", f'previous = {{ hash = "{hash_of("x")}", expires = 2099-01-01T00:00:00Z }}'),
            ("f", f'previous = {{ hash = "{hash_of("y")}", expires = 2020-01-01T00:00:00Z }}'),
        )
    )
    file.write_text(CONFIG + more)
    result = run("list")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "id      tags         routes  expires               state",
        "team-a  mobile beta  all     never                 active",
        "b                    api     2099-01-01T00:00:00Z  active",
        "c                    all     2020-01-01T00:00:00Z  expired",
        "d                    all     2020-01-01T00:00:00Z  disabled",
        "e                    all     never                 active, previous secret until 2099-01-01T00:00:00Z",
        "f                    all     never                 active",
    ]


def test_list_without_keys_and_without_a_file() -> None:
    assert run("list").exit_code == 2
    Path("a.json").write_text("{}")
    assert run("list", "a.json").stdout == "no keys\n"


# --- revoke, rotate


@pytest.mark.parametrize("words", [("team-a",), ("fastgate.toml", "team-a")])
def test_revoke_disables_the_key_and_changes_nothing_else(file: Path, words: tuple[str, ...]) -> None:
    result = run("revoke", *words)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == '"team-a" is disabled in fastgate.toml. To apply this, run: fastgate reload\n'
    first = f'hash = "{OLD}"   # of team A\n'
    assert file.read_text() == CONFIG.replace(first, f"{first}disabled = true\n")
    assert key(file, "team-a")["disabled"] is True
    again = run("revoke", *words)
    assert (again.exit_code, again.stderr) == (0, '"team-a" is already disabled\n')


def test_revoke_changes_what_is_there(file: Path) -> None:
    file.write_text(CONFIG.replace('tags = ["mobile", "beta"]', "disabled = false # for now"))
    run("revoke", "team-a")
    assert file.read_text() == CONFIG.replace('tags = ["mobile", "beta"]', "disabled = true # for now")


def test_rotate_gives_a_new_secret(file: Path) -> None:
    result = run("rotate", "team-a")
    secret = result.stdout.rstrip("\n")
    assert result.exit_code == 0
    assert SECRET.fullmatch(secret)
    assert file.read_text() == CONFIG.replace(OLD, hash_of(secret))
    assert "fastgate reload" in result.stderr
    assert "shown only once" in result.stderr


def test_rotate_with_a_grace_keeps_the_old_secret_for_so_long(file: Path) -> None:
    first = run("rotate", "team-a", "--grace", "24h").stdout.rstrip("\n")
    table = key(file, "team-a")
    assert (table["hash"], table["previous"]["hash"]) == (hash_of(first), OLD)
    assert in_hours(table["previous"]["expires"]) == pytest.approx(24, abs=0.1)
    second = run("rotate", "team-a", "--grace", "1h").stdout.rstrip("\n")
    table = key(file, "team-a")
    assert (table["hash"], table["previous"]["hash"]) == (hash_of(second), hash_of(first))
    assert in_hours(table["previous"]["expires"]) == pytest.approx(1, abs=0.1)
    third = run("rotate", "team-a").stdout.rstrip("\n")
    assert file.read_text() == CONFIG.replace(OLD, hash_of(third))


WRITTEN = [
    f'gateway.keys.team-a.hash = "{OLD}"\ngateway.port = 8080\n',
    f'[gateway]\nkeys = {{ team-a = {{ hash = "{OLD}" }} }}\n',
    f'[gateway.keys]\nteam-a = {{ hash = "{OLD}", tags = [\n  "a", # one\n] }}\n',
    f"[gateway.keys.'team-a']\n\thash = '{OLD}'\n[gateway]\nport = 8080\n[gateway.keys.b]\nhash = '{hash_of('b')}'\n",
    f'[gateway.keys.team-a]\nhash = """{OLD}"""',
]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_however_a_key_is_written(text: str, ends: str, start: bytes) -> None:
    path = Path("fastgate.toml")
    path.write_bytes(start + text.replace("\n", ends).encode())
    before = tomllib.loads(text)
    assert run("rotate", "team-a", "--grace", "1h").exit_code == 0
    assert run("revoke", "team-a").exit_code == 0
    raw = path.read_bytes()
    assert raw.startswith(start)
    assert raw.count(b"\r\n") == (raw.count(b"\n") if ends == "\r\n" else 0)
    after = tomllib.loads(raw.decode("utf-8-sig"))
    table = after["gateway"]["keys"]["team-a"]
    assert (table.pop("previous")["hash"], table.pop("disabled")) == (OLD, True)
    table["hash"] = OLD
    assert after == before
    GatewayConfig.from_file(path)


def test_mode_and_links_stay(file: Path) -> None:
    file.chmod(0o640)
    Path("link.toml").symlink_to(file)
    assert run("revoke", "link.toml", "team-a").exit_code == 0
    assert Path("link.toml").is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert key(file, "team-a")["disabled"] is True
    assert sorted(os.listdir()) == ["fastgate.toml", "link.toml"]


def test_a_file_that_cannot_be_replaced_stays_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("os.replace", fail)
    result = run("rotate", "team-a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "fastgate: cannot change fastgate.toml: device or resource busy\n"
    assert file.read_text() == CONFIG
    assert os.listdir() == ["fastgate.toml"]


HOW = "expected the id of a key; put a file before it if it is not fastgate.toml"
ONLY_TOML = "fastgate changes only TOML files in place, and this file is"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("revoke",), 2, f"fastgate keys revoke: {HOW} (fastgate keys revoke --help)"),
        (("rotate", "a", "b", "c"), 2, f"fastgate keys rotate: {HOW} (fastgate keys rotate --help)"),
        (("revoke", "team-b"), 1, 'fastgate: fastgate.toml: unknown key "team-b", did you mean "team-a"?'),
        (("rotate", "zzz"), 1, 'fastgate: fastgate.toml: unknown key "zzz"; the configuration has team-a'),
        (
            ("rotate", "team-a", "--grace", "-1s"),
            2,
            "fastgate keys rotate: --grace: a duration cannot be negative (fastgate keys rotate --help)",
        ),
        (
            ("revoke", "a.json", "team-a"),
            1,
            f'fastgate: a.json: {ONLY_TOML} JSON; set "disabled" to true in the table of "team-a" in gateway.keys',
        ),
        (
            ("rotate", "a.yaml", "team-a"),
            1,
            f"fastgate: a.yaml: {ONLY_TOML} YAML; `fastgate keys new` prints a hash to copy into the file",
        ),
        (
            ("new", "--id", "b", "--config", "a.json", "--write"),
            1,
            f"fastgate: a.json: {ONLY_TOML} JSON; run the command without --write and copy the table into the file",
        ),
        (("nope",), 2, "fastgate keys: no such command 'nope' (fastgate keys --help)"),
    ],
)
def test_what_is_said_when_it_cannot_be_done(file: Path, words: tuple[str, ...], code: int, said: str) -> None:
    data = {"gateway": {"keys": {"team-a": {"hash": OLD}}}}
    for name in ("a.json", "a.yaml"):
        Path(name).write_text(json.dumps(data))
    result = run(*words)
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"{said}\n", "")
    assert file.read_text() == CONFIG
    assert json.loads(Path("a.json").read_text()) == data


def test_a_disabled_key_gets_no_new_secret(file: Path) -> None:
    run("revoke", "team-a")
    result = run("rotate", "team-a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'fastgate: fastgate.toml: "team-a" is disabled; enable it before you rotate it\n'


def test_keys_alone_shows_its_help() -> None:
    result = run()
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == ["new", "list", "revoke", "rotate", "hash-password"]
    assert not any(line.endswith("...") for line in listed)


# --- hash-password


@pytest.mark.parametrize(
    ("given", "password"), [("pass word\n", "pass word"), ("x\r\n", "x"), ("é\n\n", "é\n"), ("a" * 72, "a" * 72)]
)
def test_hash_password_reads_standard_input(given: str, password: str) -> None:
    result = run("hash-password", "--cost", "4", stdin=given.encode())
    assert result.exit_code == 0
    assert result.stdout.startswith("$2b$04$")
    assert bcrypt.checkpw(password.encode(), result.stdout.rstrip("\n").encode())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "the password is empty"),
        (b"\n", "the password is empty"),
        (b"a\0b\n", "bcrypt cannot hash a password that contains a NUL character"),
        (b"a" * 73, "bcrypt accepts at most 72 bytes, and this password has 73 bytes"),
    ],
)
def test_passwords_that_bcrypt_cannot_tell_apart(given: bytes, said: str) -> None:
    result = run("hash-password", "--cost", "4", stdin=given)
    assert (result.exit_code, result.stderr, result.stdout) == (1, f"fastgate: {said}\n", "")


def test_hash_password_asks_twice_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastgate", "keys", "hash-password", "--cost", "4"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    for answers in (1, 2):
        while shown.count(b": ") < answers:
            shown += os.read(ours, 1000)
        os.write(ours, b"secret word\n")
    output, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert bcrypt.checkpw(b"secret word", output.strip())
    assert b"secret word" not in shown
