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
"""The authentication methods, by the names of their tables in ``[auth]``."""

MethodNames = Annotated[list[MethodName], Meta(min_length=1)]


class Auth(Table, frozen=True, kw_only=True):
    """The authentication methods of the gateway. The key `auth` of a route lists the methods that the route accepts."""

    key: Annotated[KeyAuth, about("Keys of `[gateway.keys]`.", also=["api_key", "apikey", "key_auth", "keys"])] = (
        KeyAuth()
    )
    jwt: Annotated[JWT | None, about("JSON Web Tokens.", also=["oauth", "oidc", "token", "bearer", "openid"])] = None
    basic: Annotated[Basic | None, about("User names and passwords.", also=["basic_auth", "htpasswd", "password"])] = (
        None
    )
    certificate: Annotated[
        ClientCertificates | None,
        about("Client certificates, which `[gateway.tls]` verifies.", also=["mtls", "client_cert", "tls", "cert"]),
    ] = None
    forward: Annotated[
        ForwardAuth | None,
        about("An authentication service.", also=["forward_auth", "ext_auth", "ext_authz", "external", "auth_request"]),
    ] = None


class AuthRule(Table, frozen=True, kw_only=True):
    """The authentication methods that a route accepts. Set one of `any` and `all`."""

    one_of: ClassVar[tuple[str, ...]] = ("any", "all")

    any: Annotated[
        MethodNames,
        about(
            "Names of tables in `[auth]`. The gateway accepts a request that passes one of these methods.",
            examples=[["key"]],
            also=["or", "oneof", "method", "methods", "type", "mode"],
        ),
    ] = field(default_factory=list)
    all: Annotated[
        MethodNames,
        about(
            "Names of tables in `[auth]`. The gateway accepts a request that passes all of these methods. The first "
            "one gives the identity.",
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
                    yield (key, number), "is listed twice"


AuthKey = Annotated[
    AuthRule | None,
    about(
        "The authentication methods of the route. Absent: every client can use the route.",
        examples=[{"any": ["key"]}],
        policy=True,
        also=["authentication", "security", "authn", "auth_basic", "basic_auth", "api_key", "key_auth"],
    ),
]

PublicKey = Annotated[
    bool,
    about("No authentication, even if `[defaults]` requires it.", also=["anonymous", "allow_anonymous", "open"]),
]
