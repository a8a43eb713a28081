"""What no single key can know: names that refer to each other, and keys that only make sense together.

Runs over a configuration that may have `INVALID` in places (so its parts are `Any` here): every check looks at what it
can and is silent about the rest.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastgate.config.addresses import normalize_host
from fastgate.config.auth import AuthRule
from fastgate.config.errors import PathKeys, quote
from fastgate.config.headers import meaning_of, variable_of
from fastgate.config.patterns import check_expression, parse_replacement, path_parameters
from fastgate.config.plugin_table import Plugin
from fastgate.config.routes import HeaderEdits, PolicyKeys, PolicyUse, Route
from fastgate.config.suggest import did_you_mean
from fastgate.config.templates import Variable, parse_template
from fastgate.config.upstreams import Upstream
from fastgate.config.walker import Reading
from fastgate.config.words import names_identity, parse_limit_key


def cross_check(config: Any, data: Mapping[str, Any], reading: Reading) -> None:
    """Reports every contradiction between keys."""
    _check_gateway(config, reading)
    _check_methods(config, data, reading)
    _check_request_id(config, reading)
    _check_upstreams(config, reading)
    _check_keys(config, data, reading)
    _check_names(config.plugins, "plugins", reading)
    _check_names(config.routes, "routes", reading)
    upstreams = set(_names_of(data.get("upstreams"))) | set(_names_of(config.upstreams))
    plugins = {plugin.name for plugin in items(config.plugins) if isinstance(plugin.name, str)}
    plugins.update(_named(data.get("plugins")))
    _check_plugins(config, reading)
    check_policies(config.defaults, ("defaults",), plugins, reading)
    _check_auth(config.defaults, ("defaults",), config, reading)
    if isinstance(config.defaults.request_headers, HeaderEdits):
        _check_proxy(config.defaults.request_headers, ("defaults", "request_headers"), reading)
    for number, route in enumerate(items(config.routes)):
        if isinstance(route, Route):
            keys = ("routes", number)
            _check_slashes(route, keys, config, reading)
            _check_upstream_names(route, keys, upstreams, reading)
            check_policies(route, keys, plugins, reading, config.defaults)
            _check_auth(route, keys, config, reading)
            check_templates(route, keys, config.defaults, reading)
            _check_limit_keys(route, keys, config.defaults, data, reading)
            _check_identity(route, keys, config.defaults, reading)
            _check_buffering(route, keys, config, reading)


def _check_request_id(config: Any, reading: Reading) -> None:
    """The field of the request id says nothing else."""
    name, auth = getattr(config.gateway, "request_id", None), config.auth
    if not isinstance(name, str) or not name:
        return
    claims = getattr(getattr(auth, "jwt", None), "claims_to_headers", None)
    forward = getattr(auth, "forward", None)
    for claim, header in claims.items() if isinstance(claims, dict) else ():
        if isinstance(header, str) and variable_of(header) == variable_of(name):
            reading.report(("auth", "jwt", "claims_to_headers", claim), f"{header} is the field of the request id")
    for number, header in enumerate(items(getattr(forward, "response_headers", None))):
        if isinstance(header, str) and variable_of(header) == variable_of(name):
            reading.report(("auth", "forward", "response_headers", number), f"{header} is the field of the request id")


def items(value: object) -> list[Any]:
    """The list, or an empty one where there is none."""
    return value if isinstance(value, list) else []


def _names_of(value: object) -> Iterable[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, Mapping) else []


def _named(value: object) -> Iterable[str]:
    for entry in items(value):
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            yield entry["name"]


def _check_gateway(config: Any, reading: Reading) -> None:
    gateway = config.gateway
    if isinstance(gateway.host, list) and isinstance(gateway.port, int):
        seen = set()
        for number, host in enumerate(gateway.host):
            if not isinstance(host, str):
                continue
            address = _parse_address(host, gateway.port)
            if address in seen and address.port != 0:
                reading.report(("gateway", "host", number), f"{address} is listed twice")
            seen.add(address)
    tls = gateway.tls
    if tls is not None:
        if tls.client_auth in ("optional", "required") and tls.client_ca == "":
            reading.report(("gateway", "tls", "client_ca"), f'is missing: client_auth = "{tls.client_auth}" needs it')
        if tls.client_auth == "none" and isinstance(tls.client_ca, str) and tls.client_ca:
            reading.report(
                ("gateway", "tls", "client_auth"), 'must be "optional" or "required" for client_ca to be used'
            )


def _parse_address(host: str, port: int) -> Any:
    from fastgate.config.addresses import parse_listen

    return parse_listen(host, port)


def _check_names(entries: object, table: str, reading: Reading) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(items(entries)):
        name = getattr(entry, "name", None)
        if isinstance(name, str) and first.setdefault(name, number) != number:
            reading.report((table, number, "name"), f"{quote(name)} is already the name of {table}[{first[name]}]")


def _check_upstream_names(route: Any, keys: PathKeys, known: set[str], reading: Reading) -> None:
    if route.upstream != "":
        _check_upstream_name(route.upstream, (*keys, "upstream"), known, reading)
    for number, part in enumerate(items(route.split)):
        _check_upstream_name(part.upstream, (*keys, "split", number, "upstream"), known, reading)
    if route.mirror:
        _check_upstream_name(route.mirror.upstream, (*keys, "mirror", "upstream"), known, reading)


def _check_upstream_name(name: object, keys: PathKeys, known: set[str], reading: Reading) -> None:
    if not isinstance(name, str) or name in known:
        return
    if "://" in name or re.fullmatch(r"[\w.-]+:[0-9]+", name):
        hint = f": targets = [{quote(name)}] belongs in an [upstreams.NAME] table, and its NAME here"
    elif known:
        hint = did_you_mean(name, known) or f" ({_listed(known)})"
    else:
        hint = f": add [upstreams.{name}] with its targets"
    reading.report(keys, f"there is no upstream {quote(name)}{hint}")


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = ", …" if len(names) > 5 else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(shown)}{more}"


def _check_upstreams(config: Any, reading: Reading) -> None:
    if not isinstance(config.upstreams, dict):
        return
    for name, upstream in config.upstreams.items():
        if not isinstance(upstream, Upstream):
            continue
        keys = ("upstreams", name)
        seen = set()
        for number, target in enumerate(items(upstream.targets)):
            place = tuple(getattr(target, name, None) for name in ("host", "port", "unix", "srv"))
            if all(isinstance(part, str | int) for part in place):
                host, *others = place
                place = (normalize_host(host), *others) if isinstance(host, str) else place
                if place in seen:
                    reading.report((*keys, "targets", number), "is the same target as one before it")
                seen.add(place)
        tls = upstream.tls
        if tls is not None:
            _check_identity_files(tls, (*keys, "tls"), reading)


def _check_identity_files(tls: Any, keys: PathKeys, reading: Reading) -> None:
    if tls.cert and tls.key == "":
        reading.report((*keys, "key"), "is missing: cert needs its private key")
    if tls.key and tls.cert == "":
        reading.report((*keys, "cert"), "is missing: key needs its certificate")


def _check_keys(config: Any, data: Mapping[str, Any], reading: Reading) -> None:
    """No two keys have one secret, and the routes that they name are there."""
    keys = config.gateway.keys
    routes = {route.name for route in items(config.routes) if isinstance(route.name, str)}
    routes.update(_named(data.get("routes")))
    owners: dict[str, str] = {}
    for name, key in keys.items() if isinstance(keys, dict) else ():
        place = ("gateway", "keys", name)
        for where, hashed in (("hash",), key.hash), (("previous", "hash"), key.previous and key.previous.hash):
            if not isinstance(hashed, str):
                continue
            if hashed in owners:
                whose = "this key" if owners[hashed] == name else f"the key {quote(owners[hashed])}"
                reading.report((*place, *where), f"is the hash of {whose} already: each has a secret of its own")
            owners.setdefault(hashed, name)
        for number, route in enumerate(items(key.routes)):
            if isinstance(route, str) and route not in routes:
                hint = did_you_mean(route, routes)
                reading.report((*place, "routes", number), f"there is no route {quote(route)}{hint}")


def _check_plugins(config: Any, reading: Reading) -> None:
    for number, plugin in enumerate(items(config.plugins)):
        if isinstance(plugin, Plugin) and plugin.use == "" and isinstance(plugin.name, str):
            installed = installed_plugins()
            if plugin.name not in installed:
                reading.report(
                    ("plugins", number, "use"),
                    f"is missing, and no installed package has a plugin {quote(plugin.name)}"
                    f"{did_you_mean(plugin.name, installed)}",
                )


def check_policies(table: Any, keys: PathKeys, known: set[str], reading: Reading, defaults: Any = None) -> None:
    """Plugins and rewrites of one table; what a route took from `[defaults]` has been looked at there."""
    if defaults is None or table.policies is not defaults.policies:
        for number, policy in enumerate(items(table.policies)):
            name = getattr(policy, "use", None)
            if isinstance(policy, PolicyUse) and isinstance(name, str) and name not in known:
                installed = installed_plugins()
                if name not in installed:
                    built_in = name.replace("-", "_") in PolicyKeys.__struct_fields__
                    hint = f": it is built in, as the key {name.replace('-', '_')} of the route" if built_in else ""
                    hint = hint or did_you_mean(name, known | installed) or ": name it in [[plugins]]"
                    reading.report((*keys, "policies", number, "use"), f"there is no plugin {quote(name)}{hint}")
    rewrite = table.rewrite
    if rewrite is not None and (defaults is None or rewrite is not defaults.rewrite):
        _check_rewrite(
            getattr(rewrite, "pattern", None), getattr(rewrite, "to", None), (*keys, "rewrite", "to"), reading
        )


def _check_rewrite(pattern: object, to: object, keys: PathKeys, reading: Reading) -> None:
    if not isinstance(pattern, str) or not isinstance(to, str):
        return
    for fault in parse_replacement(to, check_expression(pattern))[1]:
        reading.report(keys, fault)


def installed_plugins() -> set[str]:
    """Names in the entry-point group of installed packages. Their code is not imported."""
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="fastgate.policies")}


def _check_proxy(edits: Any, keys: PathKeys, reading: Reading) -> None:
    for action, fields in (("set", edits.set), ("add", edits.add)):
        for field in fields if isinstance(fields, dict) else ():
            if field.lower() == "proxy":
                reading.report((*keys, action, field), f"Proxy {meaning_of(field)}")


def check_templates(route: Any, keys: PathKeys, defaults: Any, reading: Reading) -> None:
    """``{param.NAME}`` must be a parameter of this route's path, in edits of header fields and in a redirect."""
    if not isinstance(route.path, str):
        return
    known: tuple[str, ...] | None = None
    to = route.redirect.to if route.redirect else ""
    if isinstance(to, str) and "{param." in to:
        known = path_parameters(route.path)
        for argument in _arguments(to):
            _check_parameter(f"{{param.{argument}}}", argument, known, route, (*keys, "redirect", "to"), False, reading)
    for name in ("request_headers", "response_headers"):
        edits = getattr(route, name)
        if not isinstance(edits, HeaderEdits):
            continue
        inherited = edits is getattr(defaults, name)
        if name == "request_headers" and not inherited:
            _check_proxy(edits, (*keys, name), reading)
        for where, text in edited_values(edits):
            if "{param." not in text:
                continue
            known = path_parameters(route.path) if known is None else known
            place = ("defaults", name, *where) if inherited else (*keys, name, *where)
            for argument in _arguments(text):
                _check_parameter(f"{{param.{argument}}}", argument, known, route, place, inherited, reading)


def _check_methods(config: Any, data: Mapping[str, Any], reading: Reading) -> None:
    """The ways to find out who asks, where they need more than one key says."""
    basic = config.auth.basic
    # A name that could not be read is not among the users, and has been reported.
    if basic and basic.users == {} and basic.file == "" and not data["auth"]["basic"].get("users"):
        reading.report(("auth", "basic"), "needs users or a file with them")
    tls = config.gateway.tls
    if config.auth.certificate and (tls is None or getattr(tls, "client_auth", "") == "none"):
        reading.report(
            ("auth", "certificate"),
            'needs [gateway.tls] with client_auth = "optional" or "required", which verifies certificates',
        )
    forward = config.auth.forward
    if forward and forward.tls:
        _check_identity_files(forward.tls, ("auth", "forward", "tls"), reading)


def _check_auth(table: Any, keys: PathKeys, config: Any, reading: Reading) -> None:
    """The ways to authenticate that a route names must be there; what it took from `[defaults]` is looked at there."""
    rule = table.auth
    if not isinstance(rule, AuthRule) or (keys != ("defaults",) and rule is config.defaults.auth):
        return
    for kind in ("any", "all"):
        for number, name in enumerate(items(getattr(rule, kind))):
            if isinstance(name, str) and getattr(config.auth, name, True) is None:
                reading.report((*keys, "auth", kind, number), f"there is no [auth.{name}]: add it, with its keys")
    if getattr(table, "public", False) is True:
        reading.report((*keys, "public"), "contradicts auth, which this route has too: leave one of them out")


def _check_identity(route: Any, keys: PathKeys, defaults: Any, reading: Reading) -> None:
    """What counts or writes by who asks needs a route that finds it out."""
    if isinstance(route.auth, AuthRule) and route.public is not True:
        return
    for name in ("rate_limit", "concurrency"):
        value = getattr(route, name)
        if value is getattr(defaults, name):
            continue
        for number, limit in enumerate(items(value) if isinstance(value, list) else [value] if value else []):
            for key in items(limit.key):
                if isinstance(key, str) and names_identity(key):
                    place = (*keys, name, number) if isinstance(value, list) and len(value) > 1 else (*keys, name)
                    reading.report((*place, "key"), f'"{key}" is not known here: the route has no auth')
    if not items(route.policies):
        _check_identity_in_edits(route, keys, defaults, reading)


def _check_identity_in_edits(route: Any, keys: PathKeys, defaults: Any, reading: Reading) -> None:
    """``{key.id}`` and ``{claim.NAME}`` in edits of header fields; what is in `[defaults]` is for routes with auth."""
    for name in ("request_headers", "response_headers"):
        edits = getattr(route, name)
        if not isinstance(edits, HeaderEdits) or edits is getattr(defaults, name):
            continue
        for where, text in edited_values(edits):
            for part in parse_template(text):
                if isinstance(part, Variable) and part.name in ("key", "claim"):
                    written = f"{{{part.name}.{part.argument}}}"
                    message = f"{written} is not known here: the route has no auth, and no plugin that could tell"
                    reading.report((*keys, name, *where), message)


def _arguments(text: str) -> Iterable[str]:
    return [part.argument for part in parse_template(text) if isinstance(part, Variable) and part.name == "param"]


def _check_parameter(
    written: str, name: str, known: tuple[str, ...], route: Any, place: PathKeys, inherited: bool, reading: Reading
) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or ("" if known else ", it has none")
        whose = f"the path of route {quote(route.name)}" if inherited else f"the path {quote(route.path)}"
        reading.report(place, f"{written} is no parameter of {whose}{hint}")


def _check_limit_keys(route: Any, keys: PathKeys, defaults: Any, data: Mapping[str, Any], reading: Reading) -> None:
    """``param:NAME`` in the key of a limit must be a parameter of this route's path."""
    if not isinstance(route.path, str):
        return
    for name in ("rate_limit", "concurrency"):
        value = getattr(route, name)
        inherited = value is getattr(defaults, name)
        table = ("defaults",) if inherited else keys
        limits = value if isinstance(value, list) else [value] if value else []
        for number, limit in enumerate(limits):
            place = (*table, name, number) if is_list(data, (*table, name)) else (*table, name)
            for position, key in enumerate(items(limit.key)):
                if isinstance(key, str) and key.startswith("param:"):
                    here = (*place, "key", position) if is_list(data, (*place, "key")) else (*place, "key")
                    known = path_parameters(route.path)
                    _check_parameter(f'"{key}"', parse_limit_key(key).name, known, route, here, inherited, reading)


def is_list(data: Any, keys: PathKeys) -> bool:
    """Whether a key was written as a list, where a single value may stand without its brackets."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(data, list | tuple)


def edited_values(edits: Any) -> Iterable[tuple[PathKeys, str]]:
    """The values that edits of header fields write, each with its place."""
    for name, value in edits.set.items() if isinstance(edits.set, dict) else ():
        if isinstance(value, str):
            yield ("set", name), value
    for name, values in edits.add.items() if isinstance(edits.add, dict) else ():
        if isinstance(values, str):
            yield ("add", name), values
        for number, value in enumerate(items(values)):
            if isinstance(value, str):
                yield ("add", name, number), value


def _check_slashes(route: Any, keys: PathKeys, config: Any, reading: Reading) -> None:
    path = route.path
    if isinstance(path, str) and path.startswith("/") and "//" in path and config.gateway.merge_slashes is True:
        reading.report(
            (*keys, "path"),
            '"//" is read as "/" before routes are matched (merge_slashes), so that this would never match',
        )


def _check_buffering(route: Any, keys: PathKeys, config: Any, reading: Reading) -> None:
    general = config.gateway.max_body
    if not isinstance(general, int) or not isinstance(route.max_body, int | None):
        return
    limit = route.body_limit(general)
    for key, asked in (("buffer_request", route.buffer_request is True), ("body_schema", bool(route.body_schema))):
        if asked and limit == 0:
            reading.report((*keys, key), "needs a max_body that is not 0: the whole body is kept in memory")
