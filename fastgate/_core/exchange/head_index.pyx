"""The index of an answer's head as bytes, to open the head again without reading it.

Theory of operation. Whoever keeps answers keeps the bytes of the head, and beside them what `Head.index` has found out:
8 bytes a field, which cost a copy to open where reading costs some twenty instructions a byte. Edits, hooks, log and
wires then see a head as any other. What is about one connection is not in the index: such fields are not kept.

The index may lie in memory that other processes write, and be damaged. So nothing of it is believed: every place is
compared with the length of the text, and the names of fields with what is there. The text itself may be anything; it
is never read beyond its end.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastgate._core.exchange.head cimport NAMES, OTHER, Field, Head


cdef bytes index_of(Head head):
    """The index of an answer's head; None: it has a name, a space or a length that the index has no room for."""
    cdef HeadIndex about
    cdef FieldIndex field
    cdef Field* one
    cdef Py_ssize_t gap
    cdef bytes index
    cdef char* out
    cdef int i
    if head.length > 65535 or not 100 <= head.status <= 999:
        return None
    about.content_length = head.content_length
    about.seen = head.seen
    about.status = <uint16_t>head.status
    about.count = <uint16_t>head.count
    about.length = <uint16_t>head.length
    about.reason_start = <uint16_t>head.reason.start
    about.reason_length = <uint16_t>head.reason.length
    about.major = <uint8_t>head.major
    about.minor = <uint8_t>head.minor
    index = PyBytes_FromStringAndSize(NULL, sizeof(HeadIndex) + head.count * <Py_ssize_t>sizeof(FieldIndex))
    out = PyBytes_AS_STRING(index)
    memcpy(out, &about, sizeof(HeadIndex))
    out += sizeof(HeadIndex)
    for i in range(head.count):
        one = &head.fields[i]
        gap = <Py_ssize_t>one.value - one.name - one.name_length
        if one.name_length > 255 or not 0 <= gap <= 255:
            return None
        field.name = <uint16_t>one.name
        field.value_length = <uint16_t>one.value_length
        field.name_length = <uint8_t>one.name_length
        field.gap = <uint8_t>gap
        field.id = one.id
        field.flags = one.flags
        memcpy(out, &field, sizeof(FieldIndex))
        out += sizeof(FieldIndex)
    return index


cdef bint open_head(Head head, bytes text, const char* index, Py_ssize_t length, const OwnLines* own=NULL) except -1:
    """``head`` becomes the answer's head that ``text`` is, which it keeps. False: this is not its index; it is empty.

    ``own``: what stands in ``text`` before the empty line and is not in the index; NULL: nothing.

    The index is read once, and may change meanwhile.
    """
    cdef HeadIndex about
    cdef FieldIndex field
    cdef Field* one
    cdef Py_ssize_t added = own.text.length if own != NULL else 0
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text) - added
    cdef Py_ssize_t value, end = 0
    cdef int i
    head.release()
    if length < <Py_ssize_t>sizeof(HeadIndex):
        return False
    memcpy(&about, index, sizeof(HeadIndex))
    if about.length != size or length != <Py_ssize_t>(sizeof(HeadIndex) + about.count * sizeof(FieldIndex)) \
            or about.count > head.limit or not 100 <= about.status <= 999 or about.content_length < -1 \
            or about.reason_start + about.reason_length > size or about.major > 9 or about.minor > 9:
        return False
    head.lines = about.count
    if about.count > head.capacity and not head.grow():
        raise MemoryError
    for i in range(about.count):
        memcpy(&field, index + sizeof(HeadIndex) + i * <Py_ssize_t>sizeof(FieldIndex), sizeof(FieldIndex))
        value = <Py_ssize_t>field.name + field.name_length + field.gap
        # One behind the other, so that what lies between two fields is of the first.
        if field.name < end or value + field.value_length + 4 > size or field.name_length == 0 or field.id >= NAMES:
            return False
        end = value + field.value_length + 2
        one = &head.fields[i]
        one.name = field.name
        one.name_length = field.name_length
        one.value = <uint32_t>value
        one.value_length = field.value_length
        one.id = field.id
        one.flags = field.flags
    head.data = text
    head.p = <const unsigned char*>PyBytes_AS_STRING(text)
    head.length = size + added
    head.count = about.count
    head.status = about.status
    head.major = about.major
    head.minor = head.minor_sent = about.minor
    head.reason.start = about.reason_start
    head.reason.length = about.reason_length
    head.content_length = about.content_length
    head.seen = about.seen
    if added:
        index_lines(head, own)
    return True


cdef int index_lines(Head head, const OwnLines* own) except -1:
    """Adds the fields of the gateway's own, which stand before the empty line."""
    cdef Py_ssize_t at = head.length - 2 - own.text.length
    cdef Field* one
    cdef int i
    head.names = 0
    head.lines = head.count + own.count
    if head.lines > head.capacity and not head.grow():
        raise MemoryError
    for i in range(own.count):
        one = &head.fields[head.count]
        one.name = <uint32_t>at
        one.name_length = own.names[i]
        one.value = <uint32_t>(at + own.names[i] + 2)
        one.value_length = own.lengths[i] - own.names[i] - 4
        one.id = OTHER
        one.flags = 0
        head.count += 1
        at += own.lengths[i]
    return 0


cdef int extend_head(Head head, const OwnLines* own) except -1:
    """Puts lines of the gateway's own behind the fields of an answer's head."""
    cdef Py_ssize_t length = own.text.length
    cdef bytes text
    cdef char* out
    if length == 0:
        return 0
    text = PyBytes_FromStringAndSize(NULL, head.length + length)
    out = PyBytes_AS_STRING(text)
    memcpy(out, head.p, head.length - 2)
    memcpy(out + head.length - 2, own.text.data, length)
    memcpy(out + head.length - 2 + length, b"\r\n", 2)
    head.data = text
    head.p = <const unsigned char*>out
    head.length += length
    return index_lines(head, own)
