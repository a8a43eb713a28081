from fastgate._core.exchange.exchange import BodyFilter, BodyRule

class Envelope(BodyRule):
    """Wraps JSON bodies: ``{data: …, meta: {"request_id", "status"}}``.

    ``data`` and ``meta`` are the names of these keys; "" for ``meta``: it is left out. ``max_size`` is bytes; a larger
    body is refused.
    """

    def __init__(self, *, data: str, meta: str, max_size: int) -> None: ...

class Wrapping(BodyFilter):
    """One body that is gathered, to be wrapped."""
