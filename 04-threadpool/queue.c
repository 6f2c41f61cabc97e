/* queue.c: see queue.h. There are two conditions, so that each signal wakes a thread that can go
 * on: a putter when a place is free, a taker when an item has come. */
#include "queue.h"
#include <stdlib.h>

int queue_init(struct queue *q, size_t capacity) {
    *q = (struct queue){.capacity = capacity};
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_full, NULL);
    pthread_cond_init(&q->not_empty, NULL);
    q->items = calloc(capacity, sizeof *q->items);
    if (!q->items)
        return -1;
    return 0;
}

void queue_destroy(struct queue *q) {
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->mutex);
    free(q->items);
}

/* The wait is in a while, not in an if: between the signal and the moment when this thread has the
 * mutex again, another thread may have filled the queue; and a wait may end without any signal
 * (pthread_cond_wait(3p), spurious wakeups). */
int queue_put(struct queue *q, int item) {
    int result = -1;
    pthread_mutex_lock(&q->mutex);
    while (q->count == q->capacity && !q->closed)
        pthread_cond_wait(&q->not_full, &q->mutex);
    if (!q->closed) {
        q->items[(q->first + q->count) % q->capacity] = item;
        q->count++;
        pthread_cond_signal(&q->not_empty);
        result = 0;
    }
    pthread_mutex_unlock(&q->mutex);
    return result;
}

int queue_take(struct queue *q) {
    int item = -1;
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    if (q->count > 0) {
        item = q->items[q->first];
        q->first = (q->first + 1) % q->capacity;
        q->count--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->mutex);
    return item;
}

void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
}
