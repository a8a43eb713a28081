cdef enum Cause:
    OK = 0
    BAD_REQUEST
    BAD_CHUNK
    NO_ROUTE
    NO_METHOD
    HEAD_TIMEOUT
    TURNED_AWAY
    BODY_TIMEOUT
    BODY_TOO_SLOW
    BODY_TOO_LARGE
    TARGET_TOO_LONG
    BAD_EXPECTATION
    MISDIRECTED
    CERTIFICATE_WITHDRAWN
    HEAD_TOO_LARGE
    NOT_IMPLEMENTED
    BAD_VERSION
    CLIENT_GONE
    CLIENT_STALLED
    CLIENT_TOO_SLOW
    CONNECTION_CUT
    POLICY_FAILED
    POLICY_ANSWERED
    GATEWAY_ANSWERED
    ROUTE_ANSWERED
    MAINTENANCE
    IP_DENIED
    UNAUTHENTICATED
    FORBIDDEN
    AUTH_UNAVAILABLE
    BAD_CONTENT_TYPE
    BAD_CONTENT
    BAD_JSON
    AMBIGUOUS_PATH
    RATE_LIMITED
    CONCURRENCY_FULL
    QUEUE_TIMEOUT
    NO_TARGET
    BREAKER_OPEN
    POOL_FULL
    POOL_TIMEOUT
    NAME_UNRESOLVED
    CONNECT_FAILED
    NO_SOCKET
    CONNECT_TIMEOUT
    TLS_FAILED
    UPSTREAM_RESET
    UPSTREAM_STALE
    BAD_RESPONSE
    RESPONSE_TOO_LARGE
    READ_TIMEOUT
    TRY_TIMEOUT
    WRITE_TIMEOUT
    IDLE_TIMEOUT
    TOTAL_TIMEOUT
    RESPONSE_CUT
    STOPPED
    CAUSES


cdef struct Outcome:
    int status               # what the client is told; 0 = nothing can be told any more
    int failure              # Failure: what this says about the target, and which word of a retry rule covers it
    bint arrived             # the upstream may have got the request
    bint close               # the client connection cannot be used again
    int retry_after          # seconds for Retry-After; 0 = no such field


cdef enum Failure:
    """Kinds of failed tries; a rule's ``on`` is a set of them."""
    NO_FAILURE = 0           # nothing that a target could do anything about
    FAILED_CONNECT = 1
    FAILED_RESET = 2
    FAILED_TIMEOUT = 4
    FAILED_PROTOCOL = 8      # what it sent is no HTTP/1.1: held against it, never tried again


cdef Outcome outcomes[CAUSES]

cpdef str reason_of(int cause)
cpdef int cause_of(str reason) except -1
cpdef str detail_of(int cause)
cdef const char* phrase_of(int status, Py_ssize_t* length) noexcept
