"""The run-time directory: one control socket for each running gateway, ``<pid>.sock``, for its user and root only.

Root finds the gateways of every user: it looks where each of them may have put its directory. What lies there is of
that user's making. So a directory is opened before it is looked at and everything goes through that descriptor, only
the user whose directory it is may be at the other end of a socket, and nothing in it is removed but by its own user.
"""

import contextlib
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from glob import glob
from pathlib import Path

_SUFFIX = ".sock"
_SYSTEM = Path("/run/fastgate")


def run_dirs() -> list[Path]:
    """Where the sockets of this user may be, best first.

    ``$FASTGATE_RUN_DIR`` and nowhere else; or ``$XDG_RUNTIME_DIR/fastgate``, ``/run/fastgate`` for root and for a user
    whom it belongs to (a service manager has made it), and ``fastgate-<uid>`` among the temporary files.
    """
    named = os.environ.get("FASTGATE_RUN_DIR")
    if named:
        return [Path(named)]
    found = []
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        found.append(Path(session, "fastgate"))
    if (os.geteuid() == 0 and _SYSTEM.parent.is_dir()) or _belongs_to_us(_SYSTEM):
        found.append(_SYSTEM)
    return [*found, Path(tempfile.gettempdir(), f"fastgate-{os.geteuid()}")]


def searched_dirs() -> list[Path]:
    """Where gateways are looked for: in the directories of this user, and by root in those of all users."""
    found = run_dirs()
    if os.geteuid() != 0 or os.environ.get("FASTGATE_RUN_DIR"):
        return found
    # Temporary files: the usual place, one for each user (pam_tmpdir), one for each service (PrivateTmp of systemd).
    temporary = [tempfile.gettempdir(), "/tmp", "/tmp/user/*", "/tmp/systemd-private-*/tmp"]
    patterns = ["/run/user/*/fastgate", *(f"{place}/fastgate-*" for place in temporary)]
    others = [Path(path) for pattern in patterns for path in sorted(glob(pattern))]
    return list(dict.fromkeys([*found, *others]))


def make_run_dir() -> Path:
    """The first directory that can be had, made if it was missing.

    Raises OSError when there is none; one in which others could put something is none.
    """
    first: OSError | None = None
    for path in run_dirs():
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            reason = _distrusted(os.lstat(path), {os.geteuid()})
            if not reason:
                return path
            error = OSError(f"{path} {reason}")
        except OSError as failed:
            error = OSError(f"cannot create {path}: {(failed.strerror or str(failed)).lower()}")
        first = first or error
    assert first is not None
    raise first


def socket_path(directory: Path, pid: int) -> Path:
    """The control socket of the gateway with that process id."""
    return directory / f"{pid}{_SUFFIX}"


def running_gateways() -> dict[int, Path]:
    """The process ids of the gateways that run here, with their sockets; those that were left behind are removed."""
    found: dict[int, Path] = {}
    for directory in searched_dirs():
        try:
            with _opened(directory) as (descriptor, _):
                names = sorted(os.listdir(descriptor))
        except OSError:
            continue
        for name in names:
            pid = _pid_of(name)
            if pid and pid not in found and is_served(directory / name):
                found[pid] = directory / name
    return dict(sorted(found.items()))


def is_served(path: Path) -> bool:
    """Whether a gateway listens on that socket. A socket of this user that none listens on is removed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            connect(probe, path)
        except BlockingIOError:
            return True  # its queue is full: somebody is there
        except ConnectionRefusedError:
            if _belongs_to_us(path.parent):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            return False
        except OSError:
            return False
    return True


def connect(sock: socket.socket, path: Path) -> None:
    """Connects to the control socket of a gateway.

    Raises OSError when that cannot be, or when it is not the user of the directory, or root, who listens there.
    """
    with _opened(path.parent) as (descriptor, owner):
        # By the descriptor, so that it is the directory that was looked at; this is also never too long for a socket.
        by_descriptor = f"/proc/self/fd/{descriptor}/{path.name}"
        sock.connect(by_descriptor if os.path.isdir(f"/proc/self/fd/{descriptor}") else str(path))
    peer = peer_of(sock)
    if peer is not None and peer not in (owner, 0):
        raise PermissionError(f"user {peer} serves {path}, but the directory belongs to user {owner}")


def peer_of(sock: socket.socket) -> int | None:
    """The user at the other end of a Unix socket; None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[tuple[int, int]]:
    """The descriptor and the owner of a directory of control sockets; OSError for one that is not to be trusted.

    To root the directories of all users are; what a user does with his own is his.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        reason = _distrusted(status, {status.st_uid} if os.geteuid() == 0 else {os.geteuid()})
        if reason:
            raise OSError(f"{directory} {reason}")
        yield descriptor, status.st_uid
    finally:
        os.close(descriptor)


def _distrusted(status: os.stat_result, owners: set[int]) -> str:
    """Why a directory is not used, else ""."""
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory" if not stat.S_ISLNK(status.st_mode) else "is a symbolic link"
    if status.st_uid not in owners:
        return f"belongs to another user (uid {status.st_uid})"
    if status.st_mode & 0o022:
        return "is writable by other users"
    return ""


def _belongs_to_us(path: Path) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False


def _pid_of(name: str) -> int:
    number = name.removesuffix(_SUFFIX)
    return int(number) if name.endswith(_SUFFIX) and number.isascii() and number.isdigit() else 0
