"""Whether a token is what it says (RFC 7515, RFC 7519, RFC 8725), and who it is about.

Nothing is believed before the signature is verified but what chooses the key: ``iss`` where there are several issuers,
``alg`` and ``kid``. The algorithm has to be one of the configuration's and one of the key's; ``kid`` is looked up in a
dict and nothing else. Whatever could be read in two ways is refused: other spellings of base64url, members that come
twice, header parameters that carry or fetch keys.
"""

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from fastgate._core.exchange.identity import Identity
from fastgate.config.schema.jwt import JWT, TokenIssuer
from fastgate.policies.jwt.jwk import (
    KeySet,
    UnknownKey,
    decode_base64url,
    read_json_object,
    read_key_set,
    static_keys,
)
from fastgate.policies.jwt.key_sets import KeySets

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # for a field
_LAST_TIME = 2.0**53  # seconds; beyond it a number is no time


class Verified(NamedTuple):
    """Who asks, and until when that holds, in seconds since the epoch."""

    identity: Identity
    until: float


class TokenRefused(Exception):
    """A token that is not accepted; the message, for the client, says why."""


class KeyMissing(Exception):
    """The key is not in the set at ``url``, which may be out of date; or there is no set yet."""

    def __init__(self, url: str, kid: str, *, any_set: bool) -> None:
        super().__init__(url)
        self.url = url
        self.kid = kid
        self.any_set = any_set


class Trusted:
    """An issuer and its keys: those of the configuration, or of the set that it publishes."""

    def __init__(self, name: str, issuer: TokenIssuer, key_sets: KeySets, changed: Callable[[], None]) -> None:
        self.name = name
        self.issuer = issuer.issuer
        self.algorithms = frozenset(issuer.algorithms)
        self.audience = None if issuer.audience is None else frozenset(issuer.audience)
        self.url = issuer.jwks
        self._key_sets = key_sets
        self._changed = changed
        self._keys = None if self.url else static_keys(issuer)
        if self.url:
            key_sets.watch(self.url, self._fetched)

    def key_set(self) -> KeySet | None:
        """None: there is no set yet."""
        if self._keys is None:
            document = self._key_sets.document(self.url)
            self._keys = None if document is None else read_key_set(document, self.algorithms)
        return self._keys

    def verify(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> None:
        """Raises TokenRefused, or KeyMissing where a key that is not in the set may have signed."""
        keys = self.key_set()
        if keys is None:
            raise KeyMissing(self.url, kid or "", any_set=False)
        try:
            found = keys.candidates(algorithm, kid)
        except UnknownKey:
            raise KeyMissing(self.url, kid or "", any_set=True) from None
        if any(key.verifies(algorithm, signed, signature) for key in found):
            return
        if self.url and (kid is None or kid not in keys.named):
            raise KeyMissing(self.url, kid or "", any_set=True)
        raise TokenRefused("the signature is wrong" if found else "the key is not for this algorithm")

    def _fetched(self) -> None:
        self._keys = None
        self._changed()


class Verifier:
    """Judges tokens by the ``[auth.jwt]`` of a configuration. ``changed`` is called when keys have changed."""

    def __init__(self, settings: JWT, key_sets: KeySets, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._trusted = [Trusted(name, issuer, key_sets, changed) for name, issuer in settings.trusted().items()]
        self._by_issuer = {each.issuer: each for each in self._trusted} if settings.issuers else {}
        self._algorithms = frozenset().union(*(each.algorithms for each in self._trusted))
        self._types = {kind.lower().removeprefix("application/") for kind in settings.types}
        self._headers = [(claim, claim.split("."), name.lower()) for claim, name in settings.claims_to_headers.items()]

    def verify(self, token: bytes, now: float | None = None) -> Verified:
        """Who the token is about. Raises TokenRefused, KeyMissing. ``now`` is in seconds since the epoch."""
        if len(token) > self._settings.max_size:
            raise TokenRefused("the token is too large")
        parts = token.split(b".")
        if len(parts) != 3:
            raise TokenRefused("the token is encrypted" if len(parts) == 5 else "the token is malformed")
        try:
            header = read_json_object(decode_base64url(parts[0]))
            claims = read_json_object(decode_base64url(parts[1]))
            signature = decode_base64url(parts[2])
        except ValueError:
            raise TokenRefused("the token is malformed") from None
        algorithm, kid = self._read_header(header)
        issuer = self._issuer_of(claims)
        if algorithm not in issuer.algorithms:
            raise TokenRefused("the algorithm is not accepted")
        signed = token[: len(parts[0]) + 1 + len(parts[1])]
        issuer.verify(algorithm, kid, signed, signature)
        until = self._check_claims(claims, issuer, time.time() if now is None else now)
        return Verified(self._identity(claims, issuer), until)

    def _read_header(self, header: dict[str, Any]) -> tuple[str, str | None]:
        """``alg`` and ``kid``."""
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise TokenRefused("the algorithm is not accepted")
        if "crit" in header:
            raise TokenRefused("the token has critical extensions")
        if "jwk" in header or "jku" in header:
            raise TokenRefused("the token contains its own key")
        if "kid" in header and not isinstance(kid, str):
            raise TokenRefused("the token is malformed")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in self._types:
            raise TokenRefused("the type of the token is not accepted")
        return algorithm, kid

    def _issuer_of(self, claims: dict[str, Any]) -> Trusted:
        issuer = claims.get("iss")
        if self._by_issuer:
            found = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        else:
            (found,) = self._trusted
            if found.issuer and found.issuer != issuer:
                found = None
        if found is None:
            raise TokenRefused("the issuer is not accepted")
        return found

    def _check_claims(self, claims: dict[str, Any], issuer: Trusted, now: float) -> float:
        """Until when they hold. Raises TokenRefused."""
        settings = self._settings
        for name in settings.require:
            if claims.get(name) is None:
                raise TokenRefused(f"the claim {name} is missing")
        expires, starts, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is not None and now >= expires + settings.leeway:
            raise TokenRefused("the token has expired")
        if starts is not None and now < starts - settings.leeway:
            raise TokenRefused("the token is not valid yet")
        if issued is not None and now < issued - settings.leeway:
            raise TokenRefused("the token was issued in the future")
        if settings.max_lifetime:
            if expires is None or issued is None:
                raise TokenRefused(f"the claim {'exp' if expires is None else 'iat'} is missing")
            if expires - issued > settings.max_lifetime:
                raise TokenRefused("the lifetime of the token is too long")
        if issuer.audience is not None and not issuer.audience.intersection(_audience(claims)):
            raise TokenRefused("the audience is not accepted")
        if not isinstance(claims.get("sub", ""), str):
            raise TokenRefused("the subject is not a string")
        return float("inf") if expires is None else expires + settings.leeway

    def _identity(self, claims: dict[str, Any], issuer: Trusted) -> Identity:
        name = next((each for each in map(claims.get, ("sub", "client_id", "azp")) if isinstance(each, str)), "")
        fields = []
        for claim, path, header in self._headers:
            value = header_value(_claim(claims, claim, path))
            if value:
                fields.append((header, value))
        identity = f"{issuer.name}:{name}" if issuer.name else name
        return Identity(identity, "jwt", claims=claims, fields=fields)


def _time(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, 2), which may have a fraction."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LAST_TIME < value < _LAST_TIME:
        raise TokenRefused(f"the claim {name} is not a valid time")
    return float(value)


def _audience(claims: dict[str, Any]) -> list[str]:
    value = claims.get("aud")
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, str)] if all(isinstance(each, str) for each in listed) else []


def _claim(claims: dict[str, Any], claim: str, path: list[str]) -> object:
    """A claim by its name, or a member of a member by the path that the name is."""
    value: Any = claims.get(claim)
    if value is None and len(path) > 1:
        value = claims
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def header_value(value: object) -> str | None:
    """A claim as the value of a field; None for what cannot stand in one.

    That are objects, control characters, white space at an end and text that is no Unicode. A list has commas between
    its values, so that none of them may have one.
    """
    if isinstance(value, list):
        parts = [header_value(each) if not isinstance(each, list) else None for each in value]
        whole = [part for part in parts if part and "," not in part]
        return ",".join(whole) if len(whole) == len(parts) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or value != value.strip():
        return None
    return None if _UNFIT.search(value) else value
