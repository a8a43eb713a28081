"""What a route says of its cache, in the form in which it is asked for each request.

Theory of operation
-------------------
`CacheRules` is made once for a route from what the configuration says, and checks what would make the others wrong: a
name that is not a field name, a `vary_except` that would show one client what was made for another. Lifetimes are
milliseconds from here on; those of `ttl` lie in an array, one for each status, so that no dictionary is asked.

Durations are given in seconds.
"""

import math
import re

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE

from fastgate._core.delivery.cache.spans cimport exactly
from fastgate._core.exchange.field_lines cimport bits_of
from fastgate._core.exchange.head cimport Head, same

TTL_STATUSES = (200, 203, 204, 300, 301, 308, 410)
"""What a `ttl` that is one duration is for."""

NEVER_STORED = (206, 304, 428, 429, 431, 511)
"""206 and 304 are not whole; of the others RFC 6585 says so."""

DROPPED_BY_DEFAULT = (
    "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
)
"""Fields that let a client choose another resource than the one that is in the key."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KINDS = {
    "header": OF_HEADER, "cookie": OF_COOKIE, "param": OF_PARAM, "claim": OF_CLAIM,
    "client_ip": OF_CLIENT_IP, "identity": OF_IDENTITY,
}
_WITHOUT_NAME = ("client_ip", "identity")
_MOST_SECONDS = 2 ** 31

cdef dict _HONOR = {True: HONOR_BOTH, "response": HONOR_ANSWERS, False: HONOR_NEITHER}
cdef dict _SET_COOKIE = {"bypass": COOKIE_BYPASS, "strip": COOKIE_STRIP, "store": COOKIE_STORE}


cdef bint has_name(tuple names, const unsigned char* text, Py_ssize_t length) noexcept:
    """Whether a tuple of names in lower case has this one."""
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(names)):
        if same(text, length, PyBytes_AS_STRING(<object>names[i]), PyBytes_GET_SIZE(<object>names[i])):
            return True
    return False


def _field_name(key, name):
    if not _TOKEN.fullmatch(name):
        raise ValueError(f'{key}: "{name}" is not a valid field name')
    return name.lower().encode()


def _milliseconds(key, seconds):
    if isinstance(seconds, bool) or not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError(f"{key}: {seconds} is not a valid number of seconds; it is 0 to {_MOST_SECONDS}")
    return math.floor(seconds * 1000)


cdef class KeyPart:
    def __init__(self, text):
        kind, colon, name = text.partition(":")
        if kind not in _KINDS or (kind in _WITHOUT_NAME) != (colon == ""):
            raise ValueError(
                f'key: "{text}" is not a valid part; it is header:NAME, cookie:NAME, param:NAME, claim:NAME, '
                "client_ip or identity"
            )
        if colon and not name:
            raise ValueError(f'key: "{text}" has no name behind the colon')
        self.kind = _KINDS[kind]
        if kind == "header":
            self.name = _field_name("key", name)
        elif kind == "cookie" and not _TOKEN.fullmatch(name):
            raise ValueError(f'key: "{name}" is not a valid name of a cookie')
        else:
            self.name = name.encode()


cdef class CacheRules:
    def __init__(
        self,
        *,
        methods=("GET", "HEAD"),
        max_key_body=65536,
        key=(),
        query=None,
        drop=DROPPED_BY_DEFAULT,
        vary=(),
        vary_except=(),
        targeted=("fastgate-cache-control",),
        ttl=None,
        heuristic=0,
        honor=True,
        private=False,
        shared=False,
        set_cookie="bypass",
        bypass=(),
        max_object=1048576,
        stale_while_revalidate=0,
        stale_if_error=0,
        retry_stale=1,
        collapse=True,
        hit_for_miss=10,
        collapse_timeout=5,
        tags=(),
        cache_status=True,
        etag=False,
    ):
        self.methods = tuple([method.encode() for method in methods])
        for method in self.methods:
            if method not in (b"GET", b"HEAD", b"QUERY", b"POST"):
                raise ValueError(f'methods: "{method.decode()}" cannot be cached; it is GET, HEAD, QUERY or POST')
        self.has_get = b"GET" in self.methods
        self.has_head = b"HEAD" in self.methods
        if self.has_head and not self.has_get:
            raise ValueError("methods: HEAD is answered from what GET has stored; add GET")
        self.max_key_body = max_key_body
        self.max_object = max_object
        self.key = tuple([KeyPart(part) for part in key])
        if len(self.key) > MOST_KEY_PARTS:
            raise ValueError(f"key: has {len(self.key)} parts; at most {MOST_KEY_PARTS} are possible")
        self.bypass = tuple([KeyPart(part) for part in bypass])
        if [part for part in self.bypass if part.kind not in (OF_HEADER, OF_COOKIE)]:
            raise ValueError("bypass: only header:NAME and cookie:NAME are possible here")
        self._set_query(query or {})
        self.drop = tuple([_field_name("drop", name) for name in drop])
        self.drop_bits = bits_of(self.drop)
        self.vary = tuple(sorted({_field_name("vary", name) for name in vary}))
        self.vary_except = tuple(sorted({_field_name("vary_except", name) for name in vary_except}))
        for name in (b"cookie", b"authorization", b"accept-encoding"):
            if name in self.vary_except:
                raise ValueError(
                    f'vary_except: "{name.decode()}" cannot be ignored: clients would get what is not theirs'
                )
        self.targeted = tuple([_field_name("targeted", name) for name in targeted])
        self.targeted_bits = bits_of(self.targeted)
        if b"cache-control" in self.targeted:
            raise ValueError("targeted: Cache-Control counts without being listed; remove it")
        self._set_ttl(ttl)
        if not 0 <= heuristic <= 1:
            raise ValueError(f"heuristic: {heuristic} is not a valid share; it is 0 to 1")
        self.heuristic = heuristic
        if honor not in _HONOR:
            raise ValueError(f'honor: {honor!r} is not valid; it is true, "response" or false')
        self.honors = _HONOR[honor]
        if set_cookie not in _SET_COOKIE:
            raise ValueError(f'set_cookie: {set_cookie!r} is not valid; it is "bypass", "strip" or "store"')
        self.cookies = _SET_COOKIE[set_cookie]
        self.private = private
        self.shared = shared
        self.identity_in_key = private or OF_IDENTITY in [part.kind for part in self.key]
        self.stale_while_revalidate = _milliseconds("stale_while_revalidate", stale_while_revalidate)
        self.stale_if_error = _milliseconds("stale_if_error", stale_if_error)
        self.retry_stale = _milliseconds("retry_stale", retry_stale)
        self.hit_for_miss = _milliseconds("hit_for_miss", hit_for_miss)
        self.collapse_timeout = _milliseconds("collapse_timeout", collapse_timeout)
        self.collapse = collapse
        self.tags = tuple(tags)
        self.cache_status = cache_status
        self.etag = etag

    def _set_query(self, query):
        unknown = set(query) - {"only", "except", "sort"}
        if unknown:
            raise ValueError(f"query: {sorted(unknown)[0]} is not known; it has only, except and sort")
        if "only" in query and "except" in query:
            raise ValueError("query: only and except contradict each other; remove one")
        self.only = "only" in query
        self.filters_query = self.only or "except" in query
        self.patterns = tuple([name.encode() for name in query.get("only", query.get("except", ()))])
        self.sort = query.get("sort", False)

    def _set_ttl(self, ttl):
        cdef int status
        for status in range(STATUSES):
            self.ttls[status] = NO_TTL
        if ttl is None:
            return
        if not hasattr(ttl, "items"):
            ttl = {str(status): ttl for status in TTL_STATUSES}
        # A class first: a status that is named outweighs it.
        for name, seconds in sorted(ttl.items(), key=lambda item: not item[0].endswith("xx")):
            if not re.fullmatch(r"[2-5](?:xx|[0-9]{2})", name):
                raise ValueError(f'ttl: "{name}" is not a valid status; it is a number from 200 to 599, or 2xx to 5xx')
            if name.endswith("xx"):
                named = [status for status in range(int(name[0]) * 100, int(name[0]) * 100 + 100)
                         if status not in NEVER_STORED]
            elif int(name) in NEVER_STORED:
                raise ValueError(f"ttl: answers with status {name} are never stored; remove it")
            else:
                named = [int(name)]
            for status in named:
                self.ttls[status - 100] = _milliseconds("ttl", seconds)

    @property
    def honor(self):
        return (True, "response", False)[self.honors]

    @property
    def set_cookie(self):
        return ("bypass", "strip", "store")[self.cookies]

    cdef int64_t ttl_of(self, int status) noexcept nogil:
        """The route's lifetime for this status in milliseconds; NO_TTL: none."""
        return self.ttls[status - 100] if 100 <= status < 600 else NO_TTL

    cdef int method_kind(self, Head request) noexcept:
        """`MethodKind`; names of methods are case-sensitive."""
        cdef const unsigned char* p = request.p + request.method.start
        cdef Py_ssize_t length = request.method.length
        cdef Py_ssize_t i
        if exactly(p, length, b"GET", 3):
            return PLAIN_GET if self.has_get else PASSES_BY
        if exactly(p, length, b"HEAD", 4):
            return PLAIN_HEAD if self.has_head else PASSES_BY
        for i in range(PyTuple_GET_SIZE(self.methods)):
            if exactly(
                p, length, PyBytes_AS_STRING(<object>self.methods[i]), PyBytes_GET_SIZE(<object>self.methods[i])
            ):
                return WITH_BODY
        if exactly(p, length, b"OPTIONS", 7) or exactly(p, length, b"TRACE", 5) or exactly(p, length, b"QUERY", 5):
            return PASSES_BY
        return INVALIDATES
