"""The command line. One file a command, loaded when that command is called, so that each starts as fast as it can.

Exit codes: 0 fine, 1 the thing asked for failed, 2 bad arguments or configuration. An error is a few clear lines on
standard error; a traceback only with ``--debug``.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

COMMANDS = {
    "serve": "Run a gateway.",
    "reload": "Reload the configuration file of a running gateway.",
    "maintenance": "Close and reopen routes of a running gateway.",
    "cache": "Purge, count and find answers in the cache of a running gateway.",
    "status": "Show the state of a running gateway and its workers.",
    "demo": "Run a gateway with a built-in upstream and requests to try.",
    "check": "Check a configuration and list every error and warning.",
    "routes": "Show the routes of a configuration as a table.",
    "keys": "Create, list, rotate and revoke the keys of clients.",
    "init": "Write a commented starter configuration.",
    "schema": "Print the JSON Schema of the configuration, for editors.",
}
"""Name → what it does. Each is the click command of its name in the module of its name."""


class CommandError(click.ClickException):
    """A command that failed, with the line that says why. Exit code 1."""


class Commands(click.Group):
    """A group whose commands are imported on use, and whose errors never end in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"fastgate.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a name that is not there."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from fastgate.config.suggest import did_you_mean

            known = f"; the commands are {', '.join(COMMANDS)}"
            raise click.UsageError(f'unknown command "{args[0]}"{did_you_mean(args[0], COMMANDS) or known}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command line and exits. With ``standalone_mode`` off, returns or raises instead."""
        open_standard_streams()
        words = list(sys.argv[1:] if args is None else args)
        options = words[: words.index("--")] if "--" in words else words
        debug = "--debug" in options
        if debug:
            words.remove("--debug")
        prog_name = prog_name or "fastgate"
        if not standalone_mode or debug:
            return super().main(words, prog_name, standalone_mode=standalone_mode, **extra)
        try:
            sys.exit(super().main(words, prog_name, standalone_mode=False, **extra) or 0)
        except Exception as error:
            fail(error)
        except KeyboardInterrupt:
            sys.exit(130)


def open_standard_streams() -> None:
    """Gives a process that was started with closed standard streams (``2>&-``) empty ones.

    Otherwise a socket would get their numbers, and whatever writes to standard error would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def fail(error: Exception) -> NoReturn:
    """Says what went wrong and exits with the code for it."""
    from fastgate.config.errors import ConfigError

    match error:
        case ConfigError():
            report_problems(error)
            sys.exit(2)
        case click.exceptions.Exit():
            sys.exit(error.exit_code)
        case click.Abort():
            sys.exit(130)
        case click.UsageError():
            where = error.ctx.command_path if error.ctx else "fastgate"
            click.echo(f"{where}: {_lower_first(' '.join(error.format_message().split()))} ({where} --help)", err=True)
            sys.exit(2)
        case click.ClickException():
            click.echo(f"fastgate: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        case BrokenPipeError():
            # the reader of a pipe has gone; nothing is left to be said, also not at interpreter exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
    reason = str(error).strip().splitlines()[:1]
    detail = f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__
    click.echo(f"fastgate: {detail} (use --debug for the traceback)", err=True)
    sys.exit(1)


def report_problems(error: Any) -> None:
    """Every problem on a line of its own, then their number when there are several."""
    for problem in error.problems:
        click.echo(str(problem) if problem.source else f"fastgate: {problem}", err=True)
    if len(error.problems) > 1:
        click.echo(f"{len(error.problems)} errors", err=True)


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:].removesuffix(".")


@click.group(
    "fastgate",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.option("--debug", is_flag=True, help="Show tracebacks. Accepted after any command.")
@click.pass_context
def main(ctx: click.Context, version: bool, debug: bool) -> None:
    """An API gateway whose policies are Python and whose request path is compiled.

    \b
    fastgate demo                  try a gateway without a configuration
    fastgate init                  write a starter configuration
    fastgate serve fastgate.toml   run a gateway
    """  # noqa: D301 - click wants the control character itself
    if version:
        from fastgate.observe.version import installed_version

        click.echo(f"fastgate {installed_version() or '(not installed)'}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
