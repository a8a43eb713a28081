"""``fastgate routes``: the routes of a configuration as a table."""

import click

from fastgate.cli.configuration import config_argument, load
from fastgate.config.read.gateway_config import GatewayConfig
from fastgate.config.schema.routes import Route
from fastgate.config.schema.upstreams import Target


@click.command()
@config_argument
def routes(config: str | None) -> None:
    """Show the routes of CONFIG, by default fastgate.toml, in the order of the file."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    loaded = load(config, allow_empty=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [("name", _name_of), ("methods", _methods_of), ("match", _match_of), ("upstream", _upstream_of)]
    if any(route.priority for route in loaded.routes):
        columns.append(("priority", _priority_of))
    columns.append(("policies", _policies_of))
    for title, _ in columns:
        table.add_column(title, overflow="fold", justify="right" if title == "priority" else "left")
    for route in loaded.routes:
        table.add_row(*(Text(cell(route, loaded)) for _, cell in columns))
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a pipe has no width; lines stay whole for grep and awk
    if loaded.routes:
        with console.capture() as capture:
            console.print(table)
        for line in capture.get().splitlines():
            click.echo(line.rstrip())
    else:
        click.echo("no routes")


def _name_of(route: Route, config: GatewayConfig) -> str:
    return route.name


def _methods_of(route: Route, config: GatewayConfig) -> str:
    return " ".join(route.methods) or "any"


def _priority_of(route: Route, config: GatewayConfig) -> str:
    return str(route.priority)


def _match_of(route: Route, config: GatewayConfig) -> str:
    conditions = [f"{name}: {value}" for name, value in route.headers.items()]
    conditions += [f"?{name}={value}" for name, value in route.query.items()]
    return "\n".join(
        f"{host}{' ' if host and route.path.startswith('~') else ''}{route.path}" for host in route.hosts or [""]
    ) + (f"\n  {', '.join(conditions)}" if conditions else "")


def _upstream_of(route: Route, config: GatewayConfig) -> str:
    if route.respond is not None:
        return f"answers {route.respond.status}"
    if route.redirect is not None:
        return f"{route.redirect.status} to {route.redirect.to}"
    if route.split:
        whole = sum(part.weight for part in route.split)
        return "\n".join(
            f"{part.weight / whole * 100:.3g}% {_targets_of(part.upstream, config)}" for part in route.split
        )
    return _targets_of(route.upstream, config)


def _targets_of(name: str, config: GatewayConfig) -> str:
    targets = config.upstreams[name].targets
    shown = ", ".join(_target_of(target) for target in targets[:2])
    return f"{name} ({shown}{f' and {len(targets) - 2} more' if len(targets) > 2 else ''})"


def _target_of(target: Target) -> str:
    if target.unix:
        return f"unix:{target.unix}"
    if target.srv:
        return f"srv:{target.srv}"
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{'https://' if target.tls else ''}{host}:{target.port}"


def _policies_of(route: Route, config: GatewayConfig) -> str:
    from fastgate.policies.chain import tell_policies  # on use: it loads the compiled core

    return ", ".join(tell_policies(route))
