/* Which words of a bucket of the index have a tag: what every look-up does first. */
#ifndef FASTGATE_BUCKETS_H
#define FASTGATE_BUCKETS_H

#include <stdint.h>

/* Debug builds go the way of machines without it, so that it is tested too. */
#if defined(__SSE2__) && !defined(FASTGATE_DEBUG)
#define BUCKETS_SSE2 1
#include <emmintrin.h>
#endif

#ifdef BUCKETS_SSE2
/* The upper 16 bits of four words, each as a number of 32 bits with its sign: so they fit into 16 bits again. */
static inline __m128i upper_quarters(__m128i one, __m128i other) {
    return _mm_srai_epi32(
        _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(one), _mm_castsi128_ps(other), _MM_SHUFFLE(3, 1, 3, 1))), 16
    );
}
#endif

/* A bit for each of the eight words whose upper 16 bits are the tag. The words lie in one line and change meanwhile: who
 * acts on one reads it again. */
static inline unsigned int words_with_tag(const uint64_t *bucket, uint64_t tag) {
#ifdef BUCKETS_SSE2
    const __m128i *pairs = (const __m128i *)(const void *)bucket;
    const __m128i wanted = _mm_set1_epi16((short)(uint16_t)tag);
    const __m128i tags = _mm_packs_epi32(
        upper_quarters(_mm_load_si128(pairs), _mm_load_si128(pairs + 1)),
        upper_quarters(_mm_load_si128(pairs + 2), _mm_load_si128(pairs + 3))
    );
    return (unsigned int)_mm_movemask_epi8(_mm_packs_epi16(_mm_cmpeq_epi16(tags, wanted), _mm_setzero_si128()));
#else
    unsigned int found = 0;
    int number;
    for (number = 0; number < 8; number++)
        found |= (unsigned int)(__atomic_load_n(&bucket[number], __ATOMIC_ACQUIRE) >> 48 == tag) << number;
    return found;
#endif
}

/* How many of eight bits are set, on machines that cannot be asked. */
static inline unsigned int bits_of_eight(unsigned int bits) {
    bits -= bits >> 1 & 0x55u;
    bits = (bits & 0x33u) + (bits >> 2 & 0x33u);
    return (bits + (bits >> 4)) & 0x0fu;
}

#endif
