"""Which media types the body of a request may have."""

import json
from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config
from fastgate.testing.http_messages import RecordedResponse


async def answer_to(ranges: list[str], *fields: str, method: str = "POST", body: bytes = b"{}") -> RecordedResponse:
    lines = [f"{method} /a HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"content_types": ranges}) as to:
        async with RawClient(to.port) as client:
            answer = await client.request("\r\n".join(lines).encode("latin-1") + body)
            assert [request.body for request in upstream.requests] == [body] * (answer.status == 200)
            return answer


@pytest.mark.parametrize(
    ("accepted", "sent", "status"),
    [
        ("application/json", "application/json", 200),
        ("application/json", "Application/JSON", 200),
        ("application/json", "application/json; charset=utf-8", 200),
        ("application/json", "application/json;charset=utf-8", 200),
        ("application/json", "application/json \t; a=b", 200),
        ("application/json", "application/jsonx", 415),
        ("application/json", "application/jso", 415),
        ("application/json", "text/json", 415),
        ("application/json", "", 415),
        ("application/json", "json", 415),
        ("application/json", "application/json, text/plain", 415),
        ("application/json", "text/plain, application/json", 415),
        ("application/json", "application/json text/plain", 415),
        ("application/json", "text/plain; a=application/json", 415),
        ("text/*", "text/plain", 200),
        ("text/*", "text/", 415),
        ("text/*", "textual/plain", 415),
        ("application/*+json", "application/problem+json", 200),
        ("application/*+json", "application/json", 415),
        ("application/*+json", "application/+json", 415),
        ("*/*", "anything/at-all", 200),
        ("*/*", "", 415),
    ],
)
async def test_which_are_accepted(accepted: str, sent: str, status: int) -> None:
    assert (await answer_to([accepted], f"Content-Type: {sent}")).status == status


async def test_a_refusal_says_what_is_accepted() -> None:
    answer = await answer_to(["application/json", "text/*"], "Content-Type: image/png")
    assert answer.status == 415
    assert answer.fields["accept"] == "application/json, text/*"
    assert "accept-patch" not in answer.fields
    assert answer.fields["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["detail"] == "This media type is not accepted here."


async def test_patch_is_told_in_its_own_field() -> None:
    answer = await answer_to(["application/merge-patch+json"], "Content-Type: image/png", method="PATCH")
    assert answer.fields["accept-patch"] == "application/merge-patch+json"


async def test_a_body_that_says_not_what_it_is() -> None:
    assert (await answer_to(["*/*"])).status == 415


async def test_a_body_that_says_it_twice() -> None:
    assert (await answer_to(["*/*"], "Content-Type: a/b", "Content-Type: a/b")).status == 415


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_without_a_body_needs_no_type(method: str) -> None:
    assert (await answer_to(["application/json"], method=method, body=b"")).status == 200


async def test_a_body_of_unknown_length_is_one() -> None:
    request = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    typed = request.replace(b"\r\n\r\n", b"\r\nContent-Type: a/b\r\n\r\n", 1)
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"content_types": ["a/b"]}) as to:
        async with RawClient(to.port) as client:
            assert (await client.request(request)).status == 415
            assert (await client.request(typed)).status == 200
        assert [each.body for each in upstream.requests] == [b"{}"]


async def test_the_body_is_not_waited_for() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"content_types": ["a/b"]}) as to:
        async with RawClient(to.port) as client:
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            answer = await client.request(head)
            assert (answer.status, answer.interim) == (415, [])
        assert not upstream.requests


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        (["json"], 'expected a media type such as "application/json"'),
        (["*/json"], "expected a media type"),
        (["a/*b*"], "expected a media type"),
        (["a/b; c=d"], "remove the part after the type"),
        (["a/b", "A/B"], 'content_types[1]: "a/b" is listed twice'),
    ],
)
def test_types_that_cannot_be(ranges: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"content_types": ranges}))
    assert said in str(caught.value)


def test_a_route_switches_the_default_off() -> None:
    data: dict[str, Any] = proxy_config(1, route={"content_types": False})
    data["defaults"] = {"content_types": ["a/b"]}
    assert GatewayConfig.from_dict(data).routes[0].content_types == []
