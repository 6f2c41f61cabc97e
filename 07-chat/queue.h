/* queue.h: who is in the room, and what each is owed: messages with many owners, in bounded queues.
 *
 * A message is made once and shared: each queue it stands in, and the history, count as one owner,
 * and the last one who lets go of it frees it. A member that cannot be kept is marked, in cut, and
 * the server closes it later: so whoever walks over the members never meets one that goes away on
 * the way. Memory that is refused costs one member, no more. */
#pragma once
#include "text.h"
#include <stdarg.h>
#include <sys/uio.h>

enum {
    QUEUE_LIMIT = 256 * 1024,    /* owed to one member; who falls further behind is cut: too slow */
    QUEUE_LAG = QUEUE_LIMIT / 2, /* from here on it lags: who speaks then has a pause after it, */
                                 /* until all have caught up or are cut; who types cannot tell */
    QUEUE_FIRST = 4,             /* places of a new queue; it doubles */
    MESSAGE_COST = 48,           /* of a message beside its bytes: its head, malloc's, two places */
    FRESH_LIMIT = 16 * 1024,     /* cost of what is made, and places taken in queues, before all */
    PLACES_LIMIT = 32 * 1024,    /* are attended to: what nobody could have been sent yet */
    HISTORY_LIMIT = 64 * 1024,   /* its cost; and never more than HISTORY_MOST messages */
    HISTORY_MOST = 1000,
    PEOPLE_MOST = 2000, /* so that all their names, the history and FRESH_LIMIT fit in a queue */
    NAME_TRIES = 3
};

struct message {
    unsigned owners, size;
    char bytes[];
};

/* What a member is owed, in order: a ring of messages, which exists only while it holds some. */
struct queue {
    struct message **ring;
    unsigned room, first, count; /* room: a power of two */
    unsigned sent;               /* bytes of the first one that are sent already */
    unsigned cost;               /* of all, at most QUEUE_LIMIT */
};

struct member {
    struct member *before, *after; /* in order of joining */
    struct member *next_in_line;
    int in_line;
    enum { AT_THE_DOOR, INSIDE, OUTSIDE } place; /* without a name yet; in the room; gone */
    const char *cut;                             /* why it must be closed at once; or NULL */
    struct queue queue;
    char *kept; /* what it has sent and was not heard yet; or NULL */
    unsigned kept_size;
    unsigned credit, tries; /* thousandths of a line; refused names */
    long long credit_at;    /* when credit was right, in ms */
    char name[NAME_LIMIT + 1];
};

struct room {
    unsigned most, keep, rate;       /* people; messages of history; lines a second, 0: no limit */
    unsigned people;                 /* at the door and inside */
    unsigned lagging;                /* how many are owed more than QUEUE_LAG */
    size_t fresh, places;            /* made and taken since everyone had been attended to */
    int closing;                     /* who leaves now is no news */
    struct member list;              /* its after is the first who is inside, its before the last */
    struct member *line, **line_end; /* who waits for attention */
    struct message *history[HISTORY_MOST];
    unsigned history_first, history_count;
    size_t history_cost;
};

static inline void room_open(struct room *r, unsigned most, unsigned keep, unsigned rate) {
    *r = (struct room){.most = most, .keep = keep, .rate = rate};
    r->list.before = r->list.after = &r->list;
    r->line_end = &r->line;
}

/* ---- messages: who makes one is its first owner; NULL: there was no memory for it ---- */

static inline struct message *message_new(struct room *r, size_t size) {
    struct message *m = malloc(sizeof *m + size + 1); /* 1: the NUL of vsnprintf, stpcpy */
    if (!m)
        return NULL;
    *m = (struct message){.owners = 1, .size = (unsigned)size};
    r->fresh += size + MESSAGE_COST;
    return m;
}

__attribute__((format(printf, 2, 3))) static inline struct message *
compose(struct room *r, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t size = (size_t)vsnprintf(NULL, 0, format, args);
    struct message *m = message_new(r, size);
    if (m)
        vsnprintf(m->bytes, size + 1, format, again);
    va_end(again);
    va_end(args);
    return m;
}

/* One owner less. */
static inline void message_drop(struct message *m) {
    if (m && --m->owners == 0)
        free(m);
}

/* ---- queues ---- */

/* Puts it into the line of those who wait for attention, unless it stands there already. */
static inline void room_attend(struct room *r, struct member *m) {
    if (m->in_line)
        return;
    m->in_line = 1;
    m->next_in_line = NULL;
    *r->line_end = m;
    r->line_end = &m->next_in_line;
}

/* Takes the first out of the line; NULL: nobody is left in it. */
static inline struct member *room_next(struct room *r) {
    struct member *m = r->line;
    if (!m) {
        r->fresh = r->places = 0;
        return NULL;
    }
    r->line = m->next_in_line;
    if (!r->line)
        r->line_end = &r->line;
    m->in_line = 0;
    return m;
}

static inline void queue_set_cost(struct room *r, struct member *m, unsigned cost) {
    r->lagging += (unsigned)(cost > QUEUE_LAG) - (unsigned)(m->queue.cost > QUEUE_LAG);
    m->queue.cost = cost;
}

static inline void queue_clear(struct room *r, struct member *m) {
    struct queue *q = &m->queue;
    for (; q->count; q->count--)
        message_drop(q->ring[q->first++ & (q->room - 1)]);
    free(q->ring);
    queue_set_cost(r, m, 0);
    *q = (struct queue){0};
}

/* Room for one more. Returns 0, or -1 without memory for it. */
static inline int queue_grow(struct queue *q) {
    unsigned room = q->room ? 2 * q->room : QUEUE_FIRST;
    if (q->count < q->room)
        return 0;
    struct message **ring = malloc(room * sizeof(struct message *));
    if (!ring)
        return -1;
    for (unsigned i = 0; i < q->count; i++)
        ring[i] = q->ring[(q->first + i) & (q->room - 1)];
    free(q->ring);
    q->ring = ring;
    q->first = 0;
    q->room = room;
    return 0;
}

/* A member that must be closed is owed nothing. */
static inline void room_cut(struct room *r, struct member *m, const char *why) {
    m->cut = why;
    queue_clear(r, m);
    room_attend(r, m);
}

/* One more owner. */
static inline void queue_put(struct room *r, struct member *m, struct message *message) {
    struct queue *q = &m->queue;
    if (m->cut)
        return;
    if (!message || queue_grow(q) < 0) {
        room_cut(r, m, "out of memory");
    } else if (q->cost + message->size + MESSAGE_COST > QUEUE_LIMIT) {
        room_cut(r, m, "too slow");
    } else {
        q->ring[(q->first + q->count++) & (q->room - 1)] = message;
        message->owners++;
        r->places++;
        queue_set_cost(r, m, q->cost + message->size + MESSAGE_COST);
        room_attend(r, m);
    }
}

/* What is owed, for sendmsg(2): at most `most` pieces. Returns how many. */
static inline unsigned room_owed(const struct member *m, struct iovec *piece, unsigned most) {
    const struct queue *q = &m->queue;
    unsigned n = q->count < most ? q->count : most;
    for (unsigned i = 0; i < n; i++) {
        struct message *message = q->ring[(q->first + i) & (q->room - 1)];
        piece[i] = (struct iovec){.iov_base = message->bytes, .iov_len = message->size};
    }
    if (n) {
        piece[0].iov_base = (char *)piece[0].iov_base + q->sent;
        piece[0].iov_len -= q->sent;
    }
    return n;
}

/* So many bytes of what is owed were sent. */
static inline void room_sent(struct room *r, struct member *m, size_t size) {
    struct queue *q = &m->queue;
    for (size += q->sent; q->count && size >= q->ring[q->first]->size; q->count--) {
        struct message *first = q->ring[q->first];
        size -= first->size;
        queue_set_cost(r, m, q->cost - first->size - MESSAGE_COST);
        message_drop(first);
        q->first = (q->first + 1) & (q->room - 1);
    }
    q->sent = (unsigned)size;
    if (!q->count)
        queue_clear(r, m);
}
