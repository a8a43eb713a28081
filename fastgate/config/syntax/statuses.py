"""Statuses, classes of statuses and the other causes for which a try counts as failed."""

import re
from collections.abc import Iterable

from fastgate.config.suggest import did_you_mean

_CAUSES = ("connect", "reset", "timeout")
_FAILURE = re.compile(r"[45](?:xx|[0-9][0-9])")
_STATUS = re.compile(r"[1-5](?:xx|[0-9][0-9])")


def parse_statuses(words: Iterable[str]) -> frozenset[int]:
    """Every status that checked words name: ``"2xx"`` is 200 to 299."""
    statuses: set[int] = set()
    for word in words:
        if word.endswith("xx"):
            first = int(word[0]) * 100
            statuses.update(range(first, first + 100))
        else:
            statuses.add(int(word))
    return frozenset(statuses)


def check_cause(text: str) -> str:
    """A cause as it is; ValueError for any other word."""
    if text in _CAUSES or _FAILURE.fullmatch(text):
        return text
    hint = did_you_mean(text, (*_CAUSES, "4xx", "5xx"))
    raise ValueError(f'expected "connect", "reset", "timeout", "5xx", "4xx" or a status such as "503"{hint}')


def check_status(text: str) -> str:
    """A status or a class as it is; ValueError for anything else."""
    if not _STATUS.fullmatch(text):
        raise ValueError('expected a status such as "204" or a class such as "2xx"')
    return text
