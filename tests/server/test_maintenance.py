"""What operators switch by hand: how it adds up with itself, with the configuration and with reloads."""

from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.server.maintenance import Switches, change_of

Step = tuple[str, list[str]] | tuple[str, list[str], float]


def config(*closed: str, names: str = "abc") -> GatewayConfig:
    routes: list[dict[str, Any]] = [{"name": name, "path": f"/{name}", "upstream": "u"} for name in names]
    for route in routes:
        if route["name"] in closed:
            route["maintenance"] = {"enabled": True, "retry_after": 7, "body": "closed"}
    return GatewayConfig.from_dict({"routes": routes, "upstreams": {"u": {"targets": ["u:1"]}}})


def after(steps: list[Step], written: GatewayConfig) -> Switches:
    switches = Switches()
    for step in steps:
        switches = change_of(step[0], step[1], step[2] if len(step) > 2 else None)(switches, written)
    return switches


def closed(switches: Switches, written: GatewayConfig) -> str:
    return "".join(
        route.name for route in switches.applied(written).routes if route.maintenance and route.maintenance.enabled
    )


@pytest.mark.parametrize(
    ("steps", "written", "left"),
    [
        ([], "", ""),
        ([], "b", "b"),
        ([("on", [])], "", "abc"),
        ([("on", ["a"])], "", "a"),
        ([("on", ["a"]), ("on", ["c"])], "b", "abc"),
        ([("on", ["a"]), ("off", ["a"])], "", ""),
        ([("on", []), ("off", [])], "", ""),
        ([("on", []), ("off", ["b"])], "", "ac"),
        ([("on", []), ("off", ["b"]), ("reset", ["b"])], "", "abc"),
        ([("on", []), ("off", ["b"]), ("on", [])], "", "abc"),
        ([("on", ["a"]), ("off", [])], "", ""),
        ([("off", [])], "b", ""),
        ([("off", ["b"])], "bc", "c"),
        ([("off", ["b"]), ("reset", [])], "bc", "bc"),
        ([("off", []), ("reset", ["b"])], "bc", "b"),
    ],
)
def test_what_is_closed_in_the_end(steps: list[Step], written: str, left: str) -> None:
    assert closed(after(steps, config(*written)), config(*written)) == left


def test_off_does_not_hold_open_what_the_file_closes_later() -> None:
    switches = after([("on", []), ("off", [])], config())
    assert closed(switches, config("b")) == "b"
    assert closed(after([("off", ["b"])], config()), config("b")) == "b"


def test_routes_that_come_later_are_closed_by_all_only() -> None:
    assert closed(after([("on", [])], config()), config(names="abcd")) == "abcd"
    assert closed(after([("on", ["a"])], config()), config(names="abcd")) == "a"


def test_what_was_said_of_routes_that_are_gone_is_forgotten() -> None:
    switches = after([("on", ["a", "b"])], config()).without_unknown_routes(config(names="bc"))
    assert closed(switches, config()) == "b"


def test_the_settings_of_the_route_stay() -> None:
    (a, b, _) = after([("on", [])], config("b")).applied(config("b")).routes
    assert a.maintenance is not None
    assert b.maintenance is not None
    assert (a.maintenance.retry_after, b.maintenance.retry_after, b.maintenance.body) == (300, 7, "closed")
    (a, b, _) = after([("on", ["b"], 60.0)], config("b")).applied(config("b")).routes
    assert a.maintenance is None
    assert b.maintenance is not None
    assert (b.maintenance.retry_after, b.maintenance.body) == (60, "closed")


def test_without_a_switch_the_configuration_is_the_same_object() -> None:
    written = config("b")
    assert Switches().applied(written) is written
