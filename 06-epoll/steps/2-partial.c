/* What is new: a connection keeps what is not sent yet, and then waits for room instead of input.
 * Run: ./2-partial    and ../../build/helpers/peer 9006 fill:20000000 recv:20000000
 * What breaks it: silent clients stay for ever; with no descriptor left, the loop spins. */
#define _GNU_SOURCE 1 /* for accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The registration of one socket: the first member of what it belongs to. */
struct watcher {
    void (*on_event)(struct watcher *w);
    int fd;
    uint32_t interest; /* EPOLLIN or EPOLLOUT; 0: not registered */
};

struct conn {
    struct watcher watcher; /* first, so that its address is the connection's, too */
    size_t out_start, out_size;
    char out[4096]; /* while some of it is not sent, we do not read */
};

enum verdict { KEEP, CLOSE };

static int epoll_fd;
static struct watcher listener;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Registers w, or changes what it waits for. Returns 0, or -1 with errno. */
static int loop_watch(struct watcher *w, uint32_t interest) {
    static struct epoll_event event; /* static: gcc's analyzer would say that w is lost */
    int change = EPOLL_CTL_MOD;
    event = (struct epoll_event){.events = interest, .data.ptr = w};
    if (interest == w->interest)
        return 0;
    if (w->interest == 0)
        change = EPOLL_CTL_ADD;
    w->interest = interest;
    return epoll_ctl(epoll_fd, change, w->fd, &event);
}

static void conn_close(struct conn *c) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->watcher.fd, NULL);
    close(c->watcher.fd);
    free(c);
}

/* Sends what the kernel takes; the rest stays in c->out. */
static enum verdict on_writable(struct conn *c) {
    ssize_t n = send(c->watcher.fd, c->out + c->out_start, c->out_size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return CLOSE;
    if (n > 0) {
        c->out_start += (size_t)n;
        c->out_size -= (size_t)n;
    }
    return KEEP;
}

static enum verdict on_readable(struct conn *c) {
    ssize_t n = recv(c->watcher.fd, c->out, sizeof c->out, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return KEEP;
    if (n <= 0)
        return CLOSE;
    c->out_start = 0;
    c->out_size = (size_t)n;
    return on_writable(c);
}

/* Does what a handler has decided: closes the connection, or waits for what it needs next. */
static void conn_update(struct conn *c, enum verdict verdict) {
    const uint32_t interest = c->out_size > 0 ? EPOLLOUT : EPOLLIN;
    if (verdict == KEEP && loop_watch(&c->watcher, interest) < 0)
        verdict = CLOSE;
    if (verdict == CLOSE)
        conn_close(c);
}

static void on_conn_event(struct watcher *w) {
    struct conn *c = (struct conn *)w;
    if (c->out_size > 0)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
}

static void conn_open(int fd) {
    struct conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->watcher = (struct watcher){.on_event = on_conn_event, .fd = fd};
    conn_update(c, KEEP);
}

static void on_acceptable(struct watcher *w) {
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        conn_open(fd);
}

static int listen_on(uint16_t port) {
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

/* Waits until something happens, and calls back for each of these events. */
static void loop_step(void) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll_fd, events, 256, -1);
    for (int i = 0; i < count; i++) {
        struct watcher *w = events[i].data.ptr;
        w->on_event(w);
    }
}

int main(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    listener = (struct watcher){.on_event = on_acceptable, .fd = listen_on(9006)};
    if (loop_watch(&listener, EPOLLIN) < 0)
        die("epoll_ctl");
    printf("listening on 127.0.0.1:9006\n");
    fflush(stdout);
    for (;;)
        loop_step();
}
