from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastgate._core.memory.buffer cimport Buffer, put, put_number


cdef enum Name:
    """Fields that the gateway reads or rules itself; everything else is OTHER."""
    OTHER = 0
    HOST
    CONNECTION
    CONTENT_LENGTH
    TRANSFER_ENCODING
    EXPECT
    UPGRADE
    KEEP_ALIVE
    PROXY_CONNECTION
    PROXY_AUTHENTICATE
    PROXY_AUTHORIZATION
    TE
    TRAILER
    HTTP2_SETTINGS
    AUTHORIZATION
    X_FORWARDED_FOR
    X_FORWARDED_PROTO
    X_FORWARDED_HOST
    X_FORWARDED_PORT
    X_FORWARDED_OTHER                  # any other X-Forwarded-…
    X_REAL_IP
    FORWARDED
    VIA
    ACCEPT
    DATE
    SERVER
    COOKIE
    USER_AGENT
    REFERER
    CONTENT_TYPE
    X_REQUEST_ID
    PROXY                              # a CGI program takes it for the proxy that it is to use
    NAMES


cdef enum Flag:
    DROPPED = 1                        # not passed on, not visible to policies
    RULED = 2                          # visible to policies, but the gateway writes it itself (Host, Content-Length)


cdef enum FieldNames:
    """What happens to request fields whose name has anything but letters, digits and "-"."""
    NAMES_DROP = 0
    NAMES_PASS = 1
    NAMES_REJECT = 2


cdef struct Field:
    uint32_t name                      # offsets from the first byte of the head
    uint32_t value
    uint32_t value_length
    uint16_t name_length
    uint8_t id                         # Name
    uint8_t flags


cdef struct Span:
    uint32_t start
    uint32_t length


cdef class Head:
    cdef bytes data                    # what the pointer points into
    cdef bytes trailers                # lines of fields behind the body, each with its end; None: there are none
    cdef const unsigned char* p        # first byte of the start line
    cdef Py_ssize_t length             # of the complete head, with the empty line; 0 until then

    # where the scan stopped
    cdef Py_ssize_t at
    cdef Py_ssize_t line
    cdef int lines

    cdef Field* fields
    cdef int count
    cdef int capacity
    cdef int limit

    # start line
    cdef Span method                   # requests
    cdef Span target
    cdef int major                     # of the version of the protocol that brought it
    cdef int minor                     # of HTTP/1.minor; 2 to 9 are read as 1, and so are other protocols
    cdef int minor_sent
    cdef int status                    # responses
    cdef Span reason

    # what the fields say
    cdef int64_t content_length        # -1: none
    cdef bint chunked
    cdef bint close
    cdef bint keep_alive               # asked for in so many words
    cdef int host                      # index of the field, -1: none
    cdef bint host_checked             # it is one: see `is_host`
    cdef int upgrade
    cdef int expect
    cdef int connection
    cdef bint has_forwarded            # any X-Forwarded-* or Forwarded
    cdef bint upgrade_named            # Connection names Upgrade
    cdef uint32_t seen                 # bit set of Name, for the first 32
    # for who looks for many names: see `names_in`
    cdef uint64_t names                # 0: nobody has looked
    cdef uint64_t names_again

    cdef void clear(self) noexcept
    cdef void release(self) noexcept
    cdef int copy(self, Head other) except -1
    cdef int fill_request(
        self, bytes method, bytes target, bytes lines, Py_ssize_t max_bytes, int field_names
    ) except -1
    cdef int fill_response(self, int status, bytes lines, Py_ssize_t max_bytes) except -1
    cdef int fill(self, bytes start, bytes lines, bint request, Py_ssize_t max_bytes, int field_names) except -1
    cdef Py_ssize_t scan(self, const unsigned char* p, Py_ssize_t length, bint request, Py_ssize_t max_bytes) noexcept
    cdef int fault(self, Py_ssize_t at, bint request, int cause) noexcept
    cdef int unfinished_line(self, Py_ssize_t end) noexcept
    cdef int request_line(self, Py_ssize_t end) noexcept
    cdef int status_line(self, Py_ssize_t end) noexcept
    cdef int index(self, bint request, int field_names) noexcept
    cdef int name_fault(self, Py_ssize_t start, Py_ssize_t end) noexcept
    cdef void pass_proxy(self) noexcept
    cdef int odd_name(self, Field* field, int field_names) noexcept
    cdef bint grow(self) noexcept
    cdef bint read_length(self, Field* field) noexcept
    cdef int read_coding(self, Field* field) noexcept
    cdef int connection_options(self) noexcept
    cdef int find(self, const char* name, Py_ssize_t length, int start) noexcept
    cdef bytes value_of(self, int field)
    cdef void keep_alive_timeout(self, int64_t* seconds) noexcept


cdef bint same(const unsigned char* text, Py_ssize_t length, const char* lower, Py_ssize_t lower_length) noexcept nogil
cdef bint same_variable(
    const unsigned char* text, Py_ssize_t length, const char* folded, Py_ssize_t folded_length
) noexcept nogil
cdef bint spells_known(const unsigned char* text, Py_ssize_t length) noexcept nogil
cdef bytes folded_name(bytes name)
cdef bint same_text(const unsigned char* one, const unsigned char* other, Py_ssize_t length) noexcept nogil
cdef bint is_token(const unsigned char* text, Py_ssize_t length) noexcept nogil
cdef bint is_host(const unsigned char* text, Py_ssize_t length) noexcept nogil
cdef bytes normal_host(const unsigned char* text, Py_ssize_t length, bytes scheme)
cdef int name_id(const unsigned char* text, Py_ssize_t length) noexcept nogil
cdef int name_flags_of(int number) noexcept nogil


cdef inline int put_via(Buffer* buffer, Head head) except -1:
    """The gateway's own Via for a message with this head (RFC 9110 section 7.6.3)."""
    put(buffer, b"Via: ", 5)
    put_number(buffer, head.major)
    if head.major == 1:
        put(buffer, b".", 1)
        put_number(buffer, head.minor)
    return put(buffer, b" fastgate\r\n", 11)
