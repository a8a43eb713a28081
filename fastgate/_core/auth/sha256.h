/* SHA-256 (FIPS 180-4) of a message that is there as a whole, and a comparison whose time tells nothing.
 *
 * A message of at most 55 bytes is one block, about 2,700 instructions. Nothing here branches on the message or looks up
 * by it, so that the time depends on its length only. */
#ifndef FASTGATE_SHA256_H
#define FASTGATE_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FG_BIG32(word) (word)
#define FG_BIG64(word) (word)
#else
#define FG_BIG32(word) __builtin_bswap32(word)
#define FG_BIG64(word) __builtin_bswap64(word)
#endif

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2). */
static const uint32_t FG_SHA256_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define FG_RIGHT(word, bits) ((word) >> (bits) | (word) << (32 - (bits)))

/* One round. ``x`` is a ^ b, and what it was a round before is b ^ c, of which the majority of a, b and c is made;
 * the sums of rotations are nested, which takes a third fewer instructions than one rotation after the other. */
#define FG_ROUND(a, b, c, d, e, f, g, h, x, y, i)                                                                          \
    do {                                                                                                                   \
        h += w[i] + (g ^ (e & (f ^ g)));                                                                                   \
        sum = FG_RIGHT(e, 14) ^ e;                                                                                         \
        sum = FG_RIGHT(sum, 5) ^ e;                                                                                        \
        h += FG_RIGHT(sum, 6);                                                                                             \
        d += h;                                                                                                            \
        x = a ^ b;                                                                                                         \
        sum = FG_RIGHT(a, 9) ^ a;                                                                                          \
        sum = FG_RIGHT(sum, 11) ^ a;                                                                                       \
        h += FG_RIGHT(sum, 2);                                                                                             \
        y = (y & x) ^ b;                                                                                                   \
        h += y;                                                                                                            \
    } while (0)

typedef uint32_t fg_words __attribute__((vector_size(16)));
typedef uint64_t fg_pairs __attribute__((vector_size(16)));

static inline fg_words fg_load4(const uint32_t *from) {
    fg_words words;
    memcpy(&words, from, sizeof words);
    return words;
}

/* The schedule (section 6.2.2), its constants added. Four words at a time: the last two of them need the first two. */
static inline void fg_sha256_schedule(uint32_t *w, const unsigned char *block) {
    fg_words words, far, near;
    uint32_t ahead[64];
    uint64_t pair;
    int i;
#pragma GCC unroll 16
    for (i = 0; i < 16; i++) {
        memcpy(&ahead[i], block + 4 * i, 4);
        ahead[i] = FG_BIG32(ahead[i]);
    }
    for (i = 0; i < 48; i += 4) {
        words = fg_load4(ahead + i);
        far = words + fg_load4(FG_SHA256_K + i);
        memcpy(w + i, &far, sizeof far);
        far = fg_load4(ahead + i + 1);
        words += (FG_RIGHT(far, 7) ^ FG_RIGHT(far, 18) ^ far >> 3) + fg_load4(ahead + i + 9);
        memcpy(&pair, ahead + i + 14, 8);
        near = (fg_words)(fg_pairs){pair, 0};
        words += FG_RIGHT(near, 17) ^ FG_RIGHT(near, 19) ^ near >> 10;
        near = (fg_words)(fg_pairs){0, ((fg_pairs)words)[0]};
        words += FG_RIGHT(near, 17) ^ FG_RIGHT(near, 19) ^ near >> 10;
        memcpy(ahead + i + 16, &words, sizeof words);
    }
    for (; i < 64; i += 4) {
        words = fg_load4(ahead + i) + fg_load4(FG_SHA256_K + i);
        memcpy(w + i, &words, sizeof words);
    }
}

static inline void fg_sha256_block(uint32_t *state, const unsigned char *block) {
    uint32_t schedule[64];
    const uint32_t *w = schedule;
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    uint32_t x, y = b ^ c, sum;
    fg_sha256_schedule(schedule, block);
    for (; w != schedule + 64; w += 8) {
        FG_ROUND(a, b, c, d, e, f, g, h, x, y, 0);
        FG_ROUND(h, a, b, c, d, e, f, g, y, x, 1);
        FG_ROUND(g, h, a, b, c, d, e, f, x, y, 2);
        FG_ROUND(f, g, h, a, b, c, d, e, y, x, 3);
        FG_ROUND(e, f, g, h, a, b, c, d, x, y, 4);
        FG_ROUND(d, e, f, g, h, a, b, c, y, x, 5);
        FG_ROUND(c, d, e, f, g, h, a, b, x, y, 6);
        FG_ROUND(b, c, d, e, f, g, h, a, y, x, 7);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

static inline void sha256(const void *data, size_t length, unsigned char *digest32) {
    /* The fractional parts of the square roots of the first 8 primes (section 5.3.3). */
    uint32_t state[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    unsigned char last[128] = {0};
    const unsigned char *at = (const unsigned char *)data;
    const unsigned char *end = at + (length & ~(size_t)63);
    uint64_t bits = FG_BIG64((uint64_t)length * 8);
    size_t rest = length & 63, padded = rest < 56 ? 64 : 128, i;
    for (; at != end; at += 64) {
        fg_sha256_block(state, at);
    }
    if (rest) {
        memcpy(last, at, rest);
    }
    last[rest] = 0x80;
    memcpy(last + padded - 8, &bits, 8);
    for (i = 0; i < padded; i += 64) {
        fg_sha256_block(state, last + i);
    }
    for (i = 0; i < 8; i++) {
        state[i] = FG_BIG32(state[i]);
    }
    memcpy(digest32, state, 32);
}

#undef FG_ROUND
#undef FG_RIGHT
#undef FG_BIG32
#undef FG_BIG64

/* Whether 32 bytes are the same, in a time that does not tell where they differ. */
static inline int same32(const unsigned char *one, const unsigned char *other) {
    uint64_t left[4], right[4];
    memcpy(left, one, 32);
    memcpy(right, other, 32);
    return ((left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3])) == 0;
}

#endif
