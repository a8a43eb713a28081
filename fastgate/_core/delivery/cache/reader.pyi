"""The body of a stored answer on its way to a client, also of one that is only just being stored."""

class Reader:
    """Reads a stored body for one exchange."""

class News:
    """What a reader waits for, whose body is being filled."""
