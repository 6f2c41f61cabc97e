/* queue.h: the messages that are not sent yet to one member, in order.
 *
 * A queue is bounded: it holds messages that cost at most QUEUE_LIMIT together. */
#pragma once
#include "message.h"
#include <sys/uio.h>

enum {
    QUEUE_LIMIT = 256 * 1024,   /* a member that falls further behind is dropped: too slow */
    QUEUE_LAG = QUEUE_LIMIT / 4 /* above this a member lags: senders are paused (pace.h) until it */
                                /* has caught up or been dropped, and it is not heard itself */
};

/* A ring that exists only while it holds messages. All zero: empty. */
struct queue {
    struct message **ring;
    unsigned capacity; /* of the ring: a power of two, or 0 */
    unsigned first, count;
    unsigned sent; /* bytes of the first message that are sent already */
    unsigned cost; /* of all: their sizes, and MESSAGE_COST for each */
};

/* Puts a message at the end: one more owner. Returns 0; or -1 with errno: ENOMEM (malloc(3)), or
 * ENOBUFS if it would cost more than QUEUE_LIMIT then. */
int queue_put(struct queue *q, struct message *message);

/* Fills at most max pieces with what is to be sent next, for sendmsg(2). Returns how many. */
unsigned queue_pieces(const struct queue *q, struct iovec *pieces, unsigned max);

/* Takes off the first size bytes, which were sent. */
void queue_sent(struct queue *q, size_t size);

/* Takes everything off. */
void queue_clear(struct queue *q);
