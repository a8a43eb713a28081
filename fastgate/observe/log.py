"""The log of errors and events: one line each, as text or as JSON, to standard error or to a file that can be reopened.

A process that the gateway owns (supervisor, worker) calls `configure` once. A gateway embedded in somebody else's
process never does: it logs through the loggers below ``fastgate`` and leaves the rest to that process.

Fields of an event are given as ``extra={"fields": {...}}``.
"""

import logging
import sys
import time
from contextlib import suppress
from typing import TextIO

import msgspec

from fastgate.config import Log

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(log: Log, process: str) -> "LogHandler":
    """Sends everything that this process logs to ``[gateway.log]``, each line with the name of the process.

    Raises OSError when the file cannot be opened.
    """
    handler = LogHandler(log.path)
    handler.setFormatter(JSONFormatter(process) if log.format == "json" else TextFormatter(process))
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
        other.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("fastgate").setLevel(_LEVELS[log.level])
    logging.raiseExceptions = False
    return handler


class LogHandler(logging.Handler):
    """Writes to a file, or to standard error for ``"-"``. Raises OSError when the file cannot be opened.

    ``stream`` is what it writes to until it is reopened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.stream = self._open()

    def reopen(self) -> None:
        """Opens the file by its name again, after it was moved away. Raises OSError; then the old file stays in use."""
        fresh = self._open()
        self.acquire()
        try:
            self._close_stream()
            self.stream = fresh
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line. A log that cannot be written is no reason to fail."""
        with suppress(OSError, ValueError):
            self.stream.write(self.format(record) + "\n")
            self.stream.flush()

    def close(self) -> None:
        """Closes the file; standard error stays open."""
        self._close_stream()
        super().close()

    def _open(self) -> TextIO:
        if self._path == "-":
            return sys.stderr
        return open(self._path, "a", encoding="utf-8", errors="backslashreplace")

    def _close_stream(self) -> None:
        if self.stream is not sys.stderr:
            self.stream.close()


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z warning worker 0: message key=value``; a traceback follows on its own lines."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = "".join(f" {name}={_bare(value)}" for name, value in _fields(record).items())
        line = f"{_timestamp(record)} {_level(record)} {self._process}: {record.getMessage()}{fields}"
        error = _traceback(self, record)
        return f"{line}\n{error}" if error else line


class JSONFormatter(logging.Formatter):
    """One object: time, level, process, logger, message, the fields, and ``error`` with a traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": _timestamp(record),
            "level": _level(record),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        error = _traceback(self, record)
        if error:
            line["error"] = error
        return msgspec.json.encode(line, enc_hook=str).decode()


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _level(record: logging.LogRecord) -> str:
    return record.levelname.lower()


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _bare(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not any(each in text for each in ' "=') else repr(text)
