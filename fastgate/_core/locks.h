/* Mutexes in shared memory that survive their holder: process-shared and robust.
 *
 * A process that is killed while it holds one leaves it to the next taker, who learns of it (EOWNERDEAD) and declares the
 * mutex usable again at once. So whatever is done under such a lock must leave the data valid after every single store.
 * macOS has no robust mutexes; there the gateway runs with one worker.
 */
#ifndef FASTGATE_LOCKS_H
#define FASTGATE_LOCKS_H

#include <errno.h>
#include <pthread.h>

/* Bytes set aside for one: no platform has a larger one. */
#define SHARED_LOCK_SIZE 64

_Static_assert(sizeof(pthread_mutex_t) <= SHARED_LOCK_SIZE, "a mutex has outgrown its place");

/* To be called once, by the process that makes the memory. 0, or an error number. */
static inline int shared_lock_init(void *lock) {
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error)
        return error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
#ifndef __APPLE__
    if (!error)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
#endif
    if (!error)
        error = pthread_mutex_init((pthread_mutex_t *)lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error;
}

static inline void shared_lock(void *lock) {
    int error = pthread_mutex_lock((pthread_mutex_t *)lock);
#ifndef __APPLE__
    if (error == EOWNERDEAD)
        pthread_mutex_consistent((pthread_mutex_t *)lock);
#else
    (void)error;
#endif
}

static inline void shared_unlock(void *lock) {
    pthread_mutex_unlock((pthread_mutex_t *)lock);
}

#endif
