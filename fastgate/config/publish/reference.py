"""The reference page of the configuration, in Markdown, made from the schema: run ``fastgate schema --reference``."""

import inspect as python_inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import NODEFAULT, inspect, to_builtins

from fastgate.config.schema.answers import Redirect, Respond
from fastgate.config.schema.api_keys import EXAMPLE_HASH, KeyAuth, PreviousSecret, VirtualKey
from fastgate.config.schema.auth import Auth, AuthRule
from fastgate.config.schema.basic import Basic, BasicCache
from fastgate.config.schema.cache import Cache, CacheQuery
from fastgate.config.schema.client_certificates import ClientCertificates
from fastgate.config.schema.compression import Compression, CompressionLevel
from fastgate.config.schema.concurrency import Adaptive, Concurrency
from fastgate.config.schema.described import (
    description,
    in_written_order,
    marks,
    published,
    struct_fields,
    struct_types,
)
from fastgate.config.schema.forward_auth import DecisionCache, ForwardAuth
from fastgate.config.schema.gateway import TLS, AccessLog, Certificate, GatewayTable, Log
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.jwt import JWT, TokenIssuer
from fastgate.config.schema.mirror import Mirror
from fastgate.config.schema.plugin_hooks import Plugin, PolicyUse
from fastgate.config.schema.retry import Hedge, Retry
from fastgate.config.schema.routes import Defaults, PolicyKeys, Route, Timeouts
from fastgate.config.schema.security_headers import SecurityHeaders
from fastgate.config.schema.split import Split
from fastgate.config.schema.state import CacheTable, State
from fastgate.config.schema.upstreams import (
    DNS,
    ActiveHealth,
    Breaker,
    Health,
    PassiveHealth,
    Pool,
    Target,
    Upstream,
    UpstreamTLS,
)
from fastgate.config.syntax.toml_text import toml
from fastgate.config.syntax.units import format_duration, format_size

INTRODUCTION = """\
# Configuration

<!-- Made by `make docs` from fastgate/config/schema. Do not edit. -->

A configuration is a TOML, JSON or YAML file (YAML needs `pip install 'fastgate[yaml]'`), or a Python dict with the same
keys. A complete example:

```toml
[[routes]]
name = "api"
path = "/api/*"
upstream = "backend"

[upstreams.backend]
targets = ["127.0.0.1:5000"]
```

`fastgate check FILE` lists every error of a file, each with its line, and then exits with code 2; `fastgate serve FILE`
runs the gateway; `fastgate schema` prints a JSON Schema for editors.

| value | how to write it |
|---|---|
| duration | a number of seconds, or `"250ms"`, `"2s"`, `"5m"`, `"1h"`, `"1d"`, `"1m30s"` |
| size | a number of bytes, or `"64KB"`, `"10MB"`, `"1GB"` (powers of 1024) |
| environment | `"${NAME}"` and `"${NAME:-default}"` inside any string; `"$${"` is a literal `${` |
| number, true or false | also a string that is one reference, as in `port = "${PORT:-8080}"` |
| secret | for the value of a header, also `{ env = "NAME" }` or `{ file = "path" }` |
| list of strings | also `{ env = "NAME", split = "," }`: the values in one environment variable |
| file | relative paths start at the folder of the configuration file |
| regular expression | in the syntax of RE2, matched in linear time: see [regular expressions](regular-expressions.md) |

```toml
[gateway]
port = "${PORT:-8080}"

[[routes]]
name = "api"
path = "/api/*"
upstream = "backend"
request_headers = { set = { x-region = "${REGION:-local}" } }

[upstreams.backend]
targets = ["${BACKEND:-127.0.0.1:5000}"]
```

An unknown key is an error, so the gateway reports every mistyped key.
"""

UPSTREAM = '\n[upstreams.backend]\ntargets = ["127.0.0.1:5000"]\n'


class Section(NamedTuple):
    """One table of the page: its heading, how its block starts, what the block shows, what makes it whole."""

    title: str
    cls: type
    lines: Iterable[str]
    examples: bool = False
    skip: Iterable[str] = ()
    tail: str = ""
    level: int = 2


PLURAL = {"table": "list of tables", "string": "list of strings", "table or string": "list of tables or strings"}
SINGULAR = {several: one for one, several in PLURAL.items()}

SHADOW = UPSTREAM + '\n[upstreams.shadow]\ntargets = ["127.0.0.1:5001"]\n'
STABLE = """
[[routes.split]]
upstream = "canary"
weight = 5

[upstreams.stable]
targets = ["127.0.0.1:5000"]

[upstreams.canary]
targets = ["127.0.0.1:5001"]
"""

ANSWERED = ["[[routes]]", 'name = "api"', 'path = "/api/*"']
TARGETS = ["[upstreams.backend]", 'targets = ["127.0.0.1:5000", "127.0.0.1:5001"]', ""]

ROUTE = ["[[routes]]", 'name = "api"', 'path = "/api/*"', 'upstream = "backend"']

USERS = [
    "[auth.basic.users]",
    'alice = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"',
    "",
]
VERIFIED = [
    "[gateway.tls]",
    'certificates = [{ cert = "a.pem", key = "a.key" }]',
    'client_auth = "optional"',
    'client_ca = "clients.pem"',
    "",
]
ASKED = ["[auth.forward]", 'url = "http://127.0.0.1:9091/verify"', 'request_headers = ["authorization"]', ""]

# A table that is a key of a route and is not here has the section that `_sections` makes.
SECTIONS = (
    Section("`[gateway]`", GatewayTable, ["[gateway]"], skip=("tls", "log", "access_log")),
    Section("`[gateway.tls]`", TLS, ["[gateway.tls]"], examples=True, skip=("client_ca",), level=3),
    Section("`[[gateway.tls.certificates]]`", Certificate, ["[[gateway.tls.certificates]]"], True, level=3),
    Section("`[gateway.log]`", Log, ["[gateway.log]"], level=3),
    Section("`[gateway.access_log]`", AccessLog, ["[gateway.access_log]"], level=3),
    Section("`[gateway.keys.NAME]`", VirtualKey, ["[gateway.keys.team-a]"], True, ("routes",), level=3),
    Section(
        "`[gateway.keys.NAME.previous]`",
        PreviousSecret,
        ["[gateway.keys.team-a]", f'hash = "{EXAMPLE_HASH}"', "", "[gateway.keys.team-a.previous]"],
        examples=True,
        level=3,
    ),
    Section("`[auth.key]`", KeyAuth, ["[auth.key]"], examples=True, level=3),
    Section(
        "`[[routes]]`",
        Route,
        ["[[routes]]"],
        examples=True,
        skip=("policies", "split", "mirror", "respond", "redirect"),
        tail=UPSTREAM,
    ),
    Section("`split`", Split, [*ANSWERED, "[[routes.split]]"], examples=True, tail=STABLE, level=3),
    Section("`mirror`", Mirror, [*ROUTE, "[routes.mirror]"], examples=True, tail=SHADOW, level=3),
    Section("`respond`", Respond, [*ANSWERED, "[routes.respond]"], examples=True, level=3),
    Section("`redirect`", Redirect, [*ANSWERED, "[routes.redirect]"], examples=True, level=3),
    Section("`concurrency`", Concurrency, [*ROUTE, "[routes.concurrency]"], True, tail=UPSTREAM, level=3),
    Section(
        "`concurrency.adaptive`",
        Adaptive,
        [*ROUTE, "[routes.concurrency]", "max = 200", "[routes.concurrency.adaptive]"],
        tail=UPSTREAM,
        level=3,
    ),
    Section("`retry`", Retry, [*ROUTE, "[routes.retry]"], examples=True, tail=UPSTREAM, level=3),
    Section("`retry.hedge`", Hedge, [*ROUTE, "[routes.retry.hedge]"], examples=True, tail=UPSTREAM, level=3),
    Section("`timeouts`", Timeouts, [*ROUTE, "[routes.timeouts]"], tail=UPSTREAM, level=3),
    Section("`cache`", Cache, [*ROUTE, "[routes.cache]"], examples=True, skip=("query",), tail=UPSTREAM, level=3),
    Section("`cache.query`", CacheQuery, [*ROUTE, "[routes.cache.query]"], examples=True, tail=UPSTREAM, level=3),
    Section(
        "`request_headers` and `response_headers`",
        HeaderEdits,
        [*ROUTE, "[routes.request_headers]"],
        examples=True,
        tail=UPSTREAM,
        level=3,
    ),
    Section(
        "`security_headers`", SecurityHeaders, [*ROUTE, "[routes.security_headers]"], tail=UPSTREAM, level=3
    ),
    Section("`compression`", Compression, [*ROUTE, "[routes.compression]"], True, tail=UPSTREAM, level=3),
    Section(
        "`compression.level`",
        CompressionLevel,
        [*ROUTE, "[routes.compression.level]"],
        tail=UPSTREAM,
        level=3,
    ),
    Section(
        "`policies`",
        PolicyUse,
        ["[[plugins]]", 'name = "tenant"', 'use = "mypackage.tenant:TenantPolicy"', "", *ROUTE, "[[routes.policies]]"],
        examples=True,
        tail=UPSTREAM,
        level=3,
    ),
    Section("`auth`", AuthRule, [*ROUTE, "[routes.auth]"], True, skip=("all",), tail=UPSTREAM, level=3),
    Section("`[defaults]`", Defaults, ["[defaults]"], examples=True, skip=("policies", "rewrite")),
    Section("`[auth]`", Auth, ["[auth]"]),
    Section(
        "`[auth.jwt]`",
        JWT,
        ["[auth.jwt]", 'jwks = "https://id.example.com/.well-known/jwks.json"'],
        examples=True,
        skip=("secret", "key", "jwks", "issuers"),
        level=3,
    ),
    Section(
        "`[auth.jwt.issuers.NAME]`",
        TokenIssuer,
        ["[auth.jwt.issuers.main]"],
        examples=True,
        skip=("secret", "key"),
        level=3,
    ),
    Section("`[auth.basic]`", Basic, ["[auth.basic]"], examples=True, skip=("file", "cache"), level=3),
    Section("`cache` of `[auth.basic]`", BasicCache, [*USERS, "[auth.basic.cache]"], level=3),
    Section("`[auth.certificate]`", ClientCertificates, [*VERIFIED, "[auth.certificate]"], examples=True, level=3),
    Section("`[auth.forward]`", ForwardAuth, ["[auth.forward]"], examples=True, skip=("tls",), level=3),
    Section("`cache` of `[auth.forward]`", DecisionCache, [*ASKED, "[auth.forward.cache]"], examples=True, level=3),
    Section("`[[plugins]]`", Plugin, ["[[plugins]]"], examples=True),
    Section("`[upstreams.NAME]`", Upstream, ["[upstreams.backend]"], examples=True, skip=("tls",)),
    Section("`targets`", Target, ["[[upstreams.backend.targets]]"], examples=True, level=3),
    Section(
        "`tls`",
        UpstreamTLS,
        ["[upstreams.backend]", 'targets = ["api.example.com:443"]', "", "[upstreams.backend.tls]"],
        examples=True,
        level=3,
    ),
    Section(
        "`pool`",
        Pool,
        ["[upstreams.backend]", 'targets = ["127.0.0.1:5000"]', "", "[upstreams.backend.pool]"],
        level=3,
    ),
    Section("`dns`", DNS, [*TARGETS, "[upstreams.backend.dns]"], examples=True, level=3),
    Section("`health`", Health, [*TARGETS, "[upstreams.backend.health]"], examples=True, level=3),
    Section(
        "`health.active`", ActiveHealth, [*TARGETS, "[upstreams.backend.health.active]"], examples=True, level=3
    ),
    Section("`health.passive`", PassiveHealth, [*TARGETS, "[upstreams.backend.health.passive]"], level=3),
    Section("`breaker`", Breaker, [*TARGETS, "[upstreams.backend.breaker]"], level=3),
    Section("`[cache]`", CacheTable, ["[cache]"]),
    Section("`[state]`", State, ["[state]"]),
)


def render_reference(policies: str = "") -> str:
    """The whole page; ``policies`` is what stands behind the keys of a route."""
    parts = [INTRODUCTION]
    for section in _sections():
        parts.append(_render_section(section))
        if section.cls is Route and policies:
            parts.append(policies)
    return "\n".join(parts)


def _sections() -> Iterator[Section]:
    """Those above, and those of the other tables that are keys of a route, in the order of the keys."""
    listed = {section.cls for section in SECTIONS}
    for section in SECTIONS:
        if section.cls is Defaults:
            for field in struct_fields(PolicyKeys):
                for kind, _, _ in struct_types(field.type):
                    if kind.cls not in listed:
                        name = field.encode_name
                        yield Section(f"`{name}`", kind.cls, [*ROUTE, f"[routes.{name}]"], True, tail=UPSTREAM, level=3)
        yield section


def _render_section(section: Section) -> str:
    fields = [field for field in struct_fields(section.cls) if not marks(field.type).get("internal")]
    if section.cls is Route:
        own = section.cls.__annotations__
        fields.sort(key=lambda field: field.name not in own)
    prose = " ".join(python_inspect.cleandoc(section.cls.__doc__ or "").split())
    lines = [f"{'#' * section.level} {section.title}", "", prose]
    lines += ["", "```toml", *section.lines]
    for field in fields:
        if field.encode_name not in section.skip and not (
            field.encode_name == "name" and section.cls is PolicyUse
        ):
            value = block_value(field, section.examples)
            if value is not None:
                lines.append(f"{field.encode_name} = {value}")
    lines += [*section.tail.rstrip("\n").split("\n"), "```", ""] if section.tail else ["```", ""]
    if section.cls is Defaults:
        names = [f"`{field.encode_name}`" for field in fields]
        return "\n".join([*lines, f"The keys are those of a route: {', '.join(names)}.", ""])
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        cells = (f"`{field.encode_name}`", type_name(field.type), _default_name(field), description(field))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def block_value(field: inspect.Field, examples: bool) -> str | None:
    """What a block shows for a key: its first example, or its default; None where there is neither."""
    about = published(field.type)
    if examples and about.get("examples"):
        return toml(about["examples"][0])
    default = _default_of(field)
    if default is NODEFAULT or default is None:
        return None
    if isinstance(default, Mapping):
        return None
    return _toml_default(field, default)


def _default_of(field: inspect.Field) -> Any:
    if field.default is not NODEFAULT:
        return to_builtins(field.default)
    if field.default_factory is not NODEFAULT:
        return to_builtins(field.default_factory())
    return NODEFAULT


def _toml_default(field: inspect.Field, default: Any) -> str:
    extra = marks(field.type)
    if "show" in extra:
        return str(extra["show"])
    match extra.get("kind"):
        case "duration":
            return toml(format_duration(default)) if default else "0"
        case "size" if default:
            return toml(format_size(default))
    return toml(default)


def _default_name(field: inspect.Field) -> str:
    default = _default_of(field)
    if default is NODEFAULT:
        return "required"
    if default is None or isinstance(default, Mapping) or default in ([], ""):
        return f"`{toml(default)}`" if default in ([], "") and not isinstance(default, Mapping) else ""
    return f"`{_toml_default(field, default)}`"


def type_name(kind: inspect.Type) -> str:
    """A type as the page names it."""
    match kind:
        case inspect.Metadata():
            name = marks(kind).get("kind")
            if name in ("duration", "size"):
                return str(name)
            if name == "mode":
                return "octal string"
            if name == "target":
                return "table or string"
            if "text" in marks(kind):
                return f"string or {type_name(kind.type)}"
            if "on" in marks(kind):
                return f"`true` or {type_name(kind.type)}"
            if marks(kind).get("single"):
                several = type_name(kind.type)
                return f"{SINGULAR.get(several, several)} or {several}"
            return type_name(kind.type)
        case inspect.UnionType():
            members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
            return " or ".join(type_name(member) for member in members)
        case inspect.ListType():
            item = type_name(kind.item_type)
            return PLURAL.get(item, f"list of {item}")
        case inspect.LiteralType():
            return " or ".join(f"`{json.dumps(value)}`" for value in in_written_order(kind.values))
        case inspect.StructType():
            return "table"
        case inspect.DictType():
            return "table"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
    return "string"
