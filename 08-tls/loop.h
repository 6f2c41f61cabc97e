/* loop.h: an event loop on epoll(7): one thread waits for all descriptors at once.
 *
 * To wait for a descriptor, register it with the events that you want and a handler. loop_step
 * waits until something happens, and calls the handlers of the descriptors on which it happened,
 * one after the other; loop_run does so until loop_stop is called.
 *
 * Rules:
 * - A handler never waits. While it runs, no other descriptor is served.
 * - A handler may register, change and close any watcher, its own too.
 * - Close a registered descriptor with loop_close, never with close(2): a duplicate of it (dup(2),
 *   fork(2)) would keep the registration alive, and events would come for memory that is freed.
 * - Free what a watcher belongs to with loop_free: epoll may have reported an event for it together
 *   with the one that led to its end (a stale event).
 * - Functions that can fail return -1 with errno. */
#pragma once
#include <stdint.h>
#include <sys/epoll.h>

/* The registration of one descriptor: the first member of what it belongs to. */
struct loop_watcher {
    /* The handler. events: which of EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP have come. EPOLLERR and
     * EPOLLHUP come unasked; the handler's next recv or send tells the reason. NULL: closed. */
    void (*on_event)(struct loop_watcher *w, uint32_t events);
    struct loop_watcher *next_to_free;
    uint32_t interest; /* EPOLLIN, EPOLLOUT or both; 0: not registered */
};

/* One running timer, a member of what it belongs to. */
struct loop_timer {
    struct loop_timer *previous, *next; /* NULL: not running */
    long long deadline;                 /* on now_ms's clock */
};

/* Timers of equal length expire in the order in which they started, so a FIFO and one timerfd(2)
 * are enough for any number of them; restarting one moves it to the end. */
struct loop_timers {
    struct loop_watcher watcher;
    struct loop_timers *next_opened;
    int fd;
    long long length_ms;
    struct loop_timer ring; /* next: the first to expire, previous: the last; itself: none runs */
    void (*on_expired)(struct loop_timer *t);
};

/* Makes the loop, one for each program, and raises the soft limit of descriptors to the hard one
 * (getrlimit(2)). Returns 0, or -1: epoll_create1(2). */
int loop_open(void);

/* Waits for events and calls their handlers. */
void loop_step(void);

/* Calls loop_step until loop_stop has been called. */
void loop_run(void);

/* Lets loop_run return after the current step. */
void loop_stop(void);

/* Frees what was given to loop_free, and closes what the loop and its timers hold. The other
 * descriptors are their owners' to close. */
void loop_end(void);

/* The time of the current step, on now_ms's clock: the same for all of its events. */
long long loop_now(void);

/* ---- descriptors ---- */

/* Sets the interest in fd, which w registers: EPOLLIN, EPOLLOUT, both, or 0 to remove it. No system
 * call if nothing changes. Returns 0, or -1: epoll_ctl(2), ENOMEM or ENOSPC. */
int loop_watch(struct loop_watcher *w, int fd, uint32_t interest);

/* Removes the registration, then closes fd. No handler of w is called any more. */
void loop_close(struct loop_watcher *w, int fd);

/* Frees the memory that begins with w, which came from malloc(3), when no event can point to it any
 * more. Call loop_close before. */
void loop_free(struct loop_watcher *w);

/* ---- timers ---- */

/* Makes q ready for timers of length_ms milliseconds, and has on_expired called for each that
 * expires; it is not running any more then. Returns 0, or -1: timerfd_create(2). */
int loop_timers_open(struct loop_timers *q, long long length_ms,
                     void (*on_expired)(struct loop_timer *t));

/* Starts t, or starts it again; it may have been running in another queue. */
void loop_timer_start(struct loop_timers *q, struct loop_timer *t);

/* Stops t, if it runs. */
void loop_timer_stop(struct loop_timer *t);

/* Returns the timer of q that expires first, or the one that expires after t; NULL if there is
 * none. */
struct loop_timer *loop_timers_first(const struct loop_timers *q);
struct loop_timer *loop_timers_after(const struct loop_timers *q, const struct loop_timer *t);

/* ---- signals ---- */

/* Has on_signal called in the loop, as events have their handlers called, with the number of each
 * signal that loop_catch_signal names. Returns 0, or -1: pipe2(2). */
int loop_signals_open(void (*on_signal)(int number));

/* Catches a signal from now on. System calls that it interrupts fail with EINTR (no SA_RESTART). */
void loop_catch_signal(int number);
