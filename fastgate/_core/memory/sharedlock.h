/* A lock between processes that outlives its holder: a robust, process-shared pthread mutex in zeroed shared memory.
 *
 * Anybody may prepare it, at any time, also while others hold it: an initialised mutex differs from zeros in one word
 * only (its kind), and that word is swapped in once. When a holder dies, whoever takes the lock next is told and
 * repairs. Nobody waits for ever: a holder that was stopped makes the others give up, not hang.
 *
 * Where there are no robust mutexes (macOS) one process is all there is, and the lock is nothing.
 */
#ifndef FASTGATE_SHAREDLOCK_H
#define FASTGATE_SHAREDLOCK_H

#include <stdint.h>

#define SHARED_LOCK_SIZE 48

#ifdef __linux__

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

typedef union {
    pthread_mutex_t mutex;
    uint64_t words[sizeof(pthread_mutex_t) / 8];
} shared_lock_image;

_Static_assert(sizeof(pthread_mutex_t) <= SHARED_LOCK_SIZE && sizeof(pthread_mutex_t) % 8 == 0, "the lock's place");

/* 0 = prepared. -1 = this C library makes another kind of mutex. */
static inline int shared_lock_prepare(void *place) {
    shared_lock_image image;
    pthread_mutexattr_t kind;
    unsigned index, found = 0, words = 0;
    uint64_t zero = 0;
    memset(&image, 0, sizeof(image));
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&image.mutex, &kind);
    pthread_mutexattr_destroy(&kind);
    for (index = 0; index < sizeof(image) / 8; index++) {
        if (image.words[index] != 0) {
            found = index;
            words++;
        }
    }
    if (words != 1)
        return -1;
    __atomic_compare_exchange_n((uint64_t *)place + found, &zero, image.words[found], 0, __ATOMIC_ACQ_REL,
                                __ATOMIC_ACQUIRE);
    return 0;
}

/* 0 = held. 1 = held, and the holder before died with it. -1 = not to be had within 50 ms. */
static inline int shared_lock_take(void *place) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)place;
    struct timespec until;
    int failed = pthread_mutex_trylock(mutex);
    if (failed == EBUSY) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        failed = pthread_mutex_timedlock(mutex, &until);
    }
    if (failed == EOWNERDEAD) {
        pthread_mutex_consistent(mutex);
        return 1;
    }
    return failed ? -1 : 0;
}

static inline void shared_lock_drop(void *place) {
    pthread_mutex_unlock((pthread_mutex_t *)place);
}

#else

static inline int shared_lock_prepare(void *place) {
    (void)place;
    return 0;
}

static inline int shared_lock_take(void *place) {
    (void)place;
    return 0;
}

static inline void shared_lock_drop(void *place) {
    (void)place;
}

#endif
#endif
