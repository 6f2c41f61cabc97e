/* room.h: the room without its sockets: what people say, and what comes of it. Parts of it are
 * queue.h and members.h. tests/unit/room.c tests it, tests/fuzz/room.c attacks it.
 *
 * Rules: nothing here sends, waits or closes. What a member sends goes into room_hear; what comes
 * of it stands in queues, and who is concerned waits in line for the server's attention
 * (room_next). */
#pragma once
#include "members.h"

/* What room_hear has come to. */
enum heard {
    HEARD_ALL, /* but for a line begun */
    MUST_WAIT, /* the next line is too early */
    MUST_SEND, /* attend to those in line, then go on */
    LEFT       /* this member hears and says no more */
};

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
