/* C11 atomics and the clock, as functions that Cython can declare (it has no libc.stdatomic).
 *
 * Every word that more than one process writes goes through these; words with a single writer may be written plainly and are read
 * with atomic_load_relaxed, which on 64-bit machines is an ordinary load that the compiler may not split or repeat.
 * The words are plain uint64_t at 8-byte aligned addresses, so that the structures around them need no _Atomic types.
 */
#ifndef FASTGATE_ATOMICS_H
#define FASTGATE_ATOMICS_H

#include <stdint.h>
#include <time.h>

static inline uint64_t atomic_load_relaxed(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint64_t atomic_load_acquire(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void atomic_store_relaxed(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void atomic_store_release(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Returns the value before the addition. */
static inline uint64_t atomic_add_relaxed(uint64_t *word, uint64_t amount) {
    return __atomic_fetch_add(word, amount, __ATOMIC_RELAXED);
}

/* 1 = swapped. 0 = not, and *expected holds what is there now. Strong: it never fails without a reason. */
static inline int atomic_swap_if_equal(uint64_t *word, uint64_t *expected, uint64_t desired) {
    return __atomic_compare_exchange_n(word, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Swaps two neighbouring words at once; the pair is aligned to 16 bytes. 1 = swapped; 0 = not, something else is there.
 * On x86-64 the instruction is written out: GCC would call a library for it, which may take a lock of its own process. */
static inline int atomic_swap_pair_if_equal(
    uint64_t *pair, uint64_t first, uint64_t second, uint64_t new_first, uint64_t new_second
) {
#if defined(__x86_64__)
    unsigned char swapped;
    __asm__ __volatile__("lock cmpxchg16b %[pair]"
                         : "=@ccz"(swapped), [pair] "+m"(*(unsigned __int128 *)pair), "+a"(first), "+d"(second)
                         : "b"(new_first), "c"(new_second)
                         : "memory");
    return swapped;
#else
    union {
        uint64_t words[2];
        unsigned __int128 whole;
    } expected = {{first, second}}, desired = {{new_first, new_second}};
    return __sync_bool_compare_and_swap((unsigned __int128 *)pair, expected.whole, desired.whole);
#endif
}

/* Halves of a word. What was read or written before one is stored is done by then. */
static inline uint32_t atomic_load_half(const uint32_t *half) {
    return __atomic_load_n(half, __ATOMIC_RELAXED);
}

static inline void atomic_store_half(uint32_t *half, uint32_t value) {
    __atomic_store_n(half, value, __ATOMIC_RELEASE);
}

/* Nothing before it is seen after what comes behind it, in any process. */
static inline void atomic_fence_full(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What was read before it was read before all that comes behind it: the fence between data and the word that proves it. */
static inline void atomic_fence_acquire(void) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* What was written before it is seen by who sees what is written behind it. */
static inline void atomic_fence_release(void) {
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* An addition by which what was written before it becomes visible. Returns the value before. */
static inline uint64_t atomic_add_release(uint64_t *word, uint64_t amount) {
    return __atomic_fetch_add(word, amount, __ATOMIC_ACQ_REL);
}

/* Sets bits, in one order with all other full operations. Returns the value before. */
static inline uint64_t atomic_set_bits(uint64_t *word, uint64_t bits) {
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

/* Puts a value in the place of another, in one order with all other full operations. Returns the other. */
static inline uint64_t atomic_exchange_full(uint64_t *word, uint64_t value) {
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

/* Keeps the compiler from reading shared memory once more for what has been copied from it. */
static inline void compiler_fence(void) {
    __asm__ __volatile__("" ::: "memory");
}

/* CLOCK_MONOTONIC in milliseconds: the same clock in every process of the host. */
static inline uint64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* CLOCK_MONOTONIC in microseconds. */
static inline uint64_t monotonic_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A clock that nobody sets and that counts suspended time, in nanoseconds: for how long something may be kept. */
static inline uint64_t boottime_ns(void) {
    struct timespec now;
#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now); /* macOS, where this one does */
#endif
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The same in milliseconds. */
static inline uint64_t boottime_ms(void) {
    return boottime_ns() / 1000000u;
}

/* The wall clock in milliseconds since 1970, as it was at the kernel's last tick. */
static inline int64_t wall_ms(void) {
    struct timespec now;
#ifdef CLOCK_REALTIME_COARSE
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
    clock_gettime(CLOCK_REALTIME, &now);
#endif
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How far the wall clock is ahead of CLOCK_MONOTONIC, in nanoseconds. */
static inline uint64_t wall_offset_ns(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - monotonic_ns();
}

#endif
