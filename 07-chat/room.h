/* room.h: the room without its sockets: names, who hears what, what each is owed, history, pace.
 * tests/unit/room.c tests it, tests/fuzz/room.c attacks it.
 *
 * Rules: nothing here sends, waits or closes. What a member sends goes into room_hear; what comes
 * of it stands in queues, and who is concerned waits in line for the server's attention
 * (room_next). A member that cannot be kept is marked, in cut, and the server closes it later:
 * so whoever walks over the members never meets one that goes away on the way.
 * A message is made once and shared: each queue it stands in, and the history, count as one owner,
 * and the last one who lets go of it frees it. Memory that is refused costs one member, no more. */
#pragma once
#include "text.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>
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

/* What room_hear has come to. */
enum heard {
    HEARD_ALL, /* but for a line begun */
    MUST_WAIT, /* the next line is too early */
    MUST_SEND, /* attend to those in line, then go on */
    LEFT       /* this member hears and says no more */
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

/* ---- commands: each gets what stands after its name, "" if nothing does ---- */

static inline void do_who(struct room *r, struct member *m, char *text) {
    (void)text;
    tell_names(r, m, "+here: ");
}

static inline void do_nick(struct room *r, struct member *m, char *text) {
    const char *why = name_refused(r, m, text);
    if (why) {
        room_tell(r, m, compose(r, "-name %s: %s\n", text, why));
        return;
    }
    room_notice(r, compose(r, "* %s is now known as %s\n", m->name, text));
    strcpy(m->name, text);
}

static inline void do_msg(struct room *r, struct member *m, char *text) {
    char *name = text;
    text += strcspn(text, " ");
    if (!*text || !text[1]) {
        room_tell(r, m, compose(r, "-usage: /msg NAME TEXT\n"));
        return;
    }
    *text++ = '\0';
    struct member *to = room_find(r, name);
    if (!to) {
        room_tell(r, m, compose(r, "-no %s here\n", name));
        return;
    }
    struct message *message = compose(r, "%s (to you): %s\n", m->name, text);
    room_tell(r, message ? to : m, message); /* without memory, it is not the other one's fault */
    room_tell(r, m, compose(r, "+sent to %s\n", to->name));
}

static inline void do_me(struct room *r, struct member *m, char *text) {
    *text ? room_say(r, m, compose(r, "* %s: %s\n", m->name, text))
          : room_tell(r, m, compose(r, "-usage: /me TEXT\n"));
}

static inline void do_help(struct room *r, struct member *m, char *text) {
    (void)text;
    room_tell(r, m,
              compose(r, "+/who  who is here\n"
                         "+/nick NAME  change your name\n"
                         "+/msg NAME TEXT  say it to one person only\n"
                         "+/me TEXT  say what you do\n"
                         "+/quit [WORDS]  leave\n"
                         "+//TEXT  say /TEXT\n"));
}

static inline void do_quit(struct room *r, struct member *m, char *text) {
    room_tell(r, m, compose(r, "+bye\n"));
    room_leave(r, m, *text ? text : NULL);
}

static inline void do_command(struct room *r, struct member *m, char *word) {
    static const struct {
        const char *word;
        void (*act)(struct room *r, struct member *m, char *text);
    } commands[] = {{"/who", do_who}, {"/nick", do_nick}, {"/msg", do_msg},
                    {"/me", do_me},   {"/help", do_help}, {"/quit", do_quit}};
    char *text = word + strcspn(word, " ");
    if (*text)
        *text++ = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].word) == 0) {
            commands[i].act(r, m, text);
            return;
        }
    room_tell(r, m, compose(r, "-unknown command %s, try /help\n", word));
}

/* ---- what they send ---- */

/* Whether it may send another line now, which it then has done. Each second brings r->rate lines,
 * and those of two seconds can be saved up (a token bucket). */
static inline int room_pace(const struct room *r, struct member *m, long long now) {
    long long most = 2000LL * r->rate, credit = m->credit + (now - m->credit_at) * r->rate;
    m->credit = (unsigned)(credit < most ? credit : most);
    m->credit_at = now;
    if (r->rate && m->credit < 1000)
        return 0;
    m->credit -= r->rate ? 1000 : 0;
    return 1;
}

static inline void hear_line(struct room *r, struct member *m, const char *line, size_t size) {
    char text[CLEAN_ROOM];
    clean_text(line, size, text);
    if (m->place == AT_THE_DOOR)
        room_enter(r, m, text);
    else if (text[0] == '/' && text[1] != '/')
        do_command(r, m, text);
    else if (text[0])
        room_say(r, m, compose(r, "%s: %s\n", m->name, text + (text[0] == '/')));
}

/* Everything a member sends comes through here: data are what has come and was not used, *used is
 * how much of it is used now. */
static inline enum heard room_hear(struct room *r, struct member *m, const char *data, size_t size,
                                   long long now, size_t *used) {
    ssize_t n;
    for (*used = 0; m->place != OUTSIDE && !m->cut; *used += (size_t)n) {
        const char *line = data + *used;
        n = line_length(line, size - *used, LINE_LIMIT + 2); /* 2: "\r\n" */
        if (n == 0)
            return HEARD_ALL;
        if (r->fresh > FRESH_LIMIT || r->places > PLACES_LIMIT)
            return MUST_SEND;
        if (m->place == INSIDE && !room_pace(r, m, now))
            return MUST_WAIT;
        size_t text = n > 1 && line[n - 2] == '\r' ? (size_t)n - 2 : (size_t)n - 1;
        if (n < 0 || text > LINE_LIMIT) {
            room_tell(r, m, compose(r, "-line of more than %d bytes\n", LINE_LIMIT));
            room_leave(r, m, "line too long");
            break;
        }
        hear_line(r, m, line, text);
    }
    return LEFT;
}

/* Keeps what was not heard. */
static inline void room_keep(struct room *r, struct member *m, const char *data, size_t size) {
    char *kept = size ? malloc(size) : NULL;
    free(m->kept);
    m->kept = kept ? memcpy(kept, data, size) : NULL;
    m->kept_size = kept ? (unsigned)size : 0;
    if (size && !kept)
        room_cut(r, m, "out of memory");
}

/* It is no more: the server has closed it. It may still stand in line. */
static inline void room_forget(struct room *r, struct member *m, const char *why) {
    room_leave(r, m, why);
    queue_clear(r, m);
    free(m->kept);
    m->kept = NULL;
}

static inline void room_close(struct room *r) {
    while (r->history_count)
        history_forget_first(r);
}
