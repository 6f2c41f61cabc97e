/* members.h: who hears what, who comes, who goes, and under which name (tests/unit/room.c). */
#pragma once
#include "queue.h"
#include <strings.h>

/* ---- who hears what: room_tell, room_notice and room_say take the message over ---- */

static inline void room_tell(struct room *r, struct member *m, struct message *message) {
    queue_put(r, m, message);
    message_drop(message);
}

/* One message, and one owner more for each who is inside, but one (the head of the list: nobody).
 * Without memory for the message nobody hears it. */
static inline void fan_out(struct room *r, const struct member *but, struct message *message) {
    for (struct member *m = r->list.after; message && m != &r->list; m = m->after)
        if (m != but)
            queue_put(r, m, message);
    message_drop(message);
}

static inline void room_notice(struct room *r, struct message *message) {
    fan_out(r, &r->list, message);
}

static inline void history_forget_first(struct room *r) {
    struct message *first = r->history[r->history_first];
    r->history_cost -= first->size + 2 * MESSAGE_COST;
    r->history_first = (r->history_first + 1) % HISTORY_MOST;
    r->history_count--;
    message_drop(first);
}

/* The history is one more owner; a second cost is that of the mark before it (tell_history). */
static inline void history_add(struct room *r, struct message *message) {
    size_t cost = message->size + 2 * MESSAGE_COST;
    if (!r->keep)
        return;
    while (r->history_count == r->keep ||
           (r->history_count && r->history_cost + cost > HISTORY_LIMIT))
        history_forget_first(r);
    r->history[(r->history_first + r->history_count++) % HISTORY_MOST] = message;
    r->history_cost += cost;
    message->owners++;
}

/* The mark is one message, too, and shared. */
static inline void tell_history(struct room *r, struct member *m) {
    struct message *mark = r->history_count ? compose(r, "(earlier) ") : NULL;
    for (unsigned i = 0; i < r->history_count; i++) {
        queue_put(r, m, mark);
        queue_put(r, m, r->history[(r->history_first + i) % HISTORY_MOST]);
    }
    message_drop(mark);
}

/* What a member says to everyone else. */
static inline void room_say(struct room *r, struct member *from, struct message *message) {
    if (message)
        history_add(r, message);
    else
        room_cut(r, from, "out of memory");
    fan_out(r, from, message);
}

/* "…ann, bob, 张三": all names, in order of joining. */
static inline void tell_names(struct room *r, struct member *to, const char *before) {
    size_t size = strlen(before);
    for (const struct member *m = r->list.after; m != &r->list; m = m->after)
        size += strlen(m->name) + 2; /* ", "; after the last it is one less, a newline */
    struct message *message = message_new(r, size);
    if (message) {
        char *next = stpcpy(message->bytes, before);
        for (const struct member *m = r->list.after; m != &r->list; m = m->after)
            next = stpcpy(stpcpy(next, m->name), m->after == &r->list ? "\n" : ", ");
        message->size = (unsigned)(next - message->bytes);
    }
    room_tell(r, to, message);
}

/* ---- coming and going ---- */

/* It has connected. When the room is full it is told so, and stays outside. */
static inline void room_arrive(struct room *r, struct member *m) {
    *m = (struct member){.place = OUTSIDE};
    if (r->people == r->most) {
        room_tell(r, m, compose(r, "-the room is full (%u)\n", r->most));
        return;
    }
    m->place = AT_THE_DOOR;
    r->people++;
    room_attend(r, m);
}

/* From now on it hears only what it is owed already. The others are told if it was inside; why may
 * be NULL. */
static inline void room_leave(struct room *r, struct member *m, const char *why) {
    if (m->place == INSIDE) {
        m->before->after = m->after;
        m->after->before = m->before;
        if (!r->closing)
            room_notice(r, compose(r, why ? "* %s left (%s)\n" : "* %s left\n", m->name, why));
    }
    r->people -= m->place != OUTSIDE;
    m->place = OUTSIDE;
    free(m->kept); /* nobody hears that any more, and its room is needed for reading on */
    m->kept = NULL;
    m->kept_size = 0;
    room_attend(r, m);
}

static inline struct member *room_find(const struct room *r, const char *name) {
    for (struct member *m = r->list.after; m != &r->list; m = m->after)
        if (strcasecmp(m->name, name) == 0)
            return m;
    return NULL;
}

/* NULL, or why m cannot have this name. */
static inline const char *name_refused(const struct room *r, const struct member *m,
                                       const char *name) {
    const char *why = name_problem(name);
    const struct member *other = why ? NULL : room_find(r, name);
    return why ? why : other && other != m ? "taken" : NULL;
}

/* Its first line: the name; then it is inside. */
static inline void room_enter(struct room *r, struct member *m, const char *name) {
    const char *why = name_refused(r, m, name);
    if (why) {
        int last = ++m->tries == NAME_TRIES;
        room_tell(r, m, compose(r, "-name %s: %s\n%s", name, why, last ? "-too many tries\n" : ""));
        if (last)
            room_leave(r, m, NULL);
        return;
    }
    char welcome[NAME_LIMIT + 32];
    strcpy(m->name, name);
    room_notice(r, compose(r, "* %s joined\n", name));
    m->place = INSIDE;
    m->before = r->list.before;
    m->after = &r->list;
    m->before->after = r->list.before = m;
    snprintf(welcome, sizeof welcome, "+welcome %s, here: ", m->name);
    tell_names(r, m, welcome);
    tell_history(r, m);
}

/* It is no more: the server has closed it. It may still stand in line. */
static inline void room_forget(struct room *r, struct member *m, const char *why) {
    room_leave(r, m, why);
    queue_clear(r, m);
}

static inline void room_close(struct room *r) {
    while (r->history_count)
        history_forget_first(r);
}
