"""The shape of the gateway's own errors: the route's, that of the longest prefix of the path, the runtime's."""

from typing import Any

import pytest
from core.playbook import World, answer, get, status_of, world

from fastgate._core.exchange.problems import HtmlPages, ProblemDetails
from fastgate._core.probes.ends import Shape

BROKEN = b"GET /v1/x\r\n\r\n"
ELSEWHERE: dict[str, dict[str, Any]] = {"/elsewhere": {}}


def refuses(_: object) -> None:
    raise ValueError("mine")


def said(play: World, request: bytes) -> str:
    """The body of the answer to one request."""
    return play.client().ask(request).partition(b"\r\n\r\n")[2].decode()


def shapes() -> dict[str, Any]:
    return {
        "problems": [Shape("runtime")],
        "problems_below": [("/v1/", Shape("v1")), ("/v1/deep", Shape("deep")), ("/declines", Shape("", declines=True))],
    }


def test_the_route_comes_first_then_the_longest_prefix_then_the_runtime() -> None:
    routes: dict[str, dict[str, Any]] = {
        "/v1/mine": {"problems": Shape("route"), "on_request": [refuses]},
        "/v1/plain": {"on_request": [refuses]},
        "/elsewhere": {"on_request": [refuses]},
        "/declines/mine": {"problems": Shape("", declines=True), "on_request": [refuses]},
    }
    failed = "A policy of this route failed."
    nowhere = "no_route 404, no route, head: No route matches this request."
    with world(routes, **shapes()) as play:
        assert said(play, get(b"/v1/mine")) == f"route: policy_failed 500, /v1/mine, head: {failed}"
        assert said(play, get(b"/v1/plain")) == f"v1: policy_failed 500, /v1/plain, head: {failed}"
        assert said(play, get(b"/elsewhere")) == f"runtime: policy_failed 500, /elsewhere, head: {failed}"
        # One that has nothing for this client leaves it to the next.
        assert said(play, get(b"/declines/mine")) == f"runtime: policy_failed 500, /declines/mine, head: {failed}"
        for path, shape in (
            (b"/v1", "v1"), (b"/v1/none?q", "v1"), (b"/v1/deep/x", "deep"), (b"/v1/deeper", "v1"), (b"/v10", "runtime"),
            (b"/declines", "runtime"), (b"/x/v1", "runtime"),
        ):  # fmt: skip
            assert said(play, get(path)) == f"{shape}: {nowhere}"
        play.errors.clear()


def test_a_broken_head_has_the_shape_of_the_runtime() -> None:
    with world(ELSEWHERE, **shapes()) as play:
        assert said(play, BROKEN).startswith("runtime: bad_start_line 400, no route, no head: ")
        client = play.client()
        client.send(b"GET /v1/x HTTP/1.1\r\nHo")
        play.pass_time(11)
        assert client.taken().partition(b"\r\n\r\n")[2].startswith(b"runtime: header_timeout 408, no route, no head: ")
        # A path that is refused has been read.
        assert said(play, get(b"/v1/../..")).startswith("v1: above_root 400, no route, head: ")


def test_a_prefix_may_be_everything() -> None:
    with world(ELSEWHERE, problems_below=[("/", Shape("all")), ("/v1", Shape("v1"))]) as play:
        assert said(play, get(b"/x")).startswith("all: no_route")
        assert said(play, get(b"/v1/x")).startswith("v1: no_route")
        assert '"title":"Bad Request"' in said(play, BROKEN)


def test_what_tells_the_client_what_to_do_is_added_unless_it_is_there() -> None:
    for fields, allow in (((), b"Allow: GET, HEAD"), ([("allow", "mine")], b"allow: mine")):
        with world(ELSEWHERE, problems=[Shape("runtime", fields)]) as play:
            play.route("/only", methods=["GET"])
            refused = play.client().ask(get(b"/only", method=b"PATCH"))
            assert status_of(refused) == 405
            assert [line for line in refused.split(b"\r\n") if line.lower().startswith(b"allow:")] == [allow]


@pytest.mark.parametrize(
    ("problems", "wrong"),
    [([], []), ([Shape("!raises")], ["Shape could not answer no_route: !raises"]), ([Shape("", declines=True)], [])],
)
def test_without_a_shape_there_is_the_status(problems: list[Shape], wrong: list[str]) -> None:
    with world(ELSEWHERE, problems=problems) as play:
        refused = play.client().ask(get(b"/none"))
        assert status_of(refused) == 404
        assert b"\r\nCache-Control: no-store\r\n" in refused
        assert refused.endswith(b"\r\n\r\n")
        assert [message for level, message in play.logged if level == "error"] == wrong
        play.errors.clear()


def test_one_that_raises_leaves_it_to_the_next() -> None:
    with world({"/*": {"problems": Shape("!route"), "on_request": [refuses]}}) as play:
        assert '"title":"Internal Server Error"' in said(play, get())
        assert play.logged[-1] == ("error", "Shape could not answer policy_failed: !route")
        play.errors.clear()


def test_pages_are_for_clients_that_ask_for_them() -> None:
    with world(ELSEWHERE, problems=[HtmlPages(), ProblemDetails()]) as play:
        assert said(play, get(b"/none", b"Accept: text/html,*/*;q=0.8")).startswith("<!doctype html>")
        assert said(play, get(b"/none", b"Accept: application/json")).startswith("{")
        assert said(play, BROKEN).startswith("{")


def test_a_shape_is_not_asked_for_what_an_upstream_answers() -> None:
    with world({"/*": {"problems": Shape("route")}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"broken", status=b"500 Oops"))
        assert client.taken() == answer(b"broken", status=b"500 Oops")
