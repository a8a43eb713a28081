"""``fastgate keys``: keys of clients in a configuration, from the first secret to the last day."""

import datetime as dt
import hashlib
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fastgate.cli import CommandError
from fastgate.cli.configuration import DEFAULT_FILE, config_argument, find, load
from fastgate.config.schema.api_keys import VirtualKey

PREFIX = "fg_"
"""What every secret begins with, so that scanners of repositories and logs can know one."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _InOrder(click.Group):
    """Lists its commands in the order of a key's life, which is that of this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, invoke_without_command=True)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Create, list, rotate and revoke the keys of clients.

    A secret is shown only once, when it is created: the configuration stores its hash. A running gateway uses the
    changed keys after `fastgate reload`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _checked(kind: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that checks words as the configuration does."""

    def check(ctx: click.Context, parameter: click.Parameter, given: Any) -> Any:
        from fastgate.config.read.leaves import CHECKS

        for word in given if isinstance(given, tuple) else (given,):
            try:
                if not 0 < len(word) <= 128:
                    raise ValueError("the length must be 1 to 128 characters")
                CHECKS["text"](word)
            except ValueError as error:
                raise click.UsageError(f"{kind}: {error}", ctx) from None
        return given

    return check


def _expiry(ctx: click.Context, parameter: click.Parameter, given: str | None) -> float | None:
    """Seconds since 1970 of a duration from now, a date (its beginning in UTC) or a time."""
    from fastgate.config.syntax.units import parse_duration, parse_instant

    if given is None:
        return None
    try:
        if re.match(r"[0-9]{4}-", given):
            until = parse_instant(f"{given}T00:00:00Z" if _DATE.fullmatch(given) else given)
        else:
            until = time.time() + parse_duration(given)
    except ValueError as error:
        reason = str(error)
        if reason.startswith("expected a duration"):
            reason = 'expected a duration such as "90d", a date or a time such as "2027-01-01T00:00:00Z"'
        raise click.UsageError(f"{parameter.opts[0]}: {reason}", ctx) from None
    if until <= time.time():
        raise click.UsageError(f"{parameter.opts[0]}: the time is in the past", ctx)
    return until


@keys.command()
@click.option("--id", "name", required=True, callback=_checked("--id"), metavar="ID", help="Name of the client.")
@click.option(
    "--tag", "tags", multiple=True, metavar="WORD", callback=_checked("--tag"), help="A tag for policies; repeatable."
)
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="NAME",
    callback=_checked("--route"),
    help="A route that accepts the key; repeatable. Default: every route that uses keys.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    callback=_expiry,
    help="A duration (90d), a date (2027-01-01, UTC) or a time with a zone. Default: never.",
)
@click.option(
    "--config", metavar="FILE", help=f"The configuration file of the key. With --write, by default {DEFAULT_FILE}."
)
@click.option("--write", is_flag=True, help="Add the key to the configuration file, which must be TOML.")
def new(
    name: str, tags: tuple[str, ...], routes: tuple[str, ...], expires: float | None, config: str | None, write: bool
) -> None:
    """Create a key.

    Prints the table for the configuration, and the secret on standard error. With --write the table goes to the file
    and the secret to standard output.
    """
    from fastgate.cli.key_file import add_block

    secret = _make_secret()
    values: dict[str, Any] = {"hash": _hash(secret)}
    for key, words in (("tags", tags), ("routes", routes)):
        if words:
            values[key] = list(dict.fromkeys(words))
    if expires is not None:
        values["expires"] = _instant(expires)
    path = find(config) if config is not None or write else None
    if path is not None:
        _check_new(path, name, values, write)
    block = _block(name, values)
    if path is not None and write:
        add_block(path, block, name, values)
        _tell(name, path)
        click.echo(secret)
        return
    click.echo(f"\n{block}", nl=False)  # apart from what it is appended to, also where that lacks its last newline
    click.echo(f'\nThe secret of "{name}" is shown only once; the configuration stores its hash:\n', err=True)
    click.echo(f"  {secret}", err=True)


@keys.command("list")
@config_argument
def list_keys(config: str | None) -> None:
    """List the keys of CONFIG, by default fastgate.toml."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = load(config, allow_empty=True).gateway.keys
    if not found:
        click.echo("no keys")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "tags", "routes", "expires", "state"):
        table.add_column(title, overflow="fold")
    for name, key in found.items():
        cells = (name, " ".join(key.tags), " ".join(key.routes) or "all", key.expires or "never", _state(key))
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a pipe has no width; lines stay whole for grep and awk
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


@keys.command()
@click.argument("words", nargs=-1, metavar="[CONFIG] ID")
def revoke(words: tuple[str, ...]) -> None:
    """Revoke a key, effective after the next reload.

    Sets `disabled = true` in CONFIG, by default fastgate.toml.
    """
    from fastgate.cli.key_file import change_key, find_key

    path, name = _named(words)
    key = find_key(path, name, f'set "disabled" to true in the table of "{name}" in gateway.keys')
    if key.get("disabled") is True:
        click.echo(f'"{name}" is already disabled', err=True)
        return
    change_key(path, name, {"disabled": True})
    click.echo(f'"{name}" is disabled in {path}. To apply this, run: fastgate reload', err=True)


@keys.command()
@click.argument("words", nargs=-1, metavar="[CONFIG] ID")
@click.option(
    "--grace", metavar="DURATION", help="Time for which the old secret is still accepted, such as 24h. Default: 0."
)
@click.pass_context
def rotate(ctx: click.Context, words: tuple[str, ...], grace: str | None) -> None:
    """Give a key a new secret, and print it.

    The new hash replaces the old one in CONFIG, by default fastgate.toml.
    """
    from fastgate.cli.key_file import change_key, find_key
    from fastgate.config.syntax.toml_text import toml
    from fastgate.config.syntax.units import parse_duration

    try:
        seconds = parse_duration(grace) if grace is not None else 0.0
    except ValueError as error:
        raise click.UsageError(f"--grace: {error}", ctx) from None
    path, name = _named(words)
    key = find_key(path, name, "`fastgate keys new` prints a hash to copy into the file")
    if key.get("disabled") is True:
        raise CommandError(f'{path}: "{name}" is disabled; enable it before you rotate it')
    secret = _make_secret()
    values: dict[str, Any] = {"hash": _hash(secret)}
    if seconds:
        values["previous"] = {"hash": key["hash"], "expires": _instant(time.time() + seconds)}
    change_key(path, name, values, removed=("previous",))
    if seconds:
        click.echo(f"The gateway accepts the old secret until {toml(values['previous']['expires'])}.", err=True)
    _tell(name, path)
    click.echo(secret)


@keys.command("hash-password")
@click.option(
    "--cost", type=click.IntRange(4, 16), default=12, show_default=True, help="bcrypt cost; each step doubles the time."
)
def hash_password(cost: int) -> None:
    """Print the bcrypt hash of a password.

    Put the hash into `users` of `[auth.basic]`, or, after a name and a colon, into its htpasswd file. On a terminal the
    command asks twice; otherwise it reads the password from standard input, without the last line break.
    """
    import bcrypt

    if sys.stdin.isatty():
        password = click.prompt("password", hide_input=True, confirmation_prompt=True, err=True).encode()
    else:
        password = re.sub(rb"\r?\n\Z", b"", sys.stdin.buffer.read())
    if not password:
        raise CommandError("the password is empty")
    if b"\0" in password:
        raise CommandError("bcrypt cannot hash a password that contains a NUL character")
    if len(password) > 72:
        raise CommandError(f"bcrypt accepts at most 72 bytes, and this password has {len(password)} bytes")
    click.echo(bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode())


def _make_secret() -> str:
    """The prefix and 32 random bytes as base64url: 43 characters."""
    return PREFIX + secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _instant(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def _named(words: tuple[str, ...]) -> tuple[Path, str]:
    """The file and the key that are meant."""
    if not 1 <= len(words) <= 2:
        raise click.UsageError(f"expected the id of a key; put a file before it if it is not {DEFAULT_FILE}")
    return find(words[0] if len(words) == 2 else None), words[-1]


def _check_new(path: Path, name: str, values: dict[str, Any], write: bool) -> None:
    """The key must not be there yet, its routes must."""
    from fastgate.cli.key_file import keys_in
    from fastgate.config.suggest import did_you_mean
    from fastgate.config.syntax.documents import read_document

    data = read_document(path, allow_empty=True).data
    gateway = data.get("gateway")
    present = gateway.get("keys") if isinstance(gateway, dict) else None
    if isinstance(present, dict) and name in present:
        raise CommandError(f'{path}: key "{name}" already exists; `fastgate keys rotate` gives it a new secret')
    routes = data.get("routes")
    known = [route.get("name") for route in routes if isinstance(route, dict)] if isinstance(routes, list) else []
    for route in values.get("routes", ()):
        if route not in known:
            raise CommandError(
                f'{path}: unknown route "{route}"{did_you_mean(route, [n for n in known if isinstance(n, str)])}'
            )
    if write:
        keys_in(path, "run the command without --write and copy the table into the file")


def _block(name: str, values: dict[str, Any]) -> str:
    """The key's table as TOML."""
    from fastgate.config.syntax.toml_text import toml

    lines = [f"[gateway.keys.{name if _BARE.fullmatch(name) else toml(name)}]"]
    lines += [f"{key} = {toml(value)}" for key, value in values.items()]
    return "\n".join([*lines, ""])


def _tell(name: str, path: Path) -> None:
    click.echo(f'"{name}" was written to {path}. To apply this, run: fastgate reload', err=True)
    click.echo("The secret is shown only once; the configuration stores its hash:", err=True)


def _state(key: VirtualKey) -> str:
    from fastgate.config.syntax.units import parse_instant

    now = time.time()
    if key.disabled:
        return "disabled"
    if key.expires and parse_instant(key.expires) <= now:
        return "expired"
    if key.previous is not None and parse_instant(key.previous.expires) > now:
        return f"active, previous secret until {key.previous.expires}"
    return "active"
