def tags_of(head: bytes) -> list[tuple[bytes, bool]]:
    """The tags in the head of a stored answer, each with whether it is a group; none in what is not a whole head."""
