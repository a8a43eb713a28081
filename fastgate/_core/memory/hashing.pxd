from libc.stdint cimport uint64_t


cdef extern from "memory/hashing.h" nogil:
    # SipHash-1-3 with a key of 16 bytes; that of a segment is Segment.key().
    uint64_t siphash(const unsigned char* key16, const void* data, size_t length) noexcept
    # The same for texts that begin alike: once for the beginning, then for each whole text that has it.
    ctypedef struct SipHash:
        pass
    void siphash_begin(SipHash* state, const unsigned char* key16, const void* data, size_t length) noexcept
    uint64_t siphash_from(const SipHash* begun, size_t begin, const void* data, size_t length) noexcept
    # SipHash-2-4, as its authors propose it.
    uint64_t siphash_24(const unsigned char* key16, const void* data, size_t length) noexcept
    # For tables that compare what they find and that nobody can fill at will.
    uint64_t quick_hash(uint64_t seed, const void* data, size_t length) noexcept
    uint64_t mix64(uint64_t word) noexcept
    # A key of 16 bytes for what has this name, out of another one.
    void siphash_derive(unsigned char* out16, const unsigned char* key16, const void* name, size_t length) noexcept


cdef inline double fraction_of(uint64_t word) noexcept nogil:
    """A number from 0 to below 1: evenly drawn where the word is."""
    return (word >> 11) * (1.0 / 9007199254740992.0)
