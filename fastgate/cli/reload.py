"""``fastgate reload``: a running gateway takes over its configuration file."""

import sys

import click

from fastgate.cli import report_problems
from fastgate.cli.running import ask, choose


@click.command()
@click.option("--pid", type=int, help="Process id of the gateway, when several run.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=90.0, show_default=True, help="Seconds to wait for it."
)
@click.option(
    "--allow-empty", is_flag=True, help="Take over a file without routes too, though there are some in use."
)
def reload(pid: int | None, timeout: float, allow_empty: bool) -> None:
    """Have a running gateway take over its configuration file, without losing a request.

    Every worker takes it over, or none does; then each reason is printed, the exit code is 1 and the old configuration
    stays. A file that has been emptied is refused.
    """
    _, path = choose(pid)
    answer = ask(path, "reload", timeout, allow_empty=allow_empty)
    if not answer["ok"]:
        from msgspec import convert

        from fastgate.config.errors import ConfigError, Problem

        report_problems(ConfigError(convert(answer["problems"], list[Problem])))
        click.echo("fastgate: not reloaded, the old configuration stays", err=True)
        sys.exit(1)
    if not answer["generation"]:
        click.echo("certificates are read again; this gateway has no configuration file")
        return
    workers, routes = (_count(answer[noun], noun.removesuffix("s")) for noun in ("workers", "routes"))
    click.echo(f"reloaded: generation {answer['generation']}, {workers}, {routes} ({answer['seconds']:.2f} s)")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
