"""The run-time directory: one control socket for each running gateway, ``<pid>.sock``, for its user and root only."""

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path

_SUFFIX = ".sock"


def run_dirs() -> list[Path]:
    """Where the sockets may be, best first.

    ``$FASTGATE_RUN_DIR`` and nowhere else; or ``$XDG_RUNTIME_DIR/fastgate``, for root ``/run/fastgate``, and
    ``fastgate-<uid>`` among the temporary files.
    """
    named = os.environ.get("FASTGATE_RUN_DIR")
    if named:
        return [Path(named)]
    found = []
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        found.append(Path(session, "fastgate"))
    if os.geteuid() == 0 and os.path.isdir("/run"):
        found.append(Path("/run/fastgate"))
    return [*found, Path(tempfile.gettempdir(), f"fastgate-{os.geteuid()}")]


def make_run_dir() -> Path:
    """The first directory that can be had, made if it was missing.

    Raises OSError when there is none; one in which others could put something is none.
    """
    first: OSError | None = None
    for path in run_dirs():
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            reason = _distrusted(path)
            if not reason:
                return path
            error = OSError(f"{path} {reason}")
        except OSError as failed:
            error = OSError(f"{path} cannot be made: {(failed.strerror or str(failed)).lower()}")
        first = first or error
    assert first is not None
    raise first


def socket_path(directory: Path, pid: int) -> Path:
    """The control socket of the gateway with that process id."""
    return directory / f"{pid}{_SUFFIX}"


def running_gateways() -> dict[int, Path]:
    """The process ids of the gateways that run here, with their sockets; those that others left behind are removed."""
    found: dict[int, Path] = {}
    for directory in run_dirs():
        try:
            entries = [] if _distrusted(directory) else sorted(directory.iterdir())
        except OSError:
            continue
        for entry in entries:
            pid = _pid_of(entry.name)
            if pid and pid not in found and is_served(entry):
                found[pid] = entry
    return dict(sorted(found.items()))


def is_served(path: Path) -> bool:
    """Whether somebody listens on that socket. If not it is removed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full: somebody is there
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return False
        except OSError:
            return False
    return True


def _distrusted(path: Path) -> str:
    """Why this directory is not used, else ""."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory" if not stat.S_ISLNK(status.st_mode) else "is a symbolic link"
    if status.st_uid != os.geteuid():
        return f"belongs to another user ({status.st_uid})"
    if status.st_mode & 0o022:
        return "can be written by other users"
    return ""


def _pid_of(name: str) -> int:
    number = name.removesuffix(_SUFFIX)
    return int(number) if name.endswith(_SUFFIX) and number.isascii() and number.isdigit() else 0
