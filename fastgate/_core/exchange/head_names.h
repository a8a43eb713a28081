/* Whether a field has a name that the gateway knows: a word of eight bytes at a time.
 *
 * A known name is kept in lower case, and beside it a mask with 0x20 where it has a letter. A byte of a text with that
 * bit set is the letter if it was that letter in either case, and no other byte is; where there is no letter nothing is
 * set, and the byte has to be the same. So it is exact for any text, also for one that is no token.
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

#endif
