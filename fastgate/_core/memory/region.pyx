"""A region of shared memory: what a part of the core is given of it, and nothing else.

Theory of operation. Memory that processes share lies in a file (segment.pyx), or belongs to one object alone
(`own_region`). A region is a piece of it with a name, a size, and the version of what lies inside. Whoever builds a
limit, the health of an upstream, a worker hands it a region; who uses one opens it by the name and the layout that he
knows, so that a wrong one, or one that another version of fastgate has made, is found before a byte of it is read.

A region keeps its memory mapped. It also knows the secret of the memory, which keys are hashed with, and how many
worker slots the memory was made for: what is counted by worker has so many words.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from posix.unistd cimport close

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    int MAP_ANONYMOUS
    void* MAP_FAILED


class SegmentError(Exception):
    """Shared memory cannot be used: another layout, damaged, not sealed, or full."""


cdef class Mapping:
    """Memory that is mapped; unmapped, and its descriptor closed, with the object."""

    def __cinit__(self):
        self.base = NULL
        self.fd = -1

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)
        if self.fd >= 0:
            close(self.fd)


cdef Mapping map_memory(int fd, size_t size):
    """The file behind a descriptor, which is left alone; -1: memory without a file, all zeros."""
    cdef Mapping mapping = Mapping.__new__(Mapping)
    cdef void* address
    cdef int flags = MAP_SHARED | (MAP_ANONYMOUS if fd < 0 else 0)
    address = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0)
    if address == MAP_FAILED:
        raise OSError(errno, os.strerror(errno))
    mapping.base = <unsigned char*>address
    mapping.size = size
    return mapping


cdef class Region:
    """A part of shared memory with a name; made by whoever has the memory."""

    def __init__(self):
        raise TypeError("use Segment.region() or CacheFile.region()")

    cdef unsigned char* open(self, str name, uint32_t version, size_t least) except NULL:
        if self.name != name:
            raise SegmentError(f"this is the region {self.name!r}, not {name!r}")
        if self.version != version:
            raise SegmentError(
                f"layout {self.version} of the region {name!r} is not {version}: two versions of fastgate met"
            )
        if self.size < least:
            raise SegmentError(f"the region {name!r} has {self.size} bytes, and needs {least} at least")
        return self.base

    def __repr__(self) -> str:
        return f"<Region {self.name!r} layout={self.version} size={self.size}>"


cdef Region region_of(
    Mapping mapping, size_t offset, str name, uint32_t version, size_t size, int slots, const unsigned char* secret
):
    """The part of a mapping that begins there; it lies inside."""
    cdef Region region = Region.__new__(Region)
    region.mapping = mapping
    region.base = mapping.base + offset
    region.name = name
    region.version = version
    region.size = size
    region.slots = slots
    memcpy(region.secret, secret, sizeof(region.secret))
    return region


cdef Region own_region(str name, uint32_t version, size_t size):
    """Memory for one object that shares with nobody: zeros, and one slot."""
    cdef bytes secret = os.urandom(16)
    return region_of(map_memory(-1, size), 0, name, version, size, 1, secret)


def memory_file(str name, size) -> int:
    """The descriptor of a new file in memory, sealed against another size; -1: this system has none (macOS), so that
    one process has its memory alone. OSError: it is refused.
    """
    if not hasattr(os, "memfd_create"):
        return -1
    import fcntl

    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_sealed(fd) -> None:
    """SegmentError: the descriptor is no file in memory, or one that could be made smaller under its users."""
    import fcntl

    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise SegmentError("the descriptor is not a memory file") from None
    if seals & wanted != wanted:
        raise SegmentError("the memory file is not sealed against resizing")
