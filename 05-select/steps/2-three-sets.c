/* What is new: each client has a queue, where messages wait until its socket is writable.
 * Run: ./2-three-sets    and in two other terminals: ../client
 * What breaks it: a client that never reads fills the memory; a client that half-closes. */
#define _GNU_SOURCE 1 /* for O_NONBLOCK */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef __GLIBC__ /* musl's FD_SET computes with unsigned numbers: the compiler would warn of it */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

struct message {
    struct message *next;
    size_t size;
    char data[1024];
};

/* For each descriptor, the messages that are to be sent: a list without a bound. */
static struct queue { struct message *first, *last; } queues[FD_SETSIZE];

static fd_set inputs;  /* the listening socket, and all clients */
static fd_set outputs; /* clients whose queue is not empty */
static int top;        /* the highest descriptor in them */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:9005. */
static int listen_on(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9005)};
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 127.0.0.1 */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9005\n");
    fflush(stdout);
    return fd;
}

static void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- queues ---- */

/* Appends a message. */
static void queue_put(struct queue *q, const char *data, size_t size) {
    struct message *message = malloc(sizeof *message);
    if (!message)
        die("malloc");
    message->next = NULL;
    message->size = size;
    memcpy(message->data, data, size);
    if (q->first)
        q->last->next = message;
    else
        q->first = message;
    q->last = message;
}

/* Removes the first message. */
static void queue_drop(struct queue *q) {
    struct message *message = q->first;
    q->first = message->next;
    free(message);
}

/* ---- connections ---- */

static void on_acceptable(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    set_nonblocking(fd);
    FD_SET(fd, &inputs);
    if (fd > top)
        top = fd;
}

static void conn_close(int fd) {
    FD_CLR(fd, &inputs);
    FD_CLR(fd, &outputs);
    while (queues[fd].first)
        queue_drop(&queues[fd]);
    close(fd);
}

static void on_readable(int fd) {
    char data[1024];
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n < 0)
        die("recv");
    if (n == 0) {
        conn_close(fd);
        return;
    }
    queue_put(&queues[fd], data, (size_t)n);
    FD_SET(fd, &outputs);
}

static void on_writable(int fd) {
    struct queue *q = &queues[fd];
    send(fd, q->first->data, q->first->size, MSG_NOSIGNAL);
    queue_drop(q);
    if (!q->first)
        FD_CLR(fd, &outputs);
}

/* ---- the loop ---- */

static void conn_dispatch(int fd, const fd_set *readable, const fd_set *writable,
                          const fd_set *exceptional) {
    if (FD_ISSET(fd, readable))
        on_readable(fd);
    if (FD_ISSET(fd, writable) && queues[fd].first)
        on_writable(fd);
    if (FD_ISSET(fd, exceptional))
        conn_close(fd);
}

/* Waits until something can be read or written, and does it. */
static void loop_step(int listener) {
    fd_set readable = inputs;
    fd_set writable = outputs;
    fd_set exceptional = inputs;
    if (select(top + 1, &readable, &writable, &exceptional, NULL) < 0)
        die("select");
    for (int fd = 0; fd <= top; fd++) {
        if (fd != listener)
            conn_dispatch(fd, &readable, &writable, &exceptional);
        else if (FD_ISSET(fd, &readable))
            on_acceptable(listener);
    }
}

int main(void) {
    int listener = listen_on();
    set_nonblocking(listener);
    FD_SET(listener, &inputs);
    top = listener;
    for (;;)
        loop_step(listener);
}
