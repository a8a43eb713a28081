"""Certificates of clients as identity: whom they name, who is let in, what is said to the rest."""

import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tls.authorities import Files

from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway
from fastgate.policies.client_certificates import _known
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEADERS = {"set": {"x-who": "{key.id}", "x-serial": "{claim.serial}", "x-subject": "{claim.subject}"}}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def trusting(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.configure_trust(context)
    return context


def showing(files: Files, *names: str, **settings: Any) -> ssl.SSLContext:
    """A client that shows a certificate with these alternative names."""
    context = trusting(files)
    files.authority.issue_cert(*names, **settings).configure_cert(context)
    return context


def config(files: Files, port: int, *, client_auth: str = "optional", **settings: Any) -> dict[str, Any]:
    certificate = files.issue("a", "a.test")
    tls = {"certificates": [{"cert": certificate.cert, "key": certificate.key}]}
    tls |= {"client_auth": client_auth, "client_ca": files.ca}
    route = {"auth": {"any": ["certificate"]}, "request_headers": HEADERS}
    return {**proxy_config(port, gateway={"tls": tls}, route=route), "auth": {"certificate": settings}}


@asynccontextmanager
async def running(files: Files, **settings: Any) -> AsyncIterator[tuple[Gateway, RecordingUpstream]]:
    async with RecordingUpstream() as upstream, start_gateway(config(files, upstream.port, **settings)) as gateway:
        yield gateway, upstream


async def test_who_the_certificate_names_comes_in(files: Files) -> None:
    async with running(files, client_auth="required") as (gateway, upstream):
        client_tls = showing(files, common_name="billing")
        async with RawClient(gateway.port, tls=client_tls, server_name="a.test") as client:
            assert [(await client.request(GET)).status for _ in range(3)] == [200] * 3
    fields = upstream.requests[0].fields
    assert fields["x-who"] == "billing"
    assert "CN=billing" in fields["x-subject"]
    assert len({request.fields["x-serial"] for request in upstream.requests}) == 1


async def test_a_certificate_is_read_once_a_connection(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        "fastgate.policies.client_certificates._known", lambda *arguments: read.append(1) or _known(*arguments)
    )
    async with running(files) as (gateway, _):
        for _ in range(2):
            client_tls = showing(files, common_name="billing")
            async with RawClient(gateway.port, tls=client_tls, server_name="a.test") as client:
                assert [(await client.request(GET)).status for _ in range(3)] == [200] * 3
    assert len(read) == 2


@pytest.mark.parametrize(
    ("subject", "who"),
    [
        ("cn", "billing"),
        ("san_dns", "billing.test"),
        ("san_email", "ops@a.test"),
        ("subject", "CN=billing,"),
    ],
)
async def test_the_part_that_says_who_it_is(files: Files, subject: str, who: str) -> None:
    async with running(files, subject=subject) as (gateway, upstream):
        client_tls = showing(files, "Billing.test", "ops@a.test", common_name="billing")
        async with RawClient(gateway.port, tls=client_tls, server_name="a.test") as client:
            assert (await client.request(GET)).status == 200
    assert upstream.requests[0].fields["x-who"].startswith(who)


@pytest.mark.parametrize(
    ("names", "status", "who"),
    [
        (["billing.test"], 200, "billing.test"),
        (["other.test", "search.test"], 200, "search.test"),
        (["other.test"], 403, None),
        (["mail@a.test"], 403, None),
    ],
)
async def test_only_those_on_the_list(files: Files, names: list[str], status: int, who: str | None) -> None:
    async with running(files, subject="san_dns", allow=["billing.test", "search.test"]) as (gateway, upstream):
        async with RawClient(gateway.port, tls=showing(files, *names), server_name="a.test") as client:
            answer = await client.request(GET)
    assert answer.status == status
    assert [request.fields["x-who"] for request in upstream.requests] == ([who] if who else [])
    if status == 403:
        assert json.loads(answer.body)["detail"] == "These credentials do not allow this request."


async def test_without_a_certificate_nothing_that_a_client_could_send_helps(files: Files) -> None:
    async with running(files) as (gateway, upstream):
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
            answer = await client.request(
                b"GET / HTTP/1.1\r\nHost: a.test\r\nX-SSL-Client-S-DN: CN=billing\r\nX-Client-Cert: billing\r\n"
                b"X-Forwarded-Client-Cert: Subject=billing\r\nClient-Cert: :AAAA:\r\n\r\n"
            )
    assert answer.status == 403
    assert json.loads(answer.body)["detail"] == "Valid credentials are required."
    assert "www-authenticate" not in answer.fields
    assert upstream.requests == []


async def test_a_connection_outlives_no_certificate(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake took it, and by the next request it has expired."""
    known = _known
    monkeypatch.setattr("fastgate.policies.client_certificates._known", lambda *arguments: (*known(*arguments)[:2], 1))
    async with running(files) as (gateway, upstream):
        client_tls = showing(files, common_name="billing")
        async with RawClient(gateway.port, tls=client_tls, server_name="a.test") as client:
            assert (await client.request(GET)).status == 403
    assert upstream.requests == []


async def test_a_reload_holds_for_open_connections(files: Files) -> None:
    async with running(files, allow=["billing"]) as (gateway, upstream):
        client_tls = showing(files, common_name="billing")
        async with RawClient(gateway.port, tls=client_tls, server_name="a.test") as client:
            assert (await client.request(GET)).status == 200
            await gateway.reload(GatewayConfig.from_dict(config(files, upstream.port, allow=["search"])))
            assert (await client.request(GET)).status == 403


# --- what a certificate says ---


def certificate(*names: x509.NameAttribute, alternatives: list[x509.GeneralName] | None = None) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]),
        x509.Name(names),
        key.public_key(),
        0xABC,
        now,
        now + dt.timedelta(days=1),
    )
    if alternatives is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def named(value: str) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.COMMON_NAME, value)


def test_the_claims() -> None:
    alternatives = [x509.DNSName("b.test"), x509.UniformResourceIdentifier("spiffe://a/b"), x509.RFC822Name("c@a.test")]
    encoded = certificate(named("a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o"), alternatives=alternatives)
    identity, allowed, not_after = _known(encoded, "san_uri", frozenset())
    assert allowed
    assert identity is not None
    assert identity.id == "spiffe://a/b"
    claims = dict(identity.claims)
    assert len(claims.pop("fingerprint_sha256")) == 64
    assert claims == {
        "cn": "a",
        "subject": "O=o,CN=a",
        "issuer": "CN=authority",
        "serial": "abc",
        "not_after": "2026-01-02T00:00:00Z",
        "san": ["b.test", "spiffe://a/b", "c@a.test"],
    }
    assert not_after == dt.datetime(2026, 1, 2, tzinfo=dt.UTC).timestamp()


def test_a_subject_cannot_be_written_like_another() -> None:
    one = _known(certificate(named("a,O=admin")), "subject", frozenset())[0]
    other = _known(
        certificate(x509.NameAttribute(NameOID.ORGANIZATION_NAME, "admin"), named("a")), "subject", frozenset()
    )
    assert one is not None
    assert other[0] is not None
    assert one.id.startswith("CN=a\\,O")
    assert one.id != other[0].id


@pytest.mark.parametrize("part", ["cn", "san_dns", "san_uri", "san_email"])
def test_a_certificate_that_names_nobody_in_particular_is_not_enough(part: str) -> None:
    encoded = certificate(named("a"), named("b"))
    assert _known(encoded, part, frozenset())[1] is False
    assert _known(encoded, part, frozenset(["a", "b"]))[1] is False


def test_what_cannot_be_read_names_nobody() -> None:
    assert _known(b"\x30\x00", "cn", frozenset()) == (None, False, 0)


# --- misconfiguration ---


@pytest.mark.parametrize("tls", [None, {"certificates": [{"cert": "a", "key": "b"}]}])
def test_certificates_that_nobody_verifies_are_no_identity(tls: dict[str, Any] | None) -> None:
    settings = {**proxy_config(1, gateway={"tls": tls} if tls else None), "auth": {"certificate": {}}}
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(settings)
    assert str(caught.value) == (
        'auth.certificate: needs [gateway.tls] with client_auth = "optional" or "required", which verifies certificates'
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"subject": "name"}, 'auth.certificate.subject: expected "cn", "subject"'),
        ({"allow": [""]}, "auth.certificate.allow[0]"),
        ({"allowed": ["a"]}, 'auth.certificate.allowed: unknown key, did you mean "allow"?'),
    ],
)
def test_what_is_said_about_bad_settings(files: Files, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(config(files, 1, **settings))
    assert said in str(caught.value)
