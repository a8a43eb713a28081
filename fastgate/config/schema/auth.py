"""The keys of ``[auth]``: how the gateway finds out who asks, and which of these ways a route needs."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.api_keys import KeyAuth
from fastgate.config.schema.basic import Basic
from fastgate.config.schema.client_certificates import ClientCertificates
from fastgate.config.schema.forward_auth import ForwardAuth
from fastgate.config.schema.jwt import JWT
from fastgate.config.schema.kinds import about
from fastgate.config.schema.table import Table

MethodName = Literal["key", "jwt", "basic", "certificate", "forward"]

METHODS: tuple[str, ...] = get_args(MethodName)
"""The ways to find out who asks, by the names of their tables in ``[auth]``."""

MethodNames = Annotated[list[MethodName], Meta(min_length=1)]


class Auth(Table, frozen=True, kw_only=True):
    """How the gateway finds out who asks. A route names the ways that it accepts in `auth`."""

    key: Annotated[KeyAuth, about("Keys of `[gateway.keys]`.", also=["api_key", "apikey", "key_auth", "keys"])] = (
        KeyAuth()
    )
    jwt: Annotated[JWT | None, about("JSON Web Tokens.", also=["oauth", "oidc", "token", "bearer", "openid"])] = None
    basic: Annotated[Basic | None, about("Names and passwords.", also=["basic_auth", "htpasswd", "password"])] = None
    certificate: Annotated[
        ClientCertificates | None,
        about("Certificates of clients, verified by `[gateway.tls]`.", also=["mtls", "client_cert", "tls", "cert"]),
    ] = None
    forward: Annotated[
        ForwardAuth | None,
        about("A service that is asked.", also=["forward_auth", "ext_auth", "ext_authz", "external", "auth_request"]),
    ] = None


class AuthRule(Table, frozen=True, kw_only=True):
    """Which ways to find out who asks a route accepts. One of `any` and `all`."""

    one_of: ClassVar[tuple[str, ...]] = ("any", "all")

    any: Annotated[
        MethodNames,
        about(
            "Names of tables in `[auth]`, of which one is enough.",
            examples=[["key"]],
            also=["or", "oneof", "method", "methods", "type", "mode"],
        ),
    ] = field(default_factory=list)
    all: Annotated[
        MethodNames,
        about(
            "Names of tables in `[auth]`, each of which is needed. The first says who asks.",
            examples=[["key"]],
            also=["and", "require"],
        ),
    ] = field(default_factory=list)

    def names(self) -> list[MethodName]:
        """In the order in which they are asked."""
        return self.any or self.all

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        for key in ("any", "all"):
            names = getattr(self, key)
            for number, name in enumerate(names):
                if isinstance(name, str) and name in names[:number]:
                    yield (key, number), "is named twice"


AuthKey = Annotated[
    AuthRule | None,
    about(
        "Who may use the route. Absent: everybody.",
        examples=[{"any": ["key"]}],
        policy=True,
        also=["authentication", "security", "authn", "auth_basic", "basic_auth", "api_key", "key_auth"],
    ),
]

PublicKey = Annotated[
    bool,
    about("No authentication, even where `[defaults]` asks for it.", also=["anonymous", "allow_anonymous", "open"]),
]
