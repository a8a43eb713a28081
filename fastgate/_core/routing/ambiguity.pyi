def readings(path: str) -> set[str]:
    """What else a path in normal form may be to an upstream; not in normal form themselves."""
