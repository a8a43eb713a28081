"""check, init, routes, schema."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastgate.cli import main
from fastgate.config import GatewayConfig
from fastgate.config.publish.json_schema import make_schema
from fastgate.config.publish.reference import render_reference
from fastgate.policies.chain import render_policies

CONFIG = """\
[[routes]]
name = "api"
path = "/api/*"
methods = ["GET", "POST"]
hosts = ["api.example.com", "*.example.com"]
headers = { x-version = "2" }
query = { debug = "*" }
upstream = "backend"
strip_prefix = "/api"
add_prefix = "/v2"

[[routes]]
name = "rest"
path = "~^/v[0-9]+$"
upstream = "remote"
request_headers = { remove = ["cookie"] }

[upstreams.backend]
targets = ["127.0.0.1:5000", "127.0.0.1:5001", "unix:/run/app.sock"]
[upstreams.remote]
targets = ["https://api.example.com", "[::1]:80"]
"""


TABLE = """\
name  methods   match                     upstream                                             policies
api   GET POST  api.example.com/api/*     backend (127.0.0.1:5000, 127.0.0.1:5001 and 1 more)  strip /api, add /v2
                *.example.com/api/*
                  x-version: 2, ?debug=*
rest  any       ~^/v[0-9]+$               remote (https://api.example.com:443, [::1]:80)       request_headers
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_check_says_that_a_file_is_valid() -> None:
    Path("fastgate.toml").write_text(CONFIG)
    for words in ([], ["fastgate.toml"], ["fastgate.toml", "--strict"]):
        result = run("check", *words)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == "fastgate.toml is valid: 2 routes, 2 upstreams\n"


def test_check_gives_warnings_with_their_lines() -> None:
    Path("a.toml").write_text(CONFIG + "[upstreams.spare]\ntargets = ['a:1']\n")
    result = run("check", "a.toml")
    assert result.exit_code == 0
    assert result.stdout == (
        "a.toml:22: warning: upstreams.spare: no route uses this upstream\n"
        "a.toml is valid: 2 routes, 3 upstreams, 1 warning\n"
    )
    assert run("check", "a.toml", "--strict").exit_code == 1


def test_check_looks_at_files() -> None:
    Path("a.pem").write_text("")
    Path("a.toml").write_text(
        '[gateway.tls]\ncertificates = [{ cert = "a.pem", key = "a.key" }]\n[gateway.access_log]\npath = "logs/a.log"\n'
        '[gateway.log]\npath = "."\n[upstreams.b]\ntargets = ["b:1"]\ntls = { ca = "ca.pem" }\n'
    )
    result = run("check", "a.toml")
    here = Path.cwd()
    assert result.exit_code == 2
    assert result.stderr == (
        f"a.toml:2: gateway.tls.certificates[0].key: {here}/a.key does not exist\n"
        f"a.toml:4: gateway.access_log.path: {here}/logs/a.log cannot be written: "
        f"the folder {here}/logs does not exist\n"
        f"a.toml:6: gateway.log.path: {here} is a folder\n"
        f"a.toml:9: upstreams.b.tls.ca: {here}/ca.pem does not exist\n"
        "4 errors\n"
    )


def test_check_looks_into_schemas() -> None:
    text = CONFIG.replace('strip_prefix', 'body_schema = "{}"\nmax_body = "1KB"\nstrip_prefix')
    Path("good.json").write_text('{"type": "object"}')
    Path("bad.json").write_text('{"type": "objekt"}')
    here = Path.cwd()
    for name, told in (
        ("none.json", f"a.toml:9: routes[0].body_schema: {here}/none.json does not exist\n"),
        ("bad.json", f"a.toml:9: routes[0].body_schema: {here}/bad.json is not a valid JSON Schema: at /type: "),
    ):
        Path("a.toml").write_text(text.replace("{}", name))
        result = run("check", "a.toml")
        assert result.exit_code == 2
        assert result.stderr.startswith(told)
    Path("a.toml").write_text(text.replace("{}", "good.json"))
    assert run("check", "a.toml").exit_code == 0


def test_init_writes_a_configuration_that_is_valid_and_without_warnings() -> None:
    result = run("init")
    assert result.exit_code == 0
    assert result.stdout.startswith("fastgate.toml was written")
    assert run("check", "--strict").exit_code == 0
    config = GatewayConfig.from_file("fastgate.toml")
    assert (config.gateway.port, config.routes[0].path) == (8080, "/api/*")


def test_every_suggestion_of_the_starter_file_is_right() -> None:
    run("init", "a.toml")
    lines = Path("a.toml").read_text().splitlines()
    keys = [line.removeprefix("# ") for line in lines if line.startswith(("# [", "# ")) and " = " in line]
    assert len(keys) > 5
    text = "\n".join(
        line.removeprefix("# ") if line.startswith("# [") or (line.startswith("# ") and " = " in line) else line
        for line in lines
    )
    assert tomllib.loads(text)
    Path("b.toml").write_text(text)
    GatewayConfig.from_file("b.toml")


def test_init_never_overwrites() -> None:
    Path("fastgate.toml").write_text("mine")
    result = run("init")
    assert (result.exit_code, result.stderr) == (1, "fastgate: fastgate.toml already exists; nothing was written\n")
    assert Path("fastgate.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("no/a.toml", 1, "fastgate: cannot write no/a.toml: no such file or directory\n"),
        ("a.yaml", 2, 'fastgate init: the starter configuration is TOML; name it "a.toml" (fastgate init --help)\n'),
    ],
)
def test_where_init_cannot_write(file: str, code: int, said: str) -> None:
    result = run("init", file)
    assert (result.exit_code, result.stderr) == (code, said)


def test_check_looks_for_the_authorities_of_a_key_set() -> None:
    Path("a.toml").write_text('[auth.jwt]\nalgorithms = ["RS256"]\njwks = "https://a.example/"\nca = "none.pem"\n')
    said = f"a.toml:4: auth.jwt.ca: {Path('none.pem').absolute()} does not exist\n"
    assert run("check", "a.toml").stderr == said


def test_check_says_what_is_wrong_with_plugins_and_with_schemas_at_once() -> None:
    Path("schema.json").write_text('{"type": 1}')
    Path("a.toml").write_text(
        '[[plugins]]\nname = "p"\nuse = "nowhere_at_all:P"\n'
        '[[routes]]\nname = "a"\npath = "/"\nrespond = {}\nbody_schema = "schema.json"\npolicies = [{ use = "p" }]\n'
    )
    said = run("check", "a.toml").stderr.splitlines()
    assert [line.split(": ")[1] for line in said[:2]] == ["plugins[0]", "routes[0].body_schema"]
    assert said[2:] == ["2 errors"]


def test_routes() -> None:
    Path("fastgate.toml").write_text(CONFIG)
    assert run("routes").stdout == TABLE


def test_routes_with_a_priority_and_without_any() -> None:
    Path("a.toml").write_text(
        '[[routes]]\nname = "a"\npath = "/"\nupstream = "b"\npriority = 5\n[upstreams.b]\ntargets = ["b:1"]\n'
    )
    assert run("routes", "a.toml").stdout.split() == [
        "name", "methods", "match", "upstream", "priority", "policies", "a", "any", "/", "b", "(b:1)", "5",
    ]  # fmt: skip
    Path("b.toml").write_text("")
    assert run("routes", "b.toml").stdout == "no routes\n"


def test_routes_say_who_may_use_them() -> None:
    Path("a.toml").write_text(
        """
[defaults]
auth = { any = ["key", "basic"] }
security_headers = true
[[routes]]
name = "all"
path = "/all/*"
respond = { status = 204 }
compression = true
envelope = true
body_schema = "schema.json"
rate_limit = { rate = 5, per = "1s" }
ip = { allow = ["10.0.0.0/8"] }
cors = { origins = "*" }
maintenance = { enabled = true }
[[routes]]
name = "both"
path = "/both"
respond = { status = 204 }
auth = { all = ["basic", "key"] }
[[routes]]
name = "open"
path = "/open"
respond = { status = 204 }
public = true
security_headers = false
[auth.basic.users]
alice = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
"""
    )
    Path("schema.json").write_text("{}")
    said = run("routes", "a.toml").stdout.splitlines()[1:]
    first = "closed, ip, cors, auth key or basic, 5 in 1s by client_ip, body_schema"
    assert [line.partition("answers 204  ")[2] for line in said] == [
        f"{first}, envelope, compression, security_headers",
        "auth basic and key, security_headers",
        "public",
    ]


def test_the_help_of_schema_keeps_its_lines() -> None:
    assert "\n  fastgate schema > fastgate.schema.json\n" in run("schema", "--help").stdout


def test_routes_that_are_answered_in_other_ways() -> None:
    Path("a.toml").write_text(
        """
[[routes]]
name = "split"
path = "/split"
split = [{ upstream = "b", weight = 95 }, { upstream = "c", weight = 5 }]
mirror = { upstream = "c" }
[[routes]]
name = "respond"
path = "/respond"
respond = { status = 410 }
[[routes]]
name = "redirect"
path = "/redirect"
redirect = { to = "https://{host}{path}" }
rate_limit = { rate = 5, per = "1m" }
concurrency = { max = 3 }
[upstreams.b]
targets = ["b:1"]
[upstreams.c]
targets = ["srv:_http._tcp.c"]
"""
    )
    assert (
        run("routes", "a.toml").stdout
        == """\
name      methods  match      upstream                     policies
split     any      /split     95% b (b:1)                  mirror to c
                              5% c (srv:_http._tcp.c)
respond   any      /respond   answers 410
redirect  any      /redirect  308 to https://{host}{path}  5 in 60s by client_ip, 3 at once by route
"""
    )


def test_schema() -> None:
    assert json.loads(run("schema").stdout) == make_schema()
    assert run("schema", "--reference").stdout == render_reference(render_policies())
