class Head:
    """One message head. Reused: its spans are read by the compiled modules only.

    ``limit``: how many fields are taken before the head is refused.
    """

    def __init__(self, limit: int = 256) -> None: ...
