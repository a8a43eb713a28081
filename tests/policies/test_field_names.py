"""Field names that servers take for the same: what the gateway sends or removes is not said by a client in any of them.

CGI, WSGI and PHP make one variable of a name, whatever stands in it beside letters and digits.
"""

from typing import Any

import pytest
from policies.test_api_keys import OTHER, SECRET, configured, get

from fastgate import Policy, Request
from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config, start_gateway

PASS = {"field_names": "pass"}
SPELLED = ("X-Auth-User", "x_auth_user", "X.Auth.User", "X-Auth.User", "x~AUTH|user", "X_Auth-User")


def forged(*names: str, value: str = "root") -> bytes:
    return get("/", *(f"{name}: {value}" for name in names), "X-Auth-Users: 1", "X.Auth.Used: 2")


async def sent(request: bytes, settings: dict[str, Any]) -> list[tuple[str, str]]:
    """What the upstream got of the fields about users."""
    async with RecordingUpstream() as upstream:
        settings["upstreams"]["backend"]["targets"] = [f"127.0.0.1:{upstream.port}"]
        async with start_gateway(settings) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(request)).status == 200
        pairs = upstream.requests[0].fields.pairs
        return [pair for pair in pairs if "auth" in pair[0].lower() or "api" in pair[0].lower()]


BESIDE = [("X-Auth-Users", "1"), ("X.Auth.Used", "2")]


@pytest.mark.parametrize("named", ["X-Auth-User", "x_auth_user", "X.Auth-User"])
async def test_what_a_route_sets_or_removes_goes_in_every_spelling(named: str) -> None:
    for edits, added in (({"remove": [named]}, []), ({"set": {named: "ann"}}, [(named, "ann")])):
        settings = proxy_config(1, gateway=PASS, route={"request_headers": edits})
        assert await sent(forged(*SPELLED), settings) == BESIDE + added


async def test_what_a_route_adds_stands_beside_what_the_client_says() -> None:
    settings = proxy_config(1, gateway=PASS, route={"request_headers": {"add": {"x-auth-user": "ann"}}})
    assert await sent(get("/", "X_Auth_User: bob"), settings) == [("X_Auth_User", "bob"), ("x-auth-user", "ann")]


async def test_in_answers_a_name_is_that_name_only() -> None:
    edits = {"remove": ["x-auth-user"]}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"response_headers": edits}) as gateway:
        upstream.script(b"HTTP/1.1 204 No Content\r\nX_Auth_User: a\r\nX-AUTH-User: b\r\n\r\n")
        async with RawClient(gateway.port) as client:
            answer = await client.request(get())
    assert [name for name in answer.fields.names if "auth" in name] == ["x_auth_user"]


async def test_nothing_of_it_is_needed_by_default() -> None:
    assert await sent(forged(*SPELLED[1:]), proxy_config(1)) == BESIDE[:1]


class Sets(Policy):
    def on_request(self, request: Request) -> None:
        request.headers["X-Auth-User"] = "ann"


class Removes(Policy):
    def on_request(self, request: Request) -> None:
        request.headers.remove("x_auth.user")


@pytest.mark.parametrize(("kind", "added"), [("Sets", [("X-Auth-User", "ann")]), ("Removes", [])])
async def test_what_a_plugin_sets_or_removes_goes_in_every_spelling(kind: str, added: list[tuple[str, str]]) -> None:
    settings = proxy_config(1, gateway=PASS, route={"policies": [{"use": "p"}]})
    settings["plugins"] = [{"name": "p", "use": f"policies.test_field_names:{kind}"}]
    assert await sent(forged(*SPELLED), settings) == BESIDE + added


@pytest.mark.parametrize("hide", [True, False])
async def test_a_key_that_is_taken_away_leaves_no_other_in_its_place(hide: bool) -> None:
    request = get("/", f"X-Api-Key: {SECRET}", f"X_Api_Key: {OTHER}", "x.api.key: z", "X-Api-Keys: 1")
    left = [("X-Api-Key", SECRET), ("X_Api_Key", OTHER), ("x.api.key", "z")] if not hide else []
    settings = configured(1, where={"hide": hide}, gateway=PASS)
    assert await sent(request, settings) == [*left, ("X-Api-Keys", "1")]


async def test_trailers_say_nothing_in_any_spelling() -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        + b"".join(b"%b: root\r\n" % name.encode() for name in SPELLED) + b"\r\n"
    )
    settings = proxy_config(1, gateway=PASS)
    async with RecordingUpstream() as upstream:
        settings["upstreams"]["backend"]["targets"] = [f"127.0.0.1:{upstream.port}"]
        async with start_gateway(settings) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(request)).status == 200
    assert upstream.requests[0].body == b"a"
    assert "root" not in repr(upstream.requests[0])
    assert not upstream.requests[0].trailers.pairs


def test_the_old_key_names_the_new_one() -> None:
    with pytest.raises(ConfigError, match='underscore_headers: unknown key, did you mean "field_names"'):
        GatewayConfig.from_dict({"gateway": {"underscore_headers": "pass"}})


@pytest.mark.parametrize("place", ["routes", "defaults"])
def test_proxy_cannot_be_set(place: str) -> None:
    settings = proxy_config(1)
    target = settings["routes"][0] if place == "routes" else settings.setdefault("defaults", {})
    target["request_headers"] = {"set": {"Proxy": "a"}}
    with pytest.raises(ConfigError, match=r"request_headers.set.Proxy: Proxy is never forwarded") as caught:
        GatewayConfig.from_dict(settings)
    assert len(caught.value.problems) == 1
    target["request_headers"] = {"remove": ["Proxy"]}
    GatewayConfig.from_dict(settings)
