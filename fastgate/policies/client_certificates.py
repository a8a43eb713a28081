"""Certificates of clients: who one names, and what policies may know of it."""

import hashlib
from ssl import SSLObject
from typing import TYPE_CHECKING, Any

from fastgate._core.auth.certificate import CertificateMethod
from fastgate._core.exchange.identity import Identity
from fastgate.config.schema.client_certificates import ClientCertificates

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

Known = tuple[Identity | None, bool, int]


def compile_client_certificates(settings: ClientCertificates) -> CertificateMethod:
    """The method of ``[auth.certificate]``."""
    allowed = frozenset(settings.allow)

    def read(connection: SSLObject) -> Known | None:
        # Only one that was verified is decoded.
        if not connection.getpeercert():
            return None
        encoded = connection.getpeercert(binary_form=True)
        assert encoded is not None
        return _known(encoded, settings.subject, allowed)

    return CertificateMethod(read)


def _known(encoded: bytes, part: str, allowed: frozenset[str]) -> Known:
    """Who a certificate names, whether that one is allowed, and until when it is valid."""
    from cryptography import x509  # 11 MB and 30 ms, which the listener has paid already where there are certificates

    try:
        certificate = x509.load_der_x509_certificate(encoded)
        names = _names(certificate)
        claims = _claims(certificate, names, encoded)
    except ValueError:
        return None, False, 0
    candidates = [claims[part]] if part in ("cn", "subject") else names[part]
    who = next((name for name in candidates if name in allowed), candidates[0] if candidates else "")
    valid_until = int(certificate.not_valid_after_utc.timestamp())
    if not who:
        # Valid, but nobody in particular.
        return Identity("", "certificate"), False, valid_until
    return Identity(who, "certificate", claims=claims), not allowed or who in allowed, valid_until


def _names(certificate: "Certificate") -> dict[str, list[str]]:
    """The alternative names, by the words of ``subject``."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {"san_dns": [], "san_uri": [], "san_email": []}
    return {
        "san_dns": [name.lower() for name in extension.get_values_for_type(x509.DNSName)],
        "san_uri": extension.get_values_for_type(x509.UniformResourceIdentifier),
        "san_email": extension.get_values_for_type(x509.RFC822Name),
    }


def _claims(certificate: "Certificate", names: dict[str, list[str]], encoded: bytes) -> dict[str, Any]:
    from cryptography.x509.oid import NameOID

    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        # Of several names none is the one that counts.
        "cn": str(common[0].value) if len(common) == 1 else "",
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fingerprint_sha256": hashlib.sha256(encoded).hexdigest(),
        "san": [*names["san_dns"], *names["san_uri"], *names["san_email"]],
    }
