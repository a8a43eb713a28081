"""What the answers of a route say of its end."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fastgate.cli import main
from fastgate.config import ConfigError, GatewayConfig
from fastgate.policies.chain import find_warnings
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config, respond, start_gateway
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
ENDING = {"since": "2026-01-01", "sunset": "2099-01-01", "link": "https://example.com/v2"}
DEPRECATION, SUNSET = "@1767225600", "Thu, 01 Jan 2099 00:00:00 GMT"
LINK = '<https://example.com/v2>; rel="deprecation", <https://example.com/v2>; rel="sunset"'
NAMES = ("deprecation", "sunset", "link")


async def answer_of(
    ending: Any, *fields: str, request: bytes = GET, **route: Any
) -> tuple[RecordedResponse, dict[str, list[str]]]:
    """The answer of a route to an upstream that sends these fields; and of those that this is about, each value."""
    async with RecordingUpstream(default=respond(b"x", "200 OK", *fields)) as upstream:
        async with gateway_to(upstream.port, route={"deprecation": ending, **route}) as to:
            async with RawClient(to.port) as client:
                answer = await client.request(request)
    return answer, {name: answer.fields.get_all(name) for name in NAMES}


async def test_every_answer_says_it() -> None:
    answer, said = await answer_of(ENDING)
    assert (answer.status, answer.body) == (200, b"x")
    assert said == {"deprecation": [DEPRECATION], "sunset": [SUNSET], "link": [LINK]}


async def test_only_what_is_known_is_said() -> None:
    assert (await answer_of({"since": "2026-01-01"}))[1] == {"deprecation": [DEPRECATION], "sunset": [], "link": []}
    _, said = await answer_of({"since": "2026-01-01", "link": "https://e.com/"})
    assert said == {"deprecation": [DEPRECATION], "sunset": [], "link": ['<https://e.com/>; rel="deprecation"']}


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ({"ip": {"deny": ["127.0.0.1"]}}, 403),
        ({"maintenance": {"enabled": True, "body": "later"}}, 503),
        ({"max_body": 1}, 413),
        ({"upstream": "", "respond": {"status": 404}}, 404),
        ({"upstream": "", "redirect": {"to": "/b"}}, 308),
    ],
)
async def test_refusals_and_answers_of_the_gateway_say_it_too(route: dict[str, Any], status: int) -> None:
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxx"
    data = proxy_config(1, route={"deprecation": ENDING, **route})
    data["routes"][0] = {key: value for key, value in data["routes"][0].items() if value != ""}
    async with start_gateway(data) as to, RawClient(to.port) as client:
        answer = await client.request(post)
    assert answer.status == status
    assert [answer.fields[name] for name in NAMES] == [DEPRECATION, SUNSET, LINK]


async def test_an_upstream_that_fails() -> None:
    async with RecordingUpstream() as upstream:
        port = upstream.port
    async with gateway_to(port, route={"deprecation": ENDING}) as to, RawClient(to.port) as client:
        answer = await client.request(GET)
    assert (answer.status, answer.fields["deprecation"]) == (502, DEPRECATION)


async def test_the_upstreams_own_dates_stay_and_its_links_too() -> None:
    own = ["DEPRECATION: @1", "Sunset: Fri, 01 Jan 2027 00:00:00 GMT", 'Link: </2>; rel="next"']
    _, said = await answer_of(ENDING, *own)
    assert said["deprecation"] == ["@1"]
    assert said["sunset"] == ["Fri, 01 Jan 2027 00:00:00 GMT"]
    assert sorted(said["link"]) == sorted(['</2>; rel="next"', LINK])


async def test_response_headers_of_the_route_go_first() -> None:
    _, said = await answer_of(ENDING, response_headers={"set": {"sunset": "never"}})
    assert (said["sunset"], said["deprecation"]) == (["never"], [DEPRECATION])


async def test_pages_of_other_origins_can_be_shown_them() -> None:
    request = GET.replace(b"\r\n\r\n", b"\r\nOrigin: https://a.example\r\n\r\n")
    answer, _ = await answer_of(ENDING, request=request, cors={"origins": "*", "expose": "*"})
    shown = answer.fields["access-control-expose-headers"]
    assert shown == "*" or {*NAMES} <= {name.strip() for name in shown.split(",")}


async def test_a_route_that_is_not_to_end_says_nothing() -> None:
    data = proxy_config(1, route={"respond": {}, "deprecation": False})
    del data["routes"][0]["upstream"]
    data["defaults"] = {"deprecation": ENDING}
    async with start_gateway(data) as to, RawClient(to.port) as client:
        answer = await client.request(GET)
    assert not {*NAMES} & {*answer.fields.names}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "deprecation.since: is missing"),
        ({"since": "yesterday"}, 'deprecation.since: expected a day such as "2027-01-01"'),
        ({"since": "2026-01-02", "sunset": "2026-01-01"}, "deprecation.sunset: is before since: it cannot end before"),
        ({"since": "2026-01-01", "link": "/v2"}, 'deprecation.link: expected a URL such as "https://example.com/v2"'),
        ({"since": "2026-01-01", "link": "https://a/>; x"}, "deprecation.link: expected a URL"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"deprecation": settings}))
    assert f"routes[0].{said}" in str(caught.value)


def test_a_day_of_toml_is_one_and_a_time_is_none() -> None:
    text = '[[routes]]\nname = "a"\npath = "/"\nrespond = {}\ndeprecation = { since = %s }\n'
    config = GatewayConfig.from_dict(tomllib.loads(text % "2026-01-01"))
    assert config.routes[0].deprecation is not None
    assert config.routes[0].deprecation.since == "2026-01-01"
    with pytest.raises(ConfigError, match="expected a day such as"):
        GatewayConfig.from_dict(tomllib.loads(text % "2026-01-01T00:00:00Z"))


def test_a_sunset_in_the_past_is_told_once_where_it_is_written() -> None:
    past = {"since": "2020-01-01", "sunset": "2021-01-01"}
    data = {**proxy_config(1, route={"deprecation": past}), "defaults": {"deprecation": past}}
    told = "is in the past: clients take this route for one that is gone"
    assert find_warnings(GatewayConfig.from_dict(data), data) == [
        (("defaults", "deprecation", "sunset"), told),
        (("routes", 0, "deprecation", "sunset"), told),
    ]


def test_check_and_routes_tell_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[[routes]]\nname = "v1"\npath = "/"\nrespond = {}\n[routes.deprecation]\nsince = 2020-01-01\n'
        'sunset = 2021-01-01\n[[routes]]\nname = "v2"\npath = "/2"\nrespond = {}\ndeprecation = {since = 2020-01-01}\n'
    )
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert checked.exit_code == 0
    assert "a.toml:7: warning: routes[0].deprecation.sunset: is in the past" in checked.output
    rows = CliRunner().invoke(main, ["routes", str(path)]).output.splitlines()[1:]
    assert [row.partition("answers 200  ")[2] for row in rows] == [
        "deprecated since 2020-01-01, ends on 2021-01-01",
        "deprecated since 2020-01-01",
    ]
