/* Text of clients as it stands in a line of the access log: JSON strings, and words and strings of the combined format.
 *
 * Bytes that stand for themselves are looked at and copied sixteen at a time, up to the first that does not; that one is
 * escaped by itself. Each function writes at `at` and returns the end; how many bytes it needs at most is a macro beside
 * it, for `buffer_room`. Where SSE2 is not there, and in debug builds, so that both are tested, it is eight at a time.
 */
#ifndef FASTGATE_LOG_TEXT_H
#define FASTGATE_LOG_TEXT_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(FASTGATE_DEBUG)
#define LOG_TEXT_SSE2 1
#include <emmintrin.h>
#endif

#define JSON_MOST(length) (6 * (length) + 4) /* all escaped and in quotes, or null */
#define QUOTED_MOST(length) (4 * (length) + 1) /* all escaped, or a dash */

static inline char *write_text(char *at, const char *text) {
    size_t length = strlen(text); /* of a literal: the compiler knows it */
    memcpy(at, text, length);
    return at + length;
}

static inline int is_plain(unsigned char c) {
    return c >= 0x20 && c <= 0x7E && c != '"' && c != '\\';
}

#ifdef LOG_TEXT_SSE2
/* A bit for each of sixteen bytes that is not plain. Bytes from 0x80 on are negative here. */
static inline unsigned int not_plain(__m128i bytes) {
    __m128i bad = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    return (unsigned int)_mm_movemask_epi8(bad);
}
#else
/* Whether one of eight bytes is not plain. */
static inline int any_not_plain(uint64_t word) {
    const uint64_t ones = 0x0101010101010101ULL, high = 0x8080808080808080ULL;
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    return ((word | (word + ones) | ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash))
            & high) != 0;
}
#endif

/* Copies bytes up to the first that is not plain, and says how many. It may write up to `length` bytes. */
static inline size_t copy_plain(char *to, const unsigned char *from, size_t length) {
    size_t i = 0;

#ifdef LOG_TEXT_SSE2
    unsigned int bad;
    if (length >= 16) {
        __m128i bytes;
        for (;;) {
            bytes = _mm_loadu_si128((const __m128i *)(from + i));
            _mm_storeu_si128((__m128i *)(to + i), bytes);
            bad = not_plain(bytes);
            if (bad)
                return i + (size_t)__builtin_ctz(bad);
            i += 16;
            if (length - i < 16) {
                if (i == length)
                    return length;
                i = length - 16; /* the last sixteen, some of them again */
            }
        }
    }
    if (length >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + length - 8, 8);
        if (!not_plain(_mm_set_epi64x((long long)last, (long long)first))) {
            memcpy(to, &first, 8);
            memcpy(to + length - 8, &last, 8);
            return length;
        }
    } else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + length - 4, 4);
        if (!not_plain(_mm_set1_epi64x((long long)((uint64_t)last << 32 | first)))) {
            memcpy(to, &first, 4);
            memcpy(to + length - 4, &last, 4);
            return length;
        }
    }
#else
    uint64_t word;
    while (length - i >= 8) {
        memcpy(&word, from + i, 8);
        if (any_not_plain(word))
            break;
        memcpy(to + i, &word, 8);
        i += 8;
    }
#endif
    while (i < length && is_plain(from[i])) {
        to[i] = (char)from[i];
        i++;
    }
    return i;
}

/* How many bytes the character beyond ASCII that begins here has; 0 when it is not valid UTF-8 (RFC 3629). */
static inline size_t utf8_length(const unsigned char *text, size_t length) {
    unsigned char first = text[0], low = 0x80, high = 0xBF;
    size_t size, i;

    if (first < 0xC2 || first > 0xF4)
        return 0;
    size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length < size)
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (text[1] < low || text[1] > high)
        return 0;
    for (i = 2; i < size; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

static inline char *write_byte(char *at, const char *before, unsigned char c) {
    at = write_text(at, before);
    *at++ = "0123456789abcdef"[c >> 4];
    *at++ = "0123456789abcdef"[c & 15];
    return at;
}

/* One character that is not plain; `from` moves behind it. At most six bytes for each that it takes. */
static __attribute__((noinline, unused)) char *write_json_escape(
    char *at, const unsigned char **from, const unsigned char *end) {
    const unsigned char *text = *from;
    size_t size;

    *from = text + 1;
    if (*text == '"')
        return write_text(at, "\\\"");
    if (*text == '\\')
        return write_text(at, "\\\\");
    if (*text == 0xC2 && end - text > 1 && text[1] >= 0x80 && text[1] <= 0x9F) { /* a terminal would obey it */
        *from = text + 2;
        return write_byte(at, "\\u00", text[1]);
    }
    size = *text >= 0x80 ? utf8_length(text, (size_t)(end - text)) : 0;
    if (size == 0)
        return write_byte(at, "\\u00", *text);
    *from = text + size;
    memcpy(at, text, size);
    return at + size;
}

/* A JSON string; null for no text at all. At most JSON_MOST(length) bytes. */
static inline char *write_json(char *at, const unsigned char *text, Py_ssize_t length) {
    const unsigned char *end;
    size_t plain;

    if (text == NULL)
        return write_text(at, "null");
    *at++ = '"';
    end = text + length;
    while (text < end) {
        plain = copy_plain(at, text, (size_t)(end - text));
        at += plain;
        text += plain;
        if (text < end)
            at = write_json_escape(at, &text, end);
    }
    *at++ = '"';
    return at;
}

/* What stands between the quotes of the combined format, escaped as nginx does. At most QUOTED_MOST(length) bytes. */
static inline char *write_quoted(char *at, const unsigned char *text, Py_ssize_t length) {
    const unsigned char *end = text + length;
    size_t plain;

    while (text < end) {
        plain = copy_plain(at, text, (size_t)(end - text));
        at += plain;
        text += plain;
        if (text < end)
            at = write_byte(at, "\\x", *text++);
    }
    return at;
}

/* The same for text that must stay one word: a space would end it. */
static inline char *write_word(char *at, const unsigned char *text, Py_ssize_t length) {
    Py_ssize_t i;

    for (i = 0; i < length; i++) {
        if (text[i] > 0x20 && is_plain(text[i]))
            *at++ = (char)text[i];
        else
            at = write_byte(at, "\\x", text[i]);
    }
    return at;
}

/* At least two or three decimal digits, of numbers that have no more. */
static inline char *write_two(char *at, unsigned int number) {
    memcpy(at, BUFFER_PAIRS + 2 * (number % 100), 2);
    return at + 2;
}

static inline char *write_three(char *at, unsigned int number) {
    *at++ = (char)('0' + number / 100 % 10);
    return write_two(at, number);
}

#define MILLISECONDS_MOST (BUFFER_DIGITS + 4)

/* Milliseconds with three decimals between two times in microseconds; null when one of them never came. */
static inline char *write_milliseconds(char *at, uint64_t begin, uint64_t end) {
    uint64_t time = end - begin;

    if (begin == 0 || end < begin) /* no time is before 0 */
        return write_text(at, "null");
    if (time == 0)
        return write_text(at, "0.000");
    if (time < 1000) {
        memcpy(at, "0.", 2);
        return write_three(at + 2, (unsigned int)time);
    }
    at = write_number(at, time / 1000);
    *at++ = '.';
    return write_three(at, (unsigned int)(time % 1000));
}

#endif
