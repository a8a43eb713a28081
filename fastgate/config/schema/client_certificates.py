"""The keys of ``[auth.certificate]``: certificates of clients as identity."""

from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.schema.kinds import about
from fastgate.config.schema.table import Table

CertificateName = Annotated[str, Meta(min_length=1, max_length=1024, extra={"kind": "text"})]


class ClientCertificates(Table, frozen=True, kw_only=True):
    """The certificate of the client gives its identity.

    Needs `client_auth` and `client_ca` of `[gateway.tls]`, which verify the certificate. Header fields are never used.
    """

    subject: Annotated[
        Literal["cn", "subject", "san_dns", "san_uri", "san_email"],
        about(
            "The part of the certificate that names the client: the only common name; the whole subject in the form of "
            "RFC 4514; or a subject alternative name of that kind, the first one in `allow`, or the first of all.",
            also=["identity", "field", "from", "id", "user", "name", "username"],
        ),
    ] = "cn"
    allow: Annotated[
        list[CertificateName],
        about(
            "Names of the clients that the gateway accepts; others get 403. Empty: every client with a valid "
            "certificate.",
            examples=[["billing.internal"]],
            also=["allowed", "allow_list", "whitelist", "allowed_subjects", "allowlist"],
        ),
    ] = field(default_factory=list)
