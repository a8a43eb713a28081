"""What the response cache did for a request, as logs tell it: a fact of the exchange that the cache leaves there."""

from fastgate._core.exchange.exchange cimport Exchange, Facts, new_place

cdef int CACHE_USE = new_place()

WORDS = (None, "hit", "miss", "stale", "revalidated", "collapsed", "bypass")
"""The words of the access log, by `Use`."""


cdef class CacheUse(Facts):
    """What the cache knows of a request; the cache itself knows more."""


cdef int cache_use(Exchange x) noexcept:
    """`Use`."""
    return (<CacheUse>x.places[CACHE_USE]).use if x.places[CACHE_USE] != NULL else NO_USE
