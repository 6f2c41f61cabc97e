/* 08-tls/server.c: the line service over TLS: nobody in between can read a line, or change it.
 *
 * Teaches: certificates and keys; a handshake that holds nobody up; reads that wait until one can
 *   write; an end that nobody can fake; certificates of clients (mutual TLS), and renewed ones.
 * New since 06: each connection has an SSL object that reads and writes its socket. It says what it
 *   waits for, and the loop grants it. (listen.h accepts now, and loop.h lingers.)
 * Run: ./server -v    and ./client hello    or openssl s_client -connect localhost:9008
 * Try to break it: nc localhost 9008, and wait, or type; ./server -v -C certs/ca.pem and ./client.
 */
#include "lines.h"
#include "listen.h"
#include "tls.h"

enum { TICK_MS = 10, STOP_MS = 1500 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-c CERT] [-k KEY] [-C CA] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9008)\n"
    "  -c CERT     file with the server's certificate, then what its chain needs (that of make)\n"
    "  -k KEY      file with its private key\n"
    "  -C CA       demand of clients a certificate signed by one of those in this file\n"
    "  -i SECONDS  close a connection on which nothing happened for that long (60)\n"
    "  -v          say on stderr who comes and goes, and which handshakes fail\n"
    "SIGHUP makes it load the files again, for new connections.\n";
static const char *certificate = CERTS "/server.pem", *key = CERTS "/server.key", *ca;
static SSL_CTX *settings; /* for new connections: one that is there keeps those it has */
static int idle_ms = 60000, verbose;
static long long stop_at; /* 0: serve; else finish what is owed until then, by now_ms */
static struct timeouts handshake, idle, tick;
static struct timeout look; /* the only one in tick */

struct conn { /* its buffers exist only while they hold something */
    struct watcher watcher;
    struct timeout timeout;
    int fd;
    short want; /* what the last call with tls waits for: POLLIN or POLLOUT */
    enum { HANDSHAKE, OPEN, LAST_WORDS } state; /* the last: the end as soon as out is empty */
    unsigned in_size, out_size;
    SSL *tls;
    char *in;  /* the beginning of a line, room for LINE_LIMIT bytes; or NULL */
    char *out; /* owed, at most REPLY_ROOM bytes: we do not read until sent; or NULL */
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};
static char line_room[LINE_LIMIT], reply_room[REPLY_ROOM]; /* shared: empty between two handlers */

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        fprintf(stderr, "%s %s%s\n", address_text(&c->peer, sizeof c->peer, text),
                c->state == HANDSHAKE ? "handshake: " : "", what);
}

/* After this c is no more: the handler that calls it does so last. The socket lingers, or a reset
 * might destroy the last reply, the alert or the close_notify on its way. */
static void conn_close(struct conn *c, const char *how) {
    log_peer(c, how);
    loop_linger_close(&c->watcher, c->fd);
    SSL_free(c->tls);
    free(c->in);
    free(c->out);
    timeout_cancel(&c->timeout);
    loop_release(&c->watcher);
}

/* A call with c->tls returned n: make it again when the socket is ready for c->want; or never. */
static void conn_wait(struct conn *c, int n) {
    const char *why;
    c->want = tls_wish(c->tls, n, &why);
    if (!c->want)
        conn_close(c, why);
}

/* Sends close_notify, so that the peer knows: this was all. */
static void conn_end(struct conn *c) {
    c->state = LAST_WORDS;
    int n = (ERR_clear_error(), SSL_shutdown(c->tls));
    n < 0 ? conn_wait(c, n) : conn_close(c, "closed");
}

/* Sends data, or keeps it: OpenSSL has to be given the same again until all of it is sent. */
static void conn_send(struct conn *c, const char *data, size_t size) {
    int n = (ERR_clear_error(), size ? SSL_write(c->tls, data, (int)size) : 1);
    c->out_size = n > 0 ? 0 : (unsigned)size;
    if (keep_rest(&c->out, size, data, c->out_size) < 0)
        conn_close(c, strerror(errno));
    else if (n <= 0)
        conn_wait(c, n);
    else if (c->state == LAST_WORDS)
        conn_end(c);
}

/* One record, and one of all replies to it. If there was no room for all of it, epoll knows nothing
 * of the rest, which OpenSSL holds: then wait until one can write, which is at once. */
static void on_readable(struct conn *c) {
    char *room = c->in ? c->in : line_room;
    size_t size = c->in_size, replies;
    int n = (ERR_clear_error(), SSL_read(c->tls, room + size, (int)(LINE_LIMIT - size)));
    if (n <= 0) {
        SSL_get_error(c->tls, n) == SSL_ERROR_ZERO_RETURN ? conn_end(c) : conn_wait(c, n);
        return;
    }
    timeout_restart(&idle, &c->timeout);
    c->want = SSL_pending(c->tls) ? POLLOUT : POLLIN;
    size += (size_t)n;
    ssize_t used = answer_lines(room, size, reply_room, &replies);
    c->state = used < 0 ? LAST_WORDS : OPEN;
    c->in_size = used < 0 ? 0 : (unsigned)(size - (size_t)used);
    if (keep_rest(&c->in, LINE_LIMIT, room + size - c->in_size, c->in_size) < 0)
        conn_close(c, strerror(errno));
    else
        conn_send(c, reply_room, replies);
}

/* Afterwards it reads again at once: OpenSSL may hold what was not read while this was stuck. */
static void on_writable(struct conn *c) {
    timeout_restart(&idle, &c->timeout);
    c->want = POLLOUT;
    conn_send(c, c->out, c->out_size);
}

/* One step of the handshake. */
static void on_handshake(struct conn *c) {
    int n = (ERR_clear_error(), SSL_do_handshake(c->tls));
    if (n == 1) {
        c->state = OPEN;
        c->want = POLLIN;
        timeout_restart(&idle, &c->timeout);
        log_peer(c, tls_describe(c->tls));
    } else {
        conn_wait(c, n);
    }
}

/* Grants a handler's wish, unless it has closed the connection. */
static void conn_grant(struct conn *c) {
    if (c->watcher.on_event && loop_watch(&c->watcher, c->fd, (uint32_t)c->want) < 0)
        conn_close(c, strerror(errno));
}

/* What is to be done says the state, not the event: a read may have waited until one can write. */
static void on_conn_event(struct watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    (void)events;
    tls_reads = READS;
    c->state == HANDSHAKE              ? on_handshake(c)
    : c->state == LAST_WORDS || c->out ? on_writable(c)
                                       : on_readable(c);
    conn_grant(c);
}

static struct conn *conn_of(struct timeout *t) {
    return (struct conn *)(void *)((char *)t - offsetof(struct conn, timeout));
}

/* Nothing has happened for too long. Who does not read, or has been told, is told no more. */
static void on_conn_timeout(struct timeout *t) {
    static const char refusal[] = "-idle for too long\n";
    struct conn *c = conn_of(t);
    if (c->state != OPEN || c->out) {
        conn_close(c, "timed out");
    } else {
        c->state = LAST_WORDS;
        timeout_restart(&idle, t);
        conn_send(c, refusal, sizeof refusal - 1);
        conn_grant(c);
    }
}

/* Takes over a new, non-blocking socket; -1: no memory for it. */
static int conn_open(int fd, const struct sockaddr_in6 *peer) {
    struct conn *c = malloc(sizeof *c);
    SSL *tls = SSL_new(settings);
    if (!c || !tls || SSL_set_fd(tls, fd) != 1)
        return free(c), SSL_free(tls), -1;
    SSL_set_accept_state(tls);
    BIO_set_callback_ex(SSL_get_rbio(tls), tls_on_read);
    *c = (struct conn){.fd = fd, .want = POLLIN, .tls = tls, .peer = *peer};
    c->watcher.on_event = on_conn_event;
    timeout_restart(&handshake, &c->timeout); /* and never again: HANDSHAKE_MS are for all of it */
    conn_grant(c);
    return 0;
}

/* Asked to stop: who has nothing more to say, and is owed nothing, is told the end. */
static void on_tick(struct timeout *t) {
    char byte;
    for (struct timeout *i = idle.ring.next, *next; i != &idle.ring; i = next) {
        struct conn *c = conn_of(i);
        next = i->next;
        if (c->state == OPEN && c->want == POLLIN && recv(c->fd, &byte, 1, MSG_PEEK) < 0) {
            conn_end(c);
            conn_grant(c);
        }
    }
    loop_stopped =
        loop_now >= stop_at || !(timeouts_first(&idle) || timeouts_first(&loop_lingerers));
    timeout_restart(&tick, t);
}

/* Loads the files again. If anything is wrong with them, all stays as it was. */
static void reload(void) {
    SSL_CTX *loaded = tls_context(TLS_server_method(), certificate, key, ca);
    if (loaded) {
        SSL_CTX_free(settings); /* the connections that were made with them keep them alive */
        settings = loaded;
    }
    fprintf(stderr, "server: %s\n", loaded ? "loaded the certificate again" : tls_why);
}

/* To stop: who is in the middle of a handshake has asked nothing yet. */
static void on_signal(int number) {
    if (number == SIGHUP) {
        reload();
    } else if (!stop_at) {
        loop_listen_no_more();
        for (struct timeout *t; (t = timeouts_first(&handshake));)
            conn_close(conn_of(t), "we are to stop");
        stop_at = loop_now + STOP_MS;
        on_tick(&look);
    }
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9008";
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:c:k:C:i:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'C': ca = optarg; break;
        case 'i': idle_ms = 1000 * (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    if (!(settings = tls_context(TLS_server_method(), certificate, key, ca)))
        die(tls_why, 0);
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    loop_open();
    loop_on_signals(on_signal, SIGINT, SIGTERM, SIGHUP);
    timeouts_open(&handshake, HANDSHAKE_MS, on_conn_timeout);
    timeouts_open(&idle, idle_ms, on_conn_timeout);
    timeouts_open(&tick, TICK_MS, on_tick);
    loop_listen(listener, conn_open);
    announce(listener);
    loop_run();
    for (struct timeout *left; (left = timeouts_first(&idle));)
        conn_close(conn_of(left), "closed: we are to stop");
    loop_close();
    SSL_CTX_free(settings);
    return 0;
}
