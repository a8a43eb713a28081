"""An answer's head on its way into the store, and out of it.

Theory of operation
-------------------
What is stored of a head is its text and, beside it, an index of its fields (see `exchange.head_index`), so that a hit
opens it without reading it. Both are written in one pass over the fields of the answer: the index knows where each of
them lies in the new text. Behind the index stand the tags by which the answer is purged, 8 bytes each.

Three words of a record say when it is fresh: when its age was 0, until when it is fresh, and how much longer it may be
used while it is validated and when that fails, in two halves. Milliseconds of CLOCK_BOOTTIME.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy

from fastgate._core.delivery.cache.directives cimport NO_CACHE_FIELDS, PRIVATE_FIELDS, Directives
from fastgate._core.delivery.cache.freshness cimport Freshness
from fastgate._core.delivery.cache.heads cimport is_stored, lengths_of_doubt
from fastgate._core.delivery.cache.key_lookup cimport Lookup, make_address
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.tags cimport MOST_TAGS, TOO_MANY_TAGS, Tag, Tags, put_tag, read_tags
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.field_lines cimport next_line
from fastgate._core.exchange.head cimport CONTENT_LENGTH, CONTENT_TYPE, DATE, DROPPED, Field, Head
from fastgate._core.exchange.head_index cimport FieldIndex, HeadIndex, OwnLines, open_head
from fastgate._core.memory.buffer cimport Buffer, filled, put, room, write_number
from fastgate._core.memory.cache.cache_store cimport Entry, View, still
from fastgate._core.memory.cache.layout cimport FOREVER
from fastgate._core.memory.cache.purges cimport TAG_GROUP, TAG_NAME, Purges

cdef enum:
    MOST_HEAD = 60000                  # bytes of a head that is stored
    MOST_FIELDS = 1000
    KEPT_TO_VALIDATE = 86400000        # milliseconds for which an answer with a validator is kept when it is stale


cdef bint make_head(
    Buffer* text, Buffer* index, CacheRules rules, Head answer, const Directives* said, bytes request_id,
    int64_t length, bytes date
) except -1:
    """Writes what is stored of an answer's head, and its index. False: it is too large.

    ``length`` is that of the body; ``date`` the line that says when it came, for an answer that does not (RFC 9110
    section 6.6.1); None: it does.
    """
    cdef HeadIndex about
    cdef FieldIndex* entry
    cdef FieldIndex about_line
    cdef Field* next = answer.fields
    cdef Field* end = next + answer.count
    cdef Field* one
    cdef const unsigned char* p = answer.p
    cdef char* begin
    cdef char* at
    cdef int count = 0
    cdef Py_ssize_t line
    cdef Py_ssize_t run = 0            # bytes of the answer that are to be copied next
    cdef Py_ssize_t run_end = 0
    cdef Py_ssize_t shift              # of what is copied next: how much later it stands in the new text
    cdef uint64_t doubtful
    cdef int settled = -1              # a name that most answers have, and that is stored in any case
    cdef bint plain
    if answer.length > MOST_HEAD or answer.count > MOST_FIELDS:
        return False
    text.length = index.length = 0
    # At most the head itself, a space a field, and the lines of the gateway's own.
    begin = at = room(text, answer.length + answer.count + (PyBytes_GET_SIZE(date) if date is not None else 0) + 64)
    entry = <FieldIndex*>(
        room(index, sizeof(HeadIndex) + (answer.count + 1) * <Py_ssize_t>sizeof(FieldIndex)) + sizeof(HeadIndex)
    )
    memcpy(at, b"HTTP/1.1 ", 9)
    at = write_number(at + 9, answer.status)
    at[0] = c" "
    at += 1
    about.reason_start = <uint16_t>(at - begin)
    about.reason_length = <uint16_t>answer.reason.length
    memcpy(at, answer.p + answer.reason.start, answer.reason.length)
    at += answer.reason.length
    memcpy(at, b"\r\n", 2)
    at += 2
    about.seen = answer.seen
    shift = at - begin
    doubtful = lengths_of_doubt(said, request_id)
    if not said.words & (NO_CACHE_FIELDS | PRIVATE_FIELDS) and (
        request_id is None or PyBytes_AS_STRING(request_id)[0] != c"c"
    ):
        settled = CONTENT_TYPE
    while next < end:
        one = next
        next += 1
        if one.flags & DROPPED or one.id == CONTENT_LENGTH:
            continue
        if doubtful >> (one.name_length & 63) & 1 and one.id != settled \
                and not is_stored(rules, answer, <int>(one - answer.fields), answer, said, request_id):
            continue
        if one.name_length > 255:
            return False
        line = one.value + one.value_length + 2 - one.name
        # Most lines are as they are written here, and are copied with those before and behind them.
        plain = (
            one.value == one.name + one.name_length + 2 and memcmp(p + one.value - 2, b": ", 2) == 0
            and memcmp(p + one.name + line - 2, b"\r\n", 2) == 0
        )
        if not plain or one.name != run_end:
            memcpy(at, p + run, run_end - run)
            at += run_end - run
            run = run_end = one.name
            shift = at - begin - run
        about_line.name = <uint16_t>(one.name + shift)
        about_line.name_length = <uint8_t>one.name_length
        about_line.value_length = <uint16_t>one.value_length
        about_line.gap = 2
        about_line.id = one.id
        about_line.flags = 0
        entry[0] = about_line
        entry += 1
        count += 1
        if plain:
            run_end += line
            continue
        memcpy(at, p + one.name, one.name_length)
        at += one.name_length
        memcpy(at, b": ", 2)
        memcpy(at + 2, p + one.value, one.value_length)
        at += 2 + one.value_length
        memcpy(at, b"\r\n", 2)
        at += 2
    memcpy(at, p + run, run_end - run)
    at += run_end - run
    if date is not None:
        entry.name = <uint16_t>(at - begin)
        entry.name_length = 4
        entry.value_length = <uint16_t>(PyBytes_GET_SIZE(date) - 8)
        entry.gap = 2
        entry.id = DATE
        entry.flags = 0
        entry += 1
        count += 1
        about.seen |= <uint32_t>1 << DATE
        memcpy(at, PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date))
        at += PyBytes_GET_SIZE(date)
    memcpy(at, b"\r\n", 2)
    filled(text, at + 2)
    about.content_length = length
    about.status = <uint16_t>answer.status
    about.count = <uint16_t>count
    about.length = <uint16_t>text.length
    about.major = <uint8_t>answer.major
    about.minor = <uint8_t>answer.minor
    filled(index, <const char*>entry)
    memcpy(index.data, &about, sizeof(HeadIndex))
    return True


cdef bint add_tags(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, Head answer) except -1:
    """Adds the tags of the answer to ``x`` and of the route to ``cache.index``. False: they are too many."""
    cdef Purges purges = cache.purges
    cdef Buffer* buffer = &cache.lines
    cdef Tags tags
    cdef Py_ssize_t i
    cdef bytes name
    cdef uint64_t tag
    if read_tags(answer, &tags) == TOO_MANY_TAGS or tags.count + PyTuple_GET_SIZE(rules.tags) > MOST_TAGS:
        return False
    if tags.count:
        make_address(l, x, cache, rules, False)
    for i in range(tags.count):
        if tags.tag[i].group:
            tag = group_tag(l, cache, &tags.tag[i])
        else:
            buffer.length = 0
            put_tag(buffer, &tags.tag[i])
            tag = purges.tag_of(TAG_NAME, buffer.data, buffer.length)
        put(&cache.index, &tag, sizeof(uint64_t))
    for i in range(PyTuple_GET_SIZE(rules.tags)):
        name = (<str>rules.tags[i]).encode()
        tag = purges.tag_of(TAG_NAME, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        put(&cache.index, &tag, sizeof(uint64_t))
    return True


cdef uint64_t group_tag(Lookup l, WorkerCache cache, const Tag* tag) except? 0:
    """That of a member of Cache-Groups, whose meaning is its origin's. ``cache.address`` is an address of that."""
    cdef Buffer* buffer = &cache.lines
    buffer.length = 0
    put(buffer, cache.address.data, l.path_at)
    put(buffer, b" ", 1)
    put_tag(buffer, tag)
    return cache.purges.tag_of(TAG_GROUP, buffer.data, buffer.length)


cdef inline uint64_t half(int64_t span) noexcept nogil:
    """A span of milliseconds in 32 bits: 49 days at most."""
    if span <= 0:
        return 0
    return <uint64_t>span if span < 0xffffffffLL else 0xffffffffULL


cdef bint has_validator(Head answer) noexcept:
    return next_line(answer, b"etag", 4, 0) >= 0 or next_line(answer, b"last-modified", 13, 0) >= 0


cdef void set_entry(
    WorkerCache cache, Entry* entry, const Freshness* freshness, int64_t now, bint has_validator
) noexcept:
    """What `make_head` has left, with its times. Key, body, purge number are the caller's."""
    cdef int64_t swr = freshness.swr_until - freshness.fresh_until
    cdef int64_t sie = freshness.sie_until - freshness.fresh_until
    cdef int64_t dies = freshness.fresh_until + max(swr, sie)
    entry.head = cache.text.data
    entry.head_length = <uint32_t>cache.text.length
    entry.fields = cache.index.data
    entry.fields_length = <uint32_t>cache.index.length
    entry.flags = <uint16_t>freshness.flags
    entry.words[0] = <uint64_t>freshness.born
    entry.words[1] = <uint64_t>freshness.fresh_until
    entry.words[2] = half(swr) << 32 | half(sie)
    if has_validator:
        dies = max(dies, now) + KEPT_TO_VALIDATE
    entry.dies = <uint64_t>dies if 0 < dies < <int64_t>FOREVER else (FOREVER if dies > 0 else 1)


cdef bint open_view(WorkerCache cache, Head head, const View* view, const OwnLines* own) except -1:
    """Opens the head of a stored answer, with lines of the gateway's own behind its fields; NULL: none. False: it is
    not whole any more.
    """
    cdef HeadIndex about
    cdef Py_ssize_t size = view.record.head_length
    cdef Py_ssize_t length = own.text.length if own != NULL else 0
    cdef bytes text
    cdef char* out
    if size < 2 or view.record.fields_length < sizeof(HeadIndex):
        return False
    text = PyBytes_FromStringAndSize(NULL, size + length)
    out = PyBytes_AS_STRING(text)
    memcpy(out, view.head, size - 2)
    if length:
        memcpy(out + size - 2, own.text.data, length)
    memcpy(out + size - 2 + length, b"\r\n", 2)
    memcpy(&about, view.fields, sizeof(HeadIndex))
    if sizeof(HeadIndex) + about.count * sizeof(FieldIndex) > view.record.fields_length:
        return False
    if not open_head(
        head, text, view.fields, sizeof(HeadIndex) + about.count * <Py_ssize_t>sizeof(FieldIndex), own
    ):
        return False
    if still(cache.store, view):
        return True
    head.release()
    return False
