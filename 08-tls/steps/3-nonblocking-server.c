/* What is new: no call waits: each connection says what it needs next, and epoll waits for all.
 * Run: ./3-nonblocking-server    and in another terminal ./2-verify-client
 * What breaks it: SIGHUP ends it; a reset destroys its alerts; silent clients stay for ever. */
#define _GNU_SOURCE 1 /* accept4 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CAPACITY = 16384 }; /* of a connection's output: one record */

/* A connection. While it has output, it reads nothing. */
struct conn {
    int fd;
    uint32_t interest; /* EPOLLIN or EPOLLOUT: what the last call with tls waits for */
    enum { HANDSHAKE, OPEN } state;
    SSL *tls;
    char out[CAPACITY]; /* what SSL_write has not taken yet */
    int out_size;
};

/* What a handler returns. Only conn_update and conn_close look at the connection after CLOSE. */
enum verdict { KEEP, CLOSE };

static SSL_CTX *settings;
static int loop; /* epoll's descriptor */

/* Prints what failed and OpenSSL's reasons, then ends the program. */
static _Noreturn void fail(const char *what) {
    fprintf(stderr, "server: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Returns the settings for all connections: the server's certificate and its private key, and no
 * version of TLS that is too old. */
static SSL_CTX *load_settings(void) {
    SSL_CTX *loaded = SSL_CTX_new(TLS_server_method());
    if (!loaded || SSL_CTX_set_min_proto_version(loaded, TLS1_2_VERSION) != 1)
        fail("settings");
    if (SSL_CTX_use_certificate_chain_file(loaded, "../certs/server.pem") != 1)
        fail("certificate");
    if (SSL_CTX_use_PrivateKey_file(loaded, "../certs/server.key", SSL_FILETYPE_PEM) != 1)
        fail("key");
    return loaded;
}

static int listen_on(uint16_t port) {
    const int on = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 ||
        listen(listener, SOMAXCONN) < 0) {
        perror("server: bind or listen");
        exit(1);
    }
    return listener;
}

/* A call with tls has returned n, and is not done. Returns what to wait for before the same call is
 * made again; 0 if the connection is over. */
static uint32_t tls_interest(const SSL *tls, int n) {
    switch (SSL_get_error(tls, n)) {
    case SSL_ERROR_WANT_READ: return EPOLLIN;
    case SSL_ERROR_WANT_WRITE: return EPOLLOUT;
    default: return 0;
    }
}

static enum verdict conn_wait(struct conn *c, int n) {
    c->interest = tls_interest(c->tls, n);
    if (c->interest != 0)
        return KEEP;
    ERR_print_errors_fp(stderr);
    return CLOSE;
}

/* Sends what is pending. SSL_write takes all of it, or needs the same bytes again. */
static enum verdict on_writable(struct conn *c) {
    ERR_clear_error();
    int n = SSL_write(c->tls, c->out, c->out_size);
    if (n <= 0)
        return conn_wait(c, n);
    c->out_size = 0;
    c->interest = EPOLLIN;
    return KEEP;
}

/* Reads one record at most: there is room for a whole one, so OpenSSL keeps nothing back. */
static enum verdict on_readable(struct conn *c) {
    ERR_clear_error();
    int n = SSL_read(c->tls, c->out, CAPACITY);
    if (n <= 0 && SSL_get_error(c->tls, n) == SSL_ERROR_ZERO_RETURN) {
        SSL_shutdown(c->tls); /* the client has said close_notify: so do we */
        return CLOSE;
    }
    if (n <= 0)
        return conn_wait(c, n);
    c->out_size = n;
    return on_writable(c);
}

/* One step of the handshake. */
static enum verdict on_handshake(struct conn *c) {
    ERR_clear_error();
    int n = SSL_do_handshake(c->tls);
    if (n != 1)
        return conn_wait(c, n);
    c->state = OPEN;
    c->interest = EPOLLIN;
    return KEEP;
}

/* The only place where a connection is closed. Closing fd ends its registration, too. */
static void conn_close(struct conn *c) {
    SSL_free(c->tls);
    close(c->fd);
    free(c);
}

/* Does what a handler has decided: closes the connection, or waits for what its last call needs. */
static void conn_update(struct conn *c, enum verdict verdict) {
    struct epoll_event event = {.events = c->interest, .data.ptr = c};
    if (verdict == KEEP && epoll_ctl(loop, EPOLL_CTL_MOD, c->fd, &event) < 0)
        verdict = CLOSE;
    if (verdict == CLOSE)
        conn_close(c);
}

/* Dispatches on the state, not on the event: a read may have waited until it could write. */
static void on_conn_event(struct conn *c) {
    if (c->state == HANDSHAKE)
        conn_update(c, on_handshake(c));
    else if (c->out_size > 0)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
}

/* Returns an SSL object that is to shake hands as a server on fd; NULL: no memory. */
static SSL *new_tls(int fd) {
    SSL *tls = SSL_new(settings);
    if (!tls || SSL_set_fd(tls, fd) != 1) {
        SSL_free(tls);
        return NULL;
    }
    SSL_set_accept_state(tls);
    return tls;
}

/* Takes over a new, non-blocking socket. Without memory for it, only this connection is closed. */
static void conn_open(int fd) {
    struct conn *c = calloc(1, sizeof *c);
    SSL *tls = new_tls(fd);
    struct epoll_event event = {.events = EPOLLIN};
    event.data.ptr = c;
    if (!c || !tls || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(c);
        SSL_free(tls);
        close(fd);
        return;
    }
    c->fd = fd;
    c->tls = tls;
}

int main(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* NULL: the listener */
    signal(SIGPIPE, SIG_IGN); /* OpenSSL sends without MSG_NOSIGNAL */
    settings = load_settings();
    int listener = listen_on(9008);
    loop = epoll_create1(0);
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event) < 0)
        fail("epoll");
    puts("listening on 127.0.0.1:9008");
    fflush(stdout);
    for (;;) {
        if (epoll_wait(loop, &event, 1, -1) < 1)
            continue;
        if (event.data.ptr) {
            on_conn_event(event.data.ptr);
            continue;
        }
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0)
            conn_open(fd);
    }
}
