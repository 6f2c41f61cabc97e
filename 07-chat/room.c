/* room.c: see room.h. */
#include "room.h"
#include <errno.h>

void room_open(struct room *r, unsigned members_max, unsigned history_max, unsigned rate) {
    *r = (struct room){.members_max = members_max};
    r->history.max = history_max;
    r->pace.rate = rate;
    r->inside.previous = &r->inside;
    r->inside.next = &r->inside;
    r->pending_end = &r->pending;
}

void room_close(struct room *r) {
    history_clear(&r->history);
}

/* ---- the list of pending members ---- */

void room_mark_pending(struct room *r, struct member *m) {
    if (m->on_pending_list)
        return;
    m->on_pending_list = 1;
    m->next_pending = NULL;
    *r->pending_end = m;
    r->pending_end = &m->next_pending;
}

struct member *room_next_pending(struct room *r) {
    struct member *m = r->pending;
    if (!m) {
        r->unsent_bytes = 0;
        r->unsent_slots = 0;
        return NULL;
    }
    r->pending = m->next_pending;
    if (!r->pending)
        r->pending_end = &r->pending;
    m->on_pending_list = 0;
    return m;
}

void room_drop(struct room *r, struct member *m, const char *reason) {
    m->drop_reason = reason;
    room_clear_queue(r, m);
    room_mark_pending(r, m);
}

/* ---- queues ---- */

/* Counts m among those that lag, or no longer. Call it after its queue has changed. */
static void update_lagging(struct room *r, struct member *m) {
    const int lags = m->queue.cost > QUEUE_LAG;
    if (lags && !m->lags)
        r->lagging++;
    if (!lags && m->lags)
        r->lagging--;
    m->lags = lags;
}

void room_queue(struct room *r, struct member *m, struct message *message) {
    if (m->drop_reason)
        return;
    if (!message) {
        room_drop(r, m, "out of memory");
        return;
    }
    if (queue_put(&m->queue, message) < 0) {
        room_drop(r, m, errno == ENOBUFS ? "too slow" : "out of memory");
        return;
    }
    r->unsent_slots++;
    update_lagging(r, m);
    room_mark_pending(r, m);
}

void room_sent(struct room *r, struct member *m, size_t size) {
    queue_sent(&m->queue, size);
    update_lagging(r, m);
}

void room_clear_queue(struct room *r, struct member *m) {
    queue_clear(&m->queue);
    update_lagging(r, m);
}

/* ---- who hears what ---- */

/* Every message that is made passes here, once. */
static void count_unsent(struct room *r, const struct message *message) {
    if (message)
        r->unsent_bytes += message->size + MESSAGE_COST;
}

void room_tell(struct room *r, struct member *m, struct message *message) {
    count_unsent(r, message);
    room_queue(r, m, message);
    message_drop(message);
}

/* Queues a message for everyone inside but one (the head of the list: nobody). Without memory for
 * the message, nobody gets it. */
static void fan_out(struct room *r, const struct member *but, struct message *message) {
    struct member *m = r->inside.next;
    if (!message)
        return;
    count_unsent(r, message);
    while (m != &r->inside) {
        if (m != but)
            room_queue(r, m, message);
        m = m->next;
    }
    message_drop(message);
}

void room_notice(struct room *r, struct message *message) {
    fan_out(r, &r->inside, message);
}

void room_say(struct room *r, struct member *from, struct message *message) {
    if (message)
        history_add(&r->history, message);
    else
        room_drop(r, from, "out of memory");
    fan_out(r, from, message);
}

void room_tell_history(struct room *r, struct member *m) {
    if (r->history.count == 0)
        return;
    struct message *mark = message_printf("(earlier) "); /* one for all, shared too */
    count_unsent(r, mark);
    for (unsigned i = 0; i < r->history.count; i++) {
        room_queue(r, m, mark);
        room_queue(r, m, history_at(&r->history, i));
    }
    message_drop(mark);
}
