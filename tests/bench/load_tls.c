/* load_tls.c: asks a TLS server for the bench, over one core of its own; blocking calls, in rounds:
 * all connections send, then all read. It trusts the server: what is measured is that one's time.
 *
 * load_tls PORT requests CONNECTIONS AT_ONCE N   N lines in all; each connection sends AT_ONCE
 *                                                together, and reads the replies to them
 * load_tls PORT handshakes VERSION full|resumed N   N connections of TLS VERSION (1.2, 1.3), one
 *                                                   after the other; "resumed": with a ticket
 * load_tls PORT idle CONNECTIONS 1 1                a line in each, then nothing until stdin ends
 * It prints "begin N" when the connections are there, or the ticket, and "end N" after the last. */
#include "../../util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>

enum {
    LINE = 16,        /* bytes of a line, its newline included */
    REPLY = LINE + 1, /* and of its reply */
    AT_ONCE_MAX = 100
};

static const char *port;
static SSL_CTX *settings;
static SSL_SESSION *ticket; /* the last; a server may give one for each connection */

/* OpenSSL calls it with each ticket. Returns 1: it is ours from now on. */
static int on_ticket(SSL *tls, SSL_SESSION *session) {
    (void)tls;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static void check(int done, const char *what) {
    if (!done)
        die(what, errno);
}

static long number(const char *text, long max) {
    long value = parse_number(text, 1, max);
    check(value > 0, "not a number in its range");
    return value;
}

/* ---- connections ---- */

/* Returns a connection that is to shake hands. */
static SSL *open_tls(void) {
    const int on = 1;
    char why[WHY_TEXT];
    int fd = connect_to("127.0.0.1", port, why);
    check(fd >= 0, why);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL *tls = SSL_new(settings);
    SSL_set_fd(tls, fd);
    return tls;
}

/* Closes with a reset: a port in TIME_WAIT for each connection would soon use them up. */
static void close_tls(SSL *tls) {
    const struct linger reset = {.l_onoff = 1};
    int fd = SSL_get_fd(tls);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    SSL_set_shutdown(tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or the ticket is lost */
    SSL_free(tls);
    close(fd);
}

/* Tells the bench how far we are. */
static void report(const char *what, long n) {
    printf("%s %ld\n", what, n);
    fflush(stdout);
}

/* ---- requests ---- */

static void receive(SSL *tls, int size) {
    static char replies[AT_ONCE_MAX * REPLY];
    while (size > 0) {
        int n = SSL_read(tls, replies, size);
        check(n > 0, "read");
        size -= n;
    }
}

/* One round: each connection sends at_once lines, then each receives the replies. */
static void ask_all(SSL **tls, long connections, int at_once) {
    static char lines[AT_ONCE_MAX * LINE];
    for (int i = 0; i < at_once; i++) {
        memset(lines + i * LINE, 'x', LINE);
        lines[(i + 1) * LINE - 1] = '\n';
    }
    for (long i = 0; i < connections; i++)
        check(SSL_write(tls[i], lines, at_once * LINE) > 0, "write");
    for (long i = 0; i < connections; i++)
        receive(tls[i], at_once * REPLY);
}

/* Asks n times in all, or somewhat more: in whole rounds. idle: then waits until stdin ends. */
static void requests(long connections, int at_once, long n, int idle) {
    long done = 0;
    SSL **tls = calloc((size_t)connections, sizeof(SSL *));
    check(tls != NULL, "memory");
    for (long i = 0; i < connections; i++) {
        tls[i] = open_tls();
        check(SSL_connect(tls[i]) == 1, "handshake");
    }
    report("begin", connections);
    while (done < n) {
        ask_all(tls, connections, at_once);
        done += connections * at_once;
    }
    report("end", done);
    if (idle)
        getchar();
    for (long i = 0; i < connections; i++)
        close_tls(tls[i]);
    free(tls);
}

/* ---- handshakes ---- */

/* Connects, resuming a session if there is a ticket, as want_resumed expects. Asks for one reply:
 * otherwise the server's part of the handshake might not be over, and a ticket, which comes after
 * it, would not be read. */
static void visit(int want_resumed) {
    char reply[LINE];
    SSL *tls = open_tls();
    if (ticket)
        SSL_set_session(tls, ticket);
    check(SSL_connect(tls) == 1, "handshake");
    check(SSL_session_reused(tls) == want_resumed, "resumed, or not");
    check(SSL_write(tls, "x\n", 2) == 2, "write");
    check(SSL_read(tls, reply, sizeof reply) > 0, "reply");
    close_tls(tls);
}

static void handshakes(int resumed, long n) {
    if (resumed)
        visit(0); /* for the first ticket */
    report("begin", n);
    for (long i = 0; i < n; i++) {
        if (!resumed) {
            SSL_SESSION_free(ticket);
            ticket = NULL;
        }
        visit(resumed);
    }
    report("end", n);
}

int main(int argc, char **argv) {
    reset_inherited();
    check(argc == 6, "usage: see the comment in load_tls.c");
    const char *what = argv[2];
    const long n = number(argv[5], 1000000000);
    port = argv[1];
    settings = SSL_CTX_new(TLS_client_method());
    check(settings != NULL, "OpenSSL");
    if (strcmp(argv[3], "1.2") == 0)
        SSL_CTX_set_max_proto_version(settings, TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(settings, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(settings, on_ticket);
    if (strcmp(what, "handshakes") == 0)
        handshakes(strcmp(argv[4], "resumed") == 0, n);
    else
        requests(number(argv[3], 10000), (int)number(argv[4], AT_ONCE_MAX), n,
                 strcmp(what, "idle") == 0);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(settings);
    return 0;
}
