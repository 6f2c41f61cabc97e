/* linger.c: see linger.h. */
#include "../util.h"
#include "linger.h"
#include <stddef.h>

/* A socket of which only the close is left. */
struct lingerer {
    struct loop_watcher watcher; /* first, so that its address is the lingerer's, too */
    struct loop_timer timer;
    int fd;
};

static struct loop_timers timers; /* one for each lingerer */

static void end(struct lingerer *l) {
    loop_timer_stop(&l->timer);
    loop_close(&l->watcher, l->fd);
    loop_free(&l->watcher);
}

static void on_expired(struct loop_timer *t) {
    end((struct lingerer *)(void *)((char *)t - offsetof(struct lingerer, timer)));
}

/* Discards what has come; ends at the peer's FIN or reset. */
static void on_event(struct loop_watcher *w, uint32_t events) {
    struct lingerer *l = (struct lingerer *)w;
    char ignored[4096];
    (void)events;
    ssize_t n = recv(l->fd, ignored, sizeof ignored, 0);
    if (n > 0)
        return;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    end(l);
}

int linger_open(void) {
    return loop_timers_open(&timers, LINGER_MS, on_expired);
}

void linger_take(struct loop_watcher *w, int fd) {
    struct lingerer *l = NULL;
    if (shutdown(fd, SHUT_WR) == 0)
        l = malloc(sizeof *l);
    if (!l) {
        loop_close(w, fd);
        return;
    }
    loop_watch(w, fd, 0);
    w->on_event = NULL;
    *l = (struct lingerer){.watcher.on_event = on_event, .fd = fd};
    loop_timer_start(&timers, &l->timer);
    if (loop_watch(&l->watcher, fd, EPOLLIN) < 0)
        end(l);
}

int linger_any(void) {
    return loop_timers_first(&timers) != NULL;
}

void linger_end(void) {
    struct loop_timer *t = loop_timers_first(&timers);
    while (t) {
        on_expired(t);
        t = loop_timers_first(&timers);
    }
}
