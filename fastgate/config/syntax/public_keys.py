"""Public keys in PEM, and the signature algorithms that they fit."""

from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

LEAST_RSA_BITS = 2048
"""RFC 7518, 3.3 and 3.5."""
MOST_RSA_BITS = 16384

_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def read_public_key(text: str) -> Any:
    """The key of a PEM public key or certificate. Raises ValueError with the reason, which repeats nothing of it."""
    data = text.strip().encode()
    if b"PRIVATE KEY-----" in data:
        raise ValueError("is a private key; the gateway needs only the public key")
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        return load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a public key or certificate in PEM") from None


def algorithms_of(key: Any) -> tuple[str, ...]:
    """What a key can verify. Raises ValueError for a key that nothing may be verified with."""
    if isinstance(key, rsa.RSAPublicKey):
        if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            raise ValueError(
                f"is an RSA key of {key.key_size} bits; use one of {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits"
            )
        return _RSA
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return ("EdDSA",)
    raise ValueError("is a key of a kind that no supported algorithm uses")
