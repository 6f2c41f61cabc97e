/* accept.c: see accept.h. */
#include "../util.h"
#include "accept.h"
#include "loop.h"

enum { BATCH = 64, PAUSE_MS = 100 };

static struct loop_watcher watcher;
static int listening_fd = -1; /* -1: stopped */
static void (*connection_handler)(int fd, const struct sockaddr_in6 *peer);
static struct loop_timers pauses;
static struct loop_timer pause_timer; /* the only one in pauses */

/* Waits for connections again; if there is no memory for that, tries after another pause. */
static void resume(struct loop_timer *t) {
    if (listening_fd >= 0 && loop_watch(&watcher, listening_fd, EPOLLIN) < 0)
        loop_timer_start(&pauses, t);
}

/* Stops accepting for PAUSE_MS. The listener stays readable, so without a pause the loop would
 * spin. */
static void pause_accepting(void) {
    loop_watch(&watcher, listening_fd, 0);
    loop_timer_start(&pauses, &pause_timer);
}

/* Accepts one connection. Returns 0; or -1 if no more can be accepted now. */
static int accept_one(void) {
    struct sockaddr_in6 peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listening_fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        connection_handler(fd, &peer);
        return 0;
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return 0; /* a signal, or a client that has gone already: the next one may be there */
    if (errno != EAGAIN)
        pause_accepting(); /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
    return -1;
}

/* Accepts up to BATCH connections, so that other events get their turn. */
static void on_acceptable(struct loop_watcher *w, uint32_t events) {
    (void)w;
    (void)events;
    for (int i = 0; i < BATCH; i++) {
        if (accept_one() < 0)
            return;
    }
}

int accept_start(int listener, void (*on_connection)(int fd, const struct sockaddr_in6 *peer)) {
    listening_fd = listener;
    connection_handler = on_connection;
    watcher.on_event = on_acceptable;
    if (set_nonblocking(listener) < 0)
        return -1;
    if (loop_timers_open(&pauses, PAUSE_MS, resume) < 0)
        return -1;
    resume(&pause_timer);
    return 0;
}

void accept_stop(void) {
    loop_timer_stop(&pause_timer);
    loop_close(&watcher, listening_fd);
    listening_fd = -1;
}
