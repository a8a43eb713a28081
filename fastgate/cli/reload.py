"""``fastgate reload``: a running gateway reloads its configuration file."""

import sys

import click

from fastgate.cli import report_problems
from fastgate.cli.running import ask, choose


@click.command()
@click.option("--pid", type=int, help="Process id of the gateway; needed when several run.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=90.0, show_default=True, help="Seconds to wait for an answer."
)
@click.option(
    "--allow-empty", is_flag=True, help="Accept a file without routes even if the gateway serves some."
)
def reload(pid: int | None, timeout: float, allow_empty: bool) -> None:
    """Reload the configuration file of a running gateway, without losing a request.

    Either every worker uses the new configuration or none does. On an error the command prints each reason, the
    gateway keeps its current configuration, and the exit code is 1. A file that has been emptied is refused.
    """
    _, path = choose(pid)
    answer = ask(path, "reload", timeout, allow_empty=allow_empty)
    if not answer["ok"]:
        from msgspec import convert

        from fastgate.config.errors import ConfigError, Problem

        report_problems(ConfigError(convert(answer["problems"], list[Problem])))
        click.echo("fastgate: reload refused; the gateway keeps its current configuration", err=True)
        sys.exit(1)
    if not answer["generation"]:
        click.echo("certificates reloaded; this gateway has no configuration file to reload")
        return
    workers, routes = (_count(answer[noun], noun.removesuffix("s")) for noun in ("workers", "routes"))
    click.echo(f"reloaded: generation {answer['generation']}, {workers}, {routes} ({answer['seconds']:.2f} s)")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
