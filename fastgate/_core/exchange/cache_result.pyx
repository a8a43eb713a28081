"""What the response cache did for a request, as logs tell it: a fact of the exchange that the cache leaves there."""

from fastgate._core.exchange.exchange cimport Exchange, Facts, new_place

cdef int CACHE_FACTS = new_place()


cdef class CacheFacts(Facts):
    """What the cache knows of a request; the cache itself knows more."""


cdef int cache_result(Exchange x) noexcept:
    """`CacheResult`."""
    return (<CacheFacts>x.places[CACHE_FACTS]).result if x.places[CACHE_FACTS] != NULL else CACHE_NOTHING
