"""The log of errors and events: what a line looks like, and reopening its file."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgate.config import Log
from fastgate.observe.log import LogHandler, configure

LOG = logging.getLogger("fastgate.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process of the tests keeps its own logging."""
    root, ours = logging.getLogger(), logging.getLogger("fastgate")
    handlers, level, our_level, raising = root.handlers[:], root.level, ours.level, logging.raiseExceptions
    root.handlers = []
    yield
    for each in root.handlers:
        each.close()
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.raiseExceptions = raising


def configured(path: Path, *, form: str = "text", level: str = "info") -> LogHandler:
    return configure(Log(path=str(path), format=form, level=level), "worker 3")  # type: ignore[arg-type]


def test_a_line_of_text(tmp_path: Path) -> None:
    configured(tmp_path / "x.log")
    LOG.warning("it is %s", "so", extra={"fields": {"count": 2, "name": 'a "b"', "empty": ""}})
    line = (tmp_path / "x.log").read_text()
    assert re.fullmatch(
        r"""\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning worker 3: it is so count=2 name='a "b"' empty=''\n""", line
    )


def test_a_line_of_json(tmp_path: Path) -> None:
    configured(tmp_path / "x.log", form="json")
    try:
        raise ValueError("no")
    except ValueError:
        LOG.exception("it failed", extra={"fields": {"where": Path("/x"), "count": 2}})
    line = json.loads((tmp_path / "x.log").read_text())
    assert line.pop("time").endswith("Z")
    assert line.pop("error").endswith("ValueError: no")
    assert line == {
        "level": "error",
        "process": "worker 3",
        "logger": "fastgate.test",
        "message": "it failed",
        "where": "/x",
        "count": 2,
    }


def test_a_traceback_follows_its_line(tmp_path: Path) -> None:
    configured(tmp_path / "x.log")
    try:
        raise ValueError("no")
    except ValueError:
        LOG.exception("it failed")
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert lines[0].endswith("error worker 3: it failed")
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "ValueError: no"


def test_the_level_is_that_of_the_gateway_others_say_warnings(tmp_path: Path) -> None:
    configured(tmp_path / "x.log", level="debug")
    LOG.debug("ours")
    logging.getLogger("somebody.else").info("not this")
    logging.getLogger("somebody.else").warning("but this")
    assert [line.rpartition(": ")[2] for line in (tmp_path / "x.log").read_text().splitlines()] == ["ours", "but this"]
    configured(tmp_path / "x.log", level="error")
    LOG.warning("too small")
    assert "too small" not in (tmp_path / "x.log").read_text()


def test_reopening_follows_the_name(tmp_path: Path) -> None:
    path, moved = tmp_path / "x.log", tmp_path / "x.log.1"
    handler = configured(path)
    LOG.info("before")
    path.rename(moved)
    LOG.info("between")
    handler.reopen()
    LOG.info("after")
    assert moved.read_text().count("\n") == 2
    assert path.read_text().endswith("after\n")


def test_when_it_cannot_be_reopened_the_old_file_stays_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = configured(folder / "x.log")
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        handler.reopen()
    LOG.info("still here")
    assert "still here" in (tmp_path / "moved/x.log").read_text()


def test_standard_error_is_the_default_and_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    handler = configure(Log(), "supervisor")
    LOG.info("hello")
    handler.reopen()
    handler.close()
    assert capsys.readouterr().err.endswith(" info supervisor: hello\n")


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        configured(tmp_path / "missing/x.log")


def test_a_log_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    handler = configured(tmp_path / "x.log")
    handler.stream.close()
    LOG.error("lost")


def test_what_is_not_text_is_still_a_line(tmp_path: Path) -> None:
    configured(tmp_path / "x.log")
    LOG.info("surrogate \udcff, and %s", b"\xff")
    assert r"surrogate \udcff, and b'\xff'" in (tmp_path / "x.log").read_text()
