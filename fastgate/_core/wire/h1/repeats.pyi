class Known:
    """A head that was read, without its target."""

class Repeats:
    """The heads that a worker knows, in one configuration.

    Attributes:
        matched: How many requests had the bytes of one of them around their targets, and were not read again.
    """

    matched: int
