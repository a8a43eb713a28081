"""What a configuration becomes: the documented examples, defaults, formats, MessagePack."""

import json
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fastgate.config import (
    DNS,
    ActiveHealth,
    Breaker,
    Concurrency,
    ConfigError,
    GatewayConfig,
    HeaderEdits,
    Health,
    Mirror,
    PassiveHealth,
    PolicyUse,
    Problem,
    RateLimit,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    State,
    Target,
    Timeouts,
)
from fastgate.config.schema.rate_limit import limit_names

EVERYTHING = """
[gateway]
host = ["127.0.0.1", "[::1]:8081"]
workers = "auto"
keepalive = "1m30s"
socket_mode = 0o600
trusted_proxies = ["10.0.0.0/8", "192.168.1.1"]
max_body = "10MB"
[gateway.tls]
certificates = [{ cert = "/a.pem", key = "/a.key" }]
client_ca = "/ca.pem"
client_auth = "optional"
[gateway.log]
format = "json"
[gateway.access_log]
path = ""
sample = 1

[[plugins]]
name = "tenant"
use = "mypackage.tenant:TenantPolicy"
options = { header = "x-tenant", deep = [1, { a = 2.5 }] }

[defaults]
timeouts = { read = "10m" }
rate_limit = { rate = 10, per = "1m" }
retry = { attempts = 4, on = ["connect", "503"] }
concurrency = { max = 64 }
policies = [{ use = "tenant" }]
upgrades = []
max_body = "1MB"
request_headers.set.x-client = "{client_ip}"

[[routes]]
name = "api"
path = "/users/{id}"
methods = ["GET", "POST"]
hosts = ["API.example.com.", "*.example.com"]
headers = { X-Version = "2", x-debug = "*" }
query = { q = "~[0-9]+" }
priority = -1
upstream = "backend"
strip_prefix = "/users"
rewrite = { pattern = "^/(.*)", to = '/new/\\1' }
request_headers = { set = { X-Id = "{param.id}" }, add = { x-tag = ["a", "b"] }, remove = ["x-internal"] }

[[routes]]
name = "plain"
path = "~^/v[0-9]+$"
upstream = "backend"
policies = false
timeouts = false
rate_limit = false
retry = false
concurrency = false
upgrades = false
max_body = false
request_headers = false
strip_prefix = false

[[routes]]
name = "split"
path = "/split/{id}"
split = [{ upstream = "backend", weight = 9 }, { upstream = "canary", sticky = "header:X-User" }]
mirror = { upstream = "canary", sample = 0.5, timeout = "5s" }
rate_limit = [
  { rate = 5, per = "1h", algorithm = "fixed_window", key = ["route", "header:X-Key"], name = "hourly" },
  { rate = 2.5, burst = 7, key = "param:id", legacy_headers = true, dry_run = true },
]
concurrency = { max = 200, queue = 3, key = ["client_ip", "cookie:s"], adaptive = { min = 4 } }
retry = { backoff = 0, hedge = { delay = "50ms" }, on = ["5xx"] }

[[routes]]
name = "respond"
path = "/respond"
respond = { status = 418, body = "no", headers = { X-Tea = "pot" } }

[[routes]]
name = "redirect"
path = "/redirect/{id}"
redirect = { to = "https://{host}/{param.id}", status = 302 }

[upstreams.backend]
targets = ["127.0.0.1:5000", { host = "10.0.0.2", port = 80 }]
tls = { verify = false }
pool.max_idle = 3

[upstreams.canary]
balancer = "consistent_hash"
hash_key = "header:X-User"
load_bound = 0
targets = ["srv:_http._tcp.example.com", { host = "10.0.0.2", port = 80, weight = 3, backup = true }]
dns = { server = "10.0.0.53", family = "both" }
health.active = { path = "/ok?a=b", status = ["204"], headers = { X-Token = { env = "TOKEN" } } }
health.passive = { on = ["connect", "500"] }
breaker = { scope = "target", failures = 0 }
slow_start = "30s"
panic_threshold = 0

[state]
concurrency_entries = 1000
"""
ENVIRON = {"TOKEN": "s3cret"}


@pytest.fixture
def config() -> GatewayConfig:
    return GatewayConfig.from_dict(tomllib.loads(EVERYTHING), environ=ENVIRON)


def test_the_documented_python_configuration() -> None:
    config = GatewayConfig.from_dict({
        "gateway": {"port": 8080},
        "routes": [{"name": "api", "path": "/api/*", "upstream": "backend"}],
        "upstreams": {"backend": {"targets": [{"host": "127.0.0.1", "port": 5000}]}},
    })  # fmt: skip
    assert config.gateway.port == 8080
    assert config.routes[0].upstream == "backend"
    assert config.upstreams["backend"].targets[0].host == "127.0.0.1"


def test_an_empty_configuration_has_every_default() -> None:
    config = GatewayConfig.from_dict({})
    assert config == GatewayConfig()
    assert (config.gateway.port, config.gateway.keepalive, config.gateway.max_body) == (8080, 75.0, 32 * 1024**2)
    assert (config.gateway.tls, config.gateway.log.path, config.gateway.access_log.path) == (None, "-", "-")


def test_values_are_resolved(config: GatewayConfig) -> None:
    assert (config.gateway.keepalive, config.gateway.socket_mode, config.gateway.max_body) == (
        90.0,
        0o600,
        10 * 1024**2,
    )
    assert config.gateway.trusted_proxies == ["10.0.0.0/8", "192.168.1.1/32"]
    assert config.gateway.access_log.sample == 1.0
    route = config.routes[0]
    assert route.hosts == ["api.example.com", "*.example.com"]
    assert route.headers == {"x-version": "2", "x-debug": "*"}
    assert route.rewrite == Rewrite(pattern="^/(.*)", to="/new/\\1")
    assert config.upstreams["backend"].pool.max_idle == 3


def test_defaults_hold_for_routes_that_do_not_set_the_key(config: GatewayConfig) -> None:
    route = config.routes[0]
    assert (route.timeouts, route.upgrades, route.max_body) == (Timeouts(read=600.0), [], 1024**2)
    assert route.policies == [PolicyUse(use="tenant")]
    assert (route.rate_limit[0].rate, route.concurrency) == (10.0, Concurrency(max=64))
    assert (route.retry.attempts, config.routes[2].retry.attempts) == (4, 3)
    # replaced as a whole, not merged
    assert route.request_headers == HeaderEdits(
        set={"X-Id": "{param.id}"}, add={"x-tag": ["a", "b"]}, remove=["x-internal"]
    )


def test_false_switches_a_default_off(config: GatewayConfig) -> None:
    route = config.routes[1]
    assert (route.timeouts, route.policies, route.max_body) == (Timeouts(), [], None)
    assert (route.request_headers, route.strip_prefix) == (None, "")
    # without a default, false is the key's own off
    assert route.upgrades == []
    assert (route.rate_limit, route.concurrency, route.retry) == ([], None, Retry(attempts=1))


def test_a_route_has_two_tries_where_nothing_is_said_of_them() -> None:
    route = {"name": "a", "path": "/a", "upstream": "b"}
    upstreams = {"b": {"targets": ["b:1"]}}
    (made,) = GatewayConfig.from_dict({"routes": [route], "upstreams": upstreams}).routes
    assert (made.retry.attempts, made.retry.on, made.retry.backoff) == (2, ["connect", "reset"], 0.025)
    (made,) = GatewayConfig.from_dict({"routes": [{**route, "retry": {}}], "upstreams": upstreams}).routes
    assert made.retry.attempts == 3
    (made,) = GatewayConfig.from_dict(
        {"routes": [{**route, "retry": {}}], "upstreams": upstreams, "defaults": {"retry": False}}
    ).routes
    assert made.retry.attempts == 3
    (made,) = GatewayConfig.from_dict({"routes": [route], "upstreams": upstreams, "defaults": {"retry": False}}).routes
    assert made.retry.attempts == 1


def test_a_list_of_one_needs_no_brackets(config: GatewayConfig) -> None:
    assert config.routes[0].rate_limit == [RateLimit(rate=10.0, per=60.0)]
    assert config.routes[0].rate_limit[0].key == ["client_ip"]
    several = config.routes[2].rate_limit
    assert [limit.key for limit in several] == [["route", "header:x-key"], ["param:id"]]
    assert [limit.at_once for limit in (*several, RateLimit(rate=2.5))] == [5, 7, 3]
    assert (limit_names(several), limit_names(several[1:]), limit_names([])) == (["hourly", "2"], ["default"], [])
    assert config.upstreams["canary"].hash_key == ["header:x-user"]


def test_who_answers(config: GatewayConfig) -> None:
    api, _, split, respond, redirect = config.routes
    assert (api.upstreams(), split.upstreams(), respond.upstreams(), redirect.upstreams()) == (
        ["backend"],
        ["backend", "canary"],
        [],
        [],
    )
    assert (api.upstream, split.upstream, api.sticky(), split.sticky()) == ("backend", "", "", "header:x-user")
    assert split.mirror == Mirror(upstream="canary", sample=0.5, timeout=5.0)
    assert respond.respond == Respond(status=418, body="no", headers={"X-Tea": "pot"})
    assert redirect.redirect == Redirect(to="https://{host}/{param.id}", status=302)


def test_an_upstream_in_full(config: GatewayConfig) -> None:
    upstream = config.upstreams["canary"]
    assert upstream.targets == [
        Target(host="", port=0, srv="_http._tcp.example.com"),
        Target(host="10.0.0.2", port=80, weight=3, backup=True),
    ]
    assert upstream.dns == DNS(server="10.0.0.53:53", family="both")
    assert upstream.health.active == ActiveHealth(path="/ok?a=b", status=["204"], headers={"x-token": "s3cret"})
    assert upstream.health.passive == PassiveHealth(on=["connect", "500"])
    assert upstream.breaker == Breaker(scope="target", failures=0)
    assert config.upstreams["backend"].health == Health()
    assert config.state == State(concurrency_entries=1000)


def test_false_is_only_for_keys_that_can_be_switched_off() -> None:
    with pytest.raises(ConfigError, match="gateway.max_body: expected a size"):
        GatewayConfig.from_dict({"gateway": {"max_body": False}})


def test_all_formats_say_the_same(config: GatewayConfig, tmp_path: Path) -> None:
    data = tomllib.loads(EVERYTHING)
    (tmp_path / "a.toml").write_text(EVERYTHING)
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "a.YML").write_text("\ufeff" + yaml.safe_dump(data))
    for name in ("a.toml", "a.json", "a.yaml", "a.YML"):
        assert GatewayConfig.from_file(tmp_path / name, environ=ENVIRON) == config


def test_yaml_anchors_and_merges(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "routes:\n- &base {name: a, path: /a, upstream: b, timeouts: {read: 3}}\n- {<<: *base, name: b, prot: 1}\n"
        "upstreams: {b: {targets: ['a:1']}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(path)
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [(3, "routes[1].prot")]


def test_it_survives_message_pack(config: GatewayConfig) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=GatewayConfig) == config


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.toml").write_text(
        '[gateway.tls]\ncertificates = [{ cert = "a.pem", key = "/k" }]\n[gateway.access_log]\npath = "a.log"\n'
    )
    monkeypatch.chdir(tmp_path)
    config = GatewayConfig.from_file("conf/a.toml")
    assert config.gateway.tls is not None
    assert config.gateway.tls.certificates[0].cert == str(tmp_path / "conf" / "a.pem")
    assert config.gateway.tls.certificates[0].key == "/k"
    assert config.gateway.access_log.path == str(tmp_path / "conf" / "a.log")
    assert config.gateway.log.path == "-"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "none.toml",
            "no such file; `fastgate init .*none.toml` makes one, `fastgate demo` needs none",
        ),
        ("folder.toml", "cannot be read: is a directory"),
        ("a.conf", r'the suffix of a file gives its format: use .toml, .json, .yaml or .yml, not ".conf"'),
        ("latin.toml", "latin.toml:2: not UTF-8 text: byte 0xe9"),
        ("deep.json", "nested too deeply"),
        ("deep.toml", "nested too deeply"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "a.conf").write_text("")
    (tmp_path / "latin.toml").write_bytes(b"\n# caf\xe9\n")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 10_000)
    with pytest.raises(ConfigError, match=said):
        GatewayConfig.from_file(tmp_path / name)


@pytest.mark.parametrize(
    "junk", [None, True, 0, -1, 1.5, "", "x", "${NO}", "~(", [], [1], ["x"], {}, {"x": 1}, {1: 2}, b"x"]
)
def test_junk_anywhere_is_a_config_error(junk: Any) -> None:
    """Every key of a full configuration, replaced by junk in turn: accepted or reported, nothing else."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
        yield path
        for key, item in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            yield from places(item, (*path, key))

    everything = tomllib.loads(EVERYTHING)
    for path in places(everything):
        data: Any = {"root": deepcopy(everything)}
        inner = data
        for key in ("root", *path)[:-1]:
            inner = inner[key]
        inner[("root", *path)[-1]] = junk
        try:
            made = GatewayConfig.from_dict(data["root"], environ=ENVIRON)
        except ConfigError as error:
            assert error.problems, path
        else:
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=GatewayConfig) == made, path


def test_an_installed_plugin_needs_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgate.config.check.plugin_hooks.installed_plugins", lambda: {"audit", "tenant"})
    route = {"path": "/a", "upstream": "b", "policies": [{"use": "audit"}, {"use": "own"}]}
    config = GatewayConfig.from_dict({
        "plugins": [{"name": "own", "use": "m:Own"}, {"name": "tenant", "options": {"a": 1}}],
        "routes": [{"name": "a", **route}, {"name": "b", **route}],
        "upstreams": {"b": {"targets": ["b:1"]}},
    })  # fmt: skip
    assert [(plugin.name, plugin.use) for plugin in config.plugins] == [("own", "m:Own"), ("tenant", ""), ("audit", "")]
    with pytest.raises(ConfigError, match='unknown plugin "audlt", did you mean "audit"?'):
        GatewayConfig.from_dict({"defaults": {"policies": [{"use": "audlt"}]}})


def test_a_problem_is_one_line() -> None:
    problem = Problem("routes[0]", "is odd", 3, "a.toml")
    assert str(problem) == "a.toml:3: routes[0]: is odd"
    assert str(ConfigError([Problem("", "one"), Problem("a", "two")])) == "one\na: two"
