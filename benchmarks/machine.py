"""What the figures were taken on, and the two cores they are taken with."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Unavailable(Exception):
    """Something that a lane needs is not here; the message says what, in words for the report."""


def cores() -> tuple[int, int]:
    """The core of the proxy, and that of load generator and origin: the first and the last this process may use.

    Raises ``Unavailable`` on a machine with one core, where the two would measure each other.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Unavailable("one core only: the proxy and the load generator need one each")
    return allowed[0], allowed[-1]


def pinned(core: int, command: list[str]) -> list[str]:
    """``command``, run on ``core`` alone."""
    taskset = shutil.which("taskset")
    if taskset is None:
        raise Unavailable("taskset is not installed: processes cannot be pinned")
    return [taskset, "-c", str(core), *command]


def parse_busy(text: str, core: int) -> float:
    """Seconds that ``core`` was not idle since boot, from the text of ``/proc/stat``; what a host stole included."""
    match = re.search(rf"^cpu{core} (.+)$", text, re.MULTILINE)
    if match is None:
        raise ValueError(f"/proc/stat does not know core {core}")
    ticks = [int(word) for word in match[1].split()]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def busy(core: int) -> float:
    """Seconds that ``core`` was not idle since boot."""
    return parse_busy(Path("/proc/stat").read_text(), core)


FILES = 40_000
"""Open files that a proxy may have: two for each of the 10,000 connections of the idle lane, and as many again."""


def raise_file_limit(wanted: int) -> int:
    """Raise the limit of open files towards ``wanted`` and return what it is now. Children inherit it.

    Root may pass the hard limit; anyone else stops there.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def output_of(command: list[str], folder: Path = ROOT) -> str:
    """Standard output and error of a short command, or ``""`` when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def processor() -> str:
    """The processor's name as the kernel gives it."""
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match.group(1) if match else platform.machine()


def versions() -> dict[str, str]:
    """Versions of everything that takes part and is installed here."""
    found = {"python": platform.python_version()}
    for name in ("uvloop", "httptools", "msgspec", "cython"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commands = {
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "caddy": ["caddy", "version"],
        "varnish": ["varnishd", "-V"],
        "wrk": ["wrk", "-v"],
        "valgrind": ["valgrind", "--version"],
        "cc": ["cc", "--version"],
    }
    for name, command in commands.items():
        path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        match = re.search(r"\d+\.\d+(\.\d+)*", output_of([path, *command[1:]])) if path else None
        if match:
            found[name] = match.group()
    return found


def commit(checkout: Path = ROOT) -> str:
    """The commit that is measured, with ``+`` when the working tree differs from it; ``""`` outside a repository."""
    revision = output_of(["git", "rev-parse", "--short=12", "--verify", "HEAD"], checkout).strip()
    if not re.fullmatch(r"[0-9a-f]{12}", revision):
        return ""
    changes = ["git", "status", "--porcelain", "--untracked-files=no", "--", "fastgate", "setup.py"]
    return revision + ("+" if output_of(changes, checkout).strip() else "")


def interpreter_of(checkout: Path) -> Path:
    """The Python of a checkout's own virtual environment, where `make build` has put it."""
    return checkout / ".venv" / "bin" / "python"


def facts() -> dict[str, object]:
    """Everything about this machine and moment that a figure must carry."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "versions": versions(),
    }
