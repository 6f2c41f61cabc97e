/* What is new: register a socket, its events and a callback; the loop calls back.
 * Run: ./1-register    and in two other terminals: nc 127.0.0.1 9006
 * What breaks it: a client that does not read; a reset; no descriptor left: the server exits. */
#define _GNU_SOURCE 1 /* for accept4 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The registration of one socket. */
struct watcher {
    void (*on_event)(struct watcher *w);
    int fd;
};

static int epoll_fd;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Lets the loop call on_event whenever one of these events has happened on fd. */
static void loop_register(int fd, uint32_t events, void (*on_event)(struct watcher *w)) {
    static struct epoll_event event; /* static: gcc's analyzer would say that w is lost */
    struct watcher *w = malloc(sizeof *w);
    if (!w)
        die("malloc");
    *w = (struct watcher){.on_event = on_event, .fd = fd};
    event = (struct epoll_event){.events = events, .data.ptr = w};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void conn_close(struct watcher *w) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    close(w->fd);
    free(w);
}

static void on_readable(struct watcher *w) {
    char data[1000];
    ssize_t n = recv(w->fd, data, sizeof data, 0);
    if (n < 0)
        die("recv");
    if (n == 0) {
        conn_close(w);
        return;
    }
    if (send(w->fd, data, (size_t)n, 0) < 0)
        die("send");
}

static void on_acceptable(struct watcher *w) {
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        die("accept");
    loop_register(fd, EPOLLIN, on_readable);
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
    loop_register(listen_on(9006), EPOLLIN, on_acceptable);
    printf("listening on 127.0.0.1:9006\n");
    fflush(stdout);
    for (;;)
        loop_step();
}
