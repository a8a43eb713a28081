def target_of(scheme: bytes, host: bytes, target: bytes, reference: bytes) -> bytes | None:
    """The target (path and query) to which a Location or Content-Location leads within the origin of a request; None:
    it leads to another origin, or is not a valid reference.

    ``scheme`` is ``b"http"`` or ``b"https"``, ``host`` that of the request with its port, ``target`` what was asked
    for.
    """
