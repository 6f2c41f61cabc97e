/* queue.h: a bounded queue of descriptors between threads.
 *
 * While the queue is full, queue_put waits; while it is empty, queue_take waits.
 *
 * Rules:
 * - Any thread may call queue_put, queue_take and queue_close at any time. queue_init comes before
 *   all of them, and queue_destroy after all of them.
 * - A descriptor belongs to the queue while it is in it, and then to the thread that has taken it.
 * - After queue_close no thread waits any more: queue_put fails at once, and queue_take hands out
 *   what is left, and then fails. */
#pragma once
#include <pthread.h>
#include <stddef.h>

/* Only queue.c looks at the fields. */
struct queue {
    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t not_full, not_empty;
    int *items; /* a ring of `capacity` */
    size_t capacity, first, count;
    int closed;
};

/* Makes an empty queue for up to `capacity` items (at least 1). Returns 0, or -1 with ENOMEM; in
 * either case queue_destroy frees what it holds. */
int queue_init(struct queue *q, size_t capacity);

/* Frees the queue's memory. It does not close descriptors that are left in it. No other thread may
 * use q any more. */
void queue_destroy(struct queue *q);

/* Appends an item, which is not negative. Waits while the queue is full. Returns 0; or -1 if the
 * queue is closed: the item is still the caller's. pthread_cond_wait(3p). */
int queue_put(struct queue *q, int item);

/* Removes the oldest item and returns it. Waits while the queue is empty. Returns -1 if the queue
 * is closed and empty. pthread_cond_wait(3p). */
int queue_take(struct queue *q);

/* Closes the queue and wakes all threads that wait. */
void queue_close(struct queue *q);
