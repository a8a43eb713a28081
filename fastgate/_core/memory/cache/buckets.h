/* Which words of a bucket of the index have a tag: what every look-up does first. */
#ifndef FASTGATE_BUCKETS_H
#define FASTGATE_BUCKETS_H

#include <stdint.h>

/* Debug builds go the way of machines without it, so that it is tested too. */
#if defined(__SSE2__) && !defined(FASTGATE_DEBUG)
#define BUCKETS_SSE2 1
#include <emmintrin.h>
#endif

/* A bit for each of the eight words whose upper 16 bits are the tag. The words lie in one line and change meanwhile: who
 * acts on one reads it again. */
static inline unsigned int words_with_tag(const uint64_t *bucket, uint64_t tag) {
#ifdef BUCKETS_SSE2
    const __m128i *pairs = (const __m128i *)(const void *)bucket;
    const __m128i wanted = _mm_set1_epi16((short)(uint16_t)tag);
    /* Of each word four bits of a mask are left: one for each 16 bits of it. The upper 16 bits are the last. */
    unsigned int low, high, found;
    low = (unsigned int)_mm_movemask_epi8(_mm_packs_epi16(
        _mm_cmpeq_epi16(_mm_load_si128(pairs), wanted), _mm_cmpeq_epi16(_mm_load_si128(pairs + 1), wanted)
    ));
    high = (unsigned int)_mm_movemask_epi8(_mm_packs_epi16(
        _mm_cmpeq_epi16(_mm_load_si128(pairs + 2), wanted), _mm_cmpeq_epi16(_mm_load_si128(pairs + 3), wanted)
    ));
    found = (low | high << 16) & 0x88888888u;
    /* Bits 3, 7, … become bits 0, 1, …. */
    found >>= 3;
    found = (found | found >> 3) & 0x03030303u;
    found = (found | found >> 6) & 0x000f000fu;
    return (found | found >> 12) & 0xffu;
#else
    unsigned int found = 0;
    int number;
    for (number = 0; number < 8; number++)
        found |= (unsigned int)(__atomic_load_n(&bucket[number], __ATOMIC_ACQUIRE) >> 48 == tag) << number;
    return found;
#endif
}

#endif
