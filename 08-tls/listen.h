/* listen.h: the listening socket in the loop: it accepts, and pauses while there are no descriptors
 * or no memory for another connection. */
#pragma once
#include "loop.h"

enum { ACCEPTS = 64, PAUSE_MS = 100 }; /* taken at a time; a wait for room */

/* Who comes to a listening socket. */
static struct {
    struct watcher watcher;
    int fd; /* -1: no more */
    int (*on_connection)(int fd, const struct sockaddr_in6 *peer);
    struct timeouts pause;
    struct timeout resume;
} loop_listener = {.fd = -1};

/* Several at a time: when many come at once, one a wake-up would be slow; but not without limit. */
static inline void loop_on_acceptable(struct watcher *w, uint32_t events) {
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_in6 peer;
        int fd = accept4(loop_listener.fd, (struct sockaddr *)&peer, &(socklen_t){sizeof peer},
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (loop_listener.on_connection(fd, &peer) < 0)
                close(fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) { /* no descriptors, no memory: who comes waits in the backlog */
                loop_watch(w, loop_listener.fd, 0);
                timeout_restart(&loop_listener.pause, &loop_listener.resume);
            }
            return;
        }
    }
}

static inline void loop_on_resume(struct timeout *t) {
    if (loop_listener.fd >= 0 && loop_watch(&loop_listener.watcher, loop_listener.fd, EPOLLIN) < 0)
        timeout_restart(&loop_listener.pause, t); /* no memory for it: once more, later */
}

/* Calls open for each new connection, with its socket, non-blocking, and its peer's address. What
 * it does not take over, with -1, is closed. */
static inline void loop_listen(int fd, int (*open)(int fd, const struct sockaddr_in6 *peer)) {
    set_nonblocking(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1},
               sizeof(int)); /* for those it accepts, too */
    loop_listener.fd = fd;
    loop_listener.on_connection = open;
    loop_listener.watcher.on_event = loop_on_acceptable;
    timeouts_open(&loop_listener.pause, PAUSE_MS, loop_on_resume);
    loop_on_resume(&loop_listener.resume);
}

static inline void loop_listen_no_more(void) {
    close(loop_listener.fd);
    loop_listener.fd = -1;
}
