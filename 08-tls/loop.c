/* loop.c: see loop.h. */
#include "../util.h"
#include "loop.h"
#include <sys/resource.h>
#include <sys/timerfd.h>

enum { BATCH = 256 }; /* events taken in one step */

static int epoll_fd = -1;
static int stopped;
static long long step_time;
static struct loop_watcher *to_free;   /* what was given to loop_free since the last step */
static struct loop_timers *all_timers; /* all queues that are open */

static struct loop_watcher signal_watcher;
static int signal_pipe[2] = {-1, -1};
static void (*signal_handler)(int number);

/* ---- the loop ---- */

int loop_open(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN); /* a log or a socket that is closed must not end the program */
    step_time = now_ms();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return -1;
    return 0;
}

static void free_all(void) {
    while (to_free) {
        struct loop_watcher *w = to_free;
        to_free = w->next_to_free;
        free(w);
    }
}

void loop_step(void) {
    struct epoll_event events[BATCH];
    free_all(); /* the last step's events are handled: none points to this memory any more */
    int count = epoll_wait(epoll_fd, events, BATCH, -1); /* EINTR: -1, no events this time */
    step_time = now_ms();
    for (int i = 0; i < count; i++) {
        struct loop_watcher *w = events[i].data.ptr;
        if (w->on_event) /* else it was closed earlier in this step */
            w->on_event(w, events[i].events);
    }
}

void loop_run(void) {
    while (!stopped)
        loop_step();
}

void loop_stop(void) {
    stopped = 1;
}

void loop_end(void) {
    free_all();
    while (all_timers) {
        close(all_timers->fd);
        all_timers = all_timers->next_opened;
    }
    if (signal_pipe[0] >= 0) {
        close(signal_pipe[0]);
        close(signal_pipe[1]);
        signal_pipe[0] = -1;
    }
    close(epoll_fd);
}

long long loop_now(void) {
    return step_time;
}

/* ---- descriptors ---- */

int loop_watch(struct loop_watcher *w, int fd, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.ptr = w};
    int change = EPOLL_CTL_MOD;
    if (interest == w->interest)
        return 0;
    if (w->interest == 0)
        change = EPOLL_CTL_ADD;
    else if (interest == 0)
        change = EPOLL_CTL_DEL;
    if (epoll_ctl(epoll_fd, change, fd, &event) < 0)
        return -1;
    w->interest = interest;
    return 0;
}

void loop_close(struct loop_watcher *w, int fd) {
    loop_watch(w, fd, 0);
    w->on_event = NULL;
    close(fd);
}

void loop_free(struct loop_watcher *w) {
    w->next_to_free = to_free;
    to_free = w;
}

/* ---- timers ---- */

/* Sets the queue's timerfd to ring in ms milliseconds, at once if that is not in the future. */
static void arm(const struct loop_timers *q, long long ms) {
    struct itimerspec when = {0};
    if (ms > 0) {
        when.it_value.tv_sec = (time_t)(ms / 1000);
        when.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
    } else {
        when.it_value.tv_nsec = 1; /* 0 would mean never (timerfd_settime(2)) */
    }
    timerfd_settime(q->fd, 0, &when, NULL);
}

/* The timerfd was set for the timer that was first then; that one may have moved to the end. */
static void on_timerfd(struct loop_watcher *w, uint32_t events) {
    struct loop_timers *q = (struct loop_timers *)w;
    uint64_t expirations;
    (void)events;
    if (read(q->fd, &expirations, sizeof expirations) < 0)
        return;
    struct loop_timer *first = loop_timers_first(q);
    while (first && first->deadline <= step_time) {
        loop_timer_stop(first);
        q->on_expired(first);
        first = loop_timers_first(q);
    }
    if (first)
        arm(q, first->deadline - step_time);
}

int loop_timers_open(struct loop_timers *q, long long length_ms,
                     void (*on_expired)(struct loop_timer *t)) {
    *q = (struct loop_timers){.length_ms = length_ms, .on_expired = on_expired};
    q->watcher.on_event = on_timerfd;
    q->ring.previous = &q->ring;
    q->ring.next = &q->ring;
    q->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (q->fd < 0)
        return -1;
    q->next_opened = all_timers;
    all_timers = q;
    return loop_watch(&q->watcher, q->fd, EPOLLIN);
}

void loop_timer_start(struct loop_timers *q, struct loop_timer *t) {
    /* If t is the only timer, the timerfd stays set for its old deadline: it rings early, and
     * on_timerfd sets it again. That saves a system call for each restart. */
    if (q->ring.next == &q->ring)
        arm(q, q->length_ms);
    loop_timer_stop(t);
    t->deadline = step_time + q->length_ms;
    t->next = &q->ring;
    t->previous = q->ring.previous;
    t->previous->next = t;
    q->ring.previous = t;
}

void loop_timer_stop(struct loop_timer *t) {
    if (!t->next)
        return;
    t->previous->next = t->next;
    t->next->previous = t->previous;
    t->previous = NULL;
    t->next = NULL;
}

struct loop_timer *loop_timers_first(const struct loop_timers *q) {
    return loop_timers_after(q, &q->ring);
}

struct loop_timer *loop_timers_after(const struct loop_timers *q, const struct loop_timer *t) {
    if (t->next == &q->ring)
        return NULL;
    return t->next;
}

/* ---- signals ---- */

/* A signal handler may interrupt anything, so it may do next to nothing (signal-safety(7)). It
 * writes the signal's number into a pipe, and the loop watches the other end: the self-pipe trick.
 * If the pipe is full, the loop has numbers enough to read. */
static void write_signal(int number) {
    int saved = errno;
    char byte = (char)number;
    ssize_t written = write(signal_pipe[1], &byte, 1);
    (void)written;
    errno = saved;
}

static void on_signal_pipe(struct loop_watcher *w, uint32_t events) {
    char number;
    (void)w;
    (void)events;
    while (read(signal_pipe[0], &number, 1) == 1)
        signal_handler(number);
}

int loop_signals_open(void (*on_signal)(int number)) {
    signal_handler = on_signal;
    signal_watcher.on_event = on_signal_pipe;
    if (pipe2(signal_pipe, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    return loop_watch(&signal_watcher, signal_pipe[0], EPOLLIN);
}

void loop_catch_signal(int number) {
    const struct sigaction action = {.sa_handler = write_signal};
    sigaction(number, &action, NULL);
}
