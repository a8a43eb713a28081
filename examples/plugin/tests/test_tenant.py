"""The tenant policy in a running gateway."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastgate_tenant import TenantPolicy

from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream() as upstream:
        yield upstream


def config(upstream: RecordingUpstream, **options: Any) -> dict[str, Any]:
    plugin = {"name": "tenant", "use": "fastgate_tenant:TenantPolicy", "options": options}
    return {**proxy_config(upstream.port, route={"policies": [{"use": "tenant"}]}), "plugins": [plugin]}


def get(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "host: example.com", *fields, "", ""]).encode()


async def test_the_upstream_is_told_one_spelling(upstream: RecordingUpstream) -> None:
    async with start_gateway(config(upstream, tenants=["acme"])) as gateway, RawClient(gateway.port) as client:
        response = await client.request(get("X-Tenant: ACME"))
    assert response.status == 200
    assert response.fields.get("vary") == "x-tenant"
    assert upstream.requests[0].fields.get_all("x-tenant") == ["acme"]


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [([], 400, "the field x-tenant is missing"), (["x-tenant: initech"], 403, "there is no such tenant")],
)
async def test_others_are_refused_before_the_upstream(
    upstream: RecordingUpstream, fields: list[str], status: int, detail: str
) -> None:
    async with start_gateway(config(upstream, tenants=["acme"])) as gateway, RawClient(gateway.port) as client:
        response = await client.request(get(*fields))
    assert response.status == status
    assert json.loads(response.body)["detail"] == detail
    assert not upstream.requests


async def test_a_tenant_may_be_optional(upstream: RecordingUpstream) -> None:
    async with start_gateway(config(upstream, required=False)) as gateway, RawClient(gateway.port) as client:
        assert (await client.request(get())).status == 200
        assert (await client.request(get("x-tenant: anybody"))).status == 200


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown option tenant$"):
        TenantPolicy({"tenant": ["acme"]})
