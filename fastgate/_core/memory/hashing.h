/* SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): 64 bits of hash that nobody can aim at without the
 * 16-byte key. SipHash-1-3 has one round a word and three at the end, as in CPython's hash tables; SipHash-2-4 is what its
 * authors propose. */
#ifndef FASTGATE_HASHING_H
#define FASTGATE_HASHING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FG_LITTLE(word) __builtin_bswap64(word)
#else
#define FG_LITTLE(word) (word)
#endif

#define FG_ROTATE(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))
#define FG_SIPROUND                                                                                                        \
    do {                                                                                                                   \
        a += b; b = FG_ROTATE(b, 13); b ^= a; a = FG_ROTATE(a, 32);                                                        \
        c += d; d = FG_ROTATE(d, 16); d ^= c;                                                                              \
        a += d; d = FG_ROTATE(d, 21); d ^= a;                                                                              \
        c += b; b = FG_ROTATE(b, 17); b ^= c; c = FG_ROTATE(c, 32);                                                        \
    } while (0)

/* What is left of a text when so many of its words have been read. */
typedef struct {
    uint64_t a, b, c, d;
} SipHash;

static inline __attribute__((always_inline)) void siphash_key(SipHash *state, const unsigned char *key16) {
    uint64_t k0, k1;
    memcpy(&k0, key16, 8);
    memcpy(&k1, key16 + 8, 8);
    k0 = FG_LITTLE(k0);
    k1 = FG_LITTLE(k1);
    state->a = k0 ^ 0x736f6d6570736575u;
    state->b = k1 ^ 0x646f72616e646f6du;
    state->c = k0 ^ 0x6c7967656e657261u;
    state->d = k1 ^ 0x7465646279746573u;
}

/* Reads the whole words of `length` bytes. */
static inline __attribute__((always_inline)) void siphash_words(
    SipHash *state, const unsigned char *at, size_t length, int each
) {
    const unsigned char *end = at + (length & ~(size_t)7);
    uint64_t word, a = state->a, b = state->b, c = state->c, d = state->d;
    int round;
    for (; at != end; at += 8) {
        memcpy(&word, at, 8);
        word = FG_LITTLE(word);
        d ^= word;
        for (round = 0; round < each; round++) {
            FG_SIPROUND;
        }
        a ^= word;
    }
    state->a = a;
    state->b = b;
    state->c = c;
    state->d = d;
}

/* The hash of a text of `length` bytes, of which the last `length & 7` lie at `at` and the others have been read. */
static inline __attribute__((always_inline)) uint64_t siphash_end(
    const SipHash *state, const unsigned char *at, size_t length, int each, int last
) {
    uint64_t word = (uint64_t)length << 56, a = state->a, b = state->b, c = state->c, d = state->d;
    int round;
    switch (length & 7) {
    case 7: word |= (uint64_t)at[6] << 48; /* fall through */
    case 6: word |= (uint64_t)at[5] << 40; /* fall through */
    case 5: word |= (uint64_t)at[4] << 32; /* fall through */
    case 4: word |= (uint64_t)at[3] << 24; /* fall through */
    case 3: word |= (uint64_t)at[2] << 16; /* fall through */
    case 2: word |= (uint64_t)at[1] << 8;  /* fall through */
    case 1: word |= at[0];                 /* fall through */
    default: break;
    }
    d ^= word;
    for (round = 0; round < each; round++) {
        FG_SIPROUND;
    }
    a ^= word;
    c ^= 0xff;
    for (round = 0; round < last; round++) {
        FG_SIPROUND;
    }
    return a ^ b ^ c ^ d;
}

static inline __attribute__((always_inline)) uint64_t siphash_rounds(
    const unsigned char *key16, const void *data, size_t length, int each, int last
) {
    const unsigned char *at = (const unsigned char *)data;
    SipHash state;
    siphash_key(&state, key16);
    siphash_words(&state, at, length, each);
    return siphash_end(&state, at + (length & ~(size_t)7), length, each, last);
}

/* SipHash-1-3 of a text whose beginning is that of many: once for its whole words, then for each text behind them. */
static inline void siphash_begin(SipHash *state, const unsigned char *key16, const void *data, size_t length) {
    siphash_key(state, key16);
    siphash_words(state, (const unsigned char *)data, length, 1);
}

/* `data` is the whole text, of which `begin` bytes were given to `siphash_begin`. */
static inline uint64_t siphash_from(const SipHash *begun, size_t begin, const void *data, size_t length) {
    const unsigned char *at = (const unsigned char *)data + (begin & ~(size_t)7);
    SipHash state = *begun;
    siphash_words(&state, at, length - (begin & ~(size_t)7), 1);
    return siphash_end(&state, (const unsigned char *)data + (length & ~(size_t)7), length, 1, 3);
}

static inline uint64_t siphash(const unsigned char *key16, const void *data, size_t length) {
    return siphash_rounds(key16, data, length, 1, 3);
}

static inline uint64_t siphash_24(const unsigned char *key16, const void *data, size_t length) {
    return siphash_rounds(key16, data, length, 2, 4);
}

#undef FG_SIPROUND
#undef FG_ROTATE
#undef FG_LITTLE

/* A key for what has this name, out of another key: texts under two names are as unlike as under two keys. */
static inline void siphash_derive(unsigned char *out16, const unsigned char *key16, const void *name, size_t length) {
    uint64_t words[2];
    words[0] = siphash(key16, name, length);
    words[1] = siphash(key16, words, sizeof words[0]);
    memcpy(out16, words, sizeof words);
}

/* Both halves of a product, which every bit of both factors has a part in. */
static inline uint64_t fg_fold(uint64_t one, uint64_t other) {
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    one = (one ^ one >> 32) * 0xff51afd7ed558ccdu + other;
    return (one ^ one >> 29) * 0xc4ceb9fe1a85ec53u;
#endif
}

/* A hash for tables that compare what they find and that nobody can fill at will: a sixth of the cost of SipHash, and no
 * proof that who knows many hashes cannot find the seed. Sixteen bytes at a time, the last sixteen wherever they begin. */
static inline uint64_t quick_hash(uint64_t seed, const void *data, size_t length) {
    const unsigned char *at = (const unsigned char *)data;
    unsigned char last[16] = {0};
    uint64_t one, other;
    size_t rest = length;
    seed ^= 0x9e3779b97f4a7c15u;
    for (; rest > 16; rest -= 16, at += 16) {
        memcpy(&one, at, 8);
        memcpy(&other, at + 8, 8);
        seed = fg_fold(one ^ seed, other ^ 0xe7037ed1a0b428dbu);
    }
    if (length > 16) {
        at = at + rest - 16;
        rest = 16;
    }
    if (rest) {
        memcpy(last, at, rest);
    }
    memcpy(&one, last, 8);
    memcpy(&other, last + 8, 8);
    seed = fg_fold(one ^ seed, other ^ 0x8ebc6af09c88c6e3u);
    return fg_fold(seed ^ length, 0x589965cc75374cc3u ^ length);
}

/* Spreads every bit of a word over all of them (the finalizer of MurmurHash3, by Appleby). Without a secret. */
static inline uint64_t mix64(uint64_t word) {
    word ^= word >> 33;
    word *= 0xff51afd7ed558ccdu;
    word ^= word >> 33;
    word *= 0xc4ceb9fe1a85ec53u;
    return word ^ word >> 33;
}

#endif
