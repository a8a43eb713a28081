"""What the log says when the memory of limits is full."""

import logging

import pytest
from core.regions import prepare, prepare_shares

from fastgate._core.limits.concurrency import Concurrency, shares_size
from fastgate._core.limits.rate import TokenBucket, limits_size, logs_size
from fastgate._core.memory.segment import Segment
from fastgate.state.limit_watch import SAY_EVERY, LimitWatch


def test_what_was_lost_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    segment = Segment.create(targets=1, limits=limits_size(8), logs=logs_size(256), shares=shares_size(16, 1))
    prepare(segment)
    prepare_shares(segment)
    rate = TokenBucket(1, 3600, region=segment.region("limits"))
    watch = LimitWatch(segment)

    def told(now: float) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "fastgate"):
            watch.look(now)
        return [record.getMessage() for record in caplog.records]

    for number in range(8):
        rate.take(f"client {number}")
    assert told(0.0) == []
    for number in range(3):
        rate.take(f"another {number}")
    (line,) = told(5.0)
    assert "the gateway forgot 3 keys that were at their limit" in line
    assert "state.rate_limit_entries" in line
    rate.take("one more")
    assert told(10.0) == []
    (line,) = told(5.0 + SAY_EVERY)
    assert "the gateway forgot 1 keys" in line
    assert told(500.0) == []
    limit = Concurrency(2, region=segment.region("shares"))
    held = [limit.take(str(number)) for number in range(18)]
    assert all(held)
    (line,) = told(505.0)
    assert "the gateway counted 2 requests together" in line
    assert "state.concurrency_entries" in line
