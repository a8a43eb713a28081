"""Other processes that have the same segment."""

import os
import subprocess
import sys

from fastgate._core.memory.segment import Segment


def start(segment: Segment, program: str) -> "subprocess.Popen[str]":
    """Runs a program with ``segment`` attached; what it writes comes through its pipes."""
    opening = "import os\nfrom fastgate._core.memory.segment import Segment\n"
    text = f"{opening}segment = Segment.attach({segment.fd})\n{program}"
    return subprocess.Popen(
        [sys.executable, "-c", text],
        pass_fds=[segment.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def wait_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def release(processes: "list[subprocess.Popen[str]]") -> None:
    """Lets processes go on that printed "ready" and wait in ``input()``, all at once."""
    for process in processes:
        wait_ready(process)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def output_of(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate(timeout=60)
