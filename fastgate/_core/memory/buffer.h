/* A growable block of bytes that heads, keys and log lines are assembled in. `buffer.pxd` says how it is used.
 *
 * Nothing is written because somebody else has counted: `buffer_put` and its kin compare what they write with what is
 * free, and make room where it does not fit; that is a comparison and a jump that is hardly ever taken. Text that is made
 * byte by byte asks for `buffer_room`, the most that it can need, writes there, and gives the end to `buffer_filled`. The
 * buffer keeps what it gave out in `promised`: an end beyond it ends the process in every build. In builds with
 * FASTGATE_DEBUG or AddressSanitizer the bytes after what was given out are guarded too, since the block is larger than
 * what was asked for: eight of them keep a pattern that `buffer_filled` looks for, and AddressSanitizer is told that the
 * rest of the block is not there, so that it names the very instruction that goes too far.
 */
#ifndef FASTGATE_BUFFER_H
#define FASTGATE_BUFFER_H

#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define BUFFER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUFFER_SANITIZED 1
#endif
#endif

#ifdef BUFFER_SANITIZED
#include <sanitizer/asan_interface.h>
#endif

#if defined(FASTGATE_DEBUG) || defined(BUFFER_SANITIZED)
#define BUFFER_GUARD 8 /* bytes of the block beyond its capacity */
#else
#define BUFFER_GUARD 0
#endif

#ifdef BUFFER_SANITIZED
/* Only the first `end` bytes of the block may be touched. */
#define BUFFER_OPEN(b, end) \
    (__asan_unpoison_memory_region((b)->data, (size_t)(end)), \
     __asan_poison_memory_region((b)->data + (end), (size_t)((b)->capacity + BUFFER_GUARD - (end))))
#else
#define BUFFER_OPEN(b, end) ((void)0)
#endif
#define BUFFER_PATTERN 0x5AA5F00DB0FFE125ULL

typedef struct {
    char *data;
    Py_ssize_t length;
    Py_ssize_t capacity;
    Py_ssize_t promised; /* length that the last `buffer_room` may lead to */
} Buffer;

/* Makes the block larger, so that there is more than `more` bytes free. -1 with MemoryError where that cannot be. */
static __attribute__((noinline, cold, unused)) int buffer_grow(Buffer *b, Py_ssize_t more) {
    Py_ssize_t capacity;
    char *data;

    if (more < 0 || more > PY_SSIZE_T_MAX / 4 - b->length) {
        PyErr_NoMemory();
        return -1;
    }
    capacity = b->length + more + 1;
    if (!BUFFER_GUARD) /* a checked build has no byte more than it needs */
        capacity += capacity / 2 + 64;
    if (b->data != NULL)
        BUFFER_OPEN(b, b->capacity + BUFFER_GUARD);
    data = realloc(b->data, (size_t)(capacity + BUFFER_GUARD));
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    b->data = data;
    b->capacity = capacity;
    return 0;
}

/* Makes sure of room for `more` bytes; one is always left, so that the block is never NULL behind this. */
static inline int buffer_reserve(Buffer *b, Py_ssize_t more) {
    if (__builtin_expect((size_t)more >= (size_t)(b->capacity - b->length), 0))
        return buffer_grow(b, more);
    return 0;
}

static inline int buffer_put(Buffer *b, const void *source, Py_ssize_t length) {
    if (buffer_reserve(b, length) < 0)
        return -1;
    BUFFER_OPEN(b, b->length + length);
    memcpy(b->data + b->length, source, (size_t)length);
    b->length += length;
    return 0;
}

/* Where `most` bytes may be written; NULL with MemoryError. Good until the next call for this buffer. */
static inline char *buffer_room(Buffer *b, Py_ssize_t most) {
    if (buffer_reserve(b, most) < 0)
        return NULL;
    b->promised = b->length + most;
#if BUFFER_GUARD
    {
        uint64_t pattern = BUFFER_PATTERN;
        BUFFER_OPEN(b, b->promised + BUFFER_GUARD);
        memcpy(b->data + b->promised, &pattern, BUFFER_GUARD);
        BUFFER_OPEN(b, b->promised);
    }
#endif
    return b->data + b->length;
}

/* What was written into the room ends here. */
static inline void buffer_filled(Buffer *b, const char *end) {
    if (__builtin_expect(end > b->data + b->promised || end < b->data + b->length, 0))
        Py_FatalError("a buffer was filled beyond the room that was asked for");
#if BUFFER_GUARD
    {
        uint64_t pattern;
        BUFFER_OPEN(b, b->promised + BUFFER_GUARD);
        memcpy(&pattern, b->data + b->promised, BUFFER_GUARD);
        if (pattern != BUFFER_PATTERN)
            Py_FatalError("something wrote behind the room that a buffer gave out");
        BUFFER_OPEN(b, b->promised);
    }
#endif
    b->length = end - b->data;
    b->promised = b->length;
}

static inline void buffer_free(Buffer *b) {
    if (b->data != NULL)
        BUFFER_OPEN(b, b->capacity + BUFFER_GUARD);
    free(b->data);
    b->data = NULL;
    b->length = b->capacity = b->promised = 0;
}

#define BUFFER_DIGITS 20 /* decimal ones of the largest number */

static const char BUFFER_PAIRS[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* The digits of 10,000 and more. Apart, so that what nearly all numbers are is a few instructions where it stands. */
static inline char *write_number(char *at, uint64_t number);

static __attribute__((noinline, unused)) char *write_long_number(char *at, uint64_t number) {
    unsigned int last = (unsigned int)(number % 10000);

    at = write_number(at, number / 10000);
    memcpy(at, BUFFER_PAIRS + 2 * (last / 100), 2);
    memcpy(at + 2, BUFFER_PAIRS + 2 * (last % 100), 2);
    return at + 4;
}

/* Decimal digits at `at`, at most BUFFER_DIGITS; returns their end. */
static inline char *write_number(char *at, uint64_t number) {
    unsigned int rest = (unsigned int)number; /* dividing 32 bits takes half of what 64 take */

    if (number >= 10000)
        return write_long_number(at, number);
    if (rest >= 100) {
        if (rest >= 1000) {
            memcpy(at, BUFFER_PAIRS + 2 * (rest / 100), 2);
            at += 2;
        } else {
            *at++ = (char)('0' + rest / 100);
        }
        rest %= 100;
    } else if (rest < 10) {
        *at = (char)('0' + rest);
        return at + 1;
    }
    memcpy(at, BUFFER_PAIRS + 2 * rest, 2);
    return at + 2;
}

static inline int buffer_put_number(Buffer *b, uint64_t number) {
    char *end;

    if (buffer_reserve(b, BUFFER_DIGITS) < 0)
        return -1;
    BUFFER_OPEN(b, b->length + BUFFER_DIGITS);
    end = write_number(b->data + b->length, number);
    b->length = end - b->data;
    return 0;
}

/* Lower-case hexadecimal digits without leading zeros. */
static inline int buffer_put_hex(Buffer *b, uint64_t number) {
    char digits[16];
    int i = 16;

    do {
        digits[--i] = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number);
    return buffer_put(b, digits + i, 16 - i);
}

#endif
