"""The examples of RFC 7515 (appendix A), RFC 7519 (3.1, 6.1), RFC 7520 (4) and RFC 8037 (A.4), and strictness by rule.

Those of RFC 7520 and A.4 have no claims in them, so that their signatures are looked at without a token around them.
"""

import binascii
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies.tokens import SECRET, jwk, private_key

from fastgate.config.schema.jwt import JWT
from fastgate.policies.jwt.jwk import (
    Key,
    KeySet,
    UnknownKey,
    decode_base64url,
    read_json_object,
    read_key_set,
)
from fastgate.policies.jwt.key_sets import KeySets
from fastgate.policies.jwt.verifier import KeyMissing, TokenRefused, Verifier, header_value

URL = "https://id.example.com/keys"
JOE = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
EXPIRES = 1300819380

A1_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
A1 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
A2_KEY = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapH"
    "g665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"
    "yuXpoQ",
    "e": "AQAB",
}
A2 = (
    f"eyJhbGciOiJSUzI1NiJ9.{JOE}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt"
    "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZR"
    "mB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy"
    "wlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A4_KEY = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
}
A4 = (
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0"
    "aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)
A5 = f"eyJhbGciOiJub25lIn0.{JOE}."

BILBO = "bilbo.baggins@hobbiton.example"
DANGEROUS = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIG"
    "lmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
)
COOKBOOK_RSA = {
    "kty": "RSA",
    "kid": BILBO,
    "use": "sig",
    "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2w"
    "qVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde"
    "3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHd"
    "rNP5zw",
    "e": "AQAB",
}
COOKBOOK_EC = {
    "kty": "EC",
    "kid": BILBO,
    "use": "sig",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
RS256 = (
    f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{DANGEROUS}.MRjdkly7_-oTPTS3AXP41iQIGKa8"
    "0A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0"
    "RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2"
    "aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
)
PS384 = (
    f"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{DANGEROUS}.cu22eBqkYDKgIlTpzDXGvaFfz6WG"
    "oz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQF"
    "lfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6ui"
    "P1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
)
ES512 = (
    f"eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{DANGEROUS}.AE_R_YZCChjn4791jSQCrdPZCNYq"
    "HXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_I"
    "EKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
)
HS256 = (
    f"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.{DANGEROUS}."
    "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
)
HS256_KEY = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"
ED25519_KEY = {"kty": "OKP", "use": "sig", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
ED25519 = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def published(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def secret(text: str) -> KeySet:
    return KeySet({}, [Key(decode_base64url(text.encode()), frozenset(["HS256"]))])


def verifier(algorithm: str, *keys: dict[str, Any], **settings: Any) -> Verifier:
    table = JWT(algorithms=[algorithm], jwks=URL, leeway=0.0, **settings)  # type: ignore[list-item]
    return Verifier(table, KeySets({URL: published(*keys)}, lambda url, kid: None), lambda: None)


# --- vectors


@pytest.mark.parametrize(
    ("token", "algorithm", "keys"),
    [
        (A1, "HS256", secret(A1_KEY)),
        (A2, "RS256", read_key_set(published(A2_KEY))),
        (A3, "ES256", read_key_set(published(A3_KEY))),
        (A4, "ES512", read_key_set(published(A4_KEY))),
        (RS256, "RS256", read_key_set(published(COOKBOOK_RSA))),
        (PS384, "PS384", read_key_set(published(COOKBOOK_RSA))),
        (ES512, "ES512", read_key_set(published(COOKBOOK_EC))),
        (HS256, "HS256", secret(HS256_KEY)),
        (ED25519, "EdDSA", read_key_set(published(ED25519_KEY))),
    ],
    ids=["7515-A1", "7515-A2", "7515-A3", "7515-A4", "7520-4.1", "7520-4.2", "7520-4.3", "7520-4.4", "8037-A.4"],
)
def test_signatures(token: str, algorithm: str, keys: KeySet) -> None:
    head, payload, signature = token.encode().split(b".")
    header = read_json_object(decode_base64url(head))
    assert header["alg"] == algorithm
    (key,) = keys.candidates(algorithm, header.get("kid"))
    raw = decode_base64url(signature)
    assert key.verifies(algorithm, head + b"." + payload, raw)
    assert not key.verifies(algorithm, head + b"." + payload[:-4] + b"AAAA", raw)
    for position in (0, len(raw) // 2, len(raw) - 1):
        changed = bytearray(raw)
        changed[position] ^= 1
        assert not key.verifies(algorithm, head + b"." + payload, bytes(changed))


@pytest.mark.parametrize(("token", "algorithm", "key"), [(A2, "RS256", A2_KEY), (A3, "ES256", A3_KEY)])
def test_whole_tokens(token: str, algorithm: str, key: dict[str, Any]) -> None:
    found = verifier(algorithm, key, issuer="joe").verify(token.encode(), EXPIRES - 1)
    assert found.until == EXPIRES
    assert found.identity.claims == {"iss": "joe", "exp": EXPIRES, "http://example.com/is_root": True}
    with pytest.raises(TokenRefused, match="the token has expired"):
        verifier(algorithm, key).verify(token.encode(), EXPIRES)
    with pytest.raises(TokenRefused, match="the issuer is not accepted"):
        verifier(algorithm, key, issuer="jo").verify(token.encode(), EXPIRES - 1)


def test_the_token_of_rfc_7519() -> None:
    """Section 3.1; its key is no text, so that no configuration could have it."""
    judge = verifier("HS256", A3_KEY)
    judge._trusted[0]._keys = secret(A1_KEY)
    assert judge.verify(A1.encode(), EXPIRES - 1).identity.claims["iss"] == "joe"


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
def test_the_unsecured_token(algorithm: str) -> None:
    """RFC 7515, A.5; RFC 7519, 6.1."""
    with pytest.raises(TokenRefused, match="the algorithm is not accepted"):
        verifier(algorithm, A2_KEY, A3_KEY, ED25519_KEY).verify(A5.encode(), EXPIRES - 1)


def test_what_is_no_object_is_no_token() -> None:
    with pytest.raises(TokenRefused, match="the token is malformed"):
        verifier("ES512", A4_KEY).verify(A4.encode())


# --- base64url and JSON


@given(st.binary(max_size=80))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = binascii.b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
    assert decode_base64url(text) == data
    for other in (text + b"=", text + b"==", text + b"\n", b" " + text, text + b"\0", text + b"\xc3\xa9"):
        with pytest.raises(ValueError, match="base64url"):
            decode_base64url(other)


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=12))
def test_no_two_texts_are_the_same_bytes(text: str) -> None:
    try:
        data = decode_base64url(text.encode())
    except ValueError:
        return
    again = binascii.b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
    assert again.decode() == text


@given(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.lists(st.text(max_size=5))))
def test_objects_are_read_as_they_are(value: dict[str, Any]) -> None:
    assert read_json_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_nothing_but_tokens_is_accepted(data: bytes) -> None:
    for token in (data, b".".join([data] * 3), A3[:40].encode() + data):
        with pytest.raises(TokenRefused):
            verifier("ES256", A3_KEY).verify(token, EXPIRES - 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (["a", 1, False], "a,1,false"),
        ([], ""),
        (None, None),
        ({}, None),
        ("a ", None),
        ("\u00a0a", None),
        ("a\n", None),
        ("a\0b", None),
        ("a\x7f", None),
        ("a\x85b", None),
        ("\ud800", None),
        (["a", "b,c"], None),
        (["a", ""], None),
        (["a", ["b"]], None),
        (["a", None], None),
    ],
)
def test_what_can_stand_in_a_field(value: object, text: str | None) -> None:
    assert header_value(value) == text


# --- sets of keys


@pytest.mark.parametrize(
    ("members", "usable"),
    [
        ({}, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ({"use": "sig"}, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ({"alg": "PS256"}, {"PS256"}),
        ({"key_ops": ["verify", "sign"]}, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ({"use": "enc"}, None),
        ({"use": 1}, None),
        ({"use": None}, None),
        ({"key_ops": ["encrypt"]}, None),
        ({"key_ops": ["sign"]}, None),
        ({"key_ops": "verify"}, None),
        ({"key_ops": []}, None),
        ({"use": "sig", "key_ops": ["wrapKey"]}, None),
        ({"alg": "RSA-OAEP"}, set()),
        ({"alg": "ES256"}, set()),
        ({"alg": "HS256"}, set()),
        ({"alg": "none"}, set()),
        ({"alg": 5}, set()),
        ({"kty": "oct", "k": "AAAA"}, None),
        ({"kty": "EC"}, None),
        ({"kty": ["RSA"]}, None),
        ({"n": COOKBOOK_RSA["n"] + "="}, None),
        ({"n": "AQAB"}, None),
        ({"n": 5}, None),
        ({"e": "AA"}, None),
        ({"n": "_" * 3000}, None),
    ],
)
def test_what_a_key_says_of_itself(members: dict[str, Any], usable: set[str] | None) -> None:
    keys = read_key_set(published({**COOKBOOK_RSA, "kid": "a", **members}, {**A3_KEY, "kid": "other"}))
    found = keys.named.get("a")
    assert (None if found is None else set(found[0].algorithms)) == usable


def test_private_members_are_not_read() -> None:
    private = {**A3_KEY, "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}
    (key,) = read_key_set(published(private)).nameless
    assert not hasattr(key.material, "private_numbers")


def test_curves_belong_to_their_algorithms() -> None:
    for curve, algorithm in (("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512")):
        (key,) = read_key_set(published(jwk(private_key(curve)))).nameless
        assert key.algorithms == {algorithm}
    x = {**A3_KEY, "y": A3_KEY["x"]}  # no point of the curve
    with pytest.raises(ValueError, match="no key that can"):
        read_key_set(published(x))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "it is not a valid JSON object"),
        (b"<html>", "it is not a valid JSON object"),
        (b"[]", "it is not a valid JSON object"),
        (b"{}", 'it has no list "keys"'),
        (b'{"keys":{}}', 'it has no list "keys"'),
        (b'{"keys":[],"keys":[]}', "it is not a valid JSON object"),
        (b'{"keys":[]}', "it has no key that can verify"),
        (b'{"keys":[1,null,"a",{}]}', "it has no key that can verify"),
        (b'{"keys":[' + b"{}," * 300 + b"{}]}", "it has more than 256 keys"),
        (b'{"keys":[]}' + b" " * 300_000, "it is larger than 256 KB"),
    ],
)
def test_what_is_no_set(document: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_key_set(document)


def test_keys_are_found_by_their_names() -> None:
    keys = read_key_set(published({**COOKBOOK_RSA, "kid": "a"}, {**A3_KEY, "kid": "b"}))
    assert [key.algorithms for key in keys.candidates("ES256", "b")] == [{"ES256"}]
    assert keys.candidates("RS256", "b") == []
    assert len(keys.candidates("RS256", None)) == 1
    with pytest.raises(UnknownKey):
        keys.candidates("RS256", "c")
    with pytest.raises(TokenRefused, match="the key is not for this algorithm"):
        verifier("RS256", {**A3_KEY, "kid": BILBO}).verify(RS256_CLAIMS)
    with pytest.raises(KeyMissing):
        verifier("RS256", {**COOKBOOK_RSA, "kid": "other"}).verify(RS256_CLAIMS)


RS256_CLAIMS = f"{RS256.split('.')[0]}.{JOE}.AAAA".encode()


def test_no_key_is_asked_for_when_the_keys_are_in_the_configuration() -> None:
    asked: list[str] = []
    table = JWT(algorithms=["HS256"], secret=SECRET)
    judge = Verifier(table, KeySets({}, lambda url, kid: asked.append(kid)), lambda: None)
    with pytest.raises(TokenRefused):
        judge.verify(HS256.encode())
    assert asked == []
