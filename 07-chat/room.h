/* room.h: the members of a room, and their queues. The room has no sockets: whatever is said
 * goes into queues (queue.h), and the server sends what they hold.
 *
 * Rules:
 * - Members with something to send or to close wait in a list. Take them off it, one after the
 *   other, with room_next_pending, until it is empty.
 * - A member that cannot be kept is marked: its drop_reason is set. Close its connection after the
 *   batch, and then call members_forget. So no member disappears while a loop walks over the list.
 * - If memory is refused, that costs one member at most.
 * - room_tell, room_notice and room_say take over a message that their caller has made, and drop
 *   it. NULL is allowed: there was no memory for it. */
#pragma once
#include "history.h"
#include "message.h"
#include "name.h"
#include "pace.h"
#include "queue.h"

enum {
    ROOM_MEMBERS_MAX = 2000, /* all their names, and the history, fit in a queue */
    /* When more than this is waiting, input_hear stops, so that the server can send first. A member
     * could be dropped otherwise for messages that nobody had tried to send to it. */
    ROOM_UNSENT_BYTES_MAX = 16384,
    ROOM_UNSENT_SLOTS_MAX = 32768
};

/* One person in the room, or on the way in or out. */
struct member {
    struct member *previous, *next; /* inside: in order of joining */
    struct member *next_pending;
    int on_pending_list;
    enum { ROOM_UNNAMED, ROOM_INSIDE, ROOM_OUTSIDE } state;
    const char *drop_reason; /* why it must be closed after the batch; or NULL */
    struct queue queue;      /* what it is owed */
    int lags;                /* it is owed more than QUEUE_LAG */
    char *input;             /* its input that was not heard yet (input.h); or NULL */
    unsigned input_size;
    unsigned refused_names;
    uint64_t address; /* pace_address_key */
    struct pace_bucket bucket;
    char name[NAME_LIMIT + 1];
};

struct room {
    unsigned members_max;                  /* with those who have no name yet */
    unsigned members;                      /* unnamed and inside */
    unsigned lagging;                      /* members that lag */
    int closing;                           /* nobody is told any more who leaves */
    struct member inside;                  /* next: the first one, previous: the last one */
    struct member *pending, **pending_end; /* members with something to send or to close */
    size_t unsent_bytes, unsent_slots;     /* since nobody was pending */
    struct history history;
    struct pace pace;
};

/* Makes an empty room for members_max people, which shows newcomers the last history_max messages
 * and lets each member say rate lines a second (0: any number). */
void room_open(struct room *r, unsigned members_max, unsigned history_max, unsigned rate);

/* Frees what the room itself holds. All members have been forgotten before. */
void room_close(struct room *r);

/* ---- the list of pending members ---- */

/* Puts m at the end of the list, unless it is on it. */
void room_mark_pending(struct room *r, struct member *m);

/* Takes the first member off the list and returns it; NULL if the list is empty. The connection may
 * have been closed meanwhile: the server's memory for it must outlive the list. */
struct member *room_next_pending(struct room *r);

/* Marks m: it must be closed after the batch. It is owed nothing any more. */
void room_drop(struct room *r, struct member *m, const char *reason);

/* ---- who hears what ---- */

/* Queues a message for m, which becomes one more owner. If its queue has no room for it, or message
 * is NULL, m is dropped. */
void room_queue(struct room *r, struct member *m, struct message *message);

/* Takes the first size bytes off the queue of m: they were sent. */
void room_sent(struct room *r, struct member *m, size_t size);

/* Empties the queue of m. */
void room_clear_queue(struct room *r, struct member *m);

/* Queues a message for m only. */
void room_tell(struct room *r, struct member *m, struct message *message);

/* Queues a message for everyone inside. */
void room_notice(struct room *r, struct message *message);

/* Queues what a member says for everyone else inside, and adds it to the history. */
void room_say(struct room *r, struct member *from, struct message *message);

/* Queues the history for a newcomer, each message with "(earlier) " before it. */
void room_tell_history(struct room *r, struct member *m);
