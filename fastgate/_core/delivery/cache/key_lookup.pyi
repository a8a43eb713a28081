"""A request as the cache knows it: its key, its addresses, and what the store has for it."""

class Lookup:
    """What the cache knows of a request: its directives, and where its answer would be stored."""
