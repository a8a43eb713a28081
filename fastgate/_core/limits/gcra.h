/* The arithmetic of the token bucket: steps of per/rate that do not drift, whatever the two are.
 *
 * Times are in units of 1/16 ns. A step is per/rate = whole + rest/rate units, which need not be a number of units. So the
 * steps are laid on the lattice floor(k * per / rate): a time belongs to the last lattice point that is not after it, and its
 * step is as long as the one from there to the next point, whole or whole + 1. After any number of steps the sum is within
 * one unit of the exact one, without a remainder being kept anywhere.
 */
#ifndef FASTGATE_GCRA_H
#define FASTGATE_GCRA_H

#include <stdint.h>

typedef struct {
    uint64_t per;   /* of `rate` admissions; at least 16 units each */
    uint64_t rate;
    uint64_t whole; /* per / rate */
    uint64_t rest;  /* per % rate */
} GcraPace;

/* How far the lattice point of a time lies above a multiple of 1/rate: (k * per) % rate for the last k with
 * floor(k * per / rate) <= time. That is k = floor(n / per) for n = (time + 1) * rate - 1, so k * per = n - n % per. */
static inline uint64_t gcra_above(uint64_t time, const GcraPace *pace) {
    unsigned __int128 n = ((unsigned __int128)time + 1) * pace->rate - 1;
    return pace->rate - 1 - (uint64_t)(n % pace->per) % pace->rate;
}

/* The length of the step that begins at a time. */
static inline uint64_t gcra_step(uint64_t time, const GcraPace *pace) {
    if (pace->rest == 0)
        return pace->whole;
    return pace->whole + (gcra_above(time, pace) + pace->rest >= pace->rate);
}

/* The length of so many steps on from a time; at most `most`. The count is below 2**32, so the product fits. */
static inline uint64_t gcra_advance(uint64_t time, uint64_t count, const GcraPace *pace, uint64_t most) {
    unsigned __int128 span = ((unsigned __int128)count * pace->per + (pace->rest ? gcra_above(time, pace) : 0)) / pace->rate;
    return span < most ? (uint64_t)span : most;
}

/* The length of so many steps back from a time; at most the time itself. */
static inline uint64_t gcra_retreat(uint64_t time, uint64_t count, const GcraPace *pace) {
    unsigned __int128 span = (unsigned __int128)count * pace->per;
    uint64_t above = pace->rest ? gcra_above(time, pace) : 0;
    span = span > above ? (span - above + pace->rate - 1) / pace->rate : 0;
    return span < time ? (uint64_t)span : time;
}

/* How many whole steps a span of time holds. */
static inline uint64_t gcra_steps(uint64_t span, const GcraPace *pace) {
    if (pace->rest == 0)
        return span / pace->whole;
    return (uint64_t)((unsigned __int128)span * pace->rate / pace->per);
}

#endif
