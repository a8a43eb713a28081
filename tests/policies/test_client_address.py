"""Who asks, by word of proxies: addresses in one form, hops that cannot be read, Forwarded, Unix sockets, reloads."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config, respond, start_gateway
from fastgate.testing.http_messages import CutShort, RecordedResponse

TRUSTED = {"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}
SHOWN = {"request_headers": {"set": {"x-ip": "<{client_ip}>"}}}
UNKNOWN = ["unknown", "_hidden", "1.2.3.4:http", "a.test", "6.6.6.6, unknown", "unknown, 10.0.0.1", "::1%", "-"]


def get(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: a.test", *lines, "", ""]).encode("latin-1")


async def ask(to: Gateway | str, *lines: str) -> RecordedResponse:
    async with RawClient(to if isinstance(to, str) else to.port) as client:
        return await client.request(get(*lines))


# -- a hop that cannot be read


@pytest.mark.parametrize("field", ["X-Forwarded-For: {}", "Forwarded: for={}"])
async def test_an_ip_rule_refuses_a_client_that_is_not_known(field: str) -> None:
    rules: dict[str, Any] = {"allow": ["127.0.0.0/8", "10.0.0.0/8"]}
    for rule in (rules, {"deny": ["192.0.2.0/24"]}, {**rules, "deny": ["192.0.2.1"]}):
        async with RecordingUpstream() as upstream:
            async with gateway_to(upstream.port, gateway=TRUSTED, route={"ip": rule}) as gateway:
                for hop in (*UNKNOWN, '"unknown"' if field.startswith("F") else '"1.2.3.4"'):
                    assert (await ask(gateway, field.format(hop))).status == 403, hop
                assert (await ask(gateway)).status == 200
            assert len(upstream.requests) == 1


async def test_limits_count_unknown_clients_under_the_peer() -> None:
    route = {"rate_limit": {"rate": 3, "per": "1h", "key": "client_ip"}}
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway=TRUSTED, route=route) as gateway:
            statuses = [(await ask(gateway, f"X-Forwarded-For: {hop}")).status for hop in ("unknown", "_a", "x", "y")]
            assert statuses == [200, 200, 200, 429]
            assert (await ask(gateway)).status == 429, "the peer itself"
            assert (await ask(gateway, "X-Forwarded-For: 1.2.3.4")).status == 200


@pytest.mark.parametrize("form", ["json", "combined"])
async def test_what_is_said_of_a_client_that_is_not_known(tmp_path: Path, form: str) -> None:
    log = tmp_path / "access.log"
    gateway = {**TRUSTED, "forwarded": True, "access_log": {"path": str(log), "format": form}}
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway=gateway, route=SHOWN) as running:
            await ask(running, "X-Forwarded-For: 6.6.6.6, nobody")
        fields = upstream.requests[0].fields
    assert fields["x-ip"] == "<>"
    assert fields["x-forwarded-for"] == "6.6.6.6, unknown, 127.0.0.1"
    assert [part.partition(";")[0] for part in fields["forwarded"].split(", ")] == [
        "for=6.6.6.6", "for=unknown", "for=127.0.0.1",
    ]
    line = log.read_text()
    assert json.loads(line)["client"] == "-" if form == "json" else line.startswith("- - - [")


async def test_no_decision_about_an_unknown_client_is_kept() -> None:
    async with RecordingUpstream(default=respond(b"", "200 OK")) as service, RecordingUpstream() as upstream:
        settings = proxy_config(upstream.port, gateway=TRUSTED, route={"auth": {"any": ["forward"]}})
        url = f"http://127.0.0.1:{service.port}/"
        cache = {"by": ["client_ip"], "ttl": "1h"}
        settings["auth"] = {"forward": {"url": url, "request_headers": [], "cache": cache}}
        async with start_gateway(settings) as gateway:
            for hop in ("unknown", "unknown", "1.2.3.4", "1.2.3.4", "::ffff:1.2.3.4"):
                assert (await ask(gateway, f"X-Forwarded-For: {hop}")).status == 200
        assert [request.fields.get("x-forwarded-for") for request in service.requests] == [None, None, "1.2.3.4"]


# -- one form


@pytest.mark.parametrize(
    ("told", "form"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"), ("0:0:0:0:0:FFFF:c000:0207", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), ("fe80::1%\xe9", "fe80::1"),
        ("192.0.2.7:4711", "192.0.2.7"),
    ],
)
async def test_an_address_has_one_form(tmp_path: Path, told: str, form: str) -> None:
    log = tmp_path / "access.log"
    limit = {"rate_limit": {"rate": 1, "per": "1h", "key": "client_ip"}}
    gateway = {**TRUSTED, "access_log": {"path": str(log)}}
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway=gateway, route={**SHOWN, **limit}) as running:
            assert (await ask(running, f"X-Forwarded-For: {told}")).status == 200
            assert (await ask(running, f"X-Forwarded-For: {form}")).status == 429
        fields = upstream.requests[0].fields
    assert (fields["x-ip"], fields["x-forwarded-for"]) == (f"<{form}>", f"{form}, 127.0.0.1")
    assert {json.loads(line)["client"] for line in log.read_text().splitlines()} == {form}


async def test_a_proxy_in_ipv6_clothes_is_believed() -> None:
    gateway = {"proxy_protocol": True, **TRUSTED}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=gateway, route=SHOWN) as running:
        async with RawClient(running.port) as client:
            await client.send(b"PROXY TCP6 ::ffff:10.0.0.7 ::1 1000 80\r\n" + get("X-Forwarded-For: 1.2.3.4"))
            assert (await client.response()).status == 200
    assert upstream.requests[0].fields["x-ip"] == "<1.2.3.4>"
    assert upstream.requests[0].fields["x-forwarded-for"] == "1.2.3.4, 10.0.0.7"


# -- Forwarded


@pytest.mark.parametrize(
    ("lines", "client", "scheme", "host"),
    [
        (["Forwarded: for=1.2.3.4"], "1.2.3.4", "http", "a.test"),
        (["forwarded: For=1.2.3.4;Proto=HTTPS;Host=front.test"], "1.2.3.4", "https", "front.test"),
        (['Forwarded: for="[2001:db8::9]:4711";host="front.test:444"'], "2001:db8::9", "http", "front.test:444"),
        (["Forwarded: for=6.6.6.6;proto=https, for=1.2.3.4;proto=http"], "1.2.3.4", "http", "a.test"),
        (["Forwarded: for=1.2.3.4;proto=https, for=10.0.0.1;proto=http"], "1.2.3.4", "https", "a.test"),
        (["Forwarded: for=1.2.3.4", "Forwarded: for=10.0.0.1;proto=https"], "1.2.3.4", "https", "a.test"),
        (["Forwarded: for=1.2.3.4, for=_lb"], "", "http", "a.test"),
        (["Forwarded: for=unknown;proto=https"], "", "https", "a.test"),
        (["Forwarded: proto=https"], "127.0.0.1", "https", "a.test"),
        (["Forwarded: for=1.2.3.4, proto=https"], "", "https", "a.test"),
        (['Forwarded: for="1.2.3.4'], "", "http", "a.test"),
        (["Forwarded: for=1.2.3.4;host=a/b"], "", "http", "a.test"),
        (["Forwarded:"], "127.0.0.1", "http", "a.test"),
        # X-Forwarded-* win, each for what it says.
        (["X-Forwarded-For: 1.2.3.4", "Forwarded: for=6.6.6.6;proto=https;host=x.test"], "1.2.3.4", "http", "a.test"),
        (["X-Forwarded-Proto: https", "Forwarded: for=1.2.3.4"], "1.2.3.4", "https", "a.test"),
        (["X-Forwarded-Proto: http", "Forwarded: for=1.2.3.4;proto=https"], "1.2.3.4", "http", "a.test"),
        (["X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4;proto=https"], "1.2.3.4", "https", "a.test"),
    ],
)
async def test_forwarded_is_believed(lines: list[str], client: str, scheme: str, host: str) -> None:
    route = {**SHOWN, "security_headers": True}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=TRUSTED, route=route) as gateway:
        answer = await ask(gateway, *lines)
        await ask(gateway, *lines, "Connection: x-request-id")
    fields = upstream.requests[0].fields
    assert fields["x-ip"] == f"<{client}>"
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"]) == (scheme, host)
    assert ("strict-transport-security" in answer.fields) == (scheme == "https")


async def test_forwarded_of_untrusted_peers_says_nothing() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=SHOWN) as gateway:
        await ask(gateway, "Forwarded: for=1.2.3.4;proto=https")
    assert upstream.requests[0].fields["x-ip"] == "<127.0.0.1>"
    assert upstream.requests[0].fields["x-forwarded-proto"] == "http"
    assert "forwarded" not in upstream.requests[0].fields


def of_x(fields: Any) -> tuple[list[str], str, str]:
    (nodes,), (scheme,), (host,) = (fields.get_all(f"x-forwarded-{name}") for name in ("for", "proto", "host"))
    return nodes.split(", "), scheme, host


def elements_of(fields: Any) -> list[dict[str, str]]:
    """A reader of Forwarded as an upstream has it."""
    found = []
    for line in fields.get_all("forwarded"):
        for element in line.split(","):
            pairs = [pair.strip().partition("=") for pair in element.split(";")]
            found.append({name.lower(): value.strip('"').strip("[]") for name, _, value in pairs})
    return found


async def test_both_fields_say_the_same() -> None:
    """Whatever trusted peers and clients behind them send: who reads either of them knows the same."""
    draw = random.Random(9)
    nodes = ["1.2.3.4", "5.6.7.8", "10.0.0.1", "2001:db8::1", "unknown", "::ffff:1.2.3.4"]

    def some() -> list[str]:
        return [draw.choice(nodes) for _ in range(draw.randint(1, 3))]

    def element(node: str) -> str:
        parts = [f'for="[{node}]"' if ":" in node else f"for={node}"]
        parts += [f"proto={draw.choice(['http', 'https'])}"] if draw.random() < 0.5 else []
        parts += [f"host={draw.choice(['front.test', 'b.test'])}"] if draw.random() < 0.3 else []
        return ";".join(parts)

    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway={**TRUSTED, "forwarded": True}) as gateway:
            async with RawClient(gateway.port) as client:
                for _ in range(400):
                    chain = some()
                    lines = []
                    if draw.random() < 0.6:
                        lines.append("X-Forwarded-For: " + ", ".join(chain))
                    if draw.random() < 0.5:
                        schemes = ["http", "https", "HTTPS", "gopher", "https, http"]
                        lines.append("X-Forwarded-Proto: " + draw.choice(schemes))
                    if draw.random() < 0.3:
                        lines.append("X-Forwarded-Host: " + draw.choice(["front.test", "b.test:81", "a/b"]))
                    if draw.random() < 0.6:
                        ways = chain if draw.random() < 0.5 else some()
                        lines.append("Forwarded: " + ", ".join(map(element, ways)))
                    draw.shuffle(lines)
                    await client.request(get(*lines))
                    fields = upstream.requests[-1].fields
                    hops, scheme, host = of_x(fields)
                    elements = elements_of(fields)
                    told = [each["for"].removeprefix("::ffff:") for each in elements]
                    assert told == hops, lines
                    # Of the client's element, or of the nearest after it, and of the last.
                    own = max((i for i, hop in enumerate(hops) if not hop.startswith(("10.", "127."))), default=0)
                    for key, value in (("proto", scheme), ("host", host)):
                        said = [each[key] for each in elements[own:] if key in each]
                        assert {said[0], said[-1]} == {value}, lines


async def test_a_port_goes_with_what_is_told() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=TRUSTED) as gateway:
        for lines in (
            ["Forwarded: for=1.2.3.4;proto=https"], ["Forwarded: for=1.2.3.4;host=b.test"],
            ["X-Forwarded-Host: b.test:81"], ["X-Forwarded-Port: 5", "X-Forwarded-Proto: https"],
            ["X-Forwarded-For: 1.2.3.4"], ["X-Forwarded-Port: 7, 8", "X-Forwarded-Port: 9"], ["X-Forwarded-Port: no"],
            ["X-Forwarded-Port: 0"], ["X-Forwarded-Port: 70000", "X-Forwarded-Proto: https"],
        ):
            await ask(gateway, *lines)
        port = str(gateway.port)
    assert [each.fields["x-forwarded-port"] for each in upstream.requests] == [
        "443", "80", "81", "5", port, "7", port, port, "443",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        (["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"], ["1.2.3.4"]),
        (["X-Real-IP: 6.6.6.6", "X-Real-IP: 7.7.7.7", "Forwarded: for=1.2.3.4"], ["1.2.3.4"]),
        (["X-Real-IP: 6.6.6.6", "X-Forwarded-For: unknown"], []),
        (["X-Real-IP: 6.6.6.6"], ["6.6.6.6"]),  # nothing else is told
        (["X-Forwarded-For: 1.2.3.4"], []),
    ],
)
async def test_a_real_ip_says_the_same(told: list[str], sent: list[str]) -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=TRUSTED) as gateway:
        await ask(gateway, *told)
    assert upstream.requests[0].fields.get_all("x-real-ip") == sent


# -- Unix sockets

TOLD = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Request-Id: mine"]


@pytest.mark.parametrize(
    ("word", "believed"), [("unix:", True), ("unix:{}/s", True), ("unix:{}/other", False), ("::/0", False)]
)
async def test_peers_of_a_unix_socket_are_believed_where_named(tmp_path: Path, word: str, believed: bool) -> None:
    settings = {"host": f"unix:{tmp_path}/s", "forwarded": True, "trusted_proxies": [word.format(tmp_path)]}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=settings, route=SHOWN):
        assert (await ask(f"{tmp_path}/s", *TOLD)).status == 200
        assert (await ask(f"{tmp_path}/s")).status == 200
    fields, plain = (request.fields for request in upstream.requests)
    assert fields["x-forwarded-proto"] == ("https" if believed else "http")
    assert fields["x-ip"] == ("<1.2.3.4>" if believed else "<unix:>")
    assert (fields["x-request-id"] == "mine") == believed
    # There is no address to add.
    assert fields.get("x-forwarded-for") == ("1.2.3.4" if believed else None)
    assert fields["forwarded"].partition(";")[0] == ("for=1.2.3.4" if believed else "for=_unix")
    assert "x-forwarded-for" not in plain
    assert plain["forwarded"].partition(";")[0] == "for=_unix"


async def test_a_service_that_is_asked_gets_no_false_address(tmp_path: Path) -> None:
    async with RecordingUpstream(default=respond(b"", "200 OK")) as service, RecordingUpstream() as upstream:
        gateway = {"host": f"unix:{tmp_path}/s"}
        settings = proxy_config(upstream.port, gateway=gateway, route={"auth": {"any": ["forward"]}})
        settings["auth"] = {"forward": {"url": f"http://127.0.0.1:{service.port}/"}}
        async with start_gateway(settings):
            assert (await ask(f"{tmp_path}/s")).status == 200
    assert "x-forwarded-for" not in service.requests[0].fields


@pytest.mark.parametrize(
    ("trusted", "served"), [(["unix:"], True), (["unix:{}/s"], True), (["127.0.0.1"], False), ([], False)]
)
async def test_proxy_protocol_of_a_unix_peer(tmp_path: Path, trusted: list[str], served: bool) -> None:
    settings = {
        "host": f"unix:{tmp_path}/s",
        "proxy_protocol": True,
        "trusted_proxies": [word.format(tmp_path) for word in trusted],
    }
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=settings, route=SHOWN):
        async with RawClient(f"{tmp_path}/s") as client:
            try:
                await client.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n" + get())
                assert (await client.response()).status == 200
            except (ConnectionError, CutShort):
                assert not served
    assert [request.fields["x-ip"] for request in upstream.requests] == ["<1.2.3.4>"] * served


@pytest.mark.parametrize(
    ("word", "said"), [("unix", '"unix:"'), ("unix:s", "absolute"), ("unix:/" + "x" * 120, "at most")]
)
def test_words_that_trust_nobody(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GatewayConfig.from_dict(proxy_config(1, gateway={"trusted_proxies": [word]}))


# -- reloads


async def test_a_reload_takes_trust_away_from_open_connections() -> None:
    async with RecordingUpstream() as upstream:
        settings = proxy_config(upstream.port, gateway=TRUSTED, route=SHOWN)
        async with start_gateway(settings) as gateway, RawClient(gateway.port) as client:
            for trusted in (["127.0.0.1"], [], ["10.0.0.0/8"], ["127.0.0.1"]):
                settings = proxy_config(upstream.port, gateway={"trusted_proxies": trusted}, route=SHOWN)
                await gateway.reload(GatewayConfig.from_dict(settings))
                assert (await client.request(get("X-Forwarded-For: 1.2.3.4"))).status == 200
    shown = [request.fields["x-ip"] for request in upstream.requests]
    assert shown == ["<1.2.3.4>", "<127.0.0.1>", "<127.0.0.1>", "<1.2.3.4>"]
