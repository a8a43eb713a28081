"""The keys of ``[auth.key]`` and of ``[gateway.keys]``."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import HeaderName, Instant, KeyHash, QueryName, Text, about
from fastgate.config.schema.table import Table

EXAMPLE_HASH = "a9aca05ce7f2cb0e48e9d1dcba1e1dbf0b4a2fbb4ba2ef7f2a2c8e37a1c1cb5f"


class KeyAuth(Table, frozen=True, kw_only=True):
    """Where a request carries its key.

    Beside `header`, `Authorization: Bearer` and `api-key` are always looked at.
    """

    header: Annotated[
        HeaderName, about("The field that is looked at first.", also=["name", "key_name", "header_name", "in"])
    ] = "x-api-key"
    query: Annotated[
        QueryName,
        about(
            "A parameter of the query that is looked at last; the access log never shows it. "
            '`""` is none: what stands in a URL is kept in histories and in the logs of others.',
            examples=["api_key"],
            also=["param", "parameter", "query_param", "key_in_query"],
        ),
    ] = ""
    hide: Annotated[
        bool, about("The upstream does not get to see the key.", also=["hide_credentials", "strip", "remove"])
    ] = True


class PreviousSecret(Table, frozen=True, kw_only=True):
    """The secret that a key had before; `fastgate keys rotate --grace` writes it."""

    hash: Annotated[
        KeyHash, about("SHA-256 of the secret, 64 hexadecimal digits.", examples=[EXAMPLE_HASH[::-1]], also=["sha256"])
    ]
    expires: Annotated[
        Instant,
        about("Until when it is accepted beside the new one.", examples=["2027-01-02T00:00:00Z"], also=["until"]),
    ]


class VirtualKey(Table, frozen=True, kw_only=True):
    """A key of a client. Its name here is who the client is: in limits, logs and headers.

    `fastgate keys new --id NAME` makes one. Only the hash of the secret is kept.
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
        about("Words about the client, for policies (the claim `tags`).", examples=[["mobile"]], also=["labels"]),
    ] = field(default_factory=list)
    routes: Annotated[
        list[Text],
        about(
            "Names of the routes that it is good for; elsewhere it is answered 403. Empty: all.",
            also=["allowed_routes", "services", "scopes"],
        ),
    ] = field(default_factory=list)
    models: Annotated[
        list[Text], about("Names of the models that it is good for. Empty: all.", also=["allowed_models"])
    ] = field(default_factory=list)
    expires: Annotated[
        Instant,
        about(
            'From then on it is refused: a time with its zone, `2027-01-01T00:00:00Z`. `""` is never.',
            examples=["2027-01-01T00:00:00Z"],
            also=["expiry", "expires_at", "valid_until", "ttl", "not_after"],
        ),
    ] = ""
    disabled: Annotated[bool, about("It is refused.", also=["revoked", "blocked", "inactive"])] = False
    previous: Annotated[
        PreviousSecret | None, about("The secret before the last rotation, for as long as it is accepted too.")
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        yield from super().faults()
        for name in ("tags", "routes", "models"):
            words = list(getattr(self, name))
            for number, word in enumerate(words):
                if isinstance(word, str) and word in words[:number]:
                    yield (name, number), "is listed twice"
