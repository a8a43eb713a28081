cdef enum Cause:
    OK = 0
    BAD_REQUEST
    BAD_CHUNK
    NO_ROUTE
    NO_METHOD
    HEAD_TIMEOUT
    BODY_TIMEOUT
    BODY_TOO_LARGE
    TARGET_TOO_LONG
    BAD_EXPECTATION
    MISDIRECTED
    HEAD_TOO_LARGE
    NOT_IMPLEMENTED
    BAD_VERSION
    CLIENT_GONE
    CLIENT_STALLED
    CONNECTION_CUT
    POLICY_FAILED
    POLICY_ANSWERED
    GATEWAY_ANSWERED
    NO_TARGET
    POOL_FULL
    POOL_TIMEOUT
    NAME_UNRESOLVED
    CONNECT_FAILED
    CONNECT_TIMEOUT
    TLS_FAILED
    UPSTREAM_RESET
    UPSTREAM_STALE
    BAD_RESPONSE
    RESPONSE_TOO_LARGE
    READ_TIMEOUT
    WRITE_TIMEOUT
    IDLE_TIMEOUT
    TOTAL_TIMEOUT
    RESPONSE_CUT
    STOPPED
    CAUSES


cdef struct Outcome:
    int status               # what the client is told; 0 = nothing can be told any more
    int retry                # Retry
    bint close               # the client connection cannot be used again
    int retry_after          # seconds for Retry-After; 0 = no such field


cdef enum Retry:
    NEVER = 0
    ANY_METHOD = 1           # nothing was sent to the upstream
    IDEMPOTENT = 2           # something may have arrived


cdef Outcome outcomes[CAUSES]

cpdef str reason_of(int cause)
cpdef str detail_of(int cause)
cdef const char* phrase_of(int status, Py_ssize_t* length) noexcept
