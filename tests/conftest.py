"""What every test runs under: the gateway's event loop, a check for leaks, no silent skip of what was installed."""

import asyncio
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import uvloop

PARTS = frozenset(os.environ.get("FASTGATE_TEST_PARTS", "").split())

# Gateways of the tests never meet those that run on this machine. A short path: a socket's has at most 107 bytes.
os.environ["FASTGATE_RUN_DIR"] = tempfile.mkdtemp(prefix="fastgate-run-")

# How long an example takes says nothing on a machine that others use, or under a sanitizer.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def live_counts() -> dict[str, int]:
    """Live objects of the core by kind; nothing as long as no test of this process has loaded it."""
    if "fastgate._core.exchange.worker" not in sys.modules:
        return {}
    from fastgate._core.probes.core import live_counts

    return live_counts()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails the test that leaves connections, exchanges or pooled sockets behind."""
    before = live_counts()
    # What was there before need not be looked at: a full collection takes a tenth of a second, this one almost none.
    gc.freeze()
    yield
    gc.collect()
    left = {kind: count - before.get(kind, 0) for kind, count in live_counts().items() if count > before.get(kind, 0)}
    assert not left, f"left behind by this test: {left}"


def pytest_sessionfinish() -> None:
    gc.unfreeze()
    shutil.rmtree(os.environ["FASTGATE_RUN_DIR"], ignore_errors=True)


def is_there(part: str) -> bool:
    """Whether a program is on the path, or a module can be imported."""
    return shutil.which(part) is not None or importlib.util.find_spec(part) is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            if not is_there(part):
                pytest.skip(f"{part} is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where parts were installed for the tests (``FASTGATE_TEST_PARTS``), a skip for want of one is a failure."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        missing = PARTS & set(report.longrepr[2].replace("'", " ").split())
        if missing:
            report.outcome = "failed"
            report.longrepr = f"skipped, but {', '.join(sorted(missing))} was installed for it: {report.longrepr[2]}"
    return report
