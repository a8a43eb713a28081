"""Keys of clients: the credential in a request, and the table in which it is found.

Theory of operation
-------------------
Secrets are known by their SHA-256 only (`sha256.h`). A `KeyTable` is an array of digests with open addressing, at most
half full and never changed once it is made. A digest is uniform by itself, so its first bytes say where it stands: one
probe in the usual case. The 32 bytes are compared in a time that does not tell where they differ. Nobody can aim at the
table: who could choose digests could also choose secrets.

`KeyMethod` looks for a key in the configured field, behind ``Authorization: Bearer``, in ``api-key``, and, where that
is configured, in a parameter of the query, in this order. The first that is in the table decides; what is not in it may
belong to another method (a token behind Bearer, say), so that the next place is looked at. A place that is there twice
is refused: whoever is behind the gateway could read the other one. A credential of more than `MAX_CREDENTIAL` bytes is
no key, and is not hashed.

With ``hide``, every field in which the granted key stands is taken away before the request goes on, and the parameter.
That is left out of the access log too, whatever becomes of the request.

Cost: a secret of up to 55 bytes is one block of SHA-256, which is nearly all of it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fastgate._core.auth.gate cimport ABSENT, NOT_ALLOWED, REFUSED
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport (
    AUTHORIZATION,
    DROPPED,
    NAMES_PASS,
    OTHER,
    Field,
    Head,
    folded_name,
    same,
    same_variable,
)
from fastgate._core.routing.query cimport Parameter, decoded, find_parameter, without_parameter

cdef extern from "memory/atomics.h" nogil:
    int64_t wall_ms()

cdef extern from "auth/sha256.h" nogil:
    void sha256(const void* data, size_t length, unsigned char* digest32)
    bint same32(const unsigned char* one, const unsigned char* other)

cdef enum:
    MAX_CREDENTIAL = 512       # bytes

    IN_FIELD = 0               # the places, in the order in which they are looked at
    IN_BEARER = 1
    IN_API_KEY = 2
    PLACES = 3


cdef class KeyEntry:
    """Whose key it is, where it is good for (``routes``: names, None = everywhere), and until when.

    ``expires`` is seconds since 1970; None = never.
    """

    def __init__(self, Identity identity not None, *, routes=None, expires=None, bint disabled=False):
        self.identity = identity
        self.routes = frozenset(routes) if routes is not None else None
        self.expires = <int64_t>(<double>expires * 1000) if expires is not None else INT64_MAX
        self.disabled = disabled

    def __repr__(self):
        return f"<KeyEntry {self.identity.id!r}>"


cdef class KeyTable:
    """Keys by the SHA-256 of their secrets: ``KeyTable([(digest, entry), …])``."""

    def __cinit__(self, keys=()):
        cdef list pairs = list(keys)
        cdef Py_ssize_t size = 2
        cdef Py_ssize_t i
        cdef bytes digest
        while size < 2 * len(pairs):
            size *= 2
        self.mask = size - 1
        self.slots = <Slot*>calloc(size, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        for i in range(size):
            self.slots[i].entry = -1
        self.entries = tuple([<KeyEntry?>entry for _, entry in pairs])
        for i in range(len(pairs)):
            digest = pairs[i][0]
            if len(digest) != 32:
                raise ValueError("a digest has 32 bytes")
            self.put(<const unsigned char*>PyBytes_AS_STRING(digest), i)

    def __dealloc__(self):
        free(self.slots)

    def __len__(self):
        return len(self.entries)

    def get(self, bytes digest not None):
        """The entry of a digest; None where there is none."""
        if len(digest) != 32:
            raise ValueError("a digest has 32 bytes")
        return self.find(<const unsigned char*>PyBytes_AS_STRING(digest))

    cdef int put(self, const unsigned char* digest, Py_ssize_t entry) except -1:
        cdef Py_ssize_t i = first_slot(digest, self.mask)
        while self.slots[i].entry >= 0:
            if same32(self.slots[i].digest, digest):
                raise ValueError("two keys have the same digest")
            i = (i + 1) & self.mask
        memcpy(self.slots[i].digest, digest, 32)
        self.slots[i].entry = entry
        return 0

    cdef KeyEntry find(self, const unsigned char* digest):
        cdef Py_ssize_t i = first_slot(digest, self.mask)
        while self.slots[i].entry >= 0:
            if same32(self.slots[i].digest, digest):
                return <KeyEntry>self.entries[self.slots[i].entry]
            i = (i + 1) & self.mask
        return None


cdef inline Py_ssize_t first_slot(const unsigned char* digest, Py_ssize_t mask) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, digest, sizeof(word))
    return <Py_ssize_t>(word & <uint64_t>mask)


cdef class KeyMethod(Method):
    """Keys of a table. ``header`` and ``query`` say where clients put them; ``query=""`` is not looked at."""

    def __init__(self, KeyTable table not None, *, header="x-api-key", query="", bint hide=True):
        self.name = "key"
        self.table = table
        self.header = header.lower().encode("ascii")
        self.parameter = query.encode() if query else None
        self.hide = hide
        # RFC 6750, 3: there is no registered scheme for a key in a field of its own, and Bearer is always accepted.
        self.challenge = b'Bearer realm="fastgate"'
        self.invalid = b'Bearer realm="fastgate", error="invalid_token"'

    cdef int verify(self, Exchange x) except -1:
        cdef Head head = x.request
        cdef int[PLACES] fields
        cdef unsigned char[MAX_CREDENTIAL] room
        cdef Credential credential
        cdef KeyEntry entry = None
        cdef bint presented = False
        cdef int place
        cdef int found
        if not find_fields(head, self.header, fields):
            return REFUSED
        place = 0
        while place < PLACES:
            if fields[place] >= 0 and read_field(head, fields[place], place, &credential):
                presented = True
                entry = self.look(&credential)
                if entry is not None:
                    break
            place += 1
        if entry is None and self.parameter is not None and x.has_query:
            found = read_parameter(x, self.parameter, room, &credential)
            if found > 1:
                return REFUSED
            if found:
                presented = True
                entry = self.look(&credential)
        if entry is None:
            return REFUSED if presented else ABSENT
        if entry.disabled or wall_ms() >= entry.expires:
            return REFUSED
        if entry.routes is not None and x.route.name not in entry.routes:
            return NOT_ALLOWED
        if self.hide:
            self.take_away(x, fields, place, &credential)
        return self.grant(x, entry.identity)

    cdef KeyEntry look(self, const Credential* credential):
        cdef unsigned char[32] digest
        if not 0 < credential.length <= MAX_CREDENTIAL:
            return None
        sha256(credential.text, credential.length, digest)
        return self.table.find(digest)

    cdef int take_away(self, Exchange x, const int* fields, int found_in, const Credential* granted) except -1:
        """Every field in which the granted key stands, and the parameter, which is the gateway's."""
        cdef Head head = x.request
        cdef Credential other
        cdef bytes query
        cdef int place
        for place in range(PLACES):
            if fields[place] < 0:
                continue
            if place == found_in or (
                read_field(head, fields[place], place, &other)
                and other.length == granted.length and memcmp(other.text, granted.text, other.length) == 0
            ):
                head.fields[fields[place]].flags |= DROPPED
        if x.runtime.field_names == NAMES_PASS:
            drop_spellings(head, self.header)
        if self.parameter is not None and x.has_query:
            query = without_parameter(x.query, x.query_length, self.parameter)
            if query is not None:
                x.query_owner = query
                x.query = <const unsigned char*>PyBytes_AS_STRING(query)
                x.query_length = PyBytes_GET_SIZE(query)
                x.has_query = x.query_length > 0
        return 0


cdef int drop_spellings(Head head, bytes header) except -1:
    """What an upstream could take for the field of the key that it is not to see."""
    cdef bytes folded = folded_name(header)
    cdef Field* field
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == OTHER and same_variable(head.p + field.name, field.name_length, folded, len(folded)) \
                and not same(head.p + field.name, field.name_length, header, len(header)):
            field.flags |= DROPPED
    return 0


cdef bint find_fields(Head head, bytes header, int* fields) noexcept:
    """Which fields may carry a key, by place; -1: none. False: there are two of one place."""
    cdef const char* name = PyBytes_AS_STRING(header)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(header)
    cdef Field* field
    cdef int place, i
    for place in range(PLACES):
        fields[place] = -1
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_length != length and field.name_length != 7 and field.id != AUTHORIZATION:
            continue
        if field.flags & DROPPED:
            continue
        # Most clients write names in lower case.
        if field.name_length == length and (
            memcmp(head.p + field.name, name, length) == 0 or same(head.p + field.name, length, name, length)
        ):
            if fields[IN_FIELD] >= 0:
                return False
            fields[IN_FIELD] = i
        if field.id == AUTHORIZATION:
            if fields[IN_BEARER] >= 0:
                return False
            fields[IN_BEARER] = i
        elif field.name_length == 7 and same(head.p + field.name, 7, b"api-key", 7):
            if fields[IN_API_KEY] >= 0:
                return False
            fields[IN_API_KEY] = i
    return True


cdef bint read_field(Head head, int number, int place, Credential* found) noexcept:
    """The credential in a field. False: there is none, or of another scheme."""
    cdef Field* field = &head.fields[number]
    cdef const unsigned char* text = head.p + field.value
    cdef Py_ssize_t length = field.value_length
    if place == IN_BEARER:
        if length < 8 or text[6] != b" " or not same(text, 6, b"bearer", 6):
            return False
        text += 7
        length -= 7
        while length and text[0] == b" ":
            text += 1
            length -= 1
    found.text = text
    found.length = length
    return length > 0


# -- parameters of a query

cdef int read_parameter(Exchange x, bytes name, unsigned char* room, Credential* found) noexcept:
    """How often the parameter is there with a value: 0, 1, 2 for more. The first one's value goes into ``room``.

    A value that is too long for a key has the length MAX_CREDENTIAL + 1, and no bytes.
    """
    cdef Parameter parameter
    cdef const unsigned char* text
    cdef Py_ssize_t length
    cdef Py_ssize_t i = 0
    if not find_parameter(x.query, x.query_length, name, 0, &parameter) or parameter.value >= parameter.end:
        return 0
    text = x.query + parameter.value
    length = parameter.end - parameter.value
    found.text = room
    found.length = 0
    while i < length:
        if found.length == MAX_CREDENTIAL:
            found.length += 1
            break
        room[found.length] = <unsigned char>decoded(text, length, &i)
        found.length += 1
    return 2 if find_parameter(x.query, x.query_length, name, parameter.end + 1, &parameter) else 1
