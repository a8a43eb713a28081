"""Shows what the cache's rules make of dates, directives and heads to those who test them. The gateway never loads it.

Theory of operation
-------------------
Each text is put at the end of a block of memory behind which nothing can be read (`probes.core.at_the_edge`), so that a
reader that looks one byte too far ends the process. Results are numbers, bytes and dicts; a number that is not there is
None.
"""

from libc.stdint cimport int64_t, uint32_t

from fastgate._core.delivery.cache.dates cimport read_date
from fastgate._core.delivery.cache.directives cimport (
    ANY_STALE,
    CACHE_CONTROL,
    IMMUTABLE,
    MUST_REVALIDATE,
    MUST_UNDERSTAND,
    NO_CACHE,
    NO_CACHE_FIELDS,
    NO_SECONDS,
    NO_STORE,
    NO_TRANSFORM,
    ONLY_IF_CACHED,
    PRAGMA,
    PRIVATE,
    PRIVATE_FIELDS,
    PROXY_REVALIDATE,
    PUBLIC,
    TARGETED,
    Directives,
    excepted,
    no_directives,
    read_age,
    read_dictionary,
    read_directives,
    read_line,
    read_request_directives,
)
from fastgate._core.exchange.head cimport NAMES_PASS, Head
from fastgate._core.probes.core cimport at_the_edge

cdef dict WORDS = {
    "no-store": NO_STORE, "no-cache": NO_CACHE, "no-cache=": NO_CACHE_FIELDS, "private": PRIVATE,
    "private=": PRIVATE_FIELDS, "public": PUBLIC, "must-revalidate": MUST_REVALIDATE,
    "proxy-revalidate": PROXY_REVALIDATE, "must-understand": MUST_UNDERSTAND, "no-transform": NO_TRANSFORM,
    "immutable": IMMUTABLE, "only-if-cached": ONLY_IF_CACHED, "max-stale": ANY_STALE,
}
cdef dict SOURCES = {CACHE_CONTROL: "cache-control", TARGETED: "targeted", PRAGMA: "pragma"}


cdef Head head_of(bytes data, bint request):
    """A head that is read where nothing lies behind it."""
    cdef Head head = Head.__new__(Head)
    if head.scan(at_the_edge(data), len(data), request, 1 << 20) != len(data) or head.index(request, NAMES_PASS) != 0:
        raise ValueError("not a valid head")
    return head


cdef object or_none(uint32_t seconds):
    return None if seconds == NO_SECONDS else seconds


cdef dict shown(const Directives* found):
    cdef dict said = {
        "max-age": or_none(found.max_age),
        "s-maxage": or_none(found.s_maxage),
        "min-fresh": or_none(found.min_fresh),
        "max-stale=": or_none(found.max_stale),
        "stale-while-revalidate": or_none(found.swr),
        "stale-if-error": or_none(found.sie),
    }
    said = {name: seconds for name, seconds in said.items() if seconds is not None}
    said.update({name: True for name, bit in WORDS.items() if found.words & <uint32_t>bit})
    return said


def date(bytes text, int64_t now):
    """The seconds since 1970 of an HTTP date; None: it is none."""
    cdef int64_t seconds = 0
    return seconds if read_date(at_the_edge(text), len(text), now, &seconds) else None


def line(bytes text):
    """What one line of Cache-Control says: the names of directives with their seconds, or True."""
    cdef Directives found
    no_directives(&found)
    read_line(at_the_edge(text), len(text), &found)
    return shown(&found)


def dictionary(bytes text):
    """What one line of a targeted field says; None: it is not a dictionary of Structured Fields."""
    cdef Directives found
    no_directives(&found)
    return shown(&found) if read_dictionary(at_the_edge(text), len(text), &found) else None


def directives(bytes head, tuple targeted=(), names=()):
    """What the head of an answer says, from where (``source``), and which of ``names`` are not to be stored."""
    cdef Directives found
    cdef Head answer = head_of(head, False)
    read_directives(answer, targeted, &found)
    said = shown(&found)
    source = SOURCES.get(found.source)
    if found.source == TARGETED:
        source = targeted[found.targeted]
    listed = [name for name in names if excepted(answer, targeted, &found, <bytes>name, len(<bytes>name))]
    return said, source, listed


def request_directives(bytes head):
    """What the head of a request says, and from where."""
    cdef Directives found
    read_request_directives(head_of(head, True), &found)
    return shown(&found), SOURCES.get(found.source)


def age(bytes head):
    """The seconds of Age in the head of an answer; None: there is none that counts."""
    cdef uint32_t seconds = 0
    return seconds if read_age(head_of(head, False), &seconds) else None
