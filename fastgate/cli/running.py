"""How a command finds a running gateway and asks it something, over its control socket."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from fastgate.cli import CommandError

LIST_TIMEOUT = 2.0
LONGEST = 16 * 1024 * 1024
"""Bytes of an answer."""


def choose(pid: int | None) -> tuple[int, Path]:
    """The gateway that is meant, with its socket: the one with that process id, or the only one.

    Exits with code 2 after a list when there are several.
    """
    from fastgate.server.run_dir import run_dirs, running_gateways, searched_dirs

    found = running_gateways()
    if pid is not None:
        if pid not in found:
            raise CommandError(f"no running gateway has process id {pid}{_others(list(found))}")
        return pid, found[pid]
    if not found:
        places = ", ".join(map(str, run_dirs()))
        more = " and those of other users" if searched_dirs() != run_dirs() else ""
        raise CommandError(f"no gateway is running (looked in {places}{more}; FASTGATE_RUN_DIR sets another directory)")
    if len(found) > 1:
        click.echo(f"fastgate: {len(found)} gateways are running; choose one:", err=True)
        for each, path in found.items():
            click.echo(f"  --pid {each}  {describe(path)}", err=True)
        sys.exit(2)
    return next(iter(found.items()))


def describe(path: Path) -> str:
    """Where the gateway behind that socket listens and what it runs, in a few words."""
    try:
        answer = ask(path, "status", LIST_TIMEOUT)
    except CommandError:
        return "(does not answer)"
    return "  ".join(part for part in (", ".join(answer["addresses"]), answer["file"], _user(path)) if part)


def _user(path: Path) -> str:
    """Whose gateway it is, where it is another user's."""
    uid = path.parent.stat().st_uid
    if uid == os.geteuid():
        return ""
    import pwd

    try:
        return f"(user {pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"(user {uid})"


def ask(path: Path, command: str, timeout: float, **arguments: Any) -> dict[str, Any]:
    """The gateway's answer. Its text cannot steer a terminal: root may ask gateways of other users."""
    from fastgate.server.run_dir import connect

    line = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connect(connection, path)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LONGEST)
        except TimeoutError:
            raise CommandError(f"the gateway did not answer within {timeout:g} s") from None
        except OSError as error:
            raise CommandError(f"cannot connect to the gateway: {(error.strerror or str(error)).lower()}") from None
    if not line.endswith(b"\n"):
        raise CommandError("the gateway stopped before it answered")
    answer: dict[str, Any] = _visible(json.loads(line))
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {_visible(key): _visible(inner) for key, inner in value.items()}
    return [_visible(each) for each in value] if isinstance(value, list) else value


def _others(pids: list[int]) -> str:
    return f"; running: {', '.join(map(str, pids))}" if pids else ""
