"""Certificates of the listener: which one a client gets, how they are replaced, what is said about bad files."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from tls.authorities import Files

from fastgate.config import TLS, Certificate, ConfigError
from fastgate.gateway.tls import ServerTLS, sni_name


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Greeter(asyncio.Protocol):
    """Answers with what it knows of the handshake and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = transport.get_extra_info("ssl_object")
        subject = (connection.getpeercert() or {}).get("subjectAltName", "")
        transport.write(f"{sni_name(connection)} {connection.selected_alpn_protocol()} {subject}".encode())
        transport.close()


@contextlib.asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Greeter, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.check_hostname = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.configure_trust(context)
    return context


async def greet(port: int, context: ssl.SSLContext, name: str | None) -> tuple[list[str], str]:
    """The names in the certificate that was shown, and the greeting. Without a name no SNI is sent."""

    def run() -> tuple[list[str], str]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False) as wrapped,
        ):
            greeting = b""
            while piece := wrapped.recv(1000):
                greeting += piece
            names = [value for kind, value in wrapped.getpeercert()["subjectAltName"] if kind == "DNS"]
            return names, greeting.decode()

    return await asyncio.to_thread(run)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", "a.test"),
        ("A.TEST", "a.test"),
        ("www.b.test", "*.b.test"),
        ("exact.b.test", "exact.b.test"),
        ("deep.www.b.test", "a.test"),
        ("b.test", "a.test"),
        ("unknown.test", "a.test"),
        (None, "a.test"),
    ],
)
async def test_the_certificate_is_chosen_by_the_name(files: Files, asked: str | None, shown: str) -> None:
    certificates = [files.issue("a", "a.test"), files.issue("b", "*.b.test"), files.issue("c", "exact.b.test")]
    tls = ServerTLS(TLS(certificates=certificates))
    assert tls.names == ["a.test", "*.b.test", "exact.b.test"]
    async with listening(tls.context) as port:
        names, greeting = await greet(port, trusting(files.authority), asked)
    assert names == [shown]
    assert greeting.split()[:2] == [asked.lower() if asked else "None", "http/1.1"]


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("name", "answer"), [("A.test.", "a.test http/1.1"), ("a..test", ""), ("a" * 100 + ".test", "")]
)
async def test_a_name_that_is_none_ends_the_handshake(files: Files, name: str, answer: str) -> None:
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test")]))
    async with listening(tls.context) as port:
        client = await asyncio.create_subprocess_exec(
            *(
                "openssl",
                "s_client",
                "-quiet",
                "-alpn",
                "http/1.1",
                "-connect",
                f"127.0.0.1:{port}",
                "-servername",
                name,
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await client.communicate()
    assert output.decode().strip() == answer


async def test_min_version_holds_for_every_certificate(files: Files) -> None:
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test"), files.issue("b", "b.test")], min_version="1.3"))
    old = trusting(files.authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(tls.context) as port:
        for name in ("a.test", "b.test"):
            with pytest.raises(ssl.SSLError):
                await greet(port, old, name)
            assert (await greet(port, trusting(files.authority), name))[0] == [name]


async def test_a_reload_replaces_certificates_without_a_new_listener(files: Files) -> None:
    first, second = files.issue("a", "a.test"), files.issue("b", "b.test")
    tls = ServerTLS(TLS(certificates=[first, second]))
    async with listening(tls.context) as port:
        files.issue("a", "renewed.test", "a.test")
        files.issue("b", "other.test")
        tls.reload()
        trust = trusting(files.authority)
        assert (await greet(port, trust, None))[0] == ["renewed.test", "a.test"]
        assert (await greet(port, trust, "other.test"))[0] == ["other.test"]
        assert (await greet(port, trust, "b.test"))[0] == ["renewed.test", "a.test"]
    assert tls.names == ["renewed.test", "a.test", "other.test"]


async def test_a_reload_that_fails_keeps_what_was_there(files: Files) -> None:
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test")]))
    files.spoil("a.pem")
    with pytest.raises(ConfigError, match="does not contain a PEM certificate"):
        tls.reload()
    async with listening(tls.context) as port:
        assert (await greet(port, trusting(files.authority), "a.test"))[0] == ["a.test"]


def test_polling_waits_until_the_files_are_all_there(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastgate.tls")
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test")]))
    assert not tls.poll()
    key = Path(files.folder, "a.key").read_bytes()
    files.issue("a", "renewed.test")
    new_key = Path(files.folder, "a.key").read_bytes()
    Path(files.folder, "a.key").write_bytes(key)
    assert not tls.poll(), "the first look at a change"
    Path(files.folder, "a.key").write_bytes(new_key)
    os.utime(Path(files.folder, "a.key"), ns=(1, 1))
    assert not tls.poll(), "it is still changing"
    assert tls.poll()
    assert not tls.poll()
    assert tls.names == ["renewed.test"]
    assert [record.getMessage() for record in caplog.records] == ["reloaded the certificates: renewed.test"]


def test_polling_says_once_what_cannot_be_used(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test")]))
    Path(files.folder, "a.key").unlink()
    assert [tls.poll() for _ in range(5)] == [False] * 5
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "cannot read" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert tls.names == ["a.test"]
    files.issue("a", "renewed.test")
    assert [tls.poll(), tls.poll()] == [False, True]
    assert tls.names == ["renewed.test"]


async def test_watching_picks_up_a_renewed_certificate(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ServerTLS(TLS(certificates=[files.issue("a", "a.test")]))
    loop, replaced = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(tls, "reload", lambda: (ServerTLS.reload(tls), loop.call_soon_threadsafe(replaced.set)))
    watcher = asyncio.create_task(tls.watch(0.01))
    files.issue("a", "renewed.test")
    await asyncio.wait_for(replaced.wait(), 5)
    watcher.cancel()
    assert tls.names == ["renewed.test"]


# --- certificates of clients ---


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["a.test", "b.test", None])
async def test_a_required_client_certificate(files: Files, name: str | None, version: ssl.TLSVersion) -> None:
    tls = ServerTLS(client_tls(files, "required"))
    known, unknown, nobody = (trusting(files.authority) for _ in range(3))
    for context in (known, unknown, nobody):
        context.maximum_version = version
    files.authority.issue_cert("client.test").configure_cert(known)
    trustme.CA().issue_cert("client.test").configure_cert(unknown)
    async with listening(tls.context) as port:
        assert "client.test" in (await greet(port, known, name))[1]
        for refused in (unknown, nobody):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await greet(port, refused, name)


async def test_an_optional_client_certificate(files: Files) -> None:
    tls = ServerTLS(client_tls(files, "optional"))
    assert tls.checks_server_name
    known, unknown = trusting(files.authority), trusting(files.authority)
    files.authority.issue_cert("client.test").configure_cert(known)
    trustme.CA().issue_cert("client.test").configure_cert(unknown)
    async with listening(tls.context) as port:
        assert "client.test" in (await greet(port, known, "b.test"))[1]
        assert "client.test" not in (await greet(port, trusting(files.authority), "b.test"))[1]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await greet(port, unknown, "b.test")


async def test_a_reload_replaces_the_authorities_of_clients(files: Files) -> None:
    tls = ServerTLS(client_tls(files, "required"))
    former, next_one = trusting(files.authority), trusting(files.authority)
    files.authority.issue_cert("former.test").configure_cert(former)
    successor = trustme.CA()
    successor.issue_cert("next.test").configure_cert(next_one)
    async with listening(tls.context) as port:
        assert "former.test" in (await greet(port, former, "a.test"))[1]
        successor.cert_pem.write_to_path(str(files.folder / "ca.pem"))
        tls.reload()
        assert "next.test" in (await greet(port, next_one, "a.test"))[1]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await greet(port, former, "a.test")


def client_tls(files: Files, client_auth: str) -> TLS:
    certificates = [files.issue("a", "a.test"), files.issue("b", "b.test")]
    return TLS(certificates=certificates, client_ca=files.ca, client_auth=client_auth)


# --- bad files ---


def missing(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[Certificate(cert="/nowhere/a.pem", key=good.key)])


def other_key(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[good, Certificate(cert=good.cert, key=files.issue("other", "other.test").key)])


def swapped(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[Certificate(cert=good.key, key=good.cert)])


def no_key(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[Certificate(cert=good.cert, key=files.ca)])


def folder(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[Certificate(cert=good.cert, key=str(files.folder))])


def encrypted(files: Files, good: Certificate) -> TLS:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(Path(good.key).read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    Path(files.folder, "locked.key").write_bytes(locked)
    return TLS(certificates=[Certificate(cert=good.cert, key=f"{files.folder}/locked.key")])


def no_authority(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[good], client_auth="required")


def bad_authority(files: Files, good: Certificate) -> TLS:
    return TLS(certificates=[good], client_auth="required", client_ca=good.key)


@pytest.mark.parametrize(
    ("wrong", "path", "message"),
    [
        (missing, "certificates[0].cert", "cannot read /nowhere/a.pem: No such file or directory"),
        (other_key, "certificates[1].key", "other.key does not match the certificate in"),
        (swapped, "certificates[0].cert", "a.key does not contain a PEM certificate"),
        (no_key, "certificates[0].key", "ca.pem does not contain a PEM private key"),
        (folder, "certificates[0].key", "Is a directory"),
        (encrypted, "certificates[0].key", "is encrypted; the key must be readable without a password"),
        (no_authority, "client_ca", 'is required with client_auth = "required"'),
        (bad_authority, "client_ca", "does not contain a valid certificate"),
    ],
)
def test_a_bad_file_is_one_clear_line(
    files: Files, wrong: Callable[[Files, Certificate], TLS], path: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerTLS(wrong(files, files.issue("a", "a.test")))
    (problem,) = caught.value.problems
    assert problem.path == f"gateway.tls.{path}"
    assert message in problem.message
    assert "\n" not in str(caught.value)


def test_every_bad_file_is_named_at_once(files: Files) -> None:
    bad = [Certificate(cert=f"/nowhere/{name}.pem", key="/nowhere/key") for name in "ab"]
    with pytest.raises(ConfigError) as caught:
        ServerTLS(TLS(certificates=bad))
    assert [problem.path for problem in caught.value.problems] == [
        "gateway.tls.certificates[0].cert",
        "gateway.tls.certificates[1].cert",
    ]


def test_an_expired_certificate_is_used_with_a_warning(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    assert ServerTLS(TLS(certificates=[files.issue("a", "a.test", expired=True)])).names == ["a.test"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "a.pem expired on 2020-01-01" in record.getMessage()


def test_a_certificate_that_no_name_leads_to_is_warned_about(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    ServerTLS(TLS(certificates=[files.issue("a", "a.test"), files.issue("b", "a.test")]))
    assert "b.pem; it is never used" in caplog.text
