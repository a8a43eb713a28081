def reason_of(cause: int) -> str:
    """The word that the access log and the metrics use for this cause."""

def cause_of(reason: str) -> int:
    """The cause that the access log calls so. ValueError for no such word."""

def detail_of(cause: int) -> str:
    """The sentence that the client is told; "" where nothing can be told."""

SENTENCES: dict[str, str]
"""Each word of the access log, with what the client is told; empty where it is told nothing."""
