"""Durations, sizes and points in time as operators write them.

A duration is a number of seconds or a number with a unit (``"250ms"``, ``"1m30s"``); a size is a number of bytes or a
number with a unit (``"64KB"``). The units of sizes are powers of 1024, as in nginx, HAProxy and Caddy. A point in time
is written as RFC 3339 says (``"2027-01-01T00:00:00Z"``), always with its zone.
"""

import datetime as dt
import math
import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(i?B)?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def parse_duration(value: int | float | str) -> float:
    """Seconds. Raises ValueError with the reason for anything that is not a duration, is negative or not finite."""
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text)
        if not _DURATION.fullmatch(text):
            if text.startswith("-"):
                raise ValueError("a duration cannot be negative")
            raise ValueError('expected a duration such as "250ms", "2s", "5m", "1h", "1d" or a number of seconds')
        parts = _DURATION_PART.findall(text)
        # whole milliseconds, so that "2s" and "2000ms" are the same float
        return math.fsum(float(number) * SECONDS[unit] * 1000 for number, unit in parts) / 1000
    if not math.isfinite(value):
        raise ValueError("a duration must be finite; 0 switches a limit off where that is allowed")
    if value < 0:
        raise ValueError("a duration cannot be negative")
    return float(value)


def parse_size(value: int | str) -> int:
    """Bytes. Raises ValueError with the reason for anything that is not a size or is negative."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            if value.strip().startswith("-"):
                raise ValueError("a size cannot be negative")
            raise ValueError('expected a size such as "64KB", "10MB", "1GB" or a number of bytes')
        number, unit, _ = match.groups()
        size = float(number) * BYTES[unit.upper() + "B"]
        if size != int(size):
            raise ValueError("a size must be a whole number of bytes")
        return int(size)
    if value < 0:
        raise ValueError("a size cannot be negative")
    return value


def parse_instant(text: str) -> float:
    """Seconds since 1970. Raises ValueError with the reason for anything that is not a time with its zone."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError('expected a time with its zone, such as "2027-01-01T00:00:00Z"')
    date, time, fraction, zone = match.groups()
    if zone is None:
        raise ValueError(f'has no time zone: write "{date}T{time}Z" for UTC, or an offset such as "+02:00"')
    try:
        made = dt.datetime.fromisoformat(f"{date}T{time}{(fraction or '')[:7]}{zone.upper()}")
        return made.astimezone(dt.UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"this is not a valid time: {error}") from None


def parse_day(text: str) -> float:
    """When the day begins in UTC, as seconds since 1970. Raises ValueError for anything that is not a day."""
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise ValueError('expected a day such as "2027-01-01"') from None
    return day.replace(tzinfo=dt.UTC).timestamp()


def format_instant(seconds: float) -> str:
    """The same time in UTC: ``2027-01-01T00:00:00Z``."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().removesuffix("+00:00") + "Z"


def format_duration(seconds: float) -> str:
    """The shortest exact spelling with one unit: ``75s``, ``5m``, ``250ms``."""
    if seconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        number = round(seconds / SECONDS[unit], 6)
        if number >= (2 if unit == "m" else 1) and number == int(number):
            return f"{int(number)}{unit}"
    return f"{seconds:g}s"


def format_size(size: int) -> str:
    """The largest unit that is exact: ``32KB``, ``1GB``, ``1500B``."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % BYTES[unit] == 0:
            return f"{size // BYTES[unit]}{unit}"
    return f"{size}B" if size else "0"
