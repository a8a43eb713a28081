"""Rate limits as a client sees them: what passes, what is refused, and what the fields of answers say."""

import asyncio

import pytest
from traffic.support import route_to, statuses
from wire.support import GET, by_id, check_problem, head, post, served

from fastgate.testing import RawClient, respond

pytestmark = pytest.mark.usefixtures("either_store")

HOUR = "1h"


def limited(limit, **route):
    return route_to("backend", rate_limit=limit, **route)


def get(*lines: str, target: str = "/") -> bytes:
    return head(*lines, target=target)


def quotas(response) -> tuple[str | None, str | None]:
    return response.fields.get("ratelimit-policy"), response.fields.get("ratelimit")


# --- what answers say ---


async def test_answers_carry_policy_and_what_is_left(traffic):
    client = await traffic.serve(limited({"rate": 3, "per": HOUR}))
    seen = [await client.request(GET) for _ in range(4)]
    assert [each.status for each in seen] == [200, 200, 200, 429]
    assert {each.fields["ratelimit-policy"] for each in seen} == {'"default";q=3;w=3600'}
    left = [each.fields["ratelimit"].split(";") for each in seen]
    assert [(name, remaining) for name, remaining, _ in left] == [('"default"', f"r={n}") for n in (2, 1, 0, 0)]
    # Until the bucket is full: one every 1200 s.
    assert [each[2] for each in left] == ["t=1200", "t=2400", "t=3600", "t=3600"]
    assert not any("x-ratelimit-limit" in each.fields for each in seen)
    refused = seen[3]
    assert refused.fields["retry-after"] == "1200"
    problem = check_problem(refused, 429)
    assert problem["title"] == "Too Many Requests"
    assert len(traffic.upstream.requests) == 3
    assert await traffic.ends(4) == [(200, "ok")] * 3 + [(429, "rate_limited")]


async def test_burst_is_what_passes_at_once(traffic):
    client = await traffic.serve(limited({"rate": 2, "per": HOUR, "burst": 5, "name": "slow"}))
    responses = [await client.request(GET) for _ in range(6)]
    assert [each.status for each in responses] == [200] * 5 + [429]
    assert {each.fields["ratelimit-policy"] for each in responses} == {'"slow";q=2;w=3600;burst=5'}
    assert [each.fields["ratelimit"].split(";")[1] for each in responses] == ["r=4", "r=3", "r=2", "r=1", "r=0", "r=0"]
    assert responses[5].fields["retry-after"] == "1800"


async def test_retry_after_is_true(traffic):
    """Who comes back when it says is admitted."""
    client = await traffic.serve(limited({"rate": 2, "per": "2s", "burst": 1}))
    assert await statuses(client, 1) == [200]
    refused = await client.request(GET)
    assert (refused.status, refused.fields["retry-after"]) == (429, "1")
    await asyncio.sleep(1)
    assert await statuses(client, 2) == [200, 429]


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window_log"])
async def test_windows_and_logs(traffic, algorithm):
    client = await traffic.serve(limited({"algorithm": algorithm, "rate": 3, "per": "366d"}))
    responses = [await client.request(GET) for _ in range(5)]
    assert [each.status for each in responses] == [200, 200, 200, 429, 429]
    assert {each.fields["ratelimit-policy"] for each in responses} == {'"default";q=3;w=31622400'}
    assert [each.fields["ratelimit"].split(";")[1] for each in responses] == ["r=2", "r=1", "r=0", "r=0", "r=0"]
    for refused in responses[3:]:
        check_problem(refused, 429)
        after = int(refused.fields["retry-after"])
        assert 0 < after <= 366 * 86400
        assert refused.fields["ratelimit"].endswith(f";t={after}")
    if algorithm == "sliding_window_log":
        assert int(responses[3].fields["retry-after"]) > 366 * 86400 - 60


async def test_a_fixed_window_opens_again(traffic):
    client = await traffic.serve(limited({"algorithm": "fixed_window", "rate": 1, "per": "1s"}))
    for _ in range(2):
        refused = await client.request(GET)
        while refused.status == 200:
            refused = await client.request(GET)
        assert refused.fields["retry-after"] == "1"
        await asyncio.sleep(1)
    assert (await client.request(GET)).status == 200


async def test_a_sliding_log_lets_one_in_for_each_that_leaves(traffic):
    client = await traffic.serve(limited({"algorithm": "sliding_window_log", "rate": 2, "per": "1s"}))
    assert await statuses(client, 1) == [200]
    await asyncio.sleep(0.5)
    assert await statuses(client, 2) == [200, 429]
    await asyncio.sleep(0.6)
    assert await statuses(client, 2) == [200, 429]


async def test_legacy_fields(traffic):
    client = await traffic.serve(limited({"rate": 2, "per": HOUR, "legacy_headers": True}))
    expected = [("2", "1", "1800"), ("2", "0", "3600"), ("2", "0", "3600")]
    for each in expected:
        response = await client.request(GET)
        found = [response.fields[f"x-ratelimit-{part}"] for part in ("limit", "remaining", "reset")]
        assert tuple(found) == each
    assert response.status == 429


async def test_a_rate_below_one_is_a_longer_window(traffic):
    client = await traffic.serve(limited({"rate": 0.5, "per": "1m"}))
    responses = [await client.request(GET) for _ in range(2)]
    assert [each.status for each in responses] == [200, 429]
    assert responses[0].fields["ratelimit-policy"] == '"default";q=1;w=120'
    assert responses[1].fields["retry-after"] == "120"


async def test_answers_without_a_limit_say_nothing(traffic):
    client = await traffic.serve(route_to("backend"))
    response = await client.request(GET)
    assert not any("ratelimit" in name for name in response.fields.names)


async def test_a_request_that_no_limit_was_asked_for_is_told_nothing_of_the_one_before(traffic):
    """Refused before the limits, on a connection whose last request they counted."""
    client = await traffic.serve(limited({"rate": 9, "per": HOUR}, max_body="10B"))
    counted = await client.request(GET)
    refused = await client.request(post(b"x" * 11))
    assert (counted.status, refused.status) == (200, 413)
    assert "ratelimit" in counted.fields
    assert quotas(refused) == (None, None)


async def test_answers_of_failures_carry_the_fields_too(traffic):
    client = await traffic.serve(limited({"rate": 3, "per": HOUR}), upstreams={"backend": [traffic.refusing_port()]})
    response = await client.request(GET)
    check_problem(response, 502)
    assert quotas(response) == ('"default";q=3;w=3600', '"default";r=2;t=1200')


# --- keys ---

KEYS = {
    "header": ("header:X-User", get("X-User: a"), get("X-User: b"), get("x-user: a")),
    "cookie": ("cookie:sid", get("Cookie: x=1; sid=a"), get("Cookie: x=1; sid=b"), get("Cookie: sid=a; x=2")),
    "param": ("param:id", get(target="/u/a"), get(target="/u/b"), get(target="/u/%61")),
    "two": (
        ["header:x-user", "param:id"],
        get("X-User: a", target="/u/a"),
        get("X-User: a", target="/u/b"),
        get("X-User: a", target="/u/a?b"),
    ),
}


@pytest.mark.parametrize(("key", "one", "other", "same"), **by_id(KEYS))
async def test_what_is_counted_apart(traffic, key, one, other, same):
    client = await traffic.serve(
        limited({"rate": 1, "per": HOUR, "key": key}, path="/u/{id}"),
        limited({"rate": 1, "per": HOUR, "key": key}) if "param" not in str(key) else route_to("backend"),
    )
    seen = [(await client.request(each)).status for each in (one, other, same, other)]
    assert seen == [200, 200, 429, 429]


async def test_parts_of_a_key_are_not_run_together(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR, "key": ["header:a", "header:b"]}))
    for lines in (["A: xy", "B: z"], ["A: x", "B: yz"], ["A: xyz"], ["B: xyz"]):
        assert (await client.request(get(*lines))).status == 200
        assert (await client.request(get(*lines))).status == 429


@pytest.mark.parametrize("key", ["header:x-user", "cookie:sid"])
async def test_requests_without_the_field_share_one_count(traffic, key):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR, "key": key}))
    other = get("X-Other: a", "Cookie: other=sid")
    assert [(await client.request(each)).status for each in (GET, other)] == [200, 429]


async def test_client_ip_is_the_default_and_that_of_trusted_proxies_is_believed(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}), gateway={"trusted_proxies": ["127.0.0.1"]})

    async def status(address: str) -> int:
        return (await client.request(get(f"X-Forwarded-For: {address}"))).status

    assert [await status("192.0.2.1"), await status("192.0.2.2"), await status("192.0.2.1")] == [200, 200, 429]
    # IPv6: a network of 64 bits is one client, however it is spelled.
    assert [await status("2001:db8::1"), await status("2001:0DB8:0:0:ffff::2")] == [200, 429]
    assert [await status("2001:db8:0:1::1"), await status("2001:db8:0:1::2")] == [200, 429]


async def test_an_address_that_nobody_trusted_sends_is_not_believed(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}))
    seen = [(await client.request(get(f"X-Forwarded-For: 192.0.2.{n}"))).status for n in range(2)]
    assert seen == [200, 429]


async def test_clients_of_two_addresses(traffic):
    await traffic.serve(limited({"rate": 1, "per": HOUR}))
    for source in ("127.0.0.1", "127.0.0.2"):
        async with RawClient(traffic.gateway.port, source=(source, 0)) as client:
            assert await statuses(client, 2) == [200, 429]


async def test_each_route_counts_for_itself_and_global_over_all(traffic):
    one = {"rate": 1, "per": HOUR, "key": "route"}
    every = {"rate": 1, "per": HOUR, "key": "global"}
    client = await traffic.serve(
        limited(one, path="/a/*"), limited(one, path="/b/*"), limited(every, path="/c/*"), limited(every, path="/d/*")
    )
    seen = {path: await statuses(client, 2, get(target=path)) for path in ("/a/", "/b/", "/c/", "/d/")}
    assert seen == {"/a/": [200, 429], "/b/": [200, 429], "/c/": [200, 429], "/d/": [429, 429]}
    # By client_ip, which is not said: the routes are apart too.
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}, path="/a"), limited({"rate": 1, "per": HOUR}))
    assert [await statuses(client, 2, get(target=path)) for path in ("/a", "/b")] == [[200, 429]] * 2


async def test_defaults_hold_for_each_route_that_has_none(traffic):
    client = await traffic.serve(
        route_to("backend", path="/a"),
        route_to("backend", path="/b"),
        route_to("backend", path="/none", rate_limit=False),
        limited({"rate": 2, "per": HOUR}, path="/own"),
        defaults={"rate_limit": {"rate": 1, "per": HOUR}},
    )
    seen = {path: await statuses(client, 3, get(target=path)) for path in ("/a", "/b", "/none", "/own")}
    assert seen == {"/a": [200, 429, 429], "/b": [200, 429, 429], "/none": [200] * 3, "/own": [200, 200, 429]}


async def test_a_default_with_a_global_key_is_one_count(traffic):
    client = await traffic.serve(
        route_to("backend", path="/a"),
        route_to("backend", path="/b"),
        defaults={"rate_limit": {"rate": 2, "per": HOUR, "key": "global"}},
    )
    assert [(await client.request(get(target=path))).status for path in ("/a", "/b", "/a", "/b")] == [
        200,
        200,
        429,
        429,
    ]


# --- several at once ---


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window_log"])
async def test_a_refusal_takes_nothing_from_the_others(traffic, algorithm):
    client = await traffic.serve(
        limited(
            [
                {"algorithm": algorithm, "rate": 3, "per": "300d", "key": "route"},
                {"rate": 1, "per": HOUR, "key": "header:x-user"},
            ]
        )
    )
    a, b, c, d = (get(f"X-User: {name}") for name in "abcd")
    assert await statuses(client, 5, a) == [200, 429, 429, 429, 429]
    assert [(await client.request(each)).status for each in (b, c, d)] == [200, 200, 429]
    assert len(traffic.upstream.requests) == 3


async def test_fields_of_several(traffic):
    client = await traffic.serve(
        limited(
            [
                {"rate": 5, "per": HOUR, "legacy_headers": True},
                {"rate": 2, "per": "1d", "legacy_headers": True, "name": "day"},
            ]
        )
    )
    response = await client.request(GET)
    assert quotas(response) == ('"1";q=5;w=3600, "day";q=2;w=86400', '"1";r=4;t=720, "day";r=1;t=43200')
    # The older fields can tell of one: the one with the least left.
    assert (response.fields["x-ratelimit-limit"], response.fields["x-ratelimit-remaining"]) == ("2", "1")
    assert await statuses(client, 1) == [200]
    refused = await client.request(GET)
    assert refused.status == 429
    assert refused.fields["retry-after"] == "43200"
    assert refused.fields["ratelimit"] == '"1";r=2;t=2160, "day";r=0;t=86400'


async def test_what_the_first_refuses_does_not_count_in_the_second(traffic):
    client = await traffic.serve(
        limited([{"rate": 1, "per": HOUR, "key": "header:x-user"}, {"rate": 2, "per": HOUR, "key": "route"}])
    )
    assert await statuses(client, 4, get("X-User: a")) == [200, 429, 429, 429]
    assert await statuses(client, 1, get("X-User: b")) == [200]
    assert await statuses(client, 1, get("X-User: c")) == [429]


async def test_dry_run_counts_and_refuses_nothing(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR, "dry_run": True, "legacy_headers": True}))
    responses = [await client.request(GET) for _ in range(4)]
    assert [each.status for each in responses] == [200] * 4
    assert not any("ratelimit" in name for each in responses for name in each.fields.names)
    assert traffic.gateway.metrics()["rate_exceeded"] == 3
    assert traffic.gateway.metrics()["rate_limited"] == 0


async def test_a_dry_run_beside_a_limit_that_refuses(traffic):
    """What the dry run did not admit is not given back to it: it goes on to count what it would have refused."""
    client = await traffic.serve(
        limited([{"rate": 2, "per": HOUR, "dry_run": True}, {"rate": 3, "per": HOUR, "key": "route", "name": "all"}])
    )
    responses = [await client.request(GET) for _ in range(6)]
    assert [each.status for each in responses] == [200] * 3 + [429] * 3
    assert quotas(responses[0]) == ('"all";q=3;w=3600', '"all";r=2;t=1200')
    # The third, and the three that were refused by the other.
    assert traffic.gateway.metrics()["rate_exceeded"] == 4


# --- methods and bodies ---


async def test_head(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}))
    data = head(method="HEAD")
    assert (await client.request(data)).status == 200
    refused = await client.request(data)
    assert (refused.status, refused.body, refused.fields["ratelimit"]) == (429, b"", '"default";r=0;t=3600')
    assert int(refused.fields["content-length"]) > 0
    assert (await client.request(GET)).status == 429


async def test_a_short_body_of_a_refused_request_is_dropped_and_the_connection_kept(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}))
    await served(client, GET)
    for data in (post(b"x" * 40_000), post(b"hello"), GET):
        response = await served(client, data, 429)
        check_problem(response, 429)
    await client.send(post(b"x" * 60_000)[:-60_000])
    assert (await client.response("POST")).status == 429
    await client.send(b"x" * 60_000)
    await served(client, GET, 429)
    assert len(traffic.upstream.requests) == 1


async def test_a_long_body_of_a_refused_request_ends_in_a_lingering_close(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}))
    await served(client, GET)
    await client.send(head("Content-Length: 1000000", method="POST") + b"x" * 300_000)
    response = await client.response("POST")
    check_problem(response, 429)
    assert response.fields["connection"] == "close"
    await client.send(b"x" * 300_000)
    assert await client.wait_closed() == "eof"


async def test_expect_continue_is_refused_without_100(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}))
    data = head("Expect: 100-continue", "Content-Length: 5", method="POST")
    await client.send(data)
    await traffic.upstream.request(0)
    await client.send(b"hello")
    response = await client.response("POST")
    assert (response.status, len(response.interim)) == (200, 1)
    refused = await client.request(data)
    assert (refused.status, refused.interim) == (429, [])
    assert refused.fields["connection"] == "close"
    assert len(traffic.upstream.requests) == 1


async def test_pipelined(traffic):
    client = await traffic.serve(limited({"rate": 5, "per": HOUR}))
    await client.send(GET * 8)
    responses = [await client.response() for _ in range(8)]
    assert [each.status for each in responses] == [200] * 5 + [429] * 3
    assert [each.fields["ratelimit"].split(";")[1] for each in responses] == [
        f"r={n}" for n in (4, 3, 2, 1, 0, 0, 0, 0)
    ]
    assert len(traffic.upstream.requests) == 5


async def test_a_limit_comes_before_the_body_is_buffered(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR}, buffer_request=True))
    await served(client, post(b"hello"))
    await client.send(head("Content-Length: 5", method="POST"))
    assert (await client.response("POST")).status == 429


async def test_what_is_not_matched_counts_nowhere(traffic):
    client = await traffic.serve(limited({"rate": 1, "per": HOUR, "key": "global"}, path="/a", methods=["GET"]))
    assert await statuses(client, 2, get(target="/b")) == [404, 404]
    assert await statuses(client, 2, post(b"", target="/a")) == [405, 405]
    assert await statuses(client, 2, get(target="/a")) == [200, 429]


async def test_a_limit_on_a_fixed_answer(traffic):
    client = await traffic.serve({"respond": {"body": "ok"}, "rate_limit": {"rate": 1, "per": HOUR}}, upstreams={})
    response = await client.request(GET)
    assert (response.status, response.body) == (200, b"ok")
    assert response.fields["ratelimit"] == '"default";r=0;t=3600'
    check_problem(await client.request(GET), 429)


async def test_the_body_of_an_upstreams_own_429_is_its_own(traffic):
    client = await traffic.serve(limited({"rate": 9, "per": HOUR}))
    traffic.upstream.script(respond(b"slow down", "429 Too Many Requests", "Retry-After: 7"))
    response = await client.request(GET)
    assert (response.status, response.body, response.fields["retry-after"]) == (429, b"slow down", "7")
    assert await traffic.ends(1) == [(429, "ok")]
