/* How many entries belong to the same limit, for sixteen at once. */
#ifndef FASTGATE_EVICTION_H
#define FASTGATE_EVICTION_H

#include <stdint.h>
#include <string.h>

#define EVICTION_MOST 16

/* Half of them: as much as a processor of any kind compares at once. */
typedef uint16_t eviction_lanes __attribute__((vector_size(EVICTION_MOST)));

/* For each of these limits, how often it is among them and the newcomer's. */
static inline void eviction_fellows(const uint16_t *limits, uint16_t newcomer, uint16_t *fellows) {
    eviction_lanes low, high, one, in_low, in_high;
    int index;
    memcpy(&low, limits, sizeof low);
    memcpy(&high, limits + EVICTION_MOST / 2, sizeof high);
    one = (eviction_lanes){0} + newcomer;
    in_low = (eviction_lanes)(low == one);
    in_high = (eviction_lanes)(high == one);
    for (index = 0; index < EVICTION_MOST; index++) {
        one = (eviction_lanes){0} + limits[index];
        in_low += (eviction_lanes)(low == one);
        in_high += (eviction_lanes)(high == one);
    }
    /* A lane that was equal had all its bits added: -1. */
    in_low = -in_low;
    in_high = -in_high;
    memcpy(fellows, &in_low, sizeof in_low);
    memcpy(fellows + EVICTION_MOST / 2, &in_high, sizeof in_high);
}

#endif
