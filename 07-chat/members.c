/* members.c: see members.h. */
#define _GNU_SOURCE 1 /* for stpcpy, strcasecmp */
#include "members.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_TRIES = 3 };

/* ---- names ---- */

struct member *members_find(const struct room *r, const char *name) {
    struct member *m = r->inside.next;
    while (m != &r->inside) {
        if (strcasecmp(m->name, name) == 0)
            return m;
        m = m->next;
    }
    return NULL;
}

const char *members_name_problem(const struct room *r, const struct member *m, const char *name) {
    const char *problem = name_problem(name);
    if (problem)
        return problem;
    const struct member *other = members_find(r, name);
    if (other && other != m)
        return "taken";
    return NULL;
}

/* Returns the bytes of the names of all who are inside, with ", " after each. */
static size_t names_size(const struct room *r) {
    size_t size = 0;
    const struct member *m = r->inside.next;
    while (m != &r->inside) {
        size += strlen(m->name) + strlen(", ");
        m = m->next;
    }
    return size;
}

void members_tell_names(struct room *r, struct member *to, const char *before) {
    struct message *message = message_new(strlen(before) + names_size(r));
    if (message) {
        const struct member *m = r->inside.next;
        char *next = stpcpy(message->bytes, before);
        while (m != &r->inside) {
            next = stpcpy(next, m->name);
            next = stpcpy(next, m->next == &r->inside ? "\n" : ", ");
            m = m->next;
        }
        message->size = (unsigned)(next - message->bytes); /* "\n" is shorter than ", " */
    }
    room_tell(r, to, message);
}

void members_rename(struct room *r, struct member *m, const char *name) {
    const char *problem = members_name_problem(r, m, name);
    if (problem) {
        room_tell(r, m, message_printf("-name %s: %s\n", name, problem));
        return;
    }
    room_notice(r, message_printf("* %s is now known as %s\n", m->name, name));
    strcpy(m->name, name);
}

/* ---- coming ---- */

void members_arrive(struct room *r, struct member *m, uint64_t address) {
    *m = (struct member){.state = ROOM_OUTSIDE, .address = address};
    if (r->members == r->members_max) {
        room_tell(r, m, message_printf("-the room is full (%u)\n", r->members_max));
        return;
    }
    m->state = ROOM_UNNAMED;
    r->members++;
    room_mark_pending(r, m);
}

static void refuse_name(struct room *r, struct member *m, const char *name, const char *problem) {
    m->refused_names++;
    if (m->refused_names < NAME_TRIES) {
        room_tell(r, m, message_printf("-name %s: %s\n", name, problem));
        return;
    }
    room_tell(r, m, message_printf("-name %s: %s\n-too many tries\n", name, problem));
    members_leave(r, m, NULL);
}

/* Makes m the last one inside. */
static void link_last(struct room *r, struct member *m) {
    m->previous = r->inside.previous;
    m->next = &r->inside;
    m->previous->next = m;
    r->inside.previous = m;
}

void members_enter(struct room *r, struct member *m, const char *name) {
    char welcome[NAME_LIMIT + 32];
    const char *problem = members_name_problem(r, m, name);
    if (problem) {
        refuse_name(r, m, name, problem);
        return;
    }
    room_notice(r, message_printf("* %s joined\n", name));
    strcpy(m->name, name);
    m->state = ROOM_INSIDE;
    link_last(r, m);
    snprintf(welcome, sizeof welcome, "+welcome %s, here: ", m->name);
    members_tell_names(r, m, welcome);
    room_tell_history(r, m);
}

/* ---- going ---- */

/* Takes m off the list of those inside, and tells the others how it left: before, words and after
 * are what follows "left". The server's words are in parentheses, a person's come after a colon, so
 * that neither can be taken for the other. */
static void leave_inside(struct room *r, struct member *m, const char *before, const char *words,
                         const char *after) {
    m->previous->next = m->next;
    m->next->previous = m->previous;
    if (!r->closing)
        room_notice(r, message_printf("* %s left%s%s%s\n", m->name, before, words, after));
}

/* Also frees m's unheard input: it is not heard any more, and on_readable reads behind it, where a
 * full buffer would leave no room. */
static void leave_as(struct room *r, struct member *m, const char *before, const char *words,
                     const char *after) {
    if (m->state == ROOM_INSIDE)
        leave_inside(r, m, before, words, after);
    if (m->state != ROOM_OUTSIDE)
        r->members--;
    m->state = ROOM_OUTSIDE;
    free(m->input);
    m->input = NULL;
    m->input_size = 0;
    room_mark_pending(r, m);
}

void members_leave(struct room *r, struct member *m, const char *reason) {
    if (reason)
        leave_as(r, m, " (", reason, ")");
    else
        leave_as(r, m, "", "", "");
}

void members_quit(struct room *r, struct member *m, const char *words) {
    if (*words)
        leave_as(r, m, ": ", words, "");
    else
        leave_as(r, m, "", "", "");
}

void members_forget(struct room *r, struct member *m, const char *reason) {
    members_leave(r, m, reason);
    room_clear_queue(r, m);
}
