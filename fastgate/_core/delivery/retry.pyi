from collections.abc import Iterable

class Judgement:
    """What counts as a failure: "connect", "reset", "timeout", "4xx", "5xx" or a single status such as "503".

    With ``protocol`` an answer that is not HTTP/1.1 counts as a reset; it is never tried again, but held against its
    target.
    """

    failures: int
    def __init__(self, on: Iterable[str] = (), *, protocol: bool = False) -> None: ...

class RetryRule:
    """How often and when a request is tried again. Times are seconds; ``attempts`` counts the first try."""

    attempts: int
    on: Judgement
    budget: float
    hedge_delay: int
    """Milliseconds until a second target is asked; 0 = never."""

    def __init__(
        self,
        *,
        attempts: int = 2,
        on: Iterable[str] = ("connect", "reset"),
        backoff: float = 0.025,
        max_backoff: float = 1.0,
        jitter: bool = True,
        budget: float = 0.2,
        try_timeout: float = 0.0,
        non_idempotent: bool = False,
        hedge_delay: float = 0.0,
    ) -> None: ...
