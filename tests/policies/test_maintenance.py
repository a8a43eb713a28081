"""A route that is closed for a while, as its configuration says."""

import json
from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer_of(maintenance: dict[str, Any], request: bytes = GET, **gateway: Any) -> RecordedResponse:
    route = {"maintenance": {"enabled": True, **maintenance}}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=gateway, route=route) as to:
        async with RawClient(to.port) as client:
            answer = await client.request(request)
            assert answer.status == 200 or not upstream.requests
            return answer


async def test_a_route_that_is_closed() -> None:
    answer = await answer_of({"retry_after": "1h"})
    assert answer.status == 503
    assert answer.fields["retry-after"] == "3600"
    assert answer.fields["cache-control"] == "no-store"
    assert answer.fields["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["detail"]) == (503, "This service is under maintenance.")


async def test_another_status_is_in_the_problem_too() -> None:
    answer = await answer_of({"status": 410})
    assert (answer.status, json.loads(answer.body)["status"], json.loads(answer.body)["title"]) == (410, 410, "Gone")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"body": "<h1>Later</h1>"}, "text/html; charset=utf-8"),
        ({"body": '{"error": "later"}'}, "application/json"),
        ({"body": "{later}"}, "text/plain; charset=utf-8"),
        ({"body": "später"}, "text/plain; charset=utf-8"),
        ({"body": "<x/>", "content_type": "application/xml"}, "application/xml"),
    ],
)
async def test_a_body_of_its_own(settings: dict[str, Any], kind: str) -> None:
    answer = await answer_of({**settings, "retry_after": 1.5})
    assert (answer.status, answer.body.decode()) == (503, settings["body"])
    assert answer.fields["content-type"] == kind
    assert answer.fields["retry-after"] == "2"


async def test_head_has_the_same_head() -> None:
    answer = await answer_of({"body": "later"}, GET.replace(b"GET", b"HEAD"))
    assert (answer.status, answer.fields["content-length"], answer.body) == (503, "5", b"")


@pytest.mark.parametrize(
    ("settings", "status"),
    [({"enabled": False}, 200), ({"allow": ["127.0.0.0/8"]}, 200), ({"allow": ["10.0.0.0/8"]}, 503)],
)
async def test_who_is_served_all_the_same(settings: dict[str, Any], status: int) -> None:
    assert (await answer_of(settings)).status == status


async def test_the_health_path_goes_on() -> None:
    answer = await answer_of({}, GET.replace(b"/a", b"/up"), health_path="/up")
    assert (answer.status, answer.body) == (200, b"ok\n")


async def test_it_comes_before_all_other_policies() -> None:
    route = {
        "maintenance": {"enabled": True},
        "ip": {"deny": ["127.0.0.1"]},
        "rate_limit": {"rate": 1, "per": "1h"},
        "content_types": ["a/b"],
    }
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=route) as to:
        async with RawClient(to.port) as client:
            request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
            answers = [await client.request(request) for _ in range(3)]
    assert [answer.status for answer in answers] == [503] * 3
    assert all("ratelimit" not in answer.fields for answer in answers)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"status": 200}, "routes[0].maintenance.status: must be 400 to 599, got 200"),
        ({"retry_after": 0}, "routes[0].maintenance.retry_after: must be more than 0"),
        ({"content_type": "text/html"}, "routes[0].maintenance.content_type: needs body, which is not set"),
        ({"body": "x", "content_type": "html"}, 'routes[0].maintenance.content_type: "html" is not a valid media type'),
        ({"allow": ["x"]}, 'routes[0].maintenance.allow[0]: "x" is not a valid address or network'),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"maintenance": settings}))
    assert said in str(caught.value)
