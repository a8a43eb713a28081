"""The keys of ``[auth.jwt]``: JSON Web Tokens."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Count, Duration, FreeHeader, Path, Secret, Text, Wait, about
from fastgate.config.schema.table import Table
from fastgate.config.syntax.patterns import check_token

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
Algorithms = list[Algorithm]
KeySetURL = Annotated[str, Meta(extra={"kind": "key set url"})]
TokenSource = Annotated[str, Meta(extra={"kind": "token source"})]
ClaimName = Annotated[str, Meta(min_length=1, max_length=128, extra={"kind": "claim name"})]

HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least bytes of a secret (RFC 7518, 3.2)."""

_KEYS = ("secret", "key", "jwks")


class TokenIssuer(Table, frozen=True, kw_only=True):
    """An issuer of tokens, and the keys that verify them. Set one of `secret`, `key` and `jwks`."""

    algorithms: Annotated[
        Algorithms,
        about(
            "The algorithms that may sign tokens. Those that begin with HS need `secret`, the others `key` or `jwks`.",
            examples=[["RS256"]],
            also=["alg", "algorithm", "signing_algorithms", "algs"],
        ),
    ] = field(default_factory=list)
    secret: Annotated[
        Secret,
        about(
            "The secret that issuer and gateway share: at least 32, 48 or 64 bytes for HS256, HS384, HS512.",
            examples=[{"env": "JWT_SECRET"}],
            also=["shared_secret", "hmac_secret", "signing_key", "secret_key"],
        ),
    ] = ""
    key: Annotated[
        Secret,
        about(
            "The public key or certificate in PEM.",
            examples=[{"file": "issuer.pem"}],
            also=["public_key", "rsa_public_key", "pem", "certificate", "key_file"],
        ),
    ] = ""
    jwks: Annotated[
        KeySetURL,
        about(
            "The http or https URL where the issuer publishes its JWK set (RFC 7517).",
            examples=["https://id.example.com/.well-known/jwks.json"],
            also=["jwks_url", "jwks_uri", "remote_jwks", "jwk_set_uri", "key_set"],
        ),
    ] = ""
    issuer: Annotated[
        str,
        about("The required value of `iss`.", examples=["https://id.example.com/"], also=["iss", "issuers_allowed"]),
    ] = ""
    audience: Annotated[
        Annotated[list[str], Meta(min_length=1)] | None,
        about(
            "`aud` must contain one of these. Absent: the gateway does not check `aud`, and also accepts tokens for "
            "other services of the issuer.",
            examples=[["https://api.example.com"]],
            also=["aud", "audiences"],
        ),
    ] = None


class JWT(TokenIssuer, frozen=True, kw_only=True):
    """JSON Web Tokens (RFC 7519)."""

    leeway: Annotated[
        Duration,
        about(
            "The largest difference between the clocks of issuer and gateway, for `exp`, `nbf` and `iat`.",
            also=["clock_skew", "clock_tolerance", "clock_skew_seconds"],
        ),
    ] = 30.0
    require: Annotated[
        list[ClaimName],
        about(
            "Claims that a token must have, with any value.",
            examples=[["exp", "sub"]],
            also=["required_claims", "required", "claims_to_verify"],
        ),
    ] = field(default_factory=lambda: ["exp"])
    max_lifetime: Annotated[
        Duration,
        about(
            "The longest time from `iat` to `exp`; a token then needs both. 0 means no limit.",
            also=["maximum_expiration", "max_age", "max_ttl", "maximum_lifetime"],
        ),
    ] = 0.0
    types: Annotated[
        Annotated[list[Text], Meta(min_length=1)],
        about(
            'Accepted values of `typ`, without `"application/"`; a token without `typ` counts as `JWT`.',
            also=["typ", "type"],
        ),
    ] = field(default_factory=lambda: ["JWT", "at+jwt"])
    sources: Annotated[
        Annotated[list[TokenSource], Meta(min_length=1)],
        about(
            "Where a request carries its token; the first place with a token counts. `header:NAME`, `cookie:NAME`, "
            "`query:NAME`. Histories and the logs of other systems keep queries.",
            examples=[["header:authorization", "cookie:token"]],
            also=["source", "from_headers", "from_cookies", "from_params", "locations", "token_location"],
        ),
    ] = field(default_factory=lambda: ["header:authorization"], name="from")
    claims_to_headers: Annotated[
        dict[ClaimName, FreeHeader],
        about(
            "Header fields in which the upstream gets claims of the token. `a.b` is the claim `b` in `a`. The gateway "
            "removes these fields from the requests of clients.",
            examples=[{"sub": "x-user-id"}],
            also=["forward_claims", "claim_to_headers", "headers", "output_claim_to_headers"],
        ),
    ] = field(default_factory=dict)
    max_size: Annotated[
        Annotated[int, Meta(ge=64, le=64 * 1024, extra={"kind": "size"})],
        about("The largest token.", also=["max_token_size", "size_limit"]),
    ] = 8 * 1024
    cache_entries: Annotated[
        Count,
        about(
            "Verified tokens that each worker remembers, until they expire. 0: it verifies the token of each request.",
            also=["cache_size", "cache", "token_cache"],
        ),
    ] = 4096
    refresh: Annotated[
        Wait,
        about(
            "The longest time until the gateway fetches a JWK set again; it fetches earlier if `Cache-Control` says "
            "so.",
            also=["jwks_refresh", "cache_duration", "cache_ttl", "jwks_ttl"],
        ),
    ] = 600.0
    cooldown: Annotated[
        Annotated[float, Meta(ge=0.1, extra={"kind": "duration"})],
        about(
            "Tokens whose key is not in the set cause at most one fetch in this time.",
            also=["cooldown_duration", "jwks_cooldown", "rate_limit", "min_refresh"],
        ),
    ] = 10.0
    timeout: Annotated[
        Wait, about("The longest time for a fetch.", also=["jwks_timeout", "http_timeout", "fetch_timeout"])
    ] = 5.0
    ca: Annotated[
        Path,
        about(
            "PEM file with the authorities that verify the server of the JWK set. Absent: the authorities of the "
            "system.",
            examples=["ca.pem"],
            also=["ca_file", "jwks_ca", "ca_cert"],
        ),
    ] = ""
    issuers: Annotated[
        dict[Text, TokenIssuer],
        about(
            "Several issuers, told apart by `iss`, each with its keys. An issuer without `algorithms` or `audience` "
            "uses those above. The name is put before the subject, as in `NAME:SUBJECT`.",
            examples=[{"main": {"issuer": "https://id.example.com/", "key": {"file": "issuer.pem"}}}],
            also=["providers", "tenants", "trusted_issuers"],
        ),
    ] = field(default_factory=dict)

    def trusted(self) -> dict[str, TokenIssuer]:
        """The issuers by name, complete; without `issuers` there is one, without a name."""
        if not self.issuers:
            return {"": self}
        return {
            name: TokenIssuer(
                algorithms=each.algorithms or self.algorithms,
                secret=each.secret,
                key=each.key,
                jwks=each.jwks,
                issuer=each.issuer,
                audience=self.audience if each.audience is None else each.audience,
            )
            for name, each in self.issuers.items()
        }

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.issuers:
            for name in (*_KEYS, "issuer"):
                if getattr(self, name) != "":
                    yield (name,), "cannot be used with issuers: set it in each issuer"
            yield from _issuer_faults(self)
        else:
            yield from _key_faults(self, self.algorithms, ())
        yield from _header_faults(self)


# Half-read tables have anything in the place of a value: so theirs are `Any` here.


def _issuer_faults(table: Any) -> Iterator[tuple[PathKeys, str]]:
    """Each issuer needs its name and its keys."""
    first: dict[str, str] = {}
    for name, each in table.issuers.items() if isinstance(table.issuers, dict) else ():
        if not isinstance(each, TokenIssuer):
            continue
        where = ("issuers", name)
        yield from _key_faults(each, each.algorithms or table.algorithms, where)
        issuer: Any = each.issuer
        if issuer == "":
            yield (*where, "issuer"), "is missing: the gateway needs it to tell the issuers apart"
        elif isinstance(issuer, str) and first.setdefault(issuer, name) != name:
            yield (*where, "issuer"), f'is also the issuer of "{first[issuer]}"'


def _header_faults(table: Any) -> Iterator[tuple[PathKeys, str]]:
    """A field that tells the upstream who asks is one that no credential and no other claim uses."""
    sources = {source.partition(":")[2] for source in table.sources if _is_header(source)}
    first: dict[str, str] = {}
    for claim, header in table.claims_to_headers.items() if isinstance(table.claims_to_headers, dict) else ():
        if not isinstance(header, str):
            continue
        name = header.lower()
        if name in sources or name == "authorization":
            yield ("claims_to_headers", claim), f"{header} is the field in which clients send their credentials"
        if first.setdefault(name, claim) != claim:
            yield ("claims_to_headers", claim), f'is also the field of "{first[name]}"'


def _is_header(source: object) -> bool:
    return isinstance(source, str) and source.startswith("header:")


def _key_faults(table: Any, algorithms: Any, where: PathKeys) -> Iterator[tuple[PathKeys, str]]:
    """The keys of an issuer must be there, one kind of them, and fit every algorithm."""
    given = [name for name in _KEYS if getattr(table, name) != ""]
    if not given:
        yield (*where, "secret"), "is missing: set secret, key or jwks to verify tokens"
    for name in given[1:]:
        yield (*where, name), f"cannot be used with {given[0]}: set only one of secret, key and jwks"
    if algorithms == []:
        yield (*where, "algorithms"), 'is missing: list the algorithms that sign the tokens, such as ["RS256"]'
    if not isinstance(algorithms, list) or len(given) != 1:
        return
    symmetric = [name for name in algorithms if name in HASH_BYTES]
    public = [name for name in algorithms if isinstance(name, str) and name not in HASH_BYTES]
    if symmetric and public:
        yield (
            (*where, "algorithms"),
            f"{symmetric[0]} and {public[0]} cannot share a key: a client that knows the public key could sign with it",
        )
    elif symmetric and given != ["secret"]:
        yield (*where, given[0]), f"cannot verify {symmetric[0]}, which needs secret"
    elif public and given == ["secret"]:
        yield (*where, "secret"), f"cannot verify {public[0]}, which needs key or jwks"
    elif given == ["secret"] and isinstance(table.secret, str):
        yield from _secret_faults(table.secret, symmetric, where)
    elif given == ["key"] and isinstance(table.key, str):
        yield from _pem_faults(table.key, public, where)


def _secret_faults(secret: str, algorithms: Iterable[str], where: PathKeys) -> Iterator[tuple[PathKeys, str]]:
    if "-----BEGIN " in secret:
        yield (*where, "secret"), "is a key or certificate in PEM, not a secret: set it as key"
        return
    longest = max(algorithms, key=HASH_BYTES.__getitem__, default=None)
    if longest and len(secret.encode()) < HASH_BYTES[longest]:
        yield (*where, "secret"), f"is too short: {longest} needs at least {HASH_BYTES[longest]} bytes (RFC 7518, 3.2)"


def _pem_faults(text: str, algorithms: Iterable[str], where: PathKeys) -> Iterator[tuple[PathKeys, str]]:
    from fastgate.config.syntax.public_keys import algorithms_of, read_public_key  # on use: it loads a library

    try:
        fits = algorithms_of(read_public_key(text))
    except ValueError as error:
        yield (*where, "key"), str(error)
        return
    for name in algorithms:
        if name not in fits:
            yield (*where, "key"), f"cannot verify {name}: the key fits {', '.join(fits)}"


def check_key_set_url(text: str) -> str:
    """The URL as it is; ValueError for one that nothing can be fetched from."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f'"{text}" is not a valid URL') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError('expected a URL such as "https://id.example.com/jwks.json"')
    if parts.username is not None or parts.fragment:
        raise ValueError("the URL of a JWK set must not contain a user or a fragment")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("write the URL percent-encoded")
    return text


def check_token_source(text: str) -> str:
    """A source with the name of a header in lower case; ValueError with the reason."""
    kind, colon, name = text.partition(":")
    if kind not in ("header", "cookie", "query") or not colon:
        raise ValueError('expected "header:NAME", "cookie:NAME" or "query:NAME"')
    if not name:
        raise ValueError(f'the name is missing: write "{kind}:NAME"')
    check_token(name, f"name of a {kind}" if kind != "query" else "name of a parameter")
    return f"header:{name.lower()}" if kind == "header" else text


def check_claim_name(text: str) -> str:
    """A claim's name as it is; ValueError for one that cannot be quoted in a header field."""
    if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError("the name of a claim must be printable ASCII without quotes and backslashes")
    return text
