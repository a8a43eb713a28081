"""The router beside those of Python frameworks: ``benchmarks/router.py`` does the work in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.contest import Options
from benchmarks.load import WORK
from benchmarks.machine import ROOT, Unavailable

TITLE = "Router, called from Python"


def run(options: Options) -> dict[str, object]:
    """Its result without what every lane adds. It pins itself, which must not happen to the process that runs lanes."""
    WORK.mkdir(exist_ok=True)
    output = WORK / "router.json"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.router", "--rounds", str(options.rounds), "--out", str(output)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if not output.exists():
        raise Unavailable(f"python -m benchmarks.router ended with {done.returncode}")
    result: dict[str, Any] = json.loads(output.read_text())
    kept = {name: value for name, value in result.items() if name not in ("lane", "title", "command", "machine")}
    return {**kept, "versions": result["machine"]["versions"]}
