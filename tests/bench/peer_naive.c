/* peer_naive.c: a chat room as it is often written, for the bench: poll, and for each message one
 * write to each receiver.
 *
 * It takes lines, and the first one of a client is its name, as in chapter 07; they share nothing
 * else. Do not use it as a server: it has no limits, does not check names or messages, and loses
 * what a receiver's socket does not take at once. */
#include "../../util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum { CLIENTS = 10000, CAPACITY = 4096, NAME_SIZE = 33 };

static struct client {
    char name[NAME_SIZE]; /* "": it has not given one yet */
    size_t in_size;
    char in[CAPACITY]; /* a partial line */
} * clients[CLIENTS];
static struct pollfd watched[CLIENTS]; /* the first is the listener; client i has watched[i] */
static int count = 1;

static void tell(int to, const char *line, int size) {
    if (send(watched[to].fd, line, (size_t)size, MSG_NOSIGNAL) < 0)
        return; /* it misses a line, or recv will say that it is closed */
}

static void tell_others(int from, const char *line, int size) {
    for (int i = 1; i < count; i++) {
        if (i != from && clients[i]->name[0])
            tell(i, line, size);
    }
}

/* Gives a client its name. */
static void welcome(int i, const char *name) {
    char message[NAME_SIZE + 2 * CAPACITY];
    struct client *c = clients[i];
    snprintf(c->name, sizeof c->name, "%s", name);
    int size = snprintf(message, sizeof message, "+welcome %s, here: %s\n", name, name);
    tell(i, message, size);
    size = snprintf(message, sizeof message, "* %s joined\n", c->name);
    tell_others(i, message, size);
}

static void on_line(int i, const char *line) {
    char message[NAME_SIZE + CAPACITY + 16];
    const struct client *c = clients[i];
    if (!c->name[0]) {
        welcome(i, line);
        return;
    }
    const int size = snprintf(message, sizeof message, "%s: %s\n", c->name, line);
    tell_others(i, message, size);
}

static void leave(int i) {
    char message[NAME_SIZE + 16];
    int size = snprintf(message, sizeof message, "* %s left\n", clients[i]->name);
    close(watched[i].fd);
    free(clients[i]);
    count--;
    clients[i] = clients[count]; /* the last one takes its place */
    watched[i] = watched[count];
    tell_others(0, message, size);
}

/* Takes the complete lines, and keeps a partial one, unless it is too long. */
static void take_lines(int i, size_t size) {
    struct client *c = clients[i];
    const char *end = c->in + size;
    char *line = c->in;
    char *newline = memchr(line, '\n', size);
    while (newline) {
        *newline = '\0';
        on_line(i, line);
        line = newline + 1;
        newline = memchr(line, '\n', (size_t)(end - line));
    }
    c->in_size = (size_t)(end - line);
    if (c->in_size == sizeof c->in)
        c->in_size = 0;
    memmove(c->in, line, c->in_size);
}

static void on_readable(int i) {
    struct client *c = clients[i];
    ssize_t n = recv(watched[i].fd, c->in + c->in_size, sizeof c->in - c->in_size, 0);
    if (n > 0)
        take_lines(i, c->in_size + (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        leave(i);
}

static void on_acceptable(void) {
    const int on = 1;
    struct client *c = NULL;
    int fd = accept4(watched[0].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (count < CLIENTS)
        c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->name[0] = '\0';
    c->in_size = 0;
    clients[count] = c;
    watched[count] = (struct pollfd){.fd = fd, .events = POLLIN};
    count++;
}

/* Goes backwards: the client that takes the place of one that has left has had its turn. */
static void loop_step(void) {
    poll(watched, (nfds_t)count, -1);
    for (int i = count - 1; i > 0; i--) {
        if (watched[i].revents)
            on_readable(i);
    }
    if (watched[0].revents)
        on_acceptable();
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
    while (1)
        loop_step();
}
