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

enum { LINE = 16, MOST = 100 };

static const char *port;
static SSL_CTX *settings;
static SSL_SESSION *ticket; /* the last; a server may give one for each connection */

static int on_ticket(SSL *tls, SSL_SESSION *session) {
    (void)tls;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1; /* ours from now on */
}

static void check(int done, const char *what) {
    if (!done)
        die(what, errno);
}

static SSL *open_tls(void) {
    char why[WHY_TEXT];
    int fd = connect_to("127.0.0.1", port, why);
    check(fd >= 0, why);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    SSL *tls = SSL_new(settings);
    SSL_set_fd(tls, fd);
    return tls;
}

/* With a reset at its end: a port in TIME_WAIT for each would soon use them up. */
static void close_tls(SSL *tls) {
    const struct linger reset = {.l_onoff = 1};
    int fd = SSL_get_fd(tls);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    SSL_set_shutdown(tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or the ticket is lost */
    SSL_free(tls);
    close(fd);
}

static void said(const char *what, long n) {
    printf("%s %ld\n", what, n);
    fflush(stdout);
}

static void requests(long connections, long at_once, long n, int idle) {
    static char lines[MOST * LINE], replies[MOST * (LINE + 1)];
    SSL **tls = calloc((size_t)connections, sizeof(SSL *));
    for (long i = 0; i < at_once * LINE; i++)
        lines[i] = i % LINE == LINE - 1 ? '\n' : 'x';
    for (long i = 0; i < connections; i++) {
        tls[i] = open_tls();
        check(SSL_connect(tls[i]) == 1, "handshake");
    }
    said("begin", connections);
    long done = 0;
    for (; done < n; done += connections * at_once) {
        for (long i = 0; i < connections; i++)
            check(SSL_write(tls[i], lines, (int)(at_once * LINE)) > 0, "write");
        for (long i = 0; i < connections; i++)
            for (int left = (int)at_once * (LINE + 1), m; left > 0; left -= m)
                check((m = SSL_read(tls[i], replies, left)) > 0, "read");
    }
    said("end", done);
    if (idle)
        getchar();
    for (long i = 0; i < connections; i++)
        close_tls(tls[i]);
    free(tls);
}

/* One line and its reply in each: or the server's part of the handshake might not be over, and a
 * ticket, which comes after it, not be read. */
static void handshakes(int resumed, long n) {
    for (long i = resumed ? -1 : 0; i < n; i++) {
        char reply[LINE];
        if (i == 0)
            said("begin", n);
        SSL *tls = open_tls();
        if (resumed && ticket)
            SSL_set_session(tls, ticket);
        check(SSL_connect(tls) == 1, "handshake");
        check(SSL_session_reused(tls) == (resumed && i >= 0), "resumed, or not");
        check(SSL_write(tls, "x\n", 2) == 2 && SSL_read(tls, reply, sizeof reply) > 0, "reply");
        close_tls(tls);
    }
    said("end", n);
}

int main(int argc, char **argv) {
    check(argc == 6, "usage: see the comment in load_tls.c");
    port = argv[1];
    settings = SSL_CTX_new(TLS_client_method());
    check(settings != NULL, "OpenSSL");
    int version = strcmp(argv[3], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_max_proto_version(settings, version);
    SSL_CTX_set_session_cache_mode(settings, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(settings, on_ticket);
    long n = parse_number(argv[5], 1, 1000000000), at_once = parse_number(argv[4], 1, MOST);
    if (!strcmp(argv[2], "handshakes"))
        handshakes(!strcmp(argv[4], "resumed"), n);
    else
        requests(parse_number(argv[3], 1, 10000), at_once, n, !strcmp(argv[2], "idle"));
    SSL_SESSION_free(ticket);
    SSL_CTX_free(settings);
    return 0;
}
