"""The tenant policy: in plays, step by step without a socket, and in a gateway that runs."""

from pathlib import Path
from typing import Any

import pytest
from fastgate_tenant import TenantPolicy

from fastgate import testing
from fastgate.config import ConfigError


def test_the_upstream_is_told_one_spelling() -> None:
    with testing.playbook(TenantPolicy, options={"tenants": ["acme"]}) as play:
        play.request("GET", "/orders", headers={"X-Tenant": "ACME"})
        play.expect_forward("GET", "/orders", headers={"x-tenant": "acme"})
        play.respond(200, "3 orders")
        play.expect_answer(200, headers={"vary": "x-tenant"}, body="3 orders")


@pytest.mark.parametrize(
    ("headers", "status", "detail"),
    [({}, 400, "the field x-tenant is missing"), ({"x-tenant": "initech"}, 403, "unknown tenant")],
)
def test_others_are_refused_before_the_upstream(headers: dict[str, str], status: int, detail: str) -> None:
    with testing.playbook(TenantPolicy, options={"tenants": ["acme"]}) as play:
        play.request("GET", headers=headers)
        play.expect_answer(status, headers={"cache-control": "no-store"}, json={"status": status, "detail": detail})


def test_a_tenant_may_be_optional() -> None:
    with testing.playbook(TenantPolicy, options={"required": False}) as play:
        play.request("GET").expect_forward(headers={"x-tenant": None}).respond().expect_answer(200)
        play.request("GET", headers={"x-tenant": "anybody"}).expect_forward().respond().expect_answer(200)


def test_a_failure_is_logged_with_its_tenant(caplog: pytest.LogCaptureFixture) -> None:
    with testing.playbook(TenantPolicy) as play:
        play.request("GET", headers={"x-tenant": "acme"}).expect_forward().break_off().expect_answer(502)
    assert "failed for tenant acme: upstream_reset" in caplog.text


def test_what_a_tenant_gets_is_counted() -> None:
    policy = testing.make_policy(TenantPolicy)
    with testing.playbook(policy) as play:
        play.request("GET", headers={"x-tenant": "acme"}).expect_forward().respond(200, "3 orders").expect_answer(200)
        play.request("GET").expect_answer(400)
    assert isinstance(policy, TenantPolicy)
    assert policy.sent == {"acme": 8}


async def test_tenants_are_read_from_a_file_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "tenants"
    file.write_text("acme\n")
    async with testing.run(TenantPolicy, options={"file": str(file), "refresh": "30s"}) as gateway:

        async def ask(tenant: str) -> int:
            return (await gateway.get("/", headers={"x-tenant": tenant})).status

        assert [await ask("acme"), await ask("globex")] == [200, 403]
        file.write_text("acme\nglobex\n")
        assert await ask("globex") == 403
        gateway.clock.advance(30)
        assert await ask("acme") == 200
        policy: Any = gateway.policies[0]
        if policy.reading is not None:
            await policy.reading
        assert await ask("globex") == 200
        assert policy.seen == {"acme": 2, "globex": 1}
        assert [request.headers["x-tenant"] for request in gateway.upstream.requests] == ["acme", "acme", "globex"]


async def test_a_file_that_is_not_there_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="on_startup raised FileNotFoundError"):
        async with testing.run(TenantPolicy, options={"file": str(tmp_path / "nowhere")}):
            pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tenant": ["acme"]}, 'options.tenant: unknown key, did you mean "tenants"?'),
        ({"tenants": "acme"}, "options.tenants: expected `array`, got `str`"),
        ({"refresh": "soon"}, "options.refresh: expected a duration"),
        ({"file": "tenants", "refresh": 0}, "options: refresh must be more than 0 s if a file is set"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        testing.make_policy(TenantPolicy, options)
    assert str(error.value).startswith(said)
