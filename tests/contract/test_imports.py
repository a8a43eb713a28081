"""Every module of the core can be the first that is imported, also those that need each other."""

import subprocess
import sys
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "fastgate" / "_core"
MODULES = sorted(
    ".".join(path.relative_to(CORE).with_suffix("").parts)
    for suffix in ("pyx", "py")
    for path in CORE.rglob(f"[!_]*.{suffix}")
)

# A process for each would take 0.1 s for each; a child of one that has nothing of the core takes less.
EACH_ALONE = """
import importlib, os, sys, traceback
import asyncio, httptools
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module("fastgate._core." + name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def test_each_module_of_the_core_can_be_imported_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EACH_ALONE, *MODULES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == [], done.stderr
    assert done.returncode == 0, done.stderr
