"""The contract of what a store gives: compiled classes, whose verbs are for the way of a request (store.pxd)."""

class Asker:
    """Whoever waits for the answer of a store."""

class RateCounter:
    """How much of something keys may have in a span of time."""

class ShareCounter:
    """How much of something keys may have under way at once."""

class Budget:
    """What may be spent until more flows in."""
