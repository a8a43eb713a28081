class Hops:
    """What a trusted peer says of the way that a request has come."""

class Element:
    """One hop of a Forwarded field."""
