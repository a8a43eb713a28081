"""Statuses, their classes, and causes of failure."""

import pytest

from fastgate.config.syntax.statuses import check_cause, check_status, parse_statuses


def test_statuses() -> None:
    assert parse_statuses(["2xx", "304"]) == {*range(200, 300), 304}


@pytest.mark.parametrize("word", ["connect", "reset", "timeout", "4xx", "5xx", "400", "599"])
def test_what_is_a_cause(word: str) -> None:
    assert check_cause(word) == word


@pytest.mark.parametrize("word", ["", "CONNECT", "3xx", "2xx", "200", "600", "50", "5000", "5XX", "502 ", "²00"])
def test_what_is_no_cause(word: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_cause(word)


@pytest.mark.parametrize(("word", "good"), [("1xx", True), ("204", True), ("0xx", False), ("6xx", False), ("x", False)])
def test_what_is_a_status(word: str, good: bool) -> None:
    if good:
        assert check_status(word) == word
    else:
        with pytest.raises(ValueError, match="expected a status"):
            check_status(word)
