"""Bodies of answers that lie in memory, and leave it without a copy where that can be."""

from fastgate._core.exchange.exchange import Source

class Stored(Source):
    """The body of one answer; it has at least one byte."""
