cdef enum Cause:
    OK = 0
    # What is wrong with a message. Each has its counterpart among the responses: see `in_response`.
    BAD_REQUEST
    BARE_LF
    BARE_CR
    BAD_CHARACTER
    BAD_START_LINE
    FOLDED_LINE
    SPACE_BEFORE_COLON
    BAD_FIELD_NAME
    BAD_LENGTH
    TWO_LENGTHS
    CODING_IN_1_0
    BAD_CODING
    NOT_IMPLEMENTED
    LENGTH_AND_CODING
    BAD_CONNECTION
    HEAD_TOO_LARGE
    TOO_MANY_FIELDS
    BAD_CHUNK_SIZE
    BAD_CHUNK_LINE
    BAD_CHUNK_END
    BAD_TRAILER
    TRAILERS_TOO_LARGE
    # What is wrong with a request.
    TLS_NOT_SPOKEN
    PROXY_NOT_SPOKEN
    BAD_METHOD
    BAD_TARGET_CHARACTER
    BAD_TARGET
    REJECTED_FIELD_NAME
    NO_HOST
    TWO_HOSTS
    BAD_HOST
    BAD_ESCAPE
    ENCODED_NUL
    ENCODED_BACKSLASH
    ABOVE_ROOT
    HIDDEN_DOTS
    BAD_VALUE
    BAD_REWRITE
    # Everything else.
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
    BAD_VERSION
    CLIENT_GONE
    CLIENT_STALLED
    CLIENT_TOO_SLOW
    CONNECTION_CUT
    POLICY_FAILED
    POLICY_ANSWERED
    GATEWAY_ANSWERED
    ROUTE_ANSWERED
    CACHE_ANSWERED
    NOT_CACHED
    MAINTENANCE
    FAULT_INJECTED
    IP_DENIED
    UNAUTHENTICATED
    FORBIDDEN
    AUTH_UNAVAILABLE
    BAD_CONTENT_TYPE
    BAD_CONTENT
    BAD_JSON
    AMBIGUOUS_PATH
    RATE_LIMITED
    LIMITS_UNAVAILABLE
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
    NOT_PROCESSED
    RESPONSE_TOO_LARGE
    READ_TIMEOUT
    TRY_TIMEOUT
    WRITE_TIMEOUT
    IDLE_TIMEOUT
    TOTAL_TIMEOUT
    RESPONSE_CUT
    STOPPED
    RESPONSE_BAD_SWITCH
    # What is wrong with a response, in the order of the block at the beginning.
    BAD_RESPONSE
    CAUSES = BAD_RESPONSE + TLS_NOT_SPOKEN - BAD_REQUEST


cdef struct Meaning:
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


cdef Meaning outcomes[CAUSES]

cdef inline int in_response(int cause) noexcept nogil:
    """The counterpart of a cause that a message was refused for, where that is a response."""
    return cause + BAD_RESPONSE - BAD_REQUEST


cpdef str reason_of(int cause)
cpdef int cause_of(str reason) except -1
cpdef str detail_of(int cause)
cdef str said_of(int cause)
cdef const char* phrase_of(int status, Py_ssize_t* length) noexcept
