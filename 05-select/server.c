/* 05-select/server.c: the line service in one thread: whichever connection is ready is served.
 *
 * Teaches: non-blocking sockets; select; a state for each connection instead of a thread; reading
 *   only while no reply is stuck, so that a slow reader takes bounded memory and nobody's time.
 * New since 04: no threads, no locks; handlers that never wait, and record what they want next.
 * Run: ./server -v    and ./client in as many terminals as you like
 * Try to break it: 1,100 clients; a client that never reads; bytes one at a time.
 * Still wrong: descriptors from FD_SETSIZE on do not fit; every call walks all of them (see 06).
 */
#include "../util.h"
#include "buffer.h"
#include "lines.h"
#include "log.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/select.h>

#ifndef __GLIBC__ /* musl's FD_SET computes with unsigned numbers: the compiler would warn of it */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

enum {
    PAUSE_MS = 100,
    STOP_TICK_MS = 10,
    STOP_MS = 1500,
    HOUR_MS = 3600000,
    REFUSALS = 16,                   /* descriptors for clients that are refused */
    CAPACITY = FD_SETSIZE - REFUSALS /* the first descriptor that is not served */
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9005)\n"
    "  -i SECONDS  close a connection that is idle for this long, or on which a line is not\n"
    "              complete this long after its first byte (60)\n"
    "  -v          log on stderr who connects and who leaves\n";
static const char *address = "127.0.0.1";
static const char *port = "9005";
static int idle_ms = 60000;
static int verbose;

/* 0: serve. 1: a signal has asked us to stop; one more for each second since then. Built in 01. */
static volatile sig_atomic_t stop_count;

/* A connection. Its buffers exist only while they hold something: a peer that has begun a line, or
 * does not read its replies, costs up to LINES_LIMIT or LINES_REPLIES bytes. Only the number of
 * descriptors limits how many such peers there can be. */
struct conn {
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
    long long deadline;       /* on now_ms's clock: the timeout of its state */
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

static struct conn *conns[FD_SETSIZE]; /* by descriptor; NULL: none */
static int listener;
static int top;                 /* the highest descriptor; the listener's is the lowest */
static long long accept_after;  /* on now_ms's clock: no descriptors were free */
static long long stop_deadline; /* on now_ms's clock; 0: nobody has asked us to stop */

static void conn_restart_timer(struct conn *c) {
    c->deadline = now_ms();
    if (c->state == HALF_CLOSED)
        c->deadline += LINGER_MS;
    else
        c->deadline += idle_ms;
}

/* The only place where a connection is closed. */
static void conn_close(struct conn *c) {
    conns[c->fd] = NULL;
    while (top > listener && !conns[top])
        top--;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

/* Does what a handler has decided. What the connection wants next, the next select asks for. */
static void conn_update(struct conn *c, enum verdict verdict) {
    if (verdict == CLOSE)
        conn_close(c);
}

/* Takes over a new, non-blocking socket. Without memory for it, only this connection is closed. */
static struct conn *conn_open(int fd, const struct sockaddr_in6 *peer) {
    const int on = 1;
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return NULL;
    }
    *c = (struct conn){.fd = fd, .peer = *peer};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    log_peer(c, "connected");
    conns[fd] = c;
    if (fd > top)
        top = fd;
    conn_restart_timer(c);
    return c;
}

/* A refusal has to linger as any last reply does, so it takes a descriptor, too. */
static enum verdict conn_refuse(struct conn *c) {
    static const char refusal[] = "-too many clients\n";
    c->state = CLOSING;
    return conn_send(c, refusal, sizeof refusal - 1);
}

/* FD_SET(fd) sets bit fd of FD_SETSIZE bits and checks nothing: a larger one would be written past
 * the end. limit_descriptors ensures that there is none. */
static void on_acceptable(void) {
    struct sockaddr_in6 peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            accept_after = now_ms() + PAUSE_MS; /* EMFILE, ENOMEM: clients wait in the backlog */
        return;
    }
    struct conn *c = conn_open(fd, &peer);
    if (c && fd >= CAPACITY)
        conn_update(c, conn_refuse(c));
}

/* On shutdown, half-closes a connection with no pending output. select has reported no input. */
static void conn_finish(struct conn *c) {
    if (c->state == OPEN && !c->out)
        conn_half_close(c);
}

/* Calls the one handler that has something to do. */
static void conn_dispatch(struct conn *c, const fd_set *readable, const fd_set *writable) {
    const int expired = c->deadline <= now_ms();
    if (expired && c->state == HALF_CLOSED)
        conn_update(c, on_timeout(c)); /* first: the peer might go on sending for ever */
    else if (FD_ISSET(c->fd, writable))
        conn_update(c, on_writable(c));
    else if (FD_ISSET(c->fd, readable))
        conn_update(c, on_readable(c));
    else if (expired)
        conn_update(c, on_timeout(c));
    else if (stop_deadline)
        conn_finish(c);
}

/* Puts into the sets what is wanted now: each call of select overwrites them. */
static void fill_sets(fd_set *readable, fd_set *writable) {
    FD_ZERO(readable);
    FD_ZERO(writable);
    if (!stop_deadline && accept_after <= now_ms())
        FD_SET(listener, readable);
    for (int fd = 0; fd <= top; fd++) {
        if (!conns[fd])
            continue;
        if (conns[fd]->want == WANT_READ)
            FD_SET(fd, readable);
        else
            FD_SET(fd, writable);
    }
}

/* Returns how many milliseconds select may wait until the next thing has to be done. */
static long long next_timeout(void) {
    const long long now = now_ms();
    long long next = now + HOUR_MS;
    if (stop_deadline)
        next = now + STOP_TICK_MS;
    if (!stop_deadline && accept_after > now && accept_after < next)
        next = accept_after;
    for (int fd = 0; fd <= top; fd++) {
        if (conns[fd] && conns[fd]->deadline < next)
            next = conns[fd]->deadline;
    }
    return next > now ? next - now : 0;
}

/* A handler closes only its own connection, and accept comes last: so no new connection can have a
 * descriptor that select has reported for another one. */
static void loop_step(void) {
    fd_set readable, writable;
    fill_sets(&readable, &writable);
    const long long ms = next_timeout();
    struct timeval timeout = {.tv_sec = (time_t)(ms / 1000),
                              .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    if (select(top + 1, &readable, &writable, NULL, &timeout) < 0)
        return; /* EINTR: the sets say nothing */
    for (int fd = 0; fd <= top; fd++) {
        if (conns[fd])
            conn_dispatch(conns[fd], &readable, &writable);
    }
    if (!stop_deadline && FD_ISSET(listener, &readable))
        on_acceptable();
}

/* Serves until a signal comes. (A signal between the test of stop_count and select does not
 * interrupt select; the alarm a second later does.) Then answers what has arrived, until all are
 * done or STOP_MS have passed. */
static void loop_run(void) {
    while (!stop_count)
        loop_step();
    close(listener);
    stop_deadline = now_ms() + STOP_MS;
    stop_deadline -= 1000LL * (stop_count - 1); /* each alarm has counted a second that is over */
    while (top > listener && now_ms() < stop_deadline)
        loop_step();
    while (top > listener) {
        log_peer(conns[top], "cut off: the server stops");
        conn_close(conns[top]);
    }
}

/* Written out in 01. */
static void on_stop_signal(int signal_number) {
    if (signal_number == SIGALRM && stop_count == 0)
        return; /* nobody has asked to stop: this alarm is not ours */
    if (signal_number != SIGALRM && stop_count > 0)
        return; /* asked again: the alarm that is already set must not be delayed */
    stop_count = stop_count + 1;
    alarm(1);
}

static void catch_signals(void) {
    const struct sigaction action = {.sa_handler = on_stop_signal}; /* no SA_RESTART: see 01 */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the server */
}

/* Allows as many descriptors as the user may have (getrlimit(2)) and as fit into an fd_set. */
static void limit_descriptors(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < FD_SETSIZE ? files.rlim_max : FD_SETSIZE;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("setrlimit", errno);
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
    catch_signals();
    limit_descriptors();
    listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    top = listener;
    set_nonblocking(listener);
    announce(listener);
    loop_run();
    return 0;
}
