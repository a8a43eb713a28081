"""The control plane's part for upstreams, in a gateway of one process: retry budgets, and the log of what changes."""

import pytest

from fastgate._core.memory.events import StateEvent
from fastgate.config import GatewayConfig
from fastgate.testing import Answer, RawClient, RecordingUpstream, gateway_to, reset
from fastgate.upstreams.supervision import describe, retry_budgets


async def test_first_tries_before_the_first_retry_have_paid_into_the_budget() -> None:
    """An upstream that served well for a while and then breaks may be tried again for all of that while."""
    route = {"retry": {"attempts": 2, "on": ["reset"], "backoff": "0s", "budget": 0.5}}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=route) as gateway:
        async with RawClient(gateway.port) as client:
            for _ in range(40):
                assert (await client.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        upstream.default = Answer(reset())
        for _ in range(16):
            async with RawClient(gateway.port) as client:
                assert (await client.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).status == 502
        # Every one of these is paid for by what came before: 40 * 0.5. From nothing it would be 3 + 16 * 0.5.
        assert gateway.metrics()["retries"] == 16
        assert gateway.metrics()["retries_denied"] == 0


def test_the_most_generous_route_says_what_an_upstreams_first_tries_pay() -> None:
    config = GatewayConfig.from_dict({
        "routes": [
            {"name": "a", "path": "/a", "upstream": "one", "retry": {"budget": 0.1}},
            {"name": "b", "path": "/b", "upstream": "one", "retry": {"budget": 0.3}},
            {"name": "c", "path": "/c", "split": [
                {"upstream": "one", "weight": 1}, {"upstream": "two", "weight": 1}]},
            {"name": "d", "path": "/d", "respond": {"status": 204}},
        ],
        "upstreams": {name: {"targets": ["127.0.0.1:1"]} for name in ("one", "two", "three")},
    })
    assert retry_budgets(config.routes) == {"one": 0.3, "two": 0.2}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (("ejected", "up", "ejected", 1500), "ejected for 1.5 s"),
        (("returned", "ejected", "unknown", 1), "in use again"),
        (("returned", "ejected", "up", 1), "in use again"),
        (("returned", "ejected", "down", 1), "no longer ejected, but down"),
        (("returned", "ejected", "drained", 1), "no longer ejected, but drained"),
        (("breaker", "open", "half-open", 2), "breaker open -> half-open"),
        (("panic", "off", "on", 1), "too few targets are healthy: using ejected targets too"),
        (
            ("panic", "on", "all", 0),
            "too few targets are healthy: using all targets, even those that the probe says are down",
        ),
        (("panic", "all", "off", 3), "enough targets are healthy: using only healthy targets again"),
        (("drained", "up", "drained", 0), "drained"),
    ],
)
def test_events_in_words(event: tuple[str, str, str, int], words: str) -> None:
    kind, old, new, value = event
    assert describe(StateEvent(1, 1, kind, 0, old, new, value)) == words
