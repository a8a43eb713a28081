"""The keys of ``[auth.certificate]``: certificates of clients as identity."""

from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.schema.kinds import about
from fastgate.config.schema.table import Table

CertificateName = Annotated[str, Meta(min_length=1, max_length=1024, extra={"kind": "text"})]


class ClientCertificates(Table, frozen=True, kw_only=True):
    """Who asks is who the client's certificate says.

    Needs `client_auth` and `client_ca` of `[gateway.tls]`, which verify it. No header field is believed.
    """

    subject: Annotated[
        Literal["cn", "subject", "san_dns", "san_uri", "san_email"],
        about(
            "Which part says who it is: the only common name; the whole subject as RFC 4514 writes it; or a name of "
            "that kind among the alternative ones, the first that is in `allow`, or the first of all.",
            also=["identity", "field", "from", "id", "user", "name", "username"],
        ),
    ] = "cn"
    allow: Annotated[
        list[CertificateName],
        about(
            "Who may come in; others get 403. Empty: everybody with a valid certificate.",
            examples=[["billing.internal"]],
            also=["allowed", "allow_list", "whitelist", "allowed_subjects", "allowlist"],
        ),
    ] = field(default_factory=list)
