"""The keys of ``[auth.key]`` and of ``[gateway.keys]``."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import HeaderName, Instant, KeyHash, QueryName, Text, about
from fastgate.config.schema.table import Table

EXAMPLE_HASH = "a9aca05ce7f2cb0e48e9d1dcba1e1dbf0b4a2fbb4ba2ef7f2a2c8e37a1c1cb5f"


class KeyAuth(Table, frozen=True, kw_only=True):
    """Where a request carries its API key.

    The gateway always reads `Authorization: Bearer` and `api-key` too, beside `header`.
    """

    header: Annotated[
        HeaderName,
        about("The header field that the gateway reads first.", also=["name", "key_name", "header_name", "in"]),
    ] = "x-api-key"
    query: Annotated[
        QueryName,
        about(
            'A query parameter that the gateway reads last; the access log never shows it. `""` means none: histories '
            "and the logs of other systems keep URLs.",
            examples=["api_key"],
            also=["param", "parameter", "query_param", "key_in_query"],
        ),
    ] = ""
    hide: Annotated[
        bool, about("Do not forward the key to the upstream.", also=["hide_credentials", "strip", "remove"])
    ] = True


class PreviousSecret(Table, frozen=True, kw_only=True):
    """The previous secret of a key; `fastgate keys rotate --grace` writes it."""

    hash: Annotated[
        KeyHash, about("SHA-256 of the secret, 64 hexadecimal digits.", examples=[EXAMPLE_HASH[::-1]], also=["sha256"])
    ]
    expires: Annotated[
        Instant,
        about(
            "The gateway accepts this secret, beside the new one, until this time.",
            examples=["2027-01-02T00:00:00Z"],
            also=["until"],
        ),
    ]


class VirtualKey(Table, frozen=True, kw_only=True):
    """A key of a client. The name of this table identifies the client in limits, logs and headers.

    `fastgate keys new --id NAME` creates a key. The configuration stores only the hash of the secret.
    """

    hash: Annotated[
        KeyHash,
        about(
            "SHA-256 of the secret, 64 hexadecimal digits.",
            examples=[EXAMPLE_HASH],
            also=["sha256", "key_hash", "secret", "key", "token", "digest"],
        ),
    ]
    tags: Annotated[
        list[Text],
        about("Tags of the client, for policies (the claim `tags`).", examples=[["mobile"]], also=["labels"]),
    ] = field(default_factory=list)
    routes: Annotated[
        list[Text],
        about(
            "Names of the routes that accept the key; other routes answer 403. Empty: all routes.",
            also=["allowed_routes", "services", "scopes"],
        ),
    ] = field(default_factory=list)
    models: Annotated[
        list[Text], about("Names of the models that the key can use. Empty: all models.", also=["allowed_models"])
    ] = field(default_factory=list)
    expires: Annotated[
        Instant,
        about(
            'The gateway rejects the key from this time on. The time has a zone: `2027-01-01T00:00:00Z`. `""` means '
            "never.",
            examples=["2027-01-01T00:00:00Z"],
            also=["expiry", "expires_at", "valid_until", "ttl", "not_after"],
        ),
    ] = ""
    disabled: Annotated[bool, about("Reject the key.", also=["revoked", "blocked", "inactive"])] = False
    previous: Annotated[
        PreviousSecret | None, about("The secret before the last rotation, while the gateway still accepts it.")
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        yield from super().faults()
        for name in ("tags", "routes", "models"):
            words = list(getattr(self, name))
            for number, word in enumerate(words):
                if isinstance(word, str) and word in words[:number]:
                    yield (name, number), "is listed twice"
