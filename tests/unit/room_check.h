/* room_check.h: what must hold in a room of 07 at any time: for tests/unit/room.c and
 * tests/fuzz/room.c. */
#pragma once
#include "../../07-chat/members.h"
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A queue adds up, and is within its bound. */
static inline void check_queue(const struct member *m) {
    const struct queue *q = &m->queue;
    size_t cost = 0;
    for (unsigned i = 0; i < q->count; i++) {
        const struct message *message = q->ring[(q->first + i) & (q->capacity - 1)];
        REQUIRE(message->refcount > 0 && message->size > 0);
        cost += message->size + MESSAGE_COST;
    }
    REQUIRE(q->cost == cost && cost <= QUEUE_LIMIT);
    REQUIRE(q->count <= q->capacity && (q->capacity & (q->capacity - 1)) == 0);
    REQUIRE(!q->ring == !q->count); /* the ring is there only while it holds something */
    REQUIRE(q->count ? q->sent < q->ring[q->first]->size : q->sent == 0);
    REQUIRE(!m->drop_reason || q->count == 0);
    REQUIRE(q->capacity * sizeof(struct message *) <= QUEUE_LIMIT); /* two slots are in the cost */
}

/* Names are in order, and each is there once. */
static inline void check_names(const struct room *r) {
    for (const struct member *m = r->inside.next; m != &r->inside; m = m->next) {
        REQUIRE(m->state == ROOM_INSIDE && m->previous->next == m && m->next->previous == m);
        REQUIRE(name_problem(m->name) == NULL && members_find(r, m->name) == m);
    }
}

/* Nobody who is inside may be missing among these members; NULL: a free place. */
static inline void check_room(const struct room *r, struct member *const *members, size_t n) {
    unsigned people = 0, lagging = 0, inside = 0, in_list = 0;
    size_t history = 0;
    for (size_t i = 0; i < n; i++) {
        if (!members[i])
            continue;
        check_queue(members[i]);
        people += members[i]->state != ROOM_OUTSIDE;
        inside += members[i]->state == ROOM_INSIDE;
        lagging += members[i]->queue.cost > QUEUE_LAG;
    }
    for (const struct member *m = r->inside.next; m != &r->inside; m = m->next)
        in_list++;
    for (unsigned i = 0; i < r->history.count; i++)
        history += r->history.ring[(r->history.first + i) % HISTORY_MAX]->size + 2 * MESSAGE_COST;
    REQUIRE(people == r->members && people <= r->members_max && inside == in_list);
    REQUIRE(lagging == r->lagging);
    REQUIRE(history == r->history.cost && history <= HISTORY_LIMIT);
    REQUIRE(r->history.count <= r->history.max);
    check_names(r);
}
