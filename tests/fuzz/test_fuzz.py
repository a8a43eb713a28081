"""The core under bytes that nobody would send, from clients and upstreams at once: see `course`.

A course is made by its seed alone. The suite runs a few; ``make long`` runs ``FASTGATE_FUZZ_MESSAGES`` messages, two
million by default, on the build with sanitizers. ``FASTGATE_FUZZ_SEED`` begins elsewhere, or plays one course again.
Before a failure is shown, its seed is printed, and what was sent last.
"""

import faulthandler
import gc
import os
import sys
import time
from pathlib import Path

import pytest
from fuzz.course import Course

CORPUS = Path(__file__).parent / "corpus"
CLIENT = [path.read_bytes() for path in sorted((CORPUS / "client").iterdir())]
UPSTREAM = [path.read_bytes() for path in sorted((CORPUS / "upstream").iterdir())]
MESSAGES = int(os.environ.get("FASTGATE_FUZZ_MESSAGES", "2000000"))
SEED = int(os.environ.get("FASTGATE_FUZZ_SEED", "0"))
PARTS = 2
"""Processes that share a long run."""
HANG = 120
"""Seconds after which a course is taken for one that hangs."""


def play(seed: int, steps: int = 300) -> int:
    """One course; how many messages it had."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    course = Course(seed, CLIENT, UPSTREAM)
    try:
        for _ in range(steps):
            course.step()
        course.settle()
    except BaseException:
        print(f"\nFASTGATE_FUZZ_SEED={seed}; what was sent last:", file=sys.stderr)
        for piece in course.last[-12:]:
            print(f"  {piece[:300]!r}", file=sys.stderr)
        for transport in course.gateway.transports:
            transport.lose()
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    return course.messages


@pytest.mark.parametrize("seed", range(SEED, SEED + 12))
def test_a_short_run(seed: int) -> None:
    assert play(seed) > 100


@pytest.mark.parametrize("name", sorted(path.name for path in (CORPUS / "client").iterdir()))
def test_each_seed_of_the_corpus_by_itself(name: str) -> None:
    data = (CORPUS / "client" / name).read_bytes()
    course = Course(1, [data], UPSTREAM)
    for _ in range(40):
        course.step()
    course.settle()


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_a_long_run(part: int) -> None:
    messages, seed, began = 0, SEED + 1_000_000 * (part + 1), time.monotonic()
    while messages < MESSAGES // PARTS:
        messages += play(seed)
        seed += 1
        gc.collect(0)
    print(f"\n{messages:,} messages in {time.monotonic() - began:.0f} s, seeds up to {seed}", file=sys.stderr)
