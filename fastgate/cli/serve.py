"""``fastgate serve``: runs a gateway until it is told to stop."""

import os
import sys
from typing import TYPE_CHECKING

import click

from fastgate.cli import CommandError
from fastgate.cli.configuration import config_argument, find, import_from_here, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.config import GatewayConfig
    from fastgate.server.process import WorkerProcess
    from fastgate.server.watch import FileWatch


def read_workers(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    """A number of processes, or ``auto``."""
    if value is None or value == "auto":
        return value
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1024:
        raise click.BadParameter(f'"{value}" is not a valid number of workers: use 1 to 1024, or "auto"', ctx, param)
    return int(value)


@click.command()
@config_argument
@click.option(
    "--workers", metavar="N|auto", callback=read_workers, help="Worker processes; auto starts one for each usable CPU."
)
@click.option("--host", help="Listen address: 0.0.0.0, ::1, host:port, unix:/path.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen port; 0 chooses a free one.")
@click.option("--watch", is_flag=True, help="Reload the configuration whenever the file changes.")
def serve(config: str | None, workers: int | str | None, host: str | None, port: int | None, watch: bool) -> None:
    """Run a gateway.

    CONFIG is a TOML, JSON or YAML file, by default fastgate.toml. Options override the file. SIGTERM and Ctrl-C finish
    open requests and stop; a second one stops at once. SIGHUP reloads. SIGUSR1 reopens log files.
    """
    file = str(find(config))
    import_from_here()
    from fastgate.server.process import WorkerProcess
    from fastgate.server.watch import FileWatch

    # The first worker imports what it needs while its configuration is read here.
    spare = WorkerProcess()
    try:
        watched = FileWatch(file) if watch else None

        def source(allow_empty: bool) -> "GatewayConfig":
            return overridden(load(file, allow_empty=allow_empty), workers, host, port)

        sys.exit(run(file, source, watched, spare))
    finally:
        spare.discard()


def run(file: str, source: "Callable[[bool], GatewayConfig]", watch: "FileWatch | None", spare: "WorkerProcess") -> int:
    """Serves until told to stop; the exit code."""
    config = source(False)
    from fastgate.server.supervisor import GatewayServer, StartError

    try:
        return GatewayServer(config, source=source, file=os.path.abspath(file), watch=watch).run(spare=spare)
    except StartError as error:
        raise CommandError(str(error)) from None


def overridden(
    config: "GatewayConfig", workers: int | str | None, host: str | None, port: int | None
) -> "GatewayConfig":
    """The configuration with what was given on the command line."""
    from msgspec.structs import replace

    from fastgate.config.syntax.addresses import parse_listen

    if host is not None:
        try:
            parse_listen(host, 0)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--host") from None
    given = {"workers": workers, "host": host, "port": port}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(config, gateway=replace(config.gateway, **changes)) if changes else config
