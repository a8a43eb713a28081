"""JSON Web Tokens through a gateway: who is let in, what the upstream is told, what a refused client is told."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from policies.tokens import (
    SECRET,
    asking,
    assert_refused,
    claims,
    good,
    hs256,
    kind_for,
    private_key,
    public_pem,
    settings,
    standing,
)

from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, start_gateway

HEADER = {"alg": "HS256"}
PLAIN = {"algorithms": ["HS256"], "secret": SECRET}


# --- who is let in


@pytest.mark.parametrize(
    "algorithm",
    [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
        "EdDSA",
    ],
)
async def test_every_algorithm(algorithm: str) -> None:
    if algorithm.startswith("HS"):
        key: Any = SECRET
        table = {"algorithms": [algorithm], "secret": SECRET}
    else:
        key = private_key(kind_for(algorithm))
        table = {"algorithms": [algorithm], "key": public_pem(key)}
    async with standing(table) as stand:
        token = jwt.encode(claims(), key, algorithm)
        assert (await stand.ask(token)).status == 200
        head, _, signature = token.rpartition(".")
        spoiled = ("A" if signature[0] != "A" else "B") + signature[1:]
        assert_refused(await stand.ask(f"{head}.{spoiled}"), "the signature is wrong")
        reason = "the signature is wrong" if algorithm == "HS256" else "the algorithm is not accepted"
        assert_refused(await stand.ask(jwt.encode(claims(), "x" * 64, "HS256")), reason)


async def test_without_a_token_there_is_a_challenge_without_an_error() -> None:
    async with standing() as stand:
        assert_refused(await stand.ask(), None)
        assert_refused(await stand.ask(fields="Authorization: Basic eDp5\r\n"), None)
        assert not stand.upstream.requests


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_in_any_case(scheme: str) -> None:
    async with standing() as stand:
        assert (await stand.ask(fields=f"Authorization: {scheme}  {good()}\r\n")).status == 200


async def test_the_sources_in_their_order() -> None:
    sources = ["header:authorization", "header:x-token", "cookie:token", "query:token"]
    bad = "no.to.ken"
    async with standing({**PLAIN, "from": sources}) as stand:
        token = good()
        assert (await stand.ask(fields=f"X-Token: {token}\r\n")).status == 200
        assert (await stand.ask(fields=f"X-Token: Bearer {token}\r\n")).status == 200
        assert (await stand.ask(fields=f"Cookie: a=b; token={token}; c=d\r\n")).status == 200
        assert (await stand.ask(path=f"/?a=b&token={token}&c")).status == 200
        # The first that has one decides.
        assert (await stand.ask(token, fields=f"X-Token: {bad}\r\n")).status == 200
        assert_refused(await stand.ask(bad, fields=f"X-Token: {token}\r\n"), "the token is malformed")
        assert (await stand.ask(fields=f"Authorization: Basic eDp5\r\nX-Token: {token}\r\n")).status == 200
        assert_refused(await stand.ask(path=f"/?atoken={token}&tokens={token}"), None)


async def test_a_token_elsewhere_is_no_token() -> None:
    async with standing() as stand:
        assert_refused(await stand.ask(fields=f"Cookie: token={good()}\r\n", path=f"/?token={good()}"), None)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ("Authorization: Bearer {t}\r\nAuthorization: Bearer {t}\r\n", "/"),
        ("Authorization: Bearer {t}\r\nAuthorization: Basic eDp5\r\n", "/"),
        ("Authorization: Bearer\r\n", "/"),
        ("Authorization: Bearer \r\n", "/"),
        ("", "/?token={t}&token={t}"),
        ("", "/?token="),
        ("Cookie: token=\r\n", "/"),
        # Whoever is behind the gateway may read the other one.
        ("Cookie: token={t}; a=b; token=no.to.ken\r\n", "/"),
        ("Cookie: token={t}\r\nCookie: token={t}\r\n", "/"),
        ("Cookie: token={t};\ttoken=no.to.ken\r\n", "/"),
        ("Cookie: token={t}; token\t =no.to.ken\r\n", "/"),
        ("", "/?token={t}&%74oken=no.to.ken"),
        ("", "/?token={t}&token"),
    ],
)
async def test_none_and_two_tokens_are_not_one(fields: str, path: str) -> None:
    async with standing({**PLAIN, "from": ["header:authorization", "cookie:token", "query:token"]}) as stand:
        response = await stand.ask(path=path.format(t=good()), fields=fields.format(t=good()))
        assert_refused(response, "the request has no token or more than one")
        assert not stand.upstream.requests


@pytest.mark.parametrize("kind", ["json", "combined"])
async def test_the_log_never_shows_a_token_in_the_query(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream() as upstream:
        config = settings(upstream.port, {**PLAIN, "from": ["query:token", "query:t", "cookie:c"]})
        config["gateway"]["access_log"] = {"path": str(log), "format": kind}
        config["auth"]["key"] = {"query": "k"}
        token = good()
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for path, status in ((f"/?a=1&token={token}&k=x", 200), (f"/?t={token}&%74oken=x&c=3", 401), ("/?c", 401)):
                assert (await client.request(asking(path=path))).status == status
            await client.request(asking(fields=f"Referer: http://h/?a&t={token}\r\n"))
    lines = log.read_text().splitlines()
    assert not [line for line in lines if token in line or "k=x" in line]
    if kind == "json":
        assert [json.loads(line)["query"] for line in lines] == ["a=1", "c=3", "c", None]
    else:
        assert [line.split()[6] for line in lines] == ["/?a=1", "/?c=3", "/?c", "/"]


@pytest.mark.parametrize("kind", ["json", "combined"])
async def test_a_subject_that_is_no_unicode_is_let_in_and_logged(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream() as upstream:
        config = settings(upstream.port, {**PLAIN, "claims_to_headers": {"sub": "x-user"}})
        config["gateway"]["access_log"] = {"path": str(log), "format": kind}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for _ in range(2):
                assert (await client.request(asking(good(sub="a\ud800")))).status == 200
    lines = log.read_text().splitlines()
    if kind == "json":
        assert [json.loads(line)["status"] for line in lines] == [200, 200]
    else:
        assert [line.split()[8] for line in lines] == ["200", "200"]
    assert "x-user" not in upstream.requests[0].fields


# --- claims


@pytest.mark.parametrize(
    ("table", "more", "reason"),
    [
        ({}, {"exp": -31}, "the token has expired"),
        ({}, {"exp": -29}, None),
        ({"leeway": 0}, {"exp": -1}, "the token has expired"),
        ({}, {"nbf": 32}, "the token is not valid yet"),
        ({}, {"nbf": 28}, None),
        ({}, {"iat": 32}, "the token was issued in the future"),
        ({"max_lifetime": "1h"}, {"iat": 0, "exp": 3600}, None),
        ({"max_lifetime": "1h"}, {"iat": 0, "exp": 3601}, "the lifetime of the token is too long"),
        ({"max_lifetime": "1h"}, {"exp": 3600}, "the claim iat is missing"),
    ],
)
async def test_times(table: dict[str, Any], more: dict[str, float], reason: str | None) -> None:
    now = int(time.time())
    payload = {"sub": "a", "exp": now + 60, **{name: now + value for name, value in more.items()}}
    async with standing({**PLAIN, **table}) as stand:
        response = await stand.ask(hs256(HEADER, payload))
        if reason is None:
            assert response.status == 200
        else:
            assert_refused(response, reason)


@pytest.mark.parametrize(
    ("table", "payload", "reason"),
    [
        ({}, {"sub": "a"}, "the claim exp is missing"),
        ({"require": []}, {"sub": "a"}, None),
        ({"require": ["sub", "tenant"]}, {"sub": "a"}, "the claim tenant is missing"),
        ({"require": ["sub"]}, {"sub": None}, "the claim sub is missing"),
        ({"issuer": "https://i/"}, {"iss": "https://i/"}, None),
        ({"issuer": "https://i/"}, {"iss": "https://i"}, "the issuer is not accepted"),
        ({"issuer": "https://i/"}, {"iss": ["https://i/"]}, "the issuer is not accepted"),
        ({"issuer": "https://i/"}, {}, "the issuer is not accepted"),
        ({"audience": ["a", "b"]}, {"aud": "b"}, None),
        ({"audience": ["a", "b"]}, {"aud": ["x", "a"]}, None),
        ({"audience": ["a", "b"]}, {"aud": "ab"}, "the audience is not accepted"),
        ({"audience": ["a", "b"]}, {"aud": []}, "the audience is not accepted"),
        ({"audience": ["a", "b"]}, {"aud": ["a", 1]}, "the audience is not accepted"),
        ({"audience": ["a", "b"]}, {"aud": {"a": 1}}, "the audience is not accepted"),
        ({"audience": ["a", "b"]}, {}, "the audience is not accepted"),
        ({}, {"aud": "anything"}, None),
        ({}, {"sub": 5}, "the subject is not a string"),
    ],
)
async def test_claims(table: dict[str, Any], payload: dict[str, Any], reason: str | None) -> None:
    if "exp" not in str(reason) and "require" not in table:
        payload = claims() | payload
    async with standing({"require": ["exp"], **PLAIN, **table}) as stand:
        response = await stand.ask(hs256(HEADER, payload))
        if reason is None:
            assert response.status == 200
        else:
            assert_refused(response, reason)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "dpop+jwt", 5, None])
async def test_types(kind: object) -> None:
    async with standing() as stand:
        response = await stand.ask(hs256({"alg": "HS256", "typ": kind}, claims()))
        if kind in ("dpop+jwt", 5, None):
            assert_refused(response, "the type of the token is not accepted")
        else:
            assert response.status == 200


# --- what the upstream is told


async def test_claims_become_fields_and_clients_cannot_write_them() -> None:
    names = {
        "sub": "X-User", "age": "x-age", "admin": "x-admin", "roles": "x-roles", "a.b": "x-ab", "gone": "x-gone",
        "lines": "x-lines", "address": "x-address", "list": "x-list", "blank": "x-blank", "odd": "x-odd",
    }  # fmt: skip
    said = {
        "sub": "Žofie", "age": 7, "admin": False, "roles": ["a", "b"], "a": {"b": "c"}, "lines": "a\r\nx-evil: 1",
        "address": {"city": "x"}, "list": ["a,b", "c"], "blank": " a", "odd": "\ud800",
    }  # fmt: skip
    forged = "".join(f"{name}: forged\r\n" for name in names.values())
    async with standing({**PLAIN, "claims_to_headers": names}) as stand:
        for _ in range(2):  # verified, and remembered
            assert (await stand.ask(good(**said), fields=forged)).status == 200
    for request in stand.upstream.requests:
        sent = request.fields
        assert sent["x-user"].encode("latin-1").decode() == "Žofie"
        assert (sent["x-age"], sent["x-admin"], sent["x-roles"], sent["x-ab"]) == ("7", "false", "a,b", "c")
        for name in ("x-gone", "x-lines", "x-address", "x-list", "x-blank", "x-odd", "x-evil"):
            assert name not in sent
        assert all(len(sent.get_all(name)) == 1 for name in ("x-user", "x-age"))


async def test_a_public_route_takes_the_fields_away_too() -> None:
    async with RecordingUpstream() as upstream:
        config = settings(upstream.port, {**PLAIN, "claims_to_headers": {"sub": "x-user"}})
        config["routes"].append({"name": "open", "path": "/open", "upstream": "backend", "public": True})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            response = await client.request(asking(path="/open", fields="X-User: root\r\nX-Other: 1\r\n"))
    assert response.status == 200
    fields = upstream.requests[0].fields
    assert "x-user" not in fields
    assert fields["x-other"] == "1"


async def test_limits_and_fields_know_who_asks() -> None:
    route = {
        "rate_limit": {"rate": 1, "per": "1h", "key": "claim:org.id"},
        "request_headers": {"set": {"x-who": "{key.id} of {claim.org.id}"}},
    }
    config_route = {"auth": {"any": ["jwt"]}, **route}
    async with RecordingUpstream() as upstream:
        config = settings(upstream.port, PLAIN)
        config["routes"][0].update(config_route)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            statuses = [
                (await client.request(asking(good(sub=who, org={"id": org})))).status
                for who, org in (("a", 1), ("b", 1), ("c", 2))
            ]
    assert statuses == [200, 429, 200]
    assert [request.fields["x-who"] for request in upstream.requests] == ["a of 1", "c of 2"]


# --- several issuers


ISSUERS = {
    "algorithms": ["HS256"],
    "issuers": {
        "one": {"issuer": "https://one/", "secret": SECRET},
        "two": {"issuer": "https://two/", "secret": SECRET[::-1], "audience": ["b"]},
        "three": {"issuer": "https://three/", "algorithms": ["ES256"], "key": public_pem(private_key("P-256"))},
    },
    "audience": ["a"],
    "claims_to_headers": {"sub": "x-user"},
}


@pytest.mark.parametrize(
    ("issuer", "audience", "secret", "reason"),
    [
        ("https://one/", "a", SECRET, None),
        ("https://two/", "b", SECRET[::-1], None),
        ("https://two/", "a", SECRET[::-1], "the audience is not accepted"),
        ("https://two/", "b", SECRET, "the signature is wrong"),
        ("https://three/", "a", SECRET, "the algorithm is not accepted"),
        ("https://four/", "a", SECRET, "the issuer is not accepted"),
        (["https://one/"], "a", SECRET, "the issuer is not accepted"),
    ],
)
async def test_the_issuer_chooses_the_keys(issuer: object, audience: str, secret: str, reason: str | None) -> None:
    async with standing(ISSUERS) as stand:
        response = await stand.ask(hs256(HEADER, claims(iss=issuer, aud=audience), secret))
        if reason is None:
            assert response.status == 200
        else:
            assert_refused(response, reason)


async def test_an_algorithm_of_one_issuer_is_none_of_another() -> None:
    key = private_key("P-256")
    async with standing(ISSUERS) as stand:
        accepted = jwt.encode(claims(iss="https://three/", aud="a"), key, "ES256")
        assert (await stand.ask(accepted)).status == 200
        confused = jwt.encode(claims(iss="https://one/", aud="a"), key, "ES256")
        assert_refused(await stand.ask(confused), "the algorithm is not accepted")


# --- the cache of tokens


async def test_a_remembered_token_ends_with_its_time() -> None:
    async with standing({**PLAIN, "leeway": 0}) as stand:
        expires = time.time() + 0.7
        token = hs256(HEADER, {"sub": "a", "exp": expires})
        assert (await stand.ask(token)).status == 200
        while time.time() < expires:
            assert (await stand.ask(token)).status == 200 or time.time() >= expires
        assert_refused(await stand.ask(token), "the token has expired")


async def test_another_secret_ends_what_was_verified_with_the_old_one() -> None:
    async with RecordingUpstream() as upstream, start_gateway(settings(upstream.port, PLAIN)) as gateway:
        async with RawClient(gateway.port) as client:
            token = good()
            assert (await client.request(asking(token))).status == 200
            other = settings(upstream.port, {**PLAIN, "secret": SECRET[::-1]})
            other["gateway"]["port"] = gateway.port
            await gateway.reload(GatewayConfig.from_dict(other))
            assert_refused(await client.request(asking(token)), "the signature is wrong")
            assert (await client.request(asking(hs256(HEADER, claims(), SECRET[::-1])))).status == 200


# --- misconfiguration

PEM = public_pem(private_key("RSA"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, ["secret: is missing: set secret", "algorithms: is missing"]),
        ({"algorithms": ["HS256"], "secret": SECRET, "key": PEM}, ["key: cannot be used with secret"]),
        ({"algorithms": ["HS256"], "secret": SECRET, "jwks": "http://x/"}, ["jwks: cannot be used with secret"]),
        ({"algorithms": ["none"], "secret": SECRET}, ['algorithms[0]: expected "HS256"']),
        ({"algorithms": ["None"], "secret": SECRET}, ['algorithms[0]: expected "HS256"']),
        ({"algorithms": ["HS256", "RS256"], "secret": SECRET}, ["algorithms: HS256 and RS256 cannot share a key"]),
        ({"algorithms": ["HS256", "RS256"], "key": PEM}, ["algorithms: HS256 and RS256 cannot share a key"]),
        ({"algorithms": ["HS256"], "key": PEM}, ["key: cannot verify HS256, which needs secret"]),
        ({"algorithms": ["HS256"], "jwks": "https://x/"}, ["jwks: cannot verify HS256, which needs secret"]),
        ({"algorithms": ["RS256"], "secret": SECRET}, ["secret: cannot verify RS256"]),
        ({"algorithms": ["HS256"], "secret": PEM}, ["secret: is a key or certificate in PEM"]),
        ({"algorithms": ["HS256"], "secret": "x" * 31}, ["secret: is too short: HS256 needs at least 32 bytes"]),
        ({"algorithms": ["HS256", "HS512"], "secret": "x" * 63}, ["secret: is too short: HS512 needs at least 64"]),
        ({"algorithms": ["ES256"], "key": PEM}, ["key: cannot verify ES256: the key fits RS256"]),
        (
            {"algorithms": ["ES384"], "key": public_pem(private_key("P-256"))},
            ["key: cannot verify ES384: the key fits E"],
        ),
        ({"algorithms": ["RS256"], "key": "nonsense"}, ["key: is not a public key or certificate in PEM"]),
        ({"algorithms": ["RS256"], "key": "-----BEGIN PRIVATE KEY-----\n"}, ["key: is a private key"]),
        ({"algorithms": ["RS256"], "jwks": "file:///etc/passwd"}, ["jwks: expected a URL"]),
        ({"algorithms": ["RS256"], "jwks": "https://a:b@x/"}, ["jwks: the URL of a JWK set must not contain a user"]),
        ({**PLAIN, "from": ["body:token"]}, ['from[0]: expected "header:NAME"']),
        ({**PLAIN, "from": ["cookie:"]}, ["from[0]: the name is missing"]),
        ({**PLAIN, "from": []}, ["from: is an empty list"]),
        (
            {**PLAIN, "claims_to_headers": {"sub": "host"}},
            ["claims_to_headers.sub: host is a field that the gateway sets"],
        ),
        ({**PLAIN, "claims_to_headers": {"a": "x", "b": "X"}}, ['claims_to_headers.b: is also the field of "a"']),
        (
            {**PLAIN, "from": ["header:x-t"], "claims_to_headers": {"sub": "x-t"}},
            ["claims_to_headers.sub: x-t is the field in which clients send"],
        ),
        ({**PLAIN, "require": ['a"b']}, ["require[0]: the name of a claim"]),
        ({**PLAIN, "max_size": 1}, ["max_size: must be"]),
        ({**PLAIN, "issuers": {"a": {"issuer": "x"}}}, ["secret: cannot be used with issuers", "issuers.a.secret: is"]),
        (
            {"issuers": {"a": {"secret": SECRET}, "b": {"issuer": "x", "key": PEM, "algorithms": ["RS256"]}}},
            ["issuers.a.algorithms: is missing", "issuers.a.issuer: is missing"],
        ),
        (
            {"algorithms": ["HS256"], "issuers": {n: {"secret": SECRET, "issuer": "x"} for n in "ab"}},
            ['issuers.b.issuer: is also the issuer of "a"'],
        ),
    ],
)
def test_misconfiguration(table: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(settings(1, table), environ={})
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(said), found
    for one, start in zip(found, said, strict=True):
        assert one.startswith(f"auth.jwt.{start}")
        assert SECRET not in one


def test_a_small_key_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    small = public_pem(rsa.generate_private_key(65537, 1024))
    with pytest.raises(ConfigError, match=r"auth\.jwt\.key: is an RSA key of 1024 bits"):
        GatewayConfig.from_dict(settings(1, {"algorithms": ["RS256"], "key": small}))


def test_a_route_that_names_it_needs_its_table() -> None:
    config = settings(1, PLAIN)
    del config["auth"]
    with pytest.raises(ConfigError, match=r"there is no \[auth\.jwt\]"):
        GatewayConfig.from_dict(config)
