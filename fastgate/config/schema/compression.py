"""The key ``compression`` of a route."""

import functools
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import MediaRange, Size, about
from fastgate.config.schema.table import Table

CODINGS: dict[str, str] = {"zstd": "zstandard", "br": "brotli", "gzip": ""}
"""Content codings in the order in which they are preferred, and the library that each needs."""


@functools.cache
def installed_codings() -> tuple[str, ...]:
    """The content codings that can be made here."""
    return tuple(coding for coding, library in CODINGS.items() if not library or find_spec(library) is not None)


class CompressionLevel(Table, frozen=True, kw_only=True):
    """How hard each coding works: higher levels give smaller bodies and take longer.

    The highest levels of some libraries are not available, because they would stop the worker for too long.
    """

    gzip: Annotated[Annotated[int, Meta(ge=1, le=9)], about("1 to 9.", examples=[6])] = 5
    br: Annotated[Annotated[int, Meta(ge=0, le=6)], about("0 to 6.", examples=[5], also=["brotli"])] = 4
    zstd: Annotated[Annotated[int, Meta(ge=1, le=9)], about("1 to 9.", examples=[1], also=["zstandard"])] = 3


class Compression(Table, frozen=True, kw_only=True):
    """Compresses response bodies if the client lists a coding in `Accept-Encoding`.

    Not compressed: bodies that already have a `Content-Encoding`, parts (206), event streams, and responses with
    `Cache-Control: no-transform`.
    """

    types: Annotated[
        Annotated[list[MediaRange], Meta(min_length=1)],
        about(
            'Media types of the bodies that are compressed; one `*` matches anything: `"text/*"`, '
            '`"application/*+json"`.',
            examples=[["application/json", "text/*"]],
            also=["mime_types", "gzip_types", "content_types", "content_type"],
        ),
    ] = field(
        default_factory=lambda: [
            "text/*",
            "application/json",
            "application/*+json",
            "application/x-ndjson",
            "application/javascript",
            "application/xml",
            "application/*+xml",
            "application/wasm",
            "image/svg+xml",
        ]
    )
    min_size: Annotated[
        Size,
        about(
            "Smaller bodies are not compressed. A body of unknown length is compressed unless all of it is available "
            "at once.",
            also=["min_length", "gzip_min_length", "minimum_length", "min_content_length", "minimum_size"],
        ),
    ] = 1024
    encodings: Annotated[
        Annotated[list[Literal["zstd", "br", "gzip"]], Meta(min_length=1)],
        about(
            "The codings, in order of preference: among those that the client prefers equally, the first one is used. "
            "`zstd` and `br` need the extra `compression`. Absent: `zstd`, `br` and `gzip`, as far as they are "
            "installed.",
            examples=[["gzip"]],
            also=["algorithms", "codings", "encoding", "formats", "algorithm"],
        ),
    ] = field(default_factory=list)
    level: Annotated[
        CompressionLevel,
        about(
            "The level of each coding; a coding that is not listed has the level below.",
            examples=[{"gzip": 6}],
            also=["levels", "comp_level", "gzip_comp_level", "quality", "compression_level"],
        ),
    ] = CompressionLevel()

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        seen: set[str] = set()
        for number, coding in enumerate(self.encodings):
            if coding in seen:
                yield ("encodings", number), f"{quote(coding)} is listed twice"
            elif coding in CODINGS and coding not in installed_codings():
                yield (
                    ("encodings", number),
                    f"{quote(coding)} needs the package {CODINGS[coding]}: pip install 'fastgate[compression]'",
                )
            if coding in CODINGS:
                seen.add(coding)

    def codings(self) -> tuple[str, ...]:
        """Which codings are offered, in the server's order."""
        return tuple(self.encodings) or installed_codings()


CompressionKey = Annotated[
    Compression | None,
    about(
        "Compresses responses for clients that accept it. `true`: with the defaults.",
        examples=[{"types": ["application/json", "text/*"], "min_size": "1KB"}],
        policy=True,
        on={},
        also=["compress", "gzip", "encode", "compressor", "brotli", "deflate"],
    ),
]
