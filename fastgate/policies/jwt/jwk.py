"""Keys that verify tokens: a secret, a public key, or a set that an issuer publishes (RFC 7517).

A key knows the algorithms that it may be used with, and is used with no other. Of a set, only what may verify
signatures is kept: ``use``, ``key_ops`` and ``alg`` are obeyed, private members are not read, symmetric keys are left
out, and so is whatever else this gateway cannot use, as RFC 7517, 5, asks for.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import (
    Algorithm,
    ECAlgorithm,
    HMACAlgorithm,
    OKPAlgorithm,
    RSAAlgorithm,
    get_default_algorithms,
)
from jwt.exceptions import InvalidKeyError

from fastgate.config.schema.jwt import HASH_BYTES, TokenIssuer
from fastgate.config.syntax.public_keys import algorithms_of, read_public_key

MOST_BYTES = 256 * 1024
"""The largest set that is read."""
MOST_KEYS = 256
_MOST_TRIED = 16  # keys that a token without a kid is tried with

_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_READERS: dict[str, type[Algorithm]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_LONGEST_MEMBER = 2736  # characters of 16384 bits

ALGORITHMS: dict[str, Algorithm] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name not in ("none", "ES256K", "ES521")
}


class UnknownKey(Exception):
    """No key of the set is the one that signed; a newer set may have it."""


class Key(NamedTuple):
    """What verifies, and the names of the algorithms that it may do so with."""

    material: Any
    algorithms: frozenset[str]

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's. False for an algorithm that is not."""
        return algorithm in self.algorithms and ALGORITHMS[algorithm].verify(signed, self.material, signature)


class KeySet:
    """Keys by their ``kid``."""

    def __init__(self, named: Mapping[str, list[Key]], nameless: list[Key]) -> None:
        self.named = named
        self.nameless = nameless

    def candidates(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys that may have signed; none that fits the algorithm: an empty list. Raises UnknownKey."""
        if kid is None:
            keys = [*self.nameless, *(key for keys in self.named.values() for key in keys)]
        else:
            keys = self.named.get(kid) or self.nameless
            if not keys:
                raise UnknownKey
        return [key for key in keys if algorithm in key.algorithms][:_MOST_TRIED]


def decode_base64url(data: bytes) -> bytes:
    """The bytes, written in the one way that there is (RFC 7515, 2; RFC 4648, 3.5).

    ValueError for any other: with padding, other characters, line breaks, or bits set beyond the end.
    """
    if not _BASE64URL.fullmatch(data) or len(data) % 4 == 1:
        raise ValueError("not base64url")
    decoded = urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    if len(data) % 4 and binascii.b2a_base64(decoded, newline=False).rstrip(b"=")[-1] != _standard(data[-1]):
        raise ValueError("bits beyond the end of base64url")
    return decoded


def _standard(character: int) -> int:
    """A character of base64url in the alphabet of base64."""
    return {0x2D: 0x2B, 0x5F: 0x2F}.get(character, character)


def read_json_object(data: bytes) -> dict[str, Any]:
    """An object in JSON (RFC 8259), or ValueError: also for a member that comes twice, and for NaN and Infinity."""
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise ValueError("a member occurs twice")
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not valid JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def static_keys(issuer: TokenIssuer) -> KeySet:
    """The secret or the key in the configuration, which the configuration has found to fit."""
    allowed = frozenset(issuer.algorithms)
    if issuer.secret:
        secret = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(issuer.secret)
        return KeySet({}, [Key(secret, allowed & HASH_BYTES.keys())])
    material = read_public_key(issuer.key)
    return KeySet({}, [Key(material, allowed.intersection(algorithms_of(material)))])


def read_key_set(document: bytes, allowed: Iterable[str] | None = None) -> KeySet:
    """The keys of a published set that can be used, with these algorithms alone.

    Raises ValueError, with the reason, for what is no set of keys or has none that could be used.
    """
    if len(document) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 1024} KB")
    try:
        listed = read_json_object(document).get("keys")
    except ValueError as error:
        raise ValueError(f"it is not a valid JSON object ({error})") from None
    if not isinstance(listed, list):
        raise ValueError('it has no list "keys"')
    if len(listed) > MOST_KEYS:
        raise ValueError(f"it has more than {MOST_KEYS} keys")
    named: dict[str, list[Key]] = {}
    nameless: list[Key] = []
    limits = None if allowed is None else frozenset(allowed)
    usable = False
    for jwk in listed:
        key = _read_jwk(jwk)
        if key is None:
            continue
        usable = True
        if limits is not None:
            key = Key(key.material, key.algorithms & limits)
        kid = jwk.get("kid")
        if kid is None:
            nameless.append(key)
        elif isinstance(kid, str):
            named.setdefault(kid, []).append(key)
    if not usable:
        raise ValueError("it has no key that can verify a token")
    return KeySet(named, nameless)


def _read_jwk(jwk: object) -> Key | None:
    """A key of a set; None where it is not for us."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _READERS:
        return None
    public = {"kty": kind, "crv": jwk.get("crv")}
    try:
        for name in _PUBLIC_MEMBERS[kind]:
            value = jwk.get(name)
            if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_MEMBER:
                return None
            decode_base64url(value.encode())
            public[name] = value
        material = _READERS[kind].from_jwk(public)
        algorithms = algorithms_of(material)
    except (ValueError, InvalidKeyError, UnsupportedAlgorithm):
        return None
    only = jwk.get("alg")
    return Key(material, frozenset(algorithms if only is None else [name for name in algorithms if name == only]))
