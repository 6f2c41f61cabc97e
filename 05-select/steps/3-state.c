/* What is new: a state for each connection; while a reply is stuck, the server does not read.
 * Run: ./3-state    and in two other terminals: ../client
 * What breaks it: a client too many is closed without a message; SIGTERM kills the server. */
#include "../../util.h"
#include <sys/select.h>

#ifndef __GLIBC__ /* musl's FD_SET computes with unsigned numbers: the compiler would warn of it */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

enum {
    PAUSE_MS = 100,
    LINES_LIMIT = 65536 /* bytes of a line, its newline included */
};

struct conn {
    int fd;
    enum { WANT_READ, WANT_WRITE } want; /* never both: while a reply is stuck, we do not read */
    size_t in_size;                      /* bytes of a partial line */
    size_t out_size;                     /* bytes of replies that are not sent yet */
    char in[LINES_LIMIT];
    char out[2 * LINES_LIMIT];
};

/* What a handler returns. Only conn_update looks at the connection after CLOSE. */
enum verdict { KEEP, CLOSE };

static struct conn *conns[FD_SETSIZE]; /* by descriptor; NULL: none */
static int listener;
static int top; /* the highest descriptor */

/* ---- connections ---- */

/* Sends what the kernel takes of c->out, and keeps the rest. */
static enum verdict conn_send(struct conn *c) {
    ssize_t sent = 0;
    if (c->out_size > 0)
        sent = send(c->fd, c->out, c->out_size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return CLOSE;
    if (sent < 0)
        sent = 0;
    c->out_size -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_size);
    c->want = c->out_size > 0 ? WANT_WRITE : WANT_READ;
    return KEEP;
}

/* Answers the complete lines in c->in; keeps a partial line. */
static enum verdict conn_answer(struct conn *c) {
    size_t used = 0;
    ssize_t length;
    while ((length = line_length(c->in + used, c->in_size - used, LINES_LIMIT)) > 0) {
        c->out[c->out_size] = '+';
        memcpy(c->out + c->out_size + 1, c->in + used, (size_t)length);
        c->out_size += (size_t)length + 1;
        used += (size_t)length;
    }
    if (length < 0)
        return CLOSE; /* the line is too long */
    c->in_size -= used;
    memmove(c->in, c->in + used, c->in_size);
    return conn_send(c);
}

/* Receives once. It is called only when no reply is stuck, so c->out is empty. */
static enum verdict on_readable(struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, 0);
    if (n == 0)
        return CLOSE;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return CLOSE;
    if (n < 0)
        return KEEP; /* nothing there after all */
    c->in_size += (size_t)n;
    return conn_answer(c);
}

static enum verdict on_writable(struct conn *c) {
    return conn_send(c);
}

/* ---- the loop ---- */

/* Does what a handler has decided. What the connection wants next, the next select asks for. */
static void conn_update(struct conn *c, enum verdict verdict) {
    if (verdict == KEEP)
        return;
    conns[c->fd] = NULL;
    close(c->fd);
    free(c);
}

/* Takes over a new socket. */
static void conn_open(int fd) {
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->want = WANT_READ;
    c->in_size = 0;
    c->out_size = 0;
    set_nonblocking(fd);
    conns[fd] = c;
    if (fd > top)
        top = fd;
}

static void on_acceptable(void) {
    int fd = accept(listener, NULL, NULL);
    if (fd >= FD_SETSIZE)
        close(fd); /* FD_SET would write past the end of the set */
    else if (fd >= 0)
        conn_open(fd);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        poll(NULL, 0, PAUSE_MS); /* EMFILE, ENOMEM: all wait for a moment */
}

/* Calls the one handler that has something to do. */
static void conn_dispatch(struct conn *c, const fd_set *readable, const fd_set *writable) {
    if (FD_ISSET(c->fd, writable))
        conn_update(c, on_writable(c));
    else if (FD_ISSET(c->fd, readable))
        conn_update(c, on_readable(c));
}

/* Puts into the sets what is wanted now: each call of select overwrites them. */
static void fill_sets(fd_set *readable, fd_set *writable) {
    FD_ZERO(readable);
    FD_ZERO(writable);
    FD_SET(listener, readable);
    for (int fd = 0; fd <= top; fd++) {
        if (!conns[fd])
            continue;
        if (conns[fd]->want == WANT_READ)
            FD_SET(fd, readable);
        else
            FD_SET(fd, writable);
    }
}

/* A handler closes only its own connection, and accept comes last: so no new connection can have a
 * descriptor that select has reported for another one. */
static void loop_step(void) {
    fd_set readable, writable;
    fill_sets(&readable, &writable);
    if (select(top + 1, &readable, &writable, NULL, NULL) < 0)
        return; /* EINTR: the sets say nothing */
    for (int fd = 0; fd <= top; fd++) {
        if (conns[fd])
            conn_dispatch(conns[fd], &readable, &writable);
    }
    if (FD_ISSET(listener, &readable))
        on_acceptable();
}

int main(void) {
    char why[WHY_TEXT];
    reset_inherited();
    listener = listen_on("127.0.0.1", "9005", why);
    if (listener < 0)
        die(why, errno);
    top = listener;
    set_nonblocking(listener);
    announce(listener);
    for (;;)
        loop_step();
}
