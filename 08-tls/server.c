/* 08-tls/server.c: the line service over TLS: nobody in between can read or change a line.
 *
 * Teaches: certificates and keys; a handshake that makes nobody wait; reads that wait until they
 *   can write; an end that nobody can fake; clients' certificates (mutual TLS); renewing them.
 * New since 06: each connection has an SSL object, which reads and writes the socket and says what
 *   it waits for (tls.h); closed sockets linger in a part of its own (linger.h).
 * Run: ./server -v    and ./client hello    or openssl s_client -connect localhost:9008
 * Try to break it: nc localhost 9008, and wait, or type; ./server -v -C certs/ca.pem and ./client.
 */
#include "../util.h"
#include "accept.h"
#include "buffer.h"
#include "linger.h"
#include "lines.h"
#include "log.h"
#include "loop.h"
#include "tls.h"
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stddef.h>

enum { STOP_TICK_MS = 10, STOP_MS = 1500 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-c CERT] [-k KEY] [-C CA] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9008)\n"
    "  -c CERT     file with the server's certificate, followed by the rest of its chain (made by\n"
    "              make certs)\n"
    "  -k KEY      file with its private key (made by make certs)\n"
    "  -C CA       require a certificate of each client, signed by an authority in this file\n"
    "  -i SECONDS  close a connection that is idle for this long, or on which a line is not\n"
    "              complete this long after its first byte (60)\n"
    "  -v          log on stderr who connects and who leaves, and which handshakes fail\n"
    "On SIGHUP it loads the files again, for new connections.\n";
static const char *address = "127.0.0.1";
static const char *port = "9008";
static const char *certificate = CERTS "/server.pem";
static const char *key = CERTS "/server.key";
static const char *ca; /* NULL: clients need no certificate */
static int idle_ms = 60000;
static int verbose;

static SSL_CTX *settings; /* for new connections: open ones keep those that they began with */

/* A connection. Its buffers exist only while they hold something: a peer that has begun a line
 * costs up to LINES_LIMIT bytes, one that does not read its replies up to LINES_REPLIES. Only the
 * number of descriptors limits how many such peers there can be. */
struct conn {
    struct loop_watcher watcher; /* first, so that its address is the connection's, too */
    struct loop_timer timer;
    int fd;
    short interest; /* POLLIN or POLLOUT: what the last call with tls waits for */
    enum {
        HANDSHAKE,
        OPEN,
        CLOSING /* send close_notify once the output has drained */
    } state;
    unsigned in_size, out_size;
    SSL *tls;
    char *in;                 /* a partial line, capacity LINES_LIMIT; or NULL */
    char *out;                /* replies that are not sent yet, at most LINES_REPLIES; or NULL */
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "epoll names these events as poll does");

/* What a handler returns. Only conn_update and conn_close look at the connection after CLOSE. */
enum verdict { KEEP, CLOSE };

/* Starts the timeout that belongs to the connection's state. */
static void conn_restart_timer(struct conn *c);

/* ---- connections ---- */

/* Shared by all connections: these buffers hold nothing between two handlers. */
static char line_buffer[LINES_LIMIT];
static char reply_buffer[LINES_REPLIES];

static void log_peer(const struct conn *c, const char *what) {
    const char *during = "";
    char text[ADDRESS_TEXT];
    if (c->state == HANDSHAKE)
        during = "handshake: ";
    if (verbose)
        log_line("%s %s%s", address_text(&c->peer, sizeof c->peer, text), during, what);
}

/* Logs why the connection ends. Returns CLOSE, for the handler to return. */
static enum verdict conn_end(const struct conn *c, const char *reason) {
    log_peer(c, reason);
    return CLOSE;
}

/* A call with c->tls has returned n and is not done: has it made again when the socket is ready for
 * c->interest. Ends the connection if the call can never be done. */
static enum verdict conn_wait(struct conn *c, int n) {
    const char *why;
    c->interest = tls_interest(c->tls, n, &why);
    if (c->interest == 0)
        return conn_end(c, why);
    return KEEP;
}

/* Sends close_notify, so that the peer knows that nothing is missing. */
static enum verdict conn_shutdown(struct conn *c) {
    c->state = CLOSING;
    ERR_clear_error();
    int n = SSL_shutdown(c->tls);
    if (n < 0)
        return conn_wait(c, n);
    return conn_end(c, "closed");
}

/* Sends data, or keeps all of it in c->out: SSL_write needs the same bytes again, until it has sent
 * them all. data may be c->out itself. */
static enum verdict conn_send(struct conn *c, const char *data, size_t size) {
    int n = 1;
    if (size > 0) {
        ERR_clear_error();
        n = SSL_write(c->tls, data, (int)size);
    }
    if (n <= 0 && conn_wait(c, n) == CLOSE)
        return CLOSE;
    const size_t rest = n > 0 ? 0 : size;
    if (buffer_keep(&c->out, rest, data, rest) < 0)
        return conn_end(c, strerror(errno));
    c->out_size = (unsigned)rest;
    if (rest == 0 && c->state == CLOSING)
        return conn_shutdown(c);
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
        used = (ssize_t)size; /* after a refusal, the input does not matter any more */
    }
    size_t rest = size - (size_t)used;
    if (buffer_keep(&c->in, LINES_LIMIT, data + used, rest) < 0)
        return conn_end(c, strerror(errno));
    c->in_size = (unsigned)rest;
    return conn_send(c, reply_buffer, replies_size);
}

/* Reads at most one record; all replies to it leave in as few records as possible. If the buffer is
 * too small for the record, OpenSSL keeps the rest, which epoll does not know of. Then the interest
 * is POLLOUT, which comes at once, and the next call reads the rest. */
static enum verdict on_readable(struct conn *c) {
    char *line = c->in ? c->in : line_buffer;
    ERR_clear_error();
    int n = SSL_read(c->tls, line + c->in_size, (int)(LINES_LIMIT - c->in_size));
    if (n <= 0 && SSL_get_error(c->tls, n) == SSL_ERROR_ZERO_RETURN)
        return conn_shutdown(c);
    if (n <= 0)
        return conn_wait(c, n);
    c->interest = SSL_pending(c->tls) > 0 ? POLLOUT : POLLIN;
    return conn_answer(c, line, c->in_size + (size_t)n);
}

/* Sends what is pending. After that the connection reads again at once, because OpenSSL may hold
 * input that was not read while the output was stuck. */
static enum verdict on_writable(struct conn *c) {
    conn_restart_timer(c);
    c->interest = POLLOUT;
    return conn_send(c, c->out, c->out_size);
}

/* One step of the handshake. */
static enum verdict on_handshake(struct conn *c) {
    ERR_clear_error();
    int n = SSL_do_handshake(c->tls);
    if (n != 1)
        return conn_wait(c, n);
    c->state = OPEN;
    c->interest = POLLIN;
    conn_restart_timer(c);
    log_peer(c, tls_describe(c->tls));
    return KEEP;
}

/* Nothing has happened for too long, or a partial line is still not complete: without a deadline
 * for that, one byte now and then would keep a connection for ever. Closes at once if output is
 * stuck, the peer has been told already, or the handshake is not done. */
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

static struct loop_timers handshake_timers, idle_timers, stop_timers;
static struct loop_timer stop_timer; /* the only one in stop_timers */
static long long stop_deadline;      /* on loop_now's clock; 0: nobody has asked us to stop */

/* Returns the connection whose member t is. */
static struct conn *conn_of(struct loop_timer *t) {
    return (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
}

/* The timer of a handshake is started once, so TLS_HANDSHAKE_MS is the limit for all of it. */
static void conn_restart_timer(struct conn *c) {
    if (c->state == HANDSHAKE)
        loop_timer_start(&handshake_timers, &c->timer);
    else
        loop_timer_start(&idle_timers, &c->timer);
}

/* The only place where a connection is closed. It is freed when no event can point to it. */
static void conn_close(struct conn *c) {
    loop_timer_stop(&c->timer);
    linger_take(&c->watcher, c->fd);
    SSL_free(c->tls);
    free(c->in);
    free(c->out);
    loop_free(&c->watcher);
}

/* Does what a handler has decided: closes the connection, or waits for what its last call needs. */
static void conn_update(struct conn *c, enum verdict verdict) {
    const uint32_t interest = (uint32_t)c->interest;
    if (verdict == KEEP && loop_watch(&c->watcher, c->fd, interest) < 0)
        verdict = conn_end(c, strerror(errno));
    if (verdict == CLOSE)
        conn_close(c);
}

/* Dispatches on the state, not on the event: a read may have waited until it could write. An error
 * or a hang-up is reported by the call that follows. */
static void on_conn_event(struct loop_watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    (void)events;
    tls_renew_reads();
    if (c->state == HANDSHAKE)
        conn_update(c, on_handshake(c));
    else if (c->state == CLOSING || c->out)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
}

static void on_conn_expired(struct loop_timer *t) {
    struct conn *c = conn_of(t);
    conn_update(c, on_timeout(c));
}

/* Returns an SSL object that is to shake hands as a server on fd; NULL: no memory. */
static SSL *new_tls(int fd) {
    SSL *tls = SSL_new(settings);
    if (!tls || SSL_set_fd(tls, fd) != 1) {
        SSL_free(tls);
        return NULL;
    }
    SSL_set_accept_state(tls);
    tls_limit_reads(tls);
    return tls;
}

/* Takes over a new, non-blocking socket. Without memory for it, only this connection is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    const int on = 1;
    struct conn *c = malloc(sizeof *c);
    SSL *tls = new_tls(fd);
    if (!c || !tls) {
        free(c);
        SSL_free(tls);
        close(fd);
        return;
    }
    *c = (struct conn){.watcher.on_event = on_conn_event, .fd = fd, .tls = tls, .peer = *peer};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->interest = POLLIN;
    conn_restart_timer(c);
    conn_update(c, KEEP);
}

/* On shutdown, sends close_notify if the peer has sent nothing more and no output is pending. */
static enum verdict conn_finish(struct conn *c) {
    char byte;
    if (c->state != OPEN || c->interest != POLLIN || c->out)
        return KEEP;
    if (recv(c->fd, &byte, 1, MSG_PEEK) < 0)
        return conn_shutdown(c);
    return KEEP;
}

/* Runs every STOP_TICK_MS after the signal. Stops the loop when all connections are closed, or at
 * the deadline. */
static void on_stop_tick(struct loop_timer *t) {
    struct loop_timer *idle = loop_timers_first(&idle_timers);
    while (idle) {
        struct loop_timer *next = loop_timers_after(&idle_timers, idle);
        struct conn *c = conn_of(idle);
        conn_update(c, conn_finish(c));
        idle = next;
    }
    int all_gone = !loop_timers_first(&idle_timers) && !linger_any();
    if (all_gone || loop_now() >= stop_deadline)
        loop_stop();
    loop_timer_start(&stop_timers, t);
}

static void close_all(const struct loop_timers *timers) {
    struct loop_timer *t = loop_timers_first(timers);
    while (t) {
        log_peer(conn_of(t), "closed: the server stops");
        conn_close(conn_of(t));
        t = loop_timers_first(timers);
    }
}

/* Stops accepting, and drops clients that are in their handshake: they have sent no line yet. */
static void begin_stop(void) {
    accept_stop();
    close_all(&handshake_timers);
    stop_deadline = loop_now() + STOP_MS;
    on_stop_tick(&stop_timer);
}

/* Loads the files again. If anything is wrong with them, nothing changes. */
static void reload(void) {
    const char *why;
    SSL_CTX *loaded = tls_context(TLS_server_method(), certificate, key, ca, &why);
    if (!loaded) {
        log_line("server: %s", why);
        return;
    }
    SSL_CTX_free(settings); /* connections that use the old ones keep them alive */
    settings = loaded;
    log_line("server: loaded the certificate again");
}

static void on_signal(int number) {
    if (number == SIGHUP)
        reload();
    else if (!stop_deadline) /* further signals change nothing */
        begin_stop();
}

static void open_loop(int listener) {
    if (loop_open() < 0 || loop_signals_open(on_signal) < 0 || linger_open() < 0 ||
        loop_timers_open(&handshake_timers, TLS_HANDSHAKE_MS, on_conn_expired) < 0 ||
        loop_timers_open(&idle_timers, idle_ms, on_conn_expired) < 0 ||
        loop_timers_open(&stop_timers, STOP_TICK_MS, on_stop_tick) < 0 ||
        accept_start(listener, conn_open) < 0)
        die("event loop", errno);
    loop_catch_signal(SIGINT);
    loop_catch_signal(SIGTERM);
    loop_catch_signal(SIGHUP);
}

/* Returns -1: serve; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:c:k:C:i:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'C': ca = optarg; break;
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
    char what[WHY_TEXT];
    const char *why;
    reset_inherited();
    log_open();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    settings = tls_context(TLS_server_method(), certificate, key, ca, &why);
    if (!settings)
        die(why, 0);
    int listener = listen_on(address, port, what);
    if (listener < 0)
        die(what, errno);
    open_loop(listener);
    announce(listener);
    loop_run();
    close_all(&idle_timers);
    linger_end();
    loop_end();
    SSL_CTX_free(settings);
    return 0;
}
