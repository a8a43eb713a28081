"""Files as editors and templates leave them: with a byte order mark, indented, with other line ends."""

import json
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastgate._core.exchange.refusal import Refusal
from fastgate.config import BodySchema, ConfigError, GatewayConfig, UpstreamTLS
from fastgate.config.schema.basic import Basic, read_users
from fastgate.policies.request_body.body_schema import body_check
from fastgate.upstreams.tls import client_context

MARK = b"\xef\xbb\xbf"
HASH = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"


def users(folder: Path, text: bytes) -> tuple[dict[str, str], list[str]]:
    (folder / "users").write_bytes(text)
    found, faults = read_users(Basic(file=str(folder / "users")))
    return found, [fault.removeprefix(f"{folder / 'users'}, ") for fault in faults]


@pytest.mark.parametrize(
    "text",
    [
        MARK + f"ada:{HASH}\nbob:{HASH}\n".encode(),
        f"  ada:{HASH}\n\tbob:{HASH}  \n".encode(),
        f"ada:{HASH}\r\nbob:{HASH}\r\n".encode(),
        MARK + f"\n   # who\n  ada:{HASH}\r\n   \n bob:{HASH}".encode(),
    ],
)
def test_users_are_read_as_meant(text: bytes, tmp_path: Path) -> None:
    assert users(tmp_path, text) == ({"ada": HASH, "bob": HASH}, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"ada:{HASH}\n".encode() + MARK + f"bob:{HASH}\n".encode(), "line 2: the name contains invisible characters"),
        (f"ada\u200b:{HASH}".encode(), "line 1: the name contains invisible characters, such as"),
        (f"ada:{HASH}\n  ada:{HASH}".encode(), 'line 2: "ada" is already in line 1'),
        (f"ada:\u2028{HASH}".encode(), "line 1: expected the bcrypt hash"),
    ],
)
def test_users_are_refused_with_the_line(text: bytes, told: str, tmp_path: Path) -> None:
    (fault,) = users(tmp_path, text)[1]
    assert fault.startswith(told)


def secret(folder: Path, text: bytes | str) -> str:
    """What a header gets of a secret in a file, or in a variable."""
    if isinstance(text, bytes):
        (folder / "secret").write_bytes(text)
        value = {"file": str(folder / "secret")}
    else:
        value = {"env": "SECRET"}
    config = GatewayConfig.from_dict(
        {"auth": {"jwt": {"secret": value, "algorithms": ["HS256"], "audience": ["a"], "issuer": "i"}}},
        environ={} if isinstance(text, bytes) else {"SECRET": text},
    )
    assert config.auth.jwt is not None
    return config.auth.jwt.secret


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("begin", [b"", MARK])
def test_a_secret_is_read_as_meant(begin: bytes, end: bytes, tmp_path: Path) -> None:
    text = b"0123456789abcdef0123456789abcdef"
    assert secret(tmp_path, begin + text + end) == text.decode()


@pytest.mark.parametrize("text", [" %s", "%s ", "%s\n\n", "\t%s", "%s\r\n \n"])
@pytest.mark.parametrize("kind", ["file", "env"])
def test_a_secret_with_white_space_around_it_is_refused(text: str, kind: str, tmp_path: Path) -> None:
    value = text % "0123456789abcdef0123456789abcdef"
    with pytest.raises(ConfigError, match=f"the secret from {kind} .* begins or ends with white space") as caught:
        secret(tmp_path, value.encode() if kind == "file" else value)
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize("begin", [b"", MARK, b"\n\n", b"# a key\n"])
def test_a_public_key_is_read_as_meant(begin: bytes, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "key").write_bytes(begin + key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) + b"\n\n")
    jwt = {"key": {"file": str(tmp_path / "key")}, "algorithms": ["ES256"], "audience": ["a"], "issuer": "i"}
    config = GatewayConfig.from_dict({"auth": {"jwt": jwt}})
    assert config.auth.jwt is not None
    assert "BEGIN PUBLIC KEY" in config.auth.jwt.key


def test_a_schema_is_read_as_meant(tmp_path: Path) -> None:
    (tmp_path / "schema").write_bytes(MARK + json.dumps({"type": "array"}).encode())
    check = body_check(BodySchema(file=str(tmp_path / "schema")))
    check(b"[]")
    for body in (b"{}", MARK + b"[]"):  # a body has none: other readers may not take it
        with pytest.raises(Refusal):
            check(body)


@pytest.mark.parametrize("name", ["a.toml", "a.json", "a.yaml"])
def test_a_configuration_is_read_as_meant(name: str, tmp_path: Path) -> None:
    text = {
        "a.toml": "[gateway]\nport = 81\n",
        "a.json": '{"gateway": {"port": 81}}',
        "a.yaml": "gateway: {port: 81}\n",
    }
    for encoded in (text[name].encode(), MARK + text[name].encode(), text[name].replace("\n", "\r\n").encode()):
        (tmp_path / name).write_bytes(encoded)
        assert GatewayConfig.from_file(tmp_path / name).gateway.port == 81
    for encoding in ("utf-16", "utf-16-be"):
        (tmp_path / name).write_bytes((b"" if encoding == "utf-16" else b"\xfe\xff") + text[name].encode(encoding))
        with pytest.raises(ConfigError, match="the file is UTF-16 text: save it as UTF-8"):
            GatewayConfig.from_file(tmp_path / name)


def indented(text: bytes) -> bytes:
    return b"".join(b"  " + line for line in text.splitlines(keepends=True))


ONE, OTHER = (trustme.CA().cert_pem.bytes() for _ in range(2))


def authorities(folder: Path, text: bytes) -> int:
    """How many a file makes trusted."""
    (folder / "ca.pem").write_bytes(text)
    return len(client_context(UpstreamTLS(ca=str(folder / "ca.pem"))).get_ca_certs())


@pytest.mark.parametrize(
    "text",
    [ONE + OTHER, MARK + ONE + OTHER, (ONE + OTHER).replace(b"\n", b"\r\n"), b"# one\n" + ONE + b"\n" + OTHER],
)
def test_every_authority_of_a_file_is_trusted(text: bytes, tmp_path: Path) -> None:
    assert authorities(tmp_path, text) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (indented(ONE) + OTHER, 'line 1: "-----BEGIN" is indented'),
        (ONE + indented(OTHER), f'line {len(ONE.splitlines()) + 1}: "-----BEGIN" is indented'),
        (ONE.rstrip() + OTHER, f'line {len(ONE.splitlines())}: "-----BEGIN" has text before it'),
        (ONE + MARK + OTHER, f'line {len(ONE.splitlines()) + 1}: "-----BEGIN" has text before it'),
    ],
)
def test_an_authority_that_would_be_passed_over_is_refused(text: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        authorities(tmp_path, text)
    assert str(caught.value) == f"tls.ca: {tmp_path / 'ca.pem'}, {told}; it must start the line"
