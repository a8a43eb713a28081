"""One worker process: started as a fresh interpreter, watched, ended."""

import os
import signal
import socket
import subprocess
import sys
import time

from fastgate.server.channel import Channel

BLOCKED_WHILE_STARTING = {signal.SIGINT, signal.SIGTERM}


class WorkerProcess:
    """A running worker. It inherits ``descriptors`` under their own numbers; ``channel`` is our end of the channel."""

    def __init__(self, slot: int, descriptors: list[int]) -> None:
        self.slot = slot
        self.started = time.monotonic()
        self.ready = False
        self.reason = ""  # why it could not start, when it said so
        self.aborted = False
        ours, theirs = socket.socketpair()
        try:
            # A Ctrl-C reaches the whole process group; it must not interrupt the imports of an interpreter that starts.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_WHILE_STARTING)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "fastgate.server.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *descriptors],
                    env={**os.environ, "PYTHONPATH": _python_path()},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.channel = Channel(ours)

    def has_ended(self) -> bool:
        """Whether the process is gone; then `ending` says how."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """As of subprocess: negative for a signal, None while it runs."""
        return self._process.returncode

    def ending(self) -> str:
        """How it ended: "exited with code 1", "killed by SIGKILL"."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exited with code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def kill(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process is known to be gone."""
        if not self.has_ended():
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Blocks until the process is gone, at most so long; whether it is."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def module_path() -> list[str]:
    """``sys.path`` as another process can use it: the empty entry is the directory it stands for."""
    return [entry or os.getcwd() for entry in sys.path]


def _python_path() -> str:
    # What the new interpreter needs to find us; it takes over the exact list once it runs.
    return os.pathsep.join(entry for entry in module_path() if os.pathsep not in entry)
