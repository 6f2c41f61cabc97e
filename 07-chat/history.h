/* history.h: the last messages that were said to all: newcomers are shown them. */
#pragma once
#include "message.h"

enum {
    HISTORY_LIMIT = 64 * 1024, /* what they cost together at most */
    HISTORY_MAX = 1000         /* messages */
};

/* A ring of messages, oldest first. */
struct history {
    unsigned max; /* messages it may hold, at most HISTORY_MAX; 0: none */
    unsigned first, count;
    size_t cost; /* of all: their sizes, and 2 * MESSAGE_COST for each: a mark precedes each of */
                 /* them when they are shown */
    struct message *ring[HISTORY_MAX];
};

/* Adds a message: one more owner. Forgets as many of the oldest as need be. */
void history_add(struct history *h, struct message *message);

/* Returns message number i, 0 being the oldest; i is less than h->count. */
struct message *history_at(const struct history *h, unsigned i);

/* Forgets everything. */
void history_clear(struct history *h);
