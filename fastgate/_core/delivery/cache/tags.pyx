"""The tags of an answer, by which it is purged: Cache-Tag, Surrogate-Key and Cache-Groups (RFC 9875).

Theory of operation
-------------------
`read_tags` collects spans of the head, without sorting them and without looking for the same one twice: an answer has
few, and a purge does not mind. Cache-Tag is a list with commas, Surrogate-Key one with white space; both are compared
byte by byte. Cache-Groups is a list of strings of Structured Fields: with an error in it, or with a member that is not
a string, it is ignored as a whole. Groups belong to the origin of the answer, the others do not, so the two are told
apart.

Cache-Group-Invalidation is read by `read_groups` as well.
"""

from libc.stdint cimport uint64_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastgate._core.delivery.cache.spans cimport blank
from fastgate._core.delivery.cache.structured cimport STRING, Item, next_listed
from fastgate._core.exchange.field_lines cimport bits_of, names_in, next_line
from fastgate._core.exchange.head cimport NAMES_PASS, Head
from fastgate._core.memory.buffer cimport Buffer, free_buffer, put

cdef uint64_t TAG_BITS = bits_of((b"cache-tag", b"surrogate-key", b"cache-groups"))


cdef bint add_tag(Tags* tags, const unsigned char* p, Py_ssize_t length, bint group) noexcept nogil:
    """False: they are too many."""
    if tags.count >= MOST_TAGS:
        return False
    tags.tag[tags.count].p = p
    tags.tag[tags.count].length = length
    tags.tag[tags.count].group = group
    tags.count += 1
    return True


cdef bint add_words(Head answer, const char* name, Py_ssize_t length, bint commas, Tags* tags) noexcept:
    """Adds what stands between commas, or between white space. False: they are too many."""
    cdef const unsigned char* p
    cdef Py_ssize_t size, i, end, stop
    cdef int line = next_line(answer, name, length, 0)
    while line >= 0:
        p = answer.p + answer.fields[line].value
        size = answer.fields[line].value_length
        i = 0
        while i < size:
            end = i
            while end < size and not (p[end] == b"," if commas else blank(p[end])):
                end += 1
            stop = end
            while i < stop and blank(p[i]):
                i += 1
            while stop > i and blank(p[stop - 1]):
                stop -= 1
            if stop > i and not add_tag(tags, p + i, stop - i, False):
                return False
            i = end + 1
        line = next_line(answer, name, length, line + 1)
    return True


cdef int read_groups(Head answer, const char* name, Py_ssize_t length, Tags* tags) noexcept:
    """Adds the strings of a list; how many tags there are then, or TOO_MANY_TAGS. A list with an error adds none."""
    cdef const unsigned char* p
    cdef Py_ssize_t size, i
    cdef Item item
    cdef int before = tags.count
    cdef bint full = False
    cdef int line = next_line(answer, name, length, 0)
    while line >= 0:
        p = answer.p + answer.fields[line].value
        size = answer.fields[line].value_length
        i = 0
        while i < size:
            i = next_listed(p, size, i, &item)
            if i < 0 or item.kind != STRING:
                tags.count = before
                return before
            full = full or not add_tag(tags, item.value, item.length, True)
        line = next_line(answer, name, length, line + 1)
    return TOO_MANY_TAGS if full else tags.count


cdef int read_tags(Head answer, Tags* tags) noexcept:
    """All tags of an answer; how many, or TOO_MANY_TAGS."""
    tags.count = 0
    if not names_in(answer) & TAG_BITS:
        return 0
    if not add_words(answer, b"cache-tag", 9, True, tags) or not add_words(answer, b"surrogate-key", 13, False, tags):
        return TOO_MANY_TAGS
    return read_groups(answer, b"cache-groups", 12, tags)


cdef int put_tag(Buffer* buffer, const Tag* tag) except -1:
    """Writes a tag as it is compared: a group without its escapes."""
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t i = 0
    while i < tag.length:
        if tag.group and tag.p[i] == b"\\" and i + 1 < tag.length:
            put(buffer, tag.p + start, i - start)
            i += 1
            start = i
        i += 1
    return put(buffer, tag.p + start, tag.length - start)


def tags_of(bytes head not None) -> list[tuple[bytes, bool]]:
    """The tags in the head of a stored answer, each with whether it is a group; none in what is not a whole head."""
    cdef Head answer = Head.__new__(Head)
    cdef Tags found
    cdef Buffer buffer
    cdef int number
    cdef list texts = []
    cdef Py_ssize_t length = PyBytes_GET_SIZE(head)
    answer.data = head
    if (
        answer.scan(<const unsigned char*>PyBytes_AS_STRING(head), length, False, length) != length
        or answer.index(False, NAMES_PASS) != 0 or read_tags(answer, &found) == TOO_MANY_TAGS
    ):
        return texts
    buffer.data = NULL
    buffer.length = buffer.capacity = buffer.promised = 0
    try:
        for number in range(found.count):
            buffer.length = 0
            put_tag(&buffer, &found.tag[number])
            texts.append((PyBytes_FromStringAndSize(buffer.data, buffer.length), found.tag[number].group))
    finally:
        free_buffer(&buffer)
    return texts
