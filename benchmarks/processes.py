"""Processes under measurement: start, processor time, memory, end. Everything is read from ``/proc``."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """Processor time in seconds."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        """User and system together."""
        return self.user + self.system

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.user - earlier.user, self.system - earlier.system)

    def __add__(self, other: Cpu) -> Cpu:
        return Cpu(self.user + other.user, self.system + other.system)


def parse_stat(text: str) -> Cpu:
    """Processor time from the text of ``/proc/PID/stat``, whose second field may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 2 :].split()
    return Cpu(int(fields[11]) * TICK, int(fields[12]) * TICK)


def family(pid: int) -> list[int]:
    """``pid`` and all its living descendants."""
    found = [pid]
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found.extend(int(child) for child in children.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_of(pid: int) -> Cpu:
    """Processor time of ``pid`` and its living descendants."""
    total = Cpu()
    for member in family(pid):
        try:
            total += parse_stat(Path(f"/proc/{member}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def owners_of(connections: list[tuple[int, int]], pids: list[int]) -> list[int | None]:
    """Which of these processes has each connection of the loopback, given as own port and port of the other side."""
    inodes = {}
    for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:]):
        own, other = (int(fields[place].rpartition(":")[2], 16) for place in (1, 2))
        inodes[own, other] = f"socket:[{fields[9]}]"
    owners = {}
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                owners[os.readlink(link)] = pid
        except OSError:
            continue
    return [owners.get(inodes.get(connection, "")) for connection in connections]


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes: all of it; with shared pages divided among their users; and what is of no file."""

    rss: int
    pss: int
    anonymous: int = 0


def parse_rollup(text: str) -> Memory:
    """Memory from the text of ``/proc/PID/smaps_rollup``."""
    kilobytes = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in text.splitlines()[1:])
        if rest.split()
    }
    return Memory(kilobytes["Rss"] * 1024, kilobytes["Pss"] * 1024, kilobytes.get("Anonymous", 0) * 1024)


def memory_of(pid: int) -> Memory:
    """Memory of one process."""
    return parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())


def socket_memory(text: str) -> int:
    """Bytes that the kernel has in TCP sockets, of all processes, from the text of ``/proc/net/sockstat``."""
    words = next(line for line in text.splitlines() if line.startswith("TCP:")).split()
    return int(words[words.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")


class Process:
    """A child in a process group of its own, its output in a file, ended with its whole group."""

    def __init__(self, command: list[str], log: Path, *, environment: dict[str, str] | None = None) -> None:
        self.command = command
        self.log = log
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.child.pid

    @property
    def running(self) -> bool:
        """Whether the child still runs."""
        return self.child.poll() is None

    def cpu(self) -> Cpu:
        """Processor time of the child and its descendants."""
        return cpu_of(self.pid)

    def worker(self) -> int:
        """The process that serves: the last descendant of the last child (a supervisor or master comes first)."""
        return family(self.pid)[-1]

    def words(self) -> str:
        """The end of what the child printed."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def stop(self, grace: float = 5.0) -> None:
        """Ask the child to end (SIGTERM); after ``grace`` seconds kill its group."""
        if self.running:
            self.child.terminate()
            try:
                self.child.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
