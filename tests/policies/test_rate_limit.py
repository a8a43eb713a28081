"""Rate limits through a gateway: what is asked, what is given back, what the client is told."""

from typing import Any

import pytest
from core.regions import prepare

from fastgate._core.limits.rate import TokenBucket, limits_size, logs_size
from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig, RateLimit
from fastgate.policies.rate_limit import compiled_limits
from fastgate.state.shared_memory import SharedMemoryStore
from fastgate.testing import RawClient, RecordingUpstream, gateway_to
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ASK = b"GET / HTTP/1.1\r\nHost: x\r\nx-user: %d\r\n\r\n"


async def answers(limits: Any, *requests: bytes) -> list[RecordedResponse]:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"rate_limit": limits}) as gateway:
        async with RawClient(gateway.port) as client:
            return [await client.request(request) for request in requests]


async def test_a_limit_on_trial_that_is_exceeded_gets_nothing_back_that_it_did_not_take() -> None:
    limits = [
        {"rate": 2, "per": "1h", "dry_run": True, "key": "route"},
        {"rate": 1, "per": "1h", "key": "header:x-user"},
        {"rate": 5, "per": "1h", "key": "route", "name": "all"},
    ]
    # Two of the first take what the limit on trial has; of the second user's many only one passes.
    requests = [ASK % user for user in (1, 2, 3, 3, 3, 3, 3)]
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"rate_limit": limits}) as gateway:
        async with RawClient(gateway.port) as client:
            statuses = [(await client.request(request)).status for request in requests]
            exceeded = gateway.metrics()["rate_exceeded"]
    assert statuses == [200, 200, 200, 429, 429, 429, 429]
    assert exceeded == 5


@pytest.mark.parametrize("position", [0, 1])
async def test_the_older_fields_are_sent_where_any_limit_asks_for_them(position: int) -> None:
    limits = [{"rate": 10, "per": "1h", "name": "wide"}, {"rate": 2, "per": "1h", "name": "tight"}]
    limits[position]["legacy_headers"] = True
    (answer,) = await answers(limits, GET)
    assert answer.fields.get("x-ratelimit-limit") == "2"
    assert answer.fields.get("x-ratelimit-remaining") == "1"


@pytest.mark.parametrize(
    ("rate", "per", "whole"),
    [
        (100, 1.0, (100, 1.0)),
        (2.5, 1.0, (5, 2.0)),
        (0.5, 1.0, (1, 2.0)),
        (0.3, 60.0, (3, 600.0)),
        (1 / 3, 3600.0, (1, 10800.0)),
        (0.0004, 1.0, (1, 2500.0)),
        (123456.789, 1.0, (123456789, 1000.0)),
        (999_999_999.5, 1.0, (999_999_999, 1.0)),
    ],
)
def test_rates_become_whole_numbers(rate: float, per: float, whole: tuple[int, float]) -> None:
    assert RateLimit(rate=rate, per=per).whole() == whole


@pytest.mark.parametrize(
    "limit",
    [
        {"rate": 0.0004},
        {"rate": 1_000_000_000},
        {"rate": 1, "per": "366d", "burst": 10},
        {"rate": 268_435_455, "algorithm": "fixed_window", "per": "1m"},
        {"rate": 1, "algorithm": "fixed_window", "per": "50ms"},
        {"rate": 100_000, "algorithm": "sliding_window_log", "per": "1ms"},
    ],
)
def test_what_the_configuration_accepts_the_core_can_count(limit: dict[str, Any]) -> None:
    segment = Segment.create(targets=1, limits=limits_size(1024), logs=logs_size(4096))
    prepare(segment)
    route = {"name": "a", "path": "/", "upstream": "b", "rate_limit": limit}
    config = GatewayConfig.from_dict({"routes": [route], "upstreams": {"b": {"targets": ["b:1"]}}})
    assert compiled_limits(config.routes[0], SharedMemoryStore(segment, 0))


def test_half_a_request_a_minute_is_one_in_two() -> None:
    bucket = TokenBucket(*RateLimit(rate=0.5, per=60.0).whole(), 1)
    assert bucket.take("a", now_ns=10**9).admitted
    assert bucket.take("a", now_ns=10**9).retry_after == 120.0
