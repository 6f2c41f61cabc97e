/* queue.h: a bounded queue of descriptors between threads (tests/unit/queue.c).
 *
 * Rules: whoever puts waits while it is full; whoever takes waits while it is empty. After
 * queue_close nobody waits any more: put fails at once, take hands out what is left and then fails.
 * One mutex guards every field. Two conditions: so a signal wakes only somebody who can go on. */
#pragma once
#include <pthread.h>
#include <stdlib.h>

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_full, not_empty;
    int *items; /* a ring of `room` */
    size_t room, first, count;
    int closed;
};

/* Returns 0, or -1 with errno ENOMEM. */
static inline int queue_init(struct queue *q, size_t room) {
    *q = (struct queue){.items = calloc(room, sizeof *q->items), .room = room};
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_full, NULL);
    pthread_cond_init(&q->not_empty, NULL);
    return q->items ? 0 : -1;
}

/* For the last one: nobody may use it any more. */
static inline void queue_destroy(struct queue *q) {
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->mutex);
    free(q->items);
}

/* Returns 0, or -1 when the queue is closed: the item is still the caller's.
 *
 * The wait stands in a while, not in an if: between the signal and the moment when this thread has
 * the mutex again, another may have filled the place; and a wait may end without any signal
 * (pthread_cond_wait(3p), spurious wakeups). */
static inline int queue_put(struct queue *q, int item) {
    pthread_mutex_lock(&q->mutex);
    while (q->count == q->room && !q->closed)
        pthread_cond_wait(&q->not_full, &q->mutex);
    int closed = q->closed;
    if (!closed) {
        q->items[(q->first + q->count++) % q->room] = item;
        pthread_cond_signal(&q->not_empty);
    }
    pthread_mutex_unlock(&q->mutex);
    return closed ? -1 : 0;
}

/* Returns the oldest item, or -1 when the queue is closed and empty. */
static inline int queue_take(struct queue *q) {
    int item = -1;
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    if (q->count > 0) {
        item = q->items[q->first];
        q->first = (q->first + 1) % q->room;
        q->count--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->mutex);
    return item;
}

static inline void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
}
