# Names of fields and hosts: which bytes they have, which names the gateway knows, and how they are compared.

cdef uint8_t TOKEN[256]                # of the tchar of RFC 9110: 1: letters, digits and "-", 2: the others
cdef uint8_t LOWER[256]
cdef uint8_t FOLDED[256]               # as LOWER, with "_" for all but letters and digits
cdef uint8_t TARGET[256]               # bytes that may stand in a request target

_NAME_BYTES = b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OTHER_TOKEN_BYTES = b"!#$%&'*+.^_`|~"

# `FOLDED` as an object: names are folded in the request path, where a plugin edits fields.
cdef bytes _FOLDED = bytes(ord(chr(c).lower()) if chr(c).isalnum() and c < 128 else ord("_") for c in range(256))

_NAMES = {
    HOST: b"host", CONNECTION: b"connection", CONTENT_LENGTH: b"content-length",
    TRANSFER_ENCODING: b"transfer-encoding", EXPECT: b"expect", UPGRADE: b"upgrade", KEEP_ALIVE: b"keep-alive",
    PROXY_CONNECTION: b"proxy-connection", PROXY_AUTHENTICATE: b"proxy-authenticate",
    PROXY_AUTHORIZATION: b"proxy-authorization", TE: b"te", TRAILER: b"trailer", HTTP2_SETTINGS: b"http2-settings",
    AUTHORIZATION: b"authorization", X_FORWARDED_FOR: b"x-forwarded-for", X_FORWARDED_PROTO: b"x-forwarded-proto",
    X_FORWARDED_HOST: b"x-forwarded-host", X_FORWARDED_PORT: b"x-forwarded-port", X_REAL_IP: b"x-real-ip",
    FORWARDED: b"forwarded", VIA: b"via", ACCEPT: b"accept", DATE: b"date", SERVER: b"server", COOKIE: b"cookie",
    USER_AGENT: b"user-agent", REFERER: b"referer", CONTENT_TYPE: b"content-type", X_REQUEST_ID: b"x-request-id",
    PROXY: b"proxy",
}

# Names by a hash of length, first and last byte; a slot that two share is followed by `name_next`.
cdef uint8_t name_slot[256]
cdef uint8_t name_next[NAMES]
cdef uint8_t name_flags[NAMES]
cdef uint8_t name_length[NAMES]
cdef char name_text[NAMES][24]
cdef char name_variable[NAMES][24]     # the same, as `same_variable` compares
cdef char name_letters[NAMES][24]      # 0x20 where the name has a letter, for `same_name`


cdef extern from "exchange/head_names.h" nogil:
    bint same_name(const unsigned char* text, const char* name, const char* letters, Py_ssize_t length)
    bint same_lower(const unsigned char* text, const char* lower, Py_ssize_t length)


cdef inline int slot_of(int length, int first, int last) noexcept nogil:
    return (length * 37 + first * 5 + last * 11) & 255


cdef int prepare() except -1:
    cdef int i, number, slot
    cdef bytes text, folded
    for i in range(256):
        LOWER[i] = i + 32 if 65 <= i <= 90 else i
        FOLDED[i] = _FOLDED[i]
        TOKEN[i] = 0
        # RFC 3986 allows fewer; clients send the others bare. Refused is what has two readings: space, controls,
        # non-ASCII, "#", "\\".
        TARGET[i] = 0x21 <= i <= 0x7E and i != 0x23 and i != 0x5C
    for i in _NAME_BYTES:
        TOKEN[i] = 1
    for i in _OTHER_TOKEN_BYTES:
        TOKEN[i] = 2
    for i in range(256):
        name_slot[i] = 0
    for number, text in _NAMES.items():
        slot = slot_of(len(text), text[0], text[len(text) - 1])
        name_next[number] = name_slot[slot]
        name_slot[slot] = number
        name_length[number] = len(text)
        memcpy(name_text[number], <const char*>text, len(text))
        for i in range(len(text)):
            name_letters[number][i] = 0x20 if 97 <= text[i] <= 122 else 0
        folded = folded_name(text)
        memcpy(name_variable[number], <const char*>folded, len(text))
        name_flags[number] = 0
    # RFC 9110 section 7.6.1, and the names that peers still send in its spirit
    for number in (CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
                   HTTP2_SETTINGS, UPGRADE, EXPECT, TRANSFER_ENCODING, PROXY):
        name_flags[number] = DROPPED
    for number in (HOST, CONTENT_LENGTH):
        name_flags[number] = RULED
    return 0


prepare()


cdef bint same(const unsigned char* text, Py_ssize_t length, const char* lower, Py_ssize_t lower_length) noexcept nogil:
    """Whether a name equals one that is given in lower case."""
    return length == lower_length and same_lower(text, lower, length)


cdef bint is_token(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if TOKEN[text[i]] == 0:
            return False
    return length > 0


cdef bint is_host(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """uri-host [ ":" port ] of RFC 9110 section 7.2; an empty host and empty labels are refused."""
    cdef Py_ssize_t i = end_of_host(text, length)
    cdef Py_ssize_t digits = 0
    cdef int port = 0
    if i < 0:
        return False
    if i == length:
        return True
    if text[i] != b":":
        return False
    i += 1
    while i < length:
        if text[i] < 48 or text[i] > 57:
            return False
        digits += 1
        port = port * 10 + text[i] - 48
        if port > 65535:
            return False
        i += 1
    return digits <= 5


cdef bytes normal_host(const unsigned char* text, Py_ssize_t length, bytes scheme):
    """What `is_host` takes in the form in which hosts are compared, with its port unless it is the scheme's own."""
    cdef char form[HOST_ROOM]
    cdef Py_ssize_t size = write_host(text, length, form)
    cdef Py_ssize_t end = end_of_host(text, length)
    cdef bytes port
    if size < 0 or end < 0:
        return text[:length]
    port = text[end + 1:length] if end < length else b""
    if not port or int(port) == (443 if scheme == b"https" else 80):
        return form[:size]
    return form[:size] + b":%d" % int(port)


cdef int name_id(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    cdef int number
    if length == 0 or length > 23:
        return OTHER
    number = name_slot[slot_of(<int>length, LOWER[text[0]], LOWER[text[length - 1]])]
    while number != OTHER:
        if name_length[number] == length and same_name(text, name_text[number], name_letters[number], length):
            return number
        number = name_next[number]
    return OTHER


cdef bint spells_known(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """Whether a name becomes the same variable as one that the gateway reads, sends or rules."""
    cdef int number
    if length > 12 and same_variable(text, 12, b"x_forwarded_", 12):
        return True
    for number in range(1, <int>NAMES):
        if same_variable(text, length, name_variable[number], name_length[number]):
            return True
    return False


cdef bint same_variable(
    const unsigned char* text, Py_ssize_t length, const char* folded, Py_ssize_t folded_length
) noexcept nogil:
    """Whether CGI, WSGI and PHP servers make one variable of this name and of one that `folded_name` gave."""
    cdef Py_ssize_t i
    if length != folded_length:
        return False
    for i in range(length):
        if FOLDED[text[i]] != <unsigned char>folded[i]:
            return False
    return True


cdef bytes folded_name(bytes name):
    """A name as `same_variable` compares it: lower case, everything but letters and digits as ``_``."""
    return name.translate(_FOLDED)


cdef int name_flags_of(int number) noexcept nogil:
    """What the gateway does with every field of this name: `Flag`."""
    return name_flags[number]
