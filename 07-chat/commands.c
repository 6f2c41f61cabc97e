/* commands.c: see commands.h. */
#include "commands.h"
#include "members.h"
#include <string.h>

/* Ends text after its first word. Returns what follows the space behind it; "" if nothing does. */
static char *split_word(char *text) {
    char *end = text + strcspn(text, " ");
    if (*end == '\0')
        return end;
    *end = '\0';
    return end + 1;
}

/* ---- each command gets what follows its name, "" if nothing does ---- */

static void do_who(struct room *r, struct member *m, char *text) {
    (void)text;
    members_tell_names(r, m, "+here: ");
}

static void do_nick(struct room *r, struct member *m, char *text) {
    members_rename(r, m, text);
}

/* Without memory for the message, its sender is dropped: it is not the other one's fault. */
static void send_private(struct room *r, struct member *from, struct member *to, const char *text) {
    struct message *message = message_printf("%s (to you): %s\n", from->name, text);
    room_tell(r, message ? to : from, message);
    room_tell(r, from, message_printf("+sent to %s\n", to->name));
}

static void do_msg(struct room *r, struct member *m, char *text) {
    const char *name = text;
    const char *words = split_word(text);
    struct member *to = members_find(r, name);
    if (*words == '\0')
        room_tell(r, m, message_printf("-usage: /msg NAME TEXT\n"));
    else if (!to)
        room_tell(r, m, message_printf("-no %s here\n", name));
    else
        send_private(r, m, to, words);
}

static void do_me(struct room *r, struct member *m, char *text) {
    if (*text)
        room_say(r, m, message_printf("* %s: %s\n", m->name, text));
    else
        room_tell(r, m, message_printf("-usage: /me TEXT\n"));
}

static void do_help(struct room *r, struct member *m, char *text) {
    (void)text;
    room_tell(r, m,
              message_printf("+/who  who is here\n"
                             "+/nick NAME  change your name\n"
                             "+/msg NAME TEXT  say it to one person only\n"
                             "+/me TEXT  say what you do\n"
                             "+/quit [WORDS]  leave\n"
                             "+//TEXT  say /TEXT\n"));
}

static void do_quit(struct room *r, struct member *m, char *text) {
    room_tell(r, m, message_printf("+bye\n"));
    members_quit(r, m, text);
}

/* ---- all of them ---- */

static const struct command {
    const char *name;
    void (*run)(struct room *r, struct member *m, char *text);
} commands[] = {{"/who", do_who}, {"/nick", do_nick}, {"/msg", do_msg},
                {"/me", do_me},   {"/help", do_help}, {"/quit", do_quit}};

void commands_run(struct room *r, struct member *m, char *line) {
    char *text = split_word(line);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(line, commands[i].name) == 0) {
            commands[i].run(r, m, text);
            return;
        }
    }
    room_tell(r, m, message_printf("-unknown command %s, try /help\n", line));
}
