"""Makes tokens, good ones and bad ones, and gateways that verify them."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway
from fastgate.testing.http_messages import RecordedResponse

SECRET = "sixty-four bytes, which is as many as the longest hash here has."
REALM = 'Bearer realm="fastgate"'


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """A key of this kind: RSA, P-256, P-384, P-521, Ed25519; another one for another number."""
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[kind]())


def kind_for(algorithm: str) -> str:
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
    return curves.get(algorithm, "RSA")


def public_pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """The public key as a member of a set."""
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


def encode(data: bytes | Mapping[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "alice", "exp": int(time.time()) + 300, **more}


def hs256(header: bytes | Mapping[str, Any], payload: bytes | Mapping[str, Any], secret: str = SECRET) -> str:
    """A token with just these bytes in it, and a signature that is right."""
    signed = f"{encode(header)}.{encode(payload)}"
    return f"{signed}.{encode(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def good(**more: Any) -> str:
    return hs256({"alg": "HS256", "typ": "JWT"}, claims(**more))


def asking(token: str = "", *, path: str = "/", fields: str = "") -> bytes:
    line = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{line}{fields}\r\n".encode("latin-1")


class Stand:
    """A gateway before an upstream, and one client."""

    def __init__(self, gateway: Any, client: RawClient, upstream: RecordingUpstream) -> None:
        self.gateway = gateway
        self.client = client
        self.upstream = upstream

    async def ask(self, token: str = "", *, path: str = "/", fields: str = "") -> RecordedResponse:
        return await self.client.request(asking(token, path=path, fields=fields))


def settings(port: int, jwt_table: Mapping[str, Any], **route: Any) -> dict[str, Any]:
    config = proxy_config(port, route={"auth": {"any": ["jwt"]}, **route})
    config["auth"] = {"jwt": dict(jwt_table)}
    return config


@asynccontextmanager
async def standing(jwt_table: Mapping[str, Any] | None = None, **route: Any) -> AsyncIterator[Stand]:
    """By default tokens are signed with the secret, by HS256."""
    table = {"algorithms": ["HS256"], "secret": SECRET} if jwt_table is None else jwt_table
    async with RecordingUpstream() as upstream:
        async with start_gateway(settings(upstream.port, table, **route)) as gateway:
            async with RawClient(gateway.port) as client:
                yield Stand(gateway, client, upstream)


def assert_refused(response: RecordedResponse, reason: str | None) -> None:
    """401 with a challenge that gives this reason (None: that has no error), and a problem as its body."""
    assert response.status == 401, response.body
    error = "" if reason is None else f', error="invalid_token", error_description="{reason}"'
    assert response.fields.get("www-authenticate") == REALM + error
    assert response.fields.get("content-type") == "application/problem+json"
    problem = json.loads(response.body)
    assert (problem["status"], problem["title"]) == (401, "Unauthorized")
