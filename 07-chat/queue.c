/* queue.c: see queue.h. */
#include "queue.h"
#include <errno.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 4 }; /* of a new ring; it doubles */

/* Returns where the message number i of the queue stands in its ring. */
static struct message **slot(const struct queue *q, unsigned i) {
    return &q->ring[(q->first + i) & (q->capacity - 1)];
}

/* Doubles the ring. Returns 0, or -1 with ENOMEM. */
static int grow(struct queue *q) {
    unsigned capacity = q->capacity ? 2 * q->capacity : FIRST_CAPACITY;
    struct message **ring = malloc(capacity * sizeof(struct message *));
    if (!ring)
        return -1;
    for (unsigned i = 0; i < q->count; i++)
        ring[i] = *slot(q, i);
    free(q->ring);
    q->ring = ring;
    q->first = 0;
    q->capacity = capacity;
    return 0;
}

int queue_put(struct queue *q, struct message *message) {
    const unsigned cost = message->size + MESSAGE_COST;
    if (q->cost + cost > QUEUE_LIMIT) {
        errno = ENOBUFS;
        return -1;
    }
    if (q->count == q->capacity && grow(q) < 0)
        return -1;
    *slot(q, q->count) = message;
    q->count++;
    q->cost += cost;
    message->refcount++;
    return 0;
}

unsigned queue_pieces(const struct queue *q, struct iovec *pieces, unsigned max) {
    unsigned n = q->count;
    if (n > max)
        n = max;
    for (unsigned i = 0; i < n; i++) {
        struct message *message = *slot(q, i);
        pieces[i].iov_base = message->bytes;
        pieces[i].iov_len = message->size;
    }
    if (n > 0) {
        pieces[0].iov_base = (char *)pieces[0].iov_base + q->sent;
        pieces[0].iov_len -= q->sent;
    }
    return n;
}

static void drop_first(struct queue *q) {
    struct message *message = *slot(q, 0);
    q->cost -= message->size + MESSAGE_COST;
    q->first = (q->first + 1) & (q->capacity - 1);
    q->count--;
    message_drop(message);
}

void queue_sent(struct queue *q, size_t size) {
    size += q->sent;
    while (q->count > 0 && size >= (*slot(q, 0))->size) {
        size -= (*slot(q, 0))->size;
        drop_first(q);
    }
    q->sent = (unsigned)size;
    if (q->count == 0)
        queue_clear(q);
}

void queue_clear(struct queue *q) {
    while (q->count > 0)
        drop_first(q);
    free(q->ring);
    *q = (struct queue){0};
}
