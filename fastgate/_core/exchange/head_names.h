/* Whether a field has a name that is given in lower case: a word of eight bytes at a time.
 *
 * A mask has 0x20 where the name has a letter: beside the names that the gateway knows it is kept, for others it is made.
 * A byte of a text with that bit set is the letter if it was that letter in either case, and no other byte is; where there
 * is no letter nothing is set, and the byte has to be the same. So it is exact for any text, also for one that is no
 * token.
 *
 * The last word ends where the text ends, over some bytes that were compared before: nothing behind it is read.
 */
#ifndef FASTGATE_HEAD_NAMES_H
#define FASTGATE_HEAD_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline int same_word(const unsigned char *text, const char *name, const char *letters) {
    uint64_t t, n, l;
    memcpy(&t, text, 8);
    memcpy(&n, name, 8);
    memcpy(&l, letters, 8);
    return (t | l) == n;
}

static inline int same_half_word(const unsigned char *text, const char *name, const char *letters) {
    uint32_t t, n, l;
    memcpy(&t, text, 4);
    memcpy(&n, name, 4);
    memcpy(&l, letters, 4);
    return (t | l) == n;
}

/* All three have `length` bytes. */
static inline int same_name(const unsigned char *text, const char *name, const char *letters, size_t length) {
    size_t i = 0;

    if (length >= 8) {
        for (; i + 8 < length; i += 8)
            if (!same_word(text + i, name + i, letters + i))
                return 0;
        i = length - 8;
        return same_word(text + i, name + i, letters + i);
    }
    if (length >= 4) {
        i = length - 4;
        return same_half_word(text, name, letters) && same_half_word(text + i, name + i, letters + i);
    }
    for (; i < length; i++)
        if ((text[i] | letters[i]) != (unsigned char)name[i])
            return 0;
    return 1;
}

/* 0x20 in each byte of a word that is a lower-case letter. */
static inline uint64_t letters_of(uint64_t word) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = word & 0x7f * ones;
    /* Their high bits: whether it is "a" and more, and more than "z". No sum reaches into the next byte. */
    uint64_t from_a = low + (0x80 - 'a') * ones, beyond_z = low + (0x7f - 'z') * ones;
    return (from_a & ~beyond_z & ~word & 0x80 * ones) >> 2;
}

static inline int same_lower_word(uint64_t text, uint64_t lower) {
    return (text | letters_of(lower)) == lower;
}

/* Both have `length` bytes. */
static inline int same_lower(const unsigned char *text, const char *lower, size_t length) {
    uint64_t t, n;
    uint32_t half[2];
    size_t i = 0;

    if (length >= 8) {
        for (; i + 8 < length; i += 8) {
            memcpy(&t, text + i, 8);
            memcpy(&n, lower + i, 8);
            if (!same_lower_word(t, n))
                return 0;
        }
        memcpy(&t, text + length - 8, 8);
        memcpy(&n, lower + length - 8, 8);
        return same_lower_word(t, n);
    }
    if (length >= 4) {
        memcpy(half, text, 4);
        memcpy(half + 1, text + length - 4, 4);
        memcpy(&t, half, 8);
        memcpy(half, lower, 4);
        memcpy(half + 1, lower + length - 4, 4);
        memcpy(&n, half, 8);
        return same_lower_word(t, n);
    }
    /* Of up to three bytes the first, the middle and the last are all. */
    if (length == 0)
        return 1;
    t = text[0] | (uint64_t)text[length / 2] << 8 | (uint64_t)text[length - 1] << 16;
    n = (unsigned char)lower[0] | (uint64_t)(unsigned char)lower[length / 2] << 8
        | (uint64_t)(unsigned char)lower[length - 1] << 16;
    return same_lower_word(t, n);
}

#endif
