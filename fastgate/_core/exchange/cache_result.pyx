"""What the response cache did for a request, as logs tell it: a fact of the exchange that the cache leaves there."""

from fastgate._core.exchange.exchange cimport Exchange, Facts, new_place

cdef int CACHE_FACTS = new_place()


cdef class CacheFacts(Facts):
    """What the cache knows of a request; the cache itself knows more.

    A *version* is what a policy has made of the whole body of a stored answer: it is stored beside that, and is gone
    with it.
    """

    cdef bint keeps_versions(self) noexcept:
        """Whether the body that is sent is that of a stored answer, from its first byte to its last."""
        return False

    cdef bytes version(self, bytes name):
        """The version of this name; None: there is none."""
        return None

    cdef int keep_version(self, bytes name, bytes body) except -1:
        return 0


cdef int cache_result(Exchange x) noexcept:
    """`CacheResult`."""
    return (<CacheFacts>x.places[CACHE_FACTS]).result if x.places[CACHE_FACTS] != NULL else CACHE_NOTHING


cdef CacheFacts stored_whole(Exchange x):
    """What knows the versions of the body that is sent; None: it is not a stored one, or policies have changed it."""
    cdef CacheFacts facts
    if x.places[CACHE_FACTS] == NULL or x.route.on_response is not None or len(x.route.response_filters) != 1:
        return None
    facts = <CacheFacts>x.places[CACHE_FACTS]
    return facts if facts.keeps_versions() else None
