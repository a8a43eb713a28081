"""One worker process: started as a fresh interpreter, watched, ended."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

BLOCKED_WHILE_STARTING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class WorkerProcess:
    """A running worker, which waits for `Start` on its end of the control channel; ``channel`` is our end."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.ready = False
        self.reason = ""  # why it could not start, when it said so
        self.aborted = False
        self.leaving = False  # will be replaced, and serves until then what it has accepted
        self.dismissed = False  # leaves because we said so
        self.generation = 0  # of the configuration that it uses
        ours, theirs = socket.socketpair()
        try:
            # A Ctrl-C reaches the whole process group; it must not interrupt the imports of an interpreter that starts.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_WHILE_STARTING)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "fastgate.server", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": _python_path()},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        # On use, while the other interpreter starts: it takes 10 ms.
        from fastgate.server.channel import Channel

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

    def discard(self) -> None:
        """Ends it if it still runs, and waits until it is gone. May be called again."""
        self.channel.close()
        self.kill(signal.SIGKILL)
        self._process.wait()


def raise_file_limit() -> str:
    """As many open files as this process may have; why it cannot have them, else ""."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        return f"cannot raise the limit of open files, which stays at {soft}: {error}"
    return ""


def module_path() -> list[str]:
    """``sys.path`` as another process can use it: the empty entry is the directory it stands for."""
    return [entry or os.getcwd() for entry in sys.path]


def _python_path() -> str:
    # What the new interpreter needs to find us; it takes over the exact list once it runs.
    return os.pathsep.join(entry for entry in module_path() if os.pathsep not in entry)
