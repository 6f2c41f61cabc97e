/* What is new: a timer for each connection, which is an event, too: silent clients are closed.
 * Run: ./3-idle    and nc 127.0.0.1 9006, which it closes after 1 s of silence
 * What breaks it: a timer and input of one connection in the same batch: freed memory is used. */
#define _GNU_SOURCE 1 /* for accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { IDLE_SECONDS = 1 };

/* The registration of one descriptor: the first member of what it belongs to. */
struct watcher {
    void (*on_event)(struct watcher *w);
    int fd;
    uint32_t interest; /* EPOLLIN or EPOLLOUT; 0: not registered */
};

struct conn {
    struct watcher watcher; /* first, so that its address is the connection's, too */
    struct watcher timer;
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

/* Removes the registration, then closes the descriptor. */
static void loop_close(struct watcher *w) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    close(w->fd);
}

static void conn_close(struct conn *c) {
    loop_close(&c->watcher);
    loop_close(&c->timer);
    free(c);
}

static void conn_restart_timer(struct conn *c) {
    const struct itimerspec when = {.it_value.tv_sec = IDLE_SECONDS};
    timerfd_settime(c->timer.fd, 0, &when, NULL);
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
    conn_restart_timer(c);
    if (c->out_size > 0)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
}

/* Nothing has happened on the connection for IDLE_SECONDS. */
static void on_conn_expired(struct watcher *timer) {
    conn_close((struct conn *)(void *)((char *)timer - offsetof(struct conn, timer)));
}

static void conn_open(int fd) {
    enum verdict verdict = KEEP;
    struct conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    c->watcher = (struct watcher){.on_event = on_conn_event, .fd = fd};
    c->timer = (struct watcher){.on_event = on_conn_expired, .fd = timer_fd};
    conn_restart_timer(c);
    if (loop_watch(&c->timer, EPOLLIN) < 0) /* also without a descriptor for the timer */
        verdict = CLOSE;
    conn_update(c, verdict);
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
