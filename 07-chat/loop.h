/* loop.h: 06's event loop, and two things more: loop_after_batch, for what is done once for all
 * that a batch of events has brought, and loop_accept, which 06 writes out in its server. Who has a
 * descriptor registers it, with the events that matter and a handler; loop_run waits for all of
 * them at once and calls the handlers back, one after the other. tests/unit/loop.c tests 06's.
 *
 * Rules: a handler never waits; while it runs, nobody else is served. It may register, change and
 * release any watcher, its own too. What has been released is freed after the batch: epoll may have
 * reported an event for it together with the one that led to its end (a stale event). Calls that
 * fail return -1 with errno; only loop_open, timeouts_open and loop_watch_signals, which are for
 * starting, call die. */
#pragma once
#include "../util.h"
#include <netinet/in.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

enum {
    LOOP_BATCH = 256, /* events taken at a time */
    LOOP_ACCEPTS = 64,
    LOOP_ACCEPT_PAUSE_MS = 100
};

/* One descriptor's registration, the first member of what it belongs to. */
struct watcher {
    void (*on_event)(struct watcher *w, uint32_t events); /* NULL: released */
    struct watcher *next_released;
    uint32_t events; /* EPOLLIN, EPOLLOUT: what is watched; 0: not registered */
};

/* One running timeout, a member of what it belongs to. */
struct timeout {
    struct timeout *prev, *next; /* NULL: not running */
    long long deadline;          /* on now_ms's clock */
};

/* All timeouts of one length. They end in the order in which they began: a queue, and one timer for
 * its first. To restart one is to move it to the end: the same cost for any number of them. */
struct timeouts {
    struct watcher watcher;
    struct timeouts *next_opened;
    int fd;
    long long ms;
    struct timeout ring; /* its next is the first, its prev the last; itself when there is none */
    void (*on_timeout)(struct timeout *t);
};

static int loop_fd, loop_stopped;
static int loop_signal_pipe[2] = {-1, -1};
static long long loop_now; /* of this batch, by now_ms: one look at the clock for all its events */
static void (*loop_after_batch)(void);
static struct watcher *loop_released;
static struct timeouts *loop_timeouts; /* all that are open */

/* Makes the loop, and asks for as many descriptors as this process may have (getrlimit(2)). */
static inline void loop_open(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more is no reason to die */
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    loop_now = now_ms();
    if (loop_fd < 0)
        die("epoll_create1", errno);
}

/* Registers fd, changes what is watched of it, or removes it (0). No change costs nothing.
 * EPOLLERR and EPOLLHUP are reported in any case: a handler meets them in recv or send. */
static inline int loop_watch(struct watcher *w, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = w};
    if (w->events == events)
        return 0;
    int change = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop_fd, change, fd, &event) < 0)
        return -1;
    w->events = events;
    return 0;
}

/* The caller has closed the descriptor, and with it its registration. The memory from malloc that
 * begins with w is freed when no event can point to it any more. */
static inline void loop_release(struct watcher *w) {
    w->on_event = NULL;
    w->next_released = loop_released;
    loop_released = w;
}

static inline void loop_free_released(void) {
    while (loop_released) {
        struct watcher *w = loop_released;
        loop_released = w->next_released;
        free(w);
    }
}

static inline void timeout_cancel(struct timeout *t) {
    if (!t->next)
        return;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
}

static inline void timeouts_arm(const struct timeouts *q, long long ms) {
    struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
    if (ms <= 0)
        when.it_value.tv_nsec = 1; /* at once: 0 would mean never (timerfd_settime(2)) */
    timerfd_settime(q->fd, 0, &when, NULL);
}

/* Starts t, or starts it anew. The timer is touched only for the first in the queue. */
static inline void timeout_restart(struct timeouts *q, struct timeout *t) {
    if (q->ring.next == &q->ring)
        timeouts_arm(q, q->ms);
    timeout_cancel(t); /* only now: with t alone in the ring, the timer runs, and may ring early */
    t->deadline = loop_now + q->ms;
    t->next = &q->ring;
    t->prev = q->ring.prev;
    t->prev->next = q->ring.prev = t;
}

/* The one that ends first, or NULL. */
static inline struct timeout *timeouts_first(const struct timeouts *q) {
    return q->ring.next == &q->ring ? NULL : q->ring.next;
}

/* The timer was set for the one that was first then: it may have moved to the end since. */
static inline void timeouts_on_event(struct watcher *w, uint32_t events) {
    struct timeouts *q = (struct timeouts *)w;
    uint64_t expirations;
    struct timeout *first;
    (void)events;
    if (read(q->fd, &expirations, sizeof expirations) < 0)
        return;
    while ((first = timeouts_first(q)) && first->deadline <= loop_now) {
        timeout_cancel(first);
        q->on_timeout(first);
    }
    if (first)
        timeouts_arm(q, first->deadline - loop_now);
}

static inline void timeouts_open(struct timeouts *q, long long ms, void (*on)(struct timeout *)) {
    *q = (struct timeouts){.watcher.on_event = timeouts_on_event, .ms = ms, .on_timeout = on};
    q->ring.prev = q->ring.next = &q->ring;
    q->next_opened = loop_timeouts;
    loop_timeouts = q;
    q->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (q->fd < 0 || loop_watch(&q->watcher, q->fd, EPOLLIN) < 0)
        die("timerfd", errno);
}

static inline void loop_on_signal(int number) {
    int saved = errno;
    char byte = (char)number;
    if (write(loop_signal_pipe[1], &byte, 1) < 0)
        byte = 0; /* the pipe is full: w is going to be called in any case */
    errno = saved;
}

/* Makes two signals events of w. A handler may do next to nothing, as it may interrupt anything: so
 * it writes the signal's number into a pipe, and the loop watches its other end (the self-pipe
 * trick). Once a program. Returns the descriptor from which w reads a byte for each signal. */
static inline int loop_watch_signals(struct watcher *w, int one, int other) {
    const struct sigaction action = {.sa_handler = loop_on_signal, .sa_flags = SA_RESTART};
    if (pipe2(loop_signal_pipe, O_NONBLOCK | O_CLOEXEC) < 0 ||
        loop_watch(w, loop_signal_pipe[0], EPOLLIN) < 0)
        die("pipe for signals", errno);
    sigaction(one, &action, NULL);
    sigaction(other, &action, NULL);
    return loop_signal_pipe[0];
}

/* ---- who comes ---- */

static int loop_listener = -1;
static void (*loop_on_accept)(int fd, const struct sockaddr_in6 *peer);
static struct timeouts loop_accept_pauses;
static struct timeout loop_accept_pause; /* the only one in it */

/* Several at a time: when many come at once, one a wake-up would be slow; but not without limit. */
static inline void loop_on_acceptable(struct watcher *w, uint32_t events) {
    (void)events;
    for (int i = 0; i < LOOP_ACCEPTS; i++) {
        struct sockaddr_in6 peer;
        socklen_t size = sizeof peer;
        int fd =
            accept4(loop_listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            loop_on_accept(fd, &peer);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) { /* no descriptors, no memory: who comes waits in the backlog */
                loop_watch(w, loop_listener, 0);
                timeout_restart(&loop_accept_pauses, &loop_accept_pause);
            }
            return;
        }
    }
}
static struct watcher loop_accepting = {.on_event = loop_on_acceptable};

static inline void loop_resume_accept(struct timeout *t) {
    if (loop_listener >= 0 && loop_watch(&loop_accepting, loop_listener, EPOLLIN) < 0)
        timeout_restart(&loop_accept_pauses, t); /* no memory for it: once more, later */
}

/* Gives each connection that comes, non-blocking, to on_accept. Once a program. */
static inline void loop_accept(int listener, void (*on_accept)(int, const struct sockaddr_in6 *)) {
    set_nonblocking(listener);
    loop_listener = listener;
    loop_on_accept = on_accept;
    timeouts_open(&loop_accept_pauses, LOOP_ACCEPT_PAUSE_MS, loop_resume_accept);
    loop_resume_accept(&loop_accept_pause);
}

static inline void loop_accept_no_more(void) {
    loop_accepting.on_event = NULL;
    close(loop_listener);
    loop_listener = -1;
}

/* ---- the loop ---- */

/* Waits and calls back until loop_stopped is set. */
static inline void loop_run(void) {
    struct epoll_event events[LOOP_BATCH];
    while (!loop_stopped) {
        int n = epoll_wait(loop_fd, events, LOOP_BATCH, -1); /* EINTR: a debugger, or SIGCONT */
        loop_now = now_ms();
        for (int i = 0; i < n; i++) {
            struct watcher *w = events[i].data.ptr;
            if (w->on_event)
                w->on_event(w, events[i].events);
        }
        loop_after_batch();
        loop_free_released();
    }
}

/* Frees what the loop itself holds; the watched descriptors are their owners'. */
static inline void loop_close(void) {
    loop_free_released();
    for (; loop_timeouts; loop_timeouts = loop_timeouts->next_opened)
        close(loop_timeouts->fd);
    if (loop_signal_pipe[0] >= 0)
        close(loop_signal_pipe[0]), close(loop_signal_pipe[1]);
    close(loop_fd);
}
