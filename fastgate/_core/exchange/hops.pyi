class Hops:
    """What a trusted peer says of the way that a request has come."""

class Element:
    """One hop of a Forwarded field."""

def read_forwarded(value: bytes) -> list[tuple[bool, bytes | None, bytes | None, bytes | None]] | None:
    """The elements of a Forwarded field: whether there is a ``for``, its address, ``proto`` and ``host``.

    None: the field is malformed.
    """

def read_address(hop: bytes) -> bytes | None:
    """The address in an element of X-Forwarded-For, in the one form that it has; None where there is none."""
