"""Compression of response bodies, compiled: the codings of a route over the libraries that make them."""

import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext

if TYPE_CHECKING:
    from fastgate._core.policies.compression import Coding

WINDOW = 19
"""Bits of the window of brotli and zstandard, 512 KB: what one stream remembers is bounded for each client."""

Stream = tuple[Callable[[bytes], bytes], Callable[[], bytes], Callable[[], bytes]]


def compile_compression(route: Route, context: RouteContext) -> Additions | None:
    """What compresses the bodies of a route; None for a route without."""
    compression = route.compression
    if compression is None:
        return None
    from fastgate._core.policies.compression import Coding, Compression  # on use: a route without it does not load it

    makers = {"gzip": _gzip, "br": _brotli, "zstd": _zstandard}
    codings = [makers[name](Coding, getattr(compression.level, name)) for name in compression.codings()]
    rule = Compression(codings, types=compression.types, min_size=compression.min_size)
    return Additions(response_filters=[rule])


def _gzip(make: "type[Coding]", level: int) -> "Coding":
    def stream() -> Stream:
        coder = zlib.compressobj(level, zlib.DEFLATED, 31)
        return coder.compress, partial(coder.flush, zlib.Z_SYNC_FLUSH), coder.flush

    return make("gzip", whole=lambda body: zlib.compress(body, level, 31), stream=stream, label=f"gzip {level}")


def _brotli(make: "type[Coding]", level: int) -> "Coding":
    brotli = import_module("brotli")  # of the extra, and only where it is used

    def stream() -> Stream:
        coder = brotli.Compressor(quality=level, lgwin=WINDOW)
        return coder.process, coder.flush, coder.finish

    whole = partial(brotli.compress, quality=level, lgwin=WINDOW)
    return make("br", whole=whole, stream=stream, label=f"br {level}")


def _zstandard(make: "type[Coding]", level: int) -> "Coding":
    zstandard = import_module("zstandard")  # of the extra, and only where it is used

    settings = zstandard.ZstdCompressionParameters.from_level(level, window_log=WINDOW)

    def stream() -> Stream:
        coder = zstandard.ZstdCompressor(compression_params=settings).compressobj()
        return coder.compress, partial(coder.flush, zstandard.COMPRESSOBJ_FLUSH_BLOCK), coder.flush

    # Whole bodies are never compressed by two at a time, so that one context serves them all.
    whole = zstandard.ZstdCompressor(level=level).compress
    return make("zstd", whole=whole, stream=stream, label=f"zstd {level}")
