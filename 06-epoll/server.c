/* 06-epoll/server.c: the line service on an event loop: ten thousand connections in one thread.
 *
 * Teaches: epoll, level-triggered; callbacks: register a descriptor, its events and a handler, and
 *   the loop calls back; timers and signals as events; timeouts whose cost does not grow.
 * New since 05: only the loop (loop.h, accept.h). The connections' part is the same, word for word.
 * Run: ./server -v    and ./load -c 1000 -n 100000
 * Try to break it: ./load -c 10000; 24 descriptors and 60 clients (prlimit --nofile=24 ./server).
 * Still wrong: one core does all the work.
 */
#include "../util.h"
#include "accept.h"
#include "buffer.h"
#include "lines.h"
#include "log.h"
#include "loop.h"
#include <netinet/tcp.h>
#include <stddef.h>

enum { STOP_TICK_MS = 10, STOP_MS = 1500 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9006)\n"
    "  -i SECONDS  close a connection that is idle for this long, or on which a line is not\n"
    "              complete this long after its first byte (60)\n"
    "  -v          log on stderr who connects and who leaves\n";
static const char *address = "127.0.0.1";
static const char *port = "9006";
static int idle_ms = 60000;
static int verbose;

/* A connection. Its buffers exist only while they hold something: a peer that has begun a line, or
 * does not read its replies, costs up to LINES_LIMIT or LINES_REPLIES bytes. Only the number of
 * descriptors limits how many such peers there can be. */
struct conn {
    struct loop_watcher watcher; /* first, so that its address is the connection's, too */
    struct loop_timer timer;
    int fd;
    enum { WANT_READ, WANT_WRITE } want; /* never both: while a reply is stuck, we do not read */
    enum {
        OPEN,
        CLOSING,    /* half-close once the output has drained */
        HALF_CLOSED /* FIN sent: discard input until the peer's FIN */
    } state;
    unsigned in_size, out_size;
    char *in;                 /* a partial line, capacity LINES_LIMIT; or NULL */
    char *out;                /* replies that are not sent yet, at most LINES_REPLIES; or NULL */
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};

/* What a handler returns. Only conn_update and conn_close look at the connection after CLOSE. */
enum verdict { KEEP, CLOSE };

/* Starts the timeout that belongs to the connection's state. */
static void conn_restart_timer(struct conn *c);

/* ---- connections: this part is the same in 05 and 06 ---- */

/* Shared by all connections: they hold nothing between two handlers. */
static char line_buffer[LINES_LIMIT];
static char reply_buffer[LINES_REPLIES];

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        log_line("%s %s", address_text(&c->peer, sizeof c->peer, text), what);
}

/* Logs why the connection ends. Returns CLOSE, for the handler to return. */
static enum verdict conn_end(const struct conn *c, const char *reason) {
    log_peer(c, reason);
    return CLOSE;
}

/* The last reply must not meet a reset: sends FIN, and from then on input is discarded, until the
 * peer's FIN comes or LINGER_MS have passed. */
static void conn_half_close(struct conn *c) {
    shutdown(c->fd, SHUT_WR);
    c->state = HALF_CLOSED;
    conn_restart_timer(c);
}

/* Sends what the kernel takes of data, and keeps the rest in c->out. data may be c->out itself. */
static enum verdict conn_send(struct conn *c, const char *data, size_t size) {
    ssize_t sent = 0;
    if (size > 0)
        sent = send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return conn_end(c, strerror(errno));
    if (sent < 0)
        sent = 0;
    size_t rest = size - (size_t)sent;
    if (buffer_keep(&c->out, rest, data + sent, rest) < 0)
        return conn_end(c, strerror(errno));
    c->out_size = (unsigned)rest;
    c->want = rest > 0 ? WANT_WRITE : WANT_READ;
    if (rest == 0 && c->state == CLOSING)
        conn_half_close(c);
    return KEEP;
}

/* Answers the complete lines of data; keeps a partial line in c->in. data may be c->in itself. */
static enum verdict conn_answer(struct conn *c, const char *data, size_t size) {
    size_t replies_size;
    ssize_t used = lines_answer(data, size, reply_buffer, &replies_size);
    if (!c->in || used != 0) /* more bytes of the same line do not extend its deadline */
        conn_restart_timer(c);
    if (used < 0) {
        c->state = CLOSING;
        used = (ssize_t)size; /* nothing of it matters any more */
    }
    size_t rest = size - (size_t)used;
    if (buffer_keep(&c->in, LINES_LIMIT, data + used, rest) < 0)
        return conn_end(c, strerror(errno));
    c->in_size = (unsigned)rest;
    return conn_send(c, reply_buffer, replies_size);
}

/* Receives once. The replies to all the lines that came leave in one send. */
static enum verdict on_readable(struct conn *c) {
    char *line = c->in ? c->in : line_buffer;
    ssize_t n = recv(c->fd, line + c->in_size, LINES_LIMIT - c->in_size, 0);
    if (n == 0)
        return conn_end(c, "closed");
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return conn_end(c, strerror(errno));
    if (n < 0 || c->state == HALF_CLOSED) /* nothing there; or it comes too late for a reply */
        return KEEP;
    return conn_answer(c, line, c->in_size + (size_t)n);
}

static enum verdict on_writable(struct conn *c) {
    conn_restart_timer(c);
    return conn_send(c, c->out, c->out_size);
}

/* Nothing has happened for too long, or a line was begun and is still not complete: without a
 * deadline for that, one byte now and then would keep a connection for ever. Closes at once if
 * output is stuck or the peer has been told already. */
static enum verdict on_timeout(struct conn *c) {
    const char *refusal = "-idle for too long\n";
    if (c->state != OPEN || c->out)
        return conn_end(c, "timed out");
    if (c->in)
        refusal = "-line not complete in time\n";
    c->state = CLOSING;
    conn_restart_timer(c);
    return conn_send(c, refusal, strlen(refusal));
}

/* ---- the loop ---- */

static struct loop_timers idle_timers, linger_timers, stop_timers;
static struct loop_timer stop_timer; /* the only one in stop_timers */
static long long stop_deadline;      /* on loop_now's clock; 0: nobody has asked us to stop */

/* Returns the connection whose member t is. */
static struct conn *conn_of(struct loop_timer *t) {
    return (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
}

static void conn_restart_timer(struct conn *c) {
    if (c->state == HALF_CLOSED)
        loop_timer_start(&linger_timers, &c->timer);
    else
        loop_timer_start(&idle_timers, &c->timer);
}

/* The only place where a connection is closed. It is freed when no event can point to it. */
static void conn_close(struct conn *c) {
    loop_timer_stop(&c->timer);
    loop_close(&c->watcher, c->fd);
    free(c->in);
    free(c->out);
    loop_free(&c->watcher);
}

/* Does what a handler has decided: closes the connection, or waits for what it wants. */
static void conn_update(struct conn *c, enum verdict verdict) {
    const uint32_t interest = c->want == WANT_WRITE ? EPOLLOUT : EPOLLIN;
    if (verdict == KEEP && loop_watch(&c->watcher, c->fd, interest) < 0)
        verdict = conn_end(c, strerror(errno));
    if (verdict == CLOSE)
        conn_close(c);
}

/* An error or a hang-up is reported by the recv or send that follows. */
static void on_conn_event(struct loop_watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    (void)events;
    if (c->want == WANT_WRITE)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
}

static void on_conn_expired(struct loop_timer *t) {
    struct conn *c = conn_of(t);
    conn_update(c, on_timeout(c));
}

/* Takes over a new, non-blocking socket. Without memory for it, only this connection is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    const int on = 1;
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct conn){.watcher.on_event = on_conn_event, .fd = fd, .peer = *peer};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    log_peer(c, "connected");
    conn_restart_timer(c);
    conn_update(c, KEEP);
}

/* On shutdown, half-closes a connection with no unread input and no pending output. */
static void conn_finish(struct conn *c) {
    char byte;
    if (c->state == OPEN && !c->out && recv(c->fd, &byte, 1, MSG_PEEK) < 0)
        conn_half_close(c);
}

/* From the signal on, every STOP_TICK_MS: stops the loop when all connections are closed, or when
 * the time is up. */
static void on_stop_tick(struct loop_timer *t) {
    struct loop_timer *idle = loop_timers_first(&idle_timers);
    while (idle) {
        struct loop_timer *next = loop_timers_after(&idle_timers, idle);
        conn_finish(conn_of(idle)); /* which may move it to linger_timers */
        idle = next;
    }
    int all_gone = !loop_timers_first(&idle_timers) && !loop_timers_first(&linger_timers);
    if (all_gone || loop_now() >= stop_deadline)
        loop_stop();
    loop_timer_start(&stop_timers, t);
}

static void on_signal(int number) {
    (void)number;
    if (stop_deadline)
        return; /* one is enough */
    accept_stop();
    stop_deadline = loop_now() + STOP_MS;
    on_stop_tick(&stop_timer);
}

static void close_all(const struct loop_timers *timers) {
    struct loop_timer *t = loop_timers_first(timers);
    while (t) {
        log_peer(conn_of(t), "closed: the server stops");
        conn_close(conn_of(t));
        t = loop_timers_first(timers);
    }
}

static void open_loop(int listener) {
    if (loop_open() < 0 || loop_signals_open(on_signal) < 0 ||
        loop_timers_open(&idle_timers, idle_ms, on_conn_expired) < 0 ||
        loop_timers_open(&linger_timers, LINGER_MS, on_conn_expired) < 0 ||
        loop_timers_open(&stop_timers, STOP_TICK_MS, on_stop_tick) < 0 ||
        accept_start(listener, conn_open) < 0)
        die("event loop", errno);
    loop_catch_signal(SIGINT);
    loop_catch_signal(SIGTERM);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        loop_catch_signal(SIGHUP);
}

/* Returns -1: serve; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:i:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'i': idle_ms = 1000 * (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    reset_inherited();
    log_open();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    open_loop(listener);
    announce(listener);
    loop_run();
    close_all(&idle_timers);
    close_all(&linger_timers);
    loop_end();
    return 0;
}
