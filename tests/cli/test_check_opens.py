"""What a start or a reload would refuse, ``fastgate check`` refuses too, at the same place: all of it is opened."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tls.authorities import Files

from fastgate.cli import main
from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway

HASH = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"

CONFIG = """\
[gateway]
port = 0
access_log = { path = "" }
[gateway.tls]
certificates = [{ cert = "server.pem", key = "server.key" }]
client_ca = "clients.pem"
client_auth = "optional"

[auth.basic]
file = "users"
[auth.forward]
url = "https://127.0.0.1:1/verify"
request_headers = ["x-token"]
tls = { ca = "forward-ca.pem", cert = "forward.pem", key = "forward.key" }
[auth.jwt]
jwks = "https://127.0.0.1:1/keys"
ca = "keys-ca.pem"
algorithms = ["RS256"]
audience = ["all"]
issuer = "me"

[[routes]]
name = "all"
path = "/*"
upstream = "b"
body_schema = "schema.json"
auth = { any = ["basic", "forward", "jwt"] }

[upstreams.b]
targets = ["https://127.0.0.1:1"]
tls = { ca = "up-ca.pem", cert = "up.pem", key = "up.key" }
"""

FILES = {
    "server.pem": "gateway.tls.certificates[0].cert",
    "server.key": "gateway.tls.certificates[0].key",
    "clients.pem": "gateway.tls.client_ca",
    "users": "auth.basic.file",
    "forward-ca.pem": "auth.forward.tls.ca",
    "forward.pem": "auth.forward.tls.cert",
    "forward.key": "auth.forward.tls.key",
    "keys-ca.pem": "auth.jwt.ca",
    "schema.json": "routes[0].body_schema",
    "up-ca.pem": "upstreams.b.tls.ca",
    "up.pem": "upstreams.b.tls.cert",
    "up.key": "upstreams.b.tls.key",
}
KEYS = [name for name in FILES if name.endswith(".key")]


def spoil(path: Path) -> None:
    path.write_text("nonsense\n")


def empty(path: Path) -> None:
    path.write_text("")


def take_away(path: Path) -> None:
    path.unlink()


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_another(path: Path) -> None:
    path.write_bytes(Path("other.key").read_bytes())


def encrypt(path: Path) -> None:
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


CASES = [(each, name) for each in (spoil, empty, take_away, put_a_folder) for name in FILES]
CASES += [(each, name) for each in (put_another, encrypt) for name in KEYS]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = Files(tmp_path)
    for name in ("server", "forward", "up", "other"):
        files.issue(name, "a.test")
    for name in FILES:
        if "ca" in name or name == "clients.pem":
            files.authority.cert_pem.write_to_path(name)
    Path("users").write_text(f"ada:{HASH}\n")
    Path("schema.json").write_text("{}")
    Path("a.toml").write_text(CONFIG)


def check() -> Result:
    return CliRunner().invoke(main, ["check", "a.toml"])


def checked_paths() -> set[str]:
    """The places that check finds fault with; each has its line."""
    result = check()
    found = re.findall(r"^a\.toml:[0-9]+: ([^ ]+): .", result.stderr, re.MULTILINE)
    assert (result.exit_code, result.stdout) == ((2, "") if found else (0, result.stdout)), result.output
    assert len(found) == len(set(found))
    return set(found)


async def refused_paths(begin: Callable[[], Awaitable[None]]) -> set[str]:
    with pytest.raises(ConfigError) as caught:
        await begin()
    return {problem.path for problem in caught.value.problems}


async def in_a_thread(function: Callable[[], set[str]]) -> set[str]:
    """For what runs an event loop of its own."""
    return await asyncio.to_thread(function)


def test_what_can_be_used_is_valid() -> None:
    result = check()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith("a.toml is valid: 1 route, 1 upstream")


@pytest.mark.parametrize(("change", "name"), CASES, ids=lambda part: part if isinstance(part, str) else part.__name__)
async def test_check_start_and_reload_refuse_the_same(change: Callable[[Path], None], name: str) -> None:
    async with Gateway(GatewayConfig.from_file("a.toml")) as gateway:
        change(Path(name))
        config = GatewayConfig.from_file("a.toml")
        paths = await refused_paths(Gateway(config).start)
        assert paths == {FILES[name]}
        assert await refused_paths(lambda: gateway.reload(config)) == paths
        assert await in_a_thread(checked_paths) == paths


def test_all_is_said_at_once() -> None:
    """Of a certificate and its key the first that is wrong is told; both would be two words for one fault."""
    spoiled = [name for name in FILES if name not in (*KEYS, "server.pem", "keys-ca.pem")]
    for name in spoiled:
        spoil(Path(name))
    take_away(Path("keys-ca.pem"))
    assert checked_paths() == {FILES[name] for name in (*spoiled, "keys-ca.pem")}


@pytest.mark.parametrize(
    ("more", "module", "path", "told"),
    [
        (
            '[upstreams.c]\ntargets = ["srv:_http._tcp.a.test"]\n',
            "dns",
            "upstreams.c.targets[0]",
            "questions to DNS servers need the package dnspython: pip install 'fastgate[dns]'",
        ),
        (
            '[upstreams.c]\ntargets = ["a.test:1"]\ndns = { server = "127.0.0.1" }\n',
            "dns",
            "upstreams.c.dns.server",
            "questions to DNS servers need the package dnspython: pip install 'fastgate[dns]'",
        ),
        ("", "jsonschema_rs", "routes[0].body_schema", "needs jsonschema-rs: pip install 'fastgate[schema]'"),
    ],
)
async def test_libraries_that_a_key_needs(
    more: str, module: str, path: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.toml").write_text(CONFIG + more)
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    assert await in_a_thread(checked_paths) == {path}
    with pytest.raises(ConfigError) as caught:
        await Gateway(GatewayConfig.from_file("a.toml")).start()
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [(path, told)]


def test_a_server_that_no_name_is_asked_of_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text(CONFIG + '[upstreams.c]\ntargets = ["127.0.0.1:1"]\ndns = { server = "127.0.0.1" }\n')
    monkeypatch.setitem(sys.modules, "dns", None)
    assert checked_paths() == set()


def test_what_a_start_would_warn_of() -> None:
    Files(Path()).issue("server", "a.test", expired=True)
    result = check()
    assert result.exit_code == 0
    assert "a.toml:5: warning: gateway.tls.certificates[0].cert: " in result.stdout
    assert "server.pem expired on 2020-01-01" in result.stdout
    assert result.stderr == ""
