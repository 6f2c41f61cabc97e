/* 06-epoll/server.c: the line service on an event loop: ten thousand connections in one thread.
 *
 * Teaches: epoll, level-triggered; callbacks: register a descriptor, its events and a handler, and
 *   the loop (loop.h) calls back; timers and signals as events; timeouts whose cost does not grow.
 * New since 05: only the loop. The connections' part is the same, word for word.
 * Run: ./server -v    and ./client -c 1000 -n 100000
 * Try to break it: ./client -c 10000; 24 descriptors and 60 clients (prlimit --nofile=24 ./server).
 * Still wrong: one core does it all.
 */
#include "lines.h"
#include "loop.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { PAUSE_MS = 100, TICK_MS = 10, STOP_MS = 1500, ACCEPTS = 64 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9006)\n"
    "  -i SECONDS  close a connection on which nothing happened for that long (60)\n"
    "  -v          say on stderr who comes and goes\n";
static int listener, signal_fd, idle_ms = 60000, verbose;
static long long stop_at; /* 0: serve; else finish what is owed until then, by now_ms */

struct conn { /* its buffers exist only while they hold something */
    struct watcher watcher;
    struct timeout timeout;
    int fd;
    enum { WANT_READ, WANT_WRITE } want; /* never both: while a reply is stuck, we do not read */
    enum { OPEN, LAST_WORDS, HALF_CLOSED } state; /* half-close once out is empty; that is done */
    unsigned in_size, out_size;
    char *in;                 /* the beginning of a line, room for LINE_LIMIT bytes; or NULL */
    char *out;                /* owed, at most REPLY_ROOM bytes; or NULL */
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};
static int loop_add(struct conn *c);              /* starts to watch it; -1: no room */
static void loop_forget(struct conn *c);          /* closed: lets go of it */
static void loop_restart_timeout(struct conn *c); /* something has happened on it */

/* ---- connections: this part is the same in 05 and 06 ---- */

static char line_room[LINE_LIMIT], reply_room[REPLY_ROOM]; /* shared: empty between two handlers */

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        fprintf(stderr, "%s %s\n", address_text(&c->peer, sizeof c->peer, text), what);
}

/* After this c is no more: the handler that calls it does so last. */
static void conn_close(struct conn *c, const char *how) {
    log_peer(c, how);
    close(c->fd);
    free(c->in);
    free(c->out);
    loop_forget(c);
}

/* Takes over a new, non-blocking socket. Without memory for it, it alone is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct conn){.fd = fd, .peer = *peer};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    log_peer(c, "connected");
    if (loop_add(c) < 0)
        conn_close(c, strerror(errno));
}

/* The last reply must not meet a reset: send FIN, then discard until the peer's, or LINGER_MS. */
static void conn_half_close(struct conn *c) {
    shutdown(c->fd, SHUT_WR);
    c->state = HALF_CLOSED;
    loop_restart_timeout(c);
}

/* Sends what the kernel takes of data and keeps the rest. Calls conn_close at an error. */
static void conn_send(struct conn *c, const char *data, size_t size) {
    ssize_t n = size ? send(c->fd, data, size, MSG_NOSIGNAL) : 0;
    int failed = n < 0 && errno != EAGAIN && errno != EINTR;
    c->out_size = (unsigned)(n > 0 ? size - (size_t)n : size);
    c->want = c->out_size ? WANT_WRITE : WANT_READ;
    if (failed || keep_rest(&c->out, c->out_size, data + size - c->out_size, c->out_size) < 0)
        conn_close(c, strerror(errno));
    else if (!c->out && c->state == LAST_WORDS)
        conn_half_close(c);
}

/* One recv, and one send of all replies to it. */
static void on_readable(struct conn *c) {
    char *room = c->in ? c->in : line_room;
    size_t replies;
    ssize_t n = recv(c->fd, room + c->in_size, LINE_LIMIT - c->in_size, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(c, n == 0 ? "closed" : strerror(errno));
    if (n <= 0 || c->state == HALF_CLOSED) /* closed; nothing there; nobody to read it */
        return;
    loop_restart_timeout(c);
    size_t size = c->in_size + (size_t)n;
    ssize_t used = answer_lines(room, size, reply_room, &replies);
    c->state = used < 0 ? LAST_WORDS : OPEN;
    c->in_size = used < 0 ? 0 : (unsigned)(size - (size_t)used);
    if (keep_rest(&c->in, LINE_LIMIT, room + size - c->in_size, c->in_size) < 0)
        conn_close(c, strerror(errno));
    else
        conn_send(c, reply_room, replies);
}

static void on_writable(struct conn *c) {
    loop_restart_timeout(c);
    conn_send(c, c->out, c->out_size);
}

/* Nothing has happened for too long. Who does not read, or has been told, is told no more. */
static void on_timeout(struct conn *c) {
    static const char refusal[] = "-idle for too long\n";
    if (c->state == HALF_CLOSED || c->out) {
        conn_close(c, "timed out");
    } else {
        c->state = LAST_WORDS;
        loop_restart_timeout(c);
        conn_send(c, refusal, sizeof refusal - 1);
    }
}

/* ---- the loop ---- */

static struct timeouts idle, linger, pause_accept, tick;
static struct timeout resume, look; /* the only ones in pause_accept and in tick */

static struct conn *conn_of(struct timeout *t) {
    return (struct conn *)(void *)((char *)t - offsetof(struct conn, timeout));
}

/* Grants a handler's wish, unless the handler has closed the connection. */
static void loop_heed(struct conn *c) {
    uint32_t wish = c->want == WANT_WRITE ? EPOLLOUT : EPOLLIN;
    if (c->watcher.on_event && loop_watch(&c->watcher, c->fd, wish) < 0)
        conn_close(c, strerror(errno));
}

static void on_conn_event(struct watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    (void)events; /* an error or a hang-up is what recv or send will report */
    c->want == WANT_WRITE ? on_writable(c) : on_readable(c);
    loop_heed(c);
}

static void on_conn_timeout(struct timeout *t) {
    on_timeout(conn_of(t));
    loop_heed(conn_of(t));
}

static int loop_add(struct conn *c) {
    c->watcher.on_event = on_conn_event;
    loop_restart_timeout(c);
    return loop_watch(&c->watcher, c->fd, EPOLLIN);
}

static void loop_forget(struct conn *c) {
    timeout_cancel(&c->timeout);
    loop_release(&c->watcher);
}

static void loop_restart_timeout(struct conn *c) {
    timeout_restart(c->state == HALF_CLOSED ? &linger : &idle, &c->timeout);
}

/* Several at a time: when many come at once, one a wake-up would be slow; but not without limit. */
static void on_acceptable(struct watcher *w, uint32_t events) {
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_in6 peer;
        socklen_t size = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(fd, &peer);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) { /* no descriptors, no memory: who comes waits in the backlog */
                loop_watch(w, listener, 0);
                timeout_restart(&pause_accept, &resume);
            }
            return;
        }
    }
}
static struct watcher accepting = {.on_event = on_acceptable};

static void on_resume(struct timeout *t) {
    if (!stop_at && loop_watch(&accepting, listener, EPOLLIN) < 0)
        timeout_restart(&pause_accept, t); /* no memory for it: once more, later */
}

/* Asked to stop: who has nothing more to say, and is owed nothing, is half-closed. */
static void on_tick(struct timeout *t) {
    char byte;
    for (struct timeout *i = idle.ring.next, *next; i != &idle.ring; i = next) {
        struct conn *c = conn_of(i);
        next = i->next;
        if (c->state == OPEN && !c->out && recv(c->fd, &byte, 1, MSG_PEEK) < 0)
            conn_half_close(c);
    }
    loop_stopped = (!timeouts_first(&idle) && !timeouts_first(&linger)) || loop_now >= stop_at;
    timeout_restart(&tick, t);
}

static void on_signal(struct watcher *w, uint32_t events) {
    (void)events;
    loop_watch(w, signal_fd, 0); /* one is enough */
    close(listener);
    stop_at = loop_now + STOP_MS;
    on_tick(&look);
}
static struct watcher signals = {.on_event = on_signal};

static void serve(void) {
    struct timeout *left;
    loop_open();
    signal_fd = loop_watch_signals(&signals, SIGINT, SIGTERM);
    timeouts_open(&idle, idle_ms, on_conn_timeout);
    timeouts_open(&linger, LINGER_MS, on_conn_timeout);
    timeouts_open(&pause_accept, PAUSE_MS, on_resume);
    timeouts_open(&tick, TICK_MS, on_tick);
    on_resume(&resume);
    announce(listener);
    loop_run();
    while ((left = timeouts_first(&idle)) || (left = timeouts_first(&linger)))
        conn_close(conn_of(left), "closed: we are to stop");
    loop_close();
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9006";
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:i:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'i': idle_ms = 1000 * (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    set_nonblocking(listener);
    serve();
    return 0;
}
