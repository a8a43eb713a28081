"""What has been tried on verifiers of tokens (RFC 8725, and the lists of past years): each is 401 with its challenge.

The gateway under attack accepts RS256 with a public key that the attacker knows, and HS256 on another one with a secret
that he does not know. Where an attack is about how a token is read, its signature is right.
"""

import json
import time
from typing import Any

import jwt
import pytest
from policies.tokens import (
    REALM,
    SECRET,
    Stand,
    assert_refused,
    claims,
    encode,
    good,
    hs256,
    jwk,
    private_key,
    public_pem,
    standing,
)

RS256 = {"algorithms": ["RS256"], "key": public_pem(private_key("RSA"))}
HEADER = {"alg": "HS256", "typ": "JWT"}


def signed_by_nobody(alg: object, signature: str = "") -> str:
    return f"{encode({'alg': alg, 'typ': 'JWT'})}.{encode(claims(admin=True))}.{signature}"


async def refused(stand: Stand, token: str, reason: str) -> None:
    assert_refused(await stand.ask(token), reason)
    assert not stand.upstream.requests


# --- the algorithm


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "none ", "", None, [], ["none"], {}, 0, False, "HS256\0"]
)
@pytest.mark.parametrize("table", [RS256, None], ids=["RS256", "HS256"])
async def test_no_algorithm(alg: object, table: dict[str, Any] | None) -> None:
    async with standing(table) as stand:
        for signature in ("", "AA", good().rpartition(".")[2]):
            await refused(stand, signed_by_nobody(alg, signature), "the algorithm is not accepted")


async def test_a_header_without_alg() -> None:
    async with standing() as stand:
        await refused(stand, hs256({"typ": "JWT"}, claims()), "the algorithm is not accepted")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_the_public_key_as_a_secret(alg: str) -> None:
    """CVE-2015-9235: a token that says HS256, signed with the text of the public key."""
    pem = public_pem(private_key("RSA"))
    der = b"".join(line.encode() for line in pem.splitlines()[1:-1])
    async with standing(RS256) as stand:
        for secret in (pem, pem.strip(), pem + "\n", der.decode()):
            token = hs256({"alg": alg, "typ": "JWT"}, claims(admin=True), secret)
            await refused(stand, token, "the algorithm is not accepted")


async def test_another_algorithm_of_the_same_key() -> None:
    async with standing(RS256) as stand:
        for alg in ("RS384", "RS512", "PS256"):
            token = jwt.encode(claims(), private_key("RSA"), alg)
            await refused(stand, token, "the algorithm is not accepted")


@pytest.mark.parametrize("alg", ["rs256", "RS256 ", " RS256", "Rs256"])
async def test_names_of_algorithms_are_exact(alg: str) -> None:
    async with standing(RS256) as stand:
        token = jwt.encode(claims(), private_key("RSA"), "RS256").split(".")
        token[0] = encode({"alg": alg})
        await refused(stand, ".".join(token), "the algorithm is not accepted")


async def test_a_signature_of_nothing_and_of_zeros() -> None:
    """CVE-2022-21449: an ECDSA signature of zeros; and lengths that no signature has."""
    for kind, alg, length in (("P-256", "ES256", 64), ("RSA", "RS256", 256), ("Ed25519", "EdDSA", 64)):
        async with standing({"algorithms": [alg], "key": public_pem(private_key(kind))}) as stand:
            for signature in (b"\0" * length, b"", b"\0", b"\xff" * length, b"\0" * (length - 1), b"\0" * (length + 1)):
                await refused(stand, signed_by_nobody(alg, encode(signature)), "the signature is wrong")


async def test_an_ecdsa_signature_in_der() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = private_key("P-256")
    async with standing({"algorithms": ["ES256"], "key": public_pem(key)}) as stand:
        signed = f"{encode({'alg': 'ES256'})}.{encode(claims())}"
        der = key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        await refused(stand, f"{signed}.{encode(der)}", "the signature is wrong")


async def test_a_changed_payload() -> None:
    async with standing(RS256) as stand:
        head, _, signature = jwt.encode(claims(), private_key("RSA"), "RS256").split(".")
        await refused(stand, f"{head}.{encode(claims(admin=True))}.{signature}", "the signature is wrong")


# --- keys that the token brings


@pytest.mark.parametrize("name", ["jwk", "jku"])
async def test_a_key_in_the_token(name: str) -> None:
    """CVE-2018-0114: the token brings the key that verifies it, or says where that is."""
    key = private_key("RSA", 1)
    value: Any = jwk(key) if name == "jwk" else "https://evil.example/jwks.json"
    async with standing(RS256) as stand:
        token = jwt.encode(claims(admin=True), key, "RS256", headers={name: value})
        await refused(stand, token, "the token contains its own key")


@pytest.mark.parametrize("name", ["x5u", "x5c", "x5t", "x5t#S256"])
async def test_certificates_in_the_token_are_not_looked_at(name: str) -> None:
    value: Any = ["MIIB"] if name == "x5c" else "https://evil.example/chain.pem"
    async with standing(RS256) as stand:
        token = jwt.encode(claims(), private_key("RSA", 1), "RS256", headers={name: value})
        await refused(stand, token, "the signature is wrong")


@pytest.mark.parametrize(
    "kid",
    ["../../dev/null", "/dev/null", "x' UNION SELECT 'secret", "| id", "${jndi:ldap://x}", "http://evil/", "\0", ""],
)
async def test_a_kid_is_no_path_no_query_and_no_command(kid: str) -> None:
    """Signed with what the named thing would give: nothing, or a chosen secret."""
    async with standing() as stand:
        for secret in ("", "\0", "secret"):
            await refused(stand, hs256({**HEADER, "kid": kid}, claims(), secret), "the signature is wrong")


@pytest.mark.parametrize("kid", [None, 5, ["a"], {"a": 1}, True])
async def test_a_kid_is_a_string(kid: object) -> None:
    async with standing() as stand:
        await refused(stand, hs256({**HEADER, "kid": kid}, claims()), "the token is malformed")


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "x", None])
async def test_critical_extensions(crit: object) -> None:
    async with standing() as stand:
        token = hs256({**HEADER, "crit": crit, "b64": True}, claims())
        await refused(stand, token, "the token has critical extensions")


# --- spellings


def spoilt() -> list[str]:
    head, payload, signature = good().split(".")
    whole = f"{head}.{payload}.{signature}"
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = alphabet[alphabet.index(last) ^ 1]  # 43 characters for 32 bytes: two bits of the last are beyond the end
    return [
        "x", ".", "..", "...", "a.b", f"{head}.{payload}", f"{head}.{payload}.", f".{payload}.{signature}",
        f"{head}..{signature}", f"{whole}.", f".{whole}", f"{whole}.{signature}", f"{head}.{payload}.{signature}..",
        f"{whole}=", f"{head}=.{payload}.{signature}", f"{head}.{payload}==.{signature}", f"{whole}%3D",
        whole[:-1] + sibling, f"{whole}A", f"{whole} x", f"{whole[:10]} {whole[10:]}", f"{whole}\t{whole}",
        whole.replace(".", "..", 1), f'"{whole}"', f"{whole},{whole}", f"{head}+.{payload}.{signature}",
        f"{head}/.{payload}.{signature}", f"{head}é.{payload}.{signature}",
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(spoilt())))
async def test_no_other_spelling(number: int) -> None:
    async with standing() as stand:
        response = await stand.ask(fields=f"Authorization: Bearer {spoilt()[number]}\r\n")
        assert response.status == 401
        assert response.fields["www-authenticate"].startswith(f'{REALM}, error="invalid_token"')
        assert not stand.upstream.requests


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 43, 44, 60, 100])
async def test_a_truncated_token(cut: int) -> None:
    async with standing() as stand:
        assert (await stand.ask(good()[:-cut])).status == 401


async def test_five_parts_are_an_encrypted_token() -> None:
    async with standing() as stand:
        await refused(stand, "a.b.c.d.e", "the token is encrypted")


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"HS256","alg":"HS256"}',
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","a\\u006cg":"HS256"}',
        b'["alg","HS256"]',
        b'"HS256"',
        b"null",
        b"",
        b'{"alg":"HS256"',
        b'{"alg":"HS256"}}',
        b"{'alg':'HS256'}",
        b'\xef\xbb\xbf{"alg":"HS256"}',
        b'{"alg":"HS256","x":NaN}',
        b'{"alg":"HS256","x":"\xff"}',
        '{"alg":"HS256"}'.encode("utf-16"),
        b'{"alg":"HS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
async def test_headers_that_are_not_one_object(header: bytes) -> None:
    async with standing() as stand:
        await refused(stand, hs256(header, claims()), "the token is malformed")


SOON = b"4102444800"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub":"alice","sub":"admin","exp":' + SOON + b"}",
        b'{"exp":1,"exp":' + SOON + b"}",
        b'{"exp":' + SOON + b',"s\\u0075b":"a","sub":"b"}',
        b'{"exp":' + SOON + b',"a":{"b":1,"b":2}}',
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":-Infinity}',
        b'{"exp":1e999}',
        b'{"exp":' + b"9" * 5000 + b"}",
        b"[]",
        b"5",
        b"null",
        b'"sub"',
        b"",
        b"eyJ.eyJ.x",
        b'{"exp":' + SOON + b',"sub":"\xc0\x80"}',
        b'{"exp":' + SOON + b',"x":' + b"[" * 2500 + b"]" * 2500 + b"}",
    ],
)
async def test_payloads_that_are_not_one_object(payload: bytes) -> None:
    async with standing() as stand:
        await refused(stand, hs256(HEADER, payload), "the token is malformed")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["9999999999", True, False, None, [9999999999], {}, 1e300, -1e300, 10**300, 2**53])
async def test_what_is_no_time(name: str, value: object) -> None:
    async with standing({"algorithms": ["HS256"], "secret": SECRET, "require": []}) as stand:
        await refused(stand, hs256(HEADER, claims() | {name: value}), f"the claim {name} is not a valid time")


async def test_one_second_past_leeway() -> None:
    async with standing({"algorithms": ["HS256"], "secret": SECRET, "leeway": "30s"}) as stand:
        now = int(time.time())
        await refused(stand, hs256(HEADER, {"exp": now - 31}), "the token has expired")
        await refused(stand, hs256(HEADER, {"exp": now - 31 + 0.5}), "the token has expired")
        assert (await stand.ask(hs256(HEADER, {"exp": now - 25}))).status == 200


async def test_a_huge_token() -> None:
    async with standing() as stand:
        await refused(stand, good(filler="x" * 9000), "the token is too large")
        await refused(stand, "A" * 9000, "the token is too large")
        assert (await stand.ask(good(filler="x" * 5000))).status == 200


async def test_many_wrong_tokens_are_not_remembered() -> None:
    async with standing() as stand:
        method = stand_method(stand)
        for number in range(50):
            assert (await stand.ask(good(n=number)[:-2])).status == 401
        assert len(method.cache) == 0
        assert (await stand.ask(good())).status == 200
        assert len(method.cache) == 1


def stand_method(stand: Stand) -> Any:
    import gc

    from fastgate._core.auth.bearer import TokenMethod

    (method,) = [each for each in gc.get_objects() if isinstance(each, TokenMethod)]
    return method


async def test_a_token_of_another_kind() -> None:
    """RFC 8725, 3.11: what was made for another purpose is no access token."""
    async with standing() as stand:
        for kind in ("logout+jwt", "secevent+jwt", "dpop+jwt", "id_token", "JOSE"):
            token = hs256({"alg": "HS256", "typ": kind}, claims())
            await refused(stand, token, "the type of the token is not accepted")


async def test_the_challenge_says_nothing_of_keys() -> None:
    async with standing() as stand:
        response = await stand.ask(hs256({**HEADER, "kid": 'x" secret="y'}, claims(), "wrong"))
        assert SECRET not in response.fields["www-authenticate"]
        assert 'x"' not in response.fields["www-authenticate"]
        assert json.loads(response.body)["detail"]
