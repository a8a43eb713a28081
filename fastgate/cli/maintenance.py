"""``fastgate maintenance``: closes and opens routes of a running gateway."""

from typing import Any

import click

from fastgate.cli.running import ask, choose


def _seconds(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """A duration as in the configuration."""
    from fastgate.config.syntax.units import parse_duration

    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds <= 0:
        raise click.BadParameter("must be more than 0")
    return seconds


@click.command()
@click.argument("action", type=click.Choice(["on", "off", "reset", "status"]))
@click.argument("routes", nargs=-1, metavar="[ROUTE]...")
@click.option("--retry-after", metavar="DURATION", callback=_seconds, help='With on: the Retry-After, such as "10m".')
@click.option("--pid", type=int, help="Process id of the gateway; needed when several run.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=90.0, show_default=True, help="Seconds to wait for an answer."
)
def maintenance(
    action: str, routes: tuple[str, ...], retry_after: float | None, pid: int | None, timeout: float
) -> None:
    """Close and reopen routes of a running gateway.

    on closes the named routes, or all routes. off opens them, even if the configuration closes them. reset returns
    to the configuration. status lists the closed routes. When the command returns, every worker has applied the
    change. The change survives reloads, and lasts until the next change or until the gateway restarts.
    """
    if retry_after is not None and action != "on":
        raise click.UsageError("--retry-after can only be used with on")
    if routes and action == "status":
        raise click.UsageError("status takes no route names; it lists all routes")
    _, path = choose(pid)
    answer = ask(path, "maintenance", timeout, action=action, routes=list(routes), retry_after=retry_after)
    if not answer["ok"]:
        from msgspec import convert

        from fastgate.cli import CommandError
        from fastgate.config.errors import Problem

        raise CommandError("; ".join(str(problem) for problem in convert(answer["problems"], list[Problem])))
    click.echo(describe(answer["maintenance"], answer["routes"]))
    if action == "on":
        click.echo("the routes stay closed until `fastgate maintenance off`, or until the gateway restarts")


def describe(state: dict[str, Any], routes: int) -> str:
    """Which routes are closed, and what of that was said by hand."""
    closed = state["closed"]
    if not closed:
        said = "all routes are open"
    elif len(closed) == routes:
        said = "all routes are closed"
    else:
        said = f"closed: {', '.join(closed)}"
    by_hand = ["all on"] if state["every"] else []
    by_hand += [f"{name} {what}" for name, what in state["switched"].items()]
    return f"{said} (switched by hand: {', '.join(by_hand)})" if by_hand else said
