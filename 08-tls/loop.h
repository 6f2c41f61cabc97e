/* loop.h: an event loop. Who has a descriptor registers it, with the events that matter and a
 * handler; loop_run waits for all of them at once and calls the handlers back, one after the other.
 * That of chapter 06, and it does more of what any server needs: it accepts, hands signals over
 * with their number, and lingers when it closes.
 *
 * Rules: a handler never waits; while it runs, nobody else is served. It may register, change and
 * release any watcher, its own too. What has been released is freed after the batch: epoll may have
 * reported an event for it together with the one that led to its end (a stale event). Calls that
 * fail return -1 with errno; only loop_open, timeouts_open and loop_watch_signals, which are for
 * starting, call die. */
#pragma once
#include "../util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

enum { LOOP_BATCH = 256 }; /* taken at a time */

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
static void (*loop_signalled)(int number);
static long long loop_now; /* of this batch, by now_ms: one look at the clock for all its events */
static struct watcher *loop_released;
static struct timeouts *loop_timeouts; /* all that are open */

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

static inline void loop_on_signal_event(struct watcher *w, uint32_t events) {
    char number;
    (void)w, (void)events;
    while (read(loop_signal_pipe[0], &number, 1) == 1)
        loop_signalled(number);
}

/* Has three signals call back, on, as events do. A handler may do next to nothing, as it may
 * interrupt anything: so it writes the signal's number into a pipe, and the loop watches its other
 * end (the self-pipe trick). Once a program. */
static inline void loop_on_signals(void (*on)(int number), int one, int two, int three) {
    static struct watcher signals = {.on_event = loop_on_signal_event};
    const struct sigaction action = {.sa_handler = loop_on_signal, .sa_flags = SA_RESTART};
    loop_signalled = on;
    if (pipe2(loop_signal_pipe, O_NONBLOCK | O_CLOEXEC) < 0 ||
        loop_watch(&signals, loop_signal_pipe[0], EPOLLIN) < 0)
        die("pipe for signals", errno);
    sigaction(one, &action, NULL);
    sigaction(two, &action, NULL);
    sigaction(three, &action, NULL);
}

/* A socket of which only the close is left. */
struct lingerer {
    struct watcher watcher;
    struct timeout timeout;
    int fd;
};
static struct timeouts loop_lingerers;

static inline void lingerer_close(struct lingerer *l) {
    close(l->fd);
    timeout_cancel(&l->timeout);
    loop_release(&l->watcher);
}

static inline void lingerer_on_timeout(struct timeout *t) {
    lingerer_close((struct lingerer *)(void *)((char *)t - offsetof(struct lingerer, timeout)));
}

static inline void lingerer_on_event(struct watcher *w, uint32_t events) {
    struct lingerer *l = (struct lingerer *)w;
    char sink[4096];
    ssize_t n = recv(l->fd, sink, sizeof sink, 0);
    (void)events;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        lingerer_close(l);
}

/* What linger_close of util.h does, without waiting: takes fd over from w, sends FIN, discards what
 * comes until the peer's FIN or 300 ms, and closes it. After a reset it just closes it. */
static inline void loop_linger_close(struct watcher *w, int fd) {
    struct lingerer *l = shutdown(fd, SHUT_WR) == 0 ? malloc(sizeof *l) : NULL;
    if (!l) {
        close(fd);
        return;
    }
    loop_watch(w, fd, 0);
    *l = (struct lingerer){.watcher.on_event = lingerer_on_event, .fd = fd};
    timeout_restart(&loop_lingerers, &l->timeout);
    if (loop_watch(&l->watcher, fd, EPOLLIN) < 0)
        lingerer_close(l);
}

/* Makes the loop, and asks for as many descriptors as this process may have (getrlimit(2)). */
static inline void loop_open(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN); /* OpenSSL sends without MSG_NOSIGNAL; and who reads the log may go */
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    loop_now = now_ms();
    if (loop_fd < 0)
        die("epoll_create1", errno);
    timeouts_open(&loop_lingerers, LINGER_MS, lingerer_on_timeout);
}

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
        loop_free_released();
    }
}

/* Frees what the loop itself holds; the watched descriptors are their owners'. */
static inline void loop_close(void) {
    for (struct timeout *t; (t = timeouts_first(&loop_lingerers));)
        lingerer_on_timeout(t);
    loop_free_released();
    for (; loop_timeouts; loop_timeouts = loop_timeouts->next_opened)
        close(loop_timeouts->fd);
    if (loop_signal_pipe[0] >= 0)
        close(loop_signal_pipe[0]), close(loop_signal_pipe[1]);
    close(loop_fd);
}
