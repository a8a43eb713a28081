/* Inner loops of the router that Cython cannot express: vector comparisons and overlapping loads.
 * GCC and Clang compile the vector type to SSE2 or NEON and to plain words elsewhere. */

#ifndef FASTGATE_ROUTER_SCAN_H
#define FASTGATE_ROUTER_SCAN_H

#include <stdint.h>
#include <string.h>

typedef signed char fg_v16 __attribute__((vector_size(16)));

static inline fg_v16 fg_load16(const unsigned char *at) {
    fg_v16 v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* Sixteen bytes and the one after them: nonzero when one of the sixteen is no plain path byte (control, space,
 * non-ASCII, DEL, "\", "?", "#", "%", ";"), or is a slash before a slash or a dot. */
static inline int fg_suspect16(const unsigned char *at) {
    fg_v16 v = fg_load16(at), next = fg_load16(at + 1);
    fg_v16 bad = (fg_v16)((v < 0x21) | (v == 0x7f) | (v == '\\') | (v == '?') | (v == '#') | (v == '%') | (v == ';'));
    uint64_t half[2];
    bad |= (fg_v16)((v == '/') & ((next == '/') | (next == '.')));
    memcpy(half, &bad, sizeof half);
    return (half[0] | half[1]) != 0;
}

/* Whether a path needs no closer look: it begins with a slash and holds nothing that fg_suspect16 finds.
 * 0 says nothing: the path is short or has to be read byte by byte. */
static inline int fg_plain_path(const unsigned char *path, Py_ssize_t length) {
    Py_ssize_t i;
    unsigned char last;
    if (length < 17 || path[0] != '/')
        return 0;
    last = path[length - 1];
    if (last < 0x21 || last > 0x7e || last == '\\' || last == '?' || last == '#' || last == '%' || last == ';')
        return 0;
    for (i = 0; i + 17 <= length; i += 16)
        if (fg_suspect16(path + i))
            return 0;
    return !fg_suspect16(path + length - 17);
}

/* Equality of n bytes; both sides are readable for exactly n. Most literals are short: no call for them. */
static inline int fg_equal(const unsigned char *a, const unsigned char *b, size_t n) {
    if (n >= 8) {
        uint64_t x, y;
        if (n > 24)
            return memcmp(a, b, n) == 0;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y)
            return 0;
        if (n > 16) {
            memcpy(&x, a + 8, 8);
            memcpy(&y, b + 8, 8);
            if (x != y)
                return 0;
        }
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        return x == y;
    }
    if (n >= 4) {
        uint32_t x, y, v, w;
        memcpy(&x, a, 4);
        memcpy(&y, b, 4);
        memcpy(&v, a + n - 4, 4);
        memcpy(&w, b + n - 4, 4);
        return ((x ^ y) | (v ^ w)) == 0;
    }
    while (n--)
        if (a[n] != b[n])
            return 0;
    return 1;
}

#endif
