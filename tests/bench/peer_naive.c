/* peer_naive.c: a chat room as it is often written, for the bench: poll, and for each message one
 * write to each receiver.
 *
 * It takes lines, and the first one of a client is its name, as in chapter 07; that is all they
 * share. No server to use: no limits, no check of names or of what people say, and what a
 * receiver's socket does not take at once is lost. */
#include "../../util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum { CLIENTS = 10000, ROOM = 4096, NAME = 33 };

static struct client {
    char name[NAME]; /* "": it has not said it yet */
    size_t have;
    char in[ROOM];
} * clients[CLIENTS];
static struct pollfd watched[CLIENTS]; /* the first is the listener; client i has watched[i] */
static int count = 1;

static void tell(int to, const char *line, int size) {
    if (send(watched[to].fd, line, (size_t)size, MSG_NOSIGNAL) < 0)
        return; /* it will be found closed, or it misses a line */
}

static void tell_others(int from, const char *line, int size) {
    for (int i = 1; i < count; i++)
        if (i != from && clients[i]->name[0])
            tell(i, line, size);
}

static void on_line(int i, const char *line) {
    char message[NAME + ROOM + 16];
    struct client *c = clients[i];
    int welcome = !c->name[0];
    if (welcome) {
        snprintf(c->name, sizeof c->name, "%s", line);
        tell(i, message, snprintf(message, sizeof message, "+welcome %s, here: %s\n", line, line));
    }
    tell_others(i, message,
                welcome ? snprintf(message, sizeof message, "* %s joined\n", c->name)
                        : snprintf(message, sizeof message, "%s: %s\n", c->name, line));
}

static void leave(int i) {
    char message[NAME + 16];
    int size = snprintf(message, sizeof message, "* %s left\n", clients[i]->name);
    close(watched[i].fd);
    free(clients[i]);
    clients[i] = clients[--count]; /* the last one takes its place */
    watched[i] = watched[count];
    tell_others(0, message, size);
}

static void on_readable(int i) {
    struct client *c = clients[i];
    ssize_t n = recv(watched[i].fd, c->in + c->have, sizeof c->in - c->have, 0);
    char *line = c->in, *end = c->in + c->have + n, *newline;
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            leave(i);
        return;
    }
    while ((newline = memchr(line, '\n', (size_t)(end - line)))) {
        *newline = '\0';
        on_line(i, line);
        line = newline + 1;
    }
    c->have = (size_t)(end - line) < sizeof c->in ? (size_t)(end - line) : 0;
    memmove(c->in, line, c->have);
}

static void on_acceptable(void) {
    int fd = accept4(watched[0].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c = fd < 0 || count == CLIENTS ? NULL : malloc(sizeof *c);
    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c->name[0] = '\0';
    c->have = 0;
    clients[count] = c;
    watched[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

int main(int argc, char **argv) {
    struct rlimit files;
    char why[WHY_TEXT];
    int listener = listen_on("127.0.0.1", argc == 3 ? argv[2] : "0", why); /* -p PORT */
    if (listener < 0)
        die(why, errno);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    set_nonblocking(listener);
    watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    announce(listener);
    for (;;) {
        poll(watched, (nfds_t)count, -1);
        for (int i = count - 1; i > 0;
             i--)                   /* backwards: who takes the place of one that left ... */
            if (watched[i].revents) /* ... has had its turn */
                on_readable(i);
        if (watched[0].revents)
            on_acceptable();
    }
}
