"""What the response cache did for a request, as logs tell it: a fact of the exchange that the cache leaves there."""

class CacheFacts:
    """What the cache knows of a request; the cache itself knows more."""
