/* history.c: see history.h. */
#include "history.h"

static size_t cost_of(const struct message *message) {
    return message->size + 2 * MESSAGE_COST;
}

static void forget_oldest(struct history *h) {
    struct message *oldest = h->ring[h->first];
    h->cost -= cost_of(oldest);
    h->first = (h->first + 1) % HISTORY_MAX;
    h->count--;
    message_drop(oldest);
}

/* Returns whether something has to be forgotten before a message of this cost is added. */
static int is_full(const struct history *h, size_t cost) {
    if (h->count == 0)
        return 0;
    return h->count == h->max || h->cost + cost > HISTORY_LIMIT;
}

void history_add(struct history *h, struct message *message) {
    if (h->max == 0)
        return;
    while (is_full(h, cost_of(message)))
        forget_oldest(h);
    h->ring[(h->first + h->count) % HISTORY_MAX] = message;
    h->count++;
    h->cost += cost_of(message);
    message->refcount++;
}

struct message *history_at(const struct history *h, unsigned i) {
    return h->ring[(h->first + i) % HISTORY_MAX];
}

void history_clear(struct history *h) {
    while (h->count > 0)
        forget_oldest(h);
}
