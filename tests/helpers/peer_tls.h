/* TLS for peer.c: what it does to a stream socket, done through an OpenSSL connection instead.
 *
 * PEER_TLS=FILE (an environment variable) turns it on. FILE is what this side needs: a client the
 * CA certificate that the server's has to be signed by, a server (-l) its own chain and its key.
 *
 * The calls are those of a non-blocking socket: a count, 0 at the peer's close_notify, or -1 with
 * errno, EAGAIN too. EPROTO: TLS has failed, and tls_why says how. An end of file without
 * close_notify is such a failure.
 *
 * OpenSSL reads from the socket but writes into memory, from where tls_flush sends: what is written
 * is then ours, as with a socket's own buffer, and the end can wait behind it. One record, no more.
 */
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { RECORD = 16384 };

static SSL_CTX *tls_ctx; /* NULL: no TLS */
static const char *tls_file, *tls_why;
static struct tls {
    SSL *ssl;  /* NULL: none on this descriptor */
    bool shut; /* FIN is to follow what waits */
} * tls_conns; /* by descriptor */
static int tls_room;

static struct tls *tls_of(int fd) {
    return fd >= 0 && fd < tls_room && tls_conns[fd].ssl ? &tls_conns[fd] : NULL;
}

/* The reason of the last failure, for a message; errno is EPROTO if TLS itself failed. */
static ssize_t tls_failed(const struct tls *t) {
    unsigned long e = ERR_peek_error();
    long verdict = SSL_get_verify_result(t->ssl);
    if (e == 0) { /* the socket's own error, or an end of file in the handshake */
        tls_why = "closed during the handshake";
        errno = errno ? errno : EPROTO;
        return -1;
    }
    const char *reason = ERR_reason_error_string(e);
    tls_why = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
              : reason             ? reason
                                   : "an unknown error";
    if (ERR_GET_LIB(e) != ERR_LIB_SYS)
        errno = EPROTO;
    return -1;
}

/* Sends what waits, as far as the kernel takes it. Returns 0 when all is sent, else -1. */
static ssize_t tls_flush(int fd) {
    struct tls *t = tls_of(fd);
    char *data;
    if (!t)
        return 0;
    BIO *out = SSL_get_wbio(t->ssl);
    for (long n; (n = BIO_get_mem_data(out, &data)) > 0;) {
        ssize_t sent = send(fd, data, (size_t)n, 0);
        if (sent < 0)
            return -1;
        for (char sink[RECORD]; sent > 0;) /* that is how a memory BIO drops what it holds */
            sent -= BIO_read(out, sink, sent < RECORD ? (int)sent : RECORD);
    }
    if (t->shut && shutdown(fd, SHUT_WR) < 0)
        return -1;
    t->shut = false;
    return 0;
}

/* Its handshake is done, or it has none. */
static bool tls_ready(int fd) {
    struct tls *t = tls_of(fd);
    return !t || SSL_is_init_finished(t->ssl);
}

static bool tls_unsent(int fd) {
    struct tls *t = tls_of(fd);
    return t && (BIO_ctrl_pending(SSL_get_wbio(t->ssl)) > 0 || t->shut);
}

/* Something has been read from the socket, and not yet by the script: poll would not tell. */
static bool tls_unread(int fd) {
    struct tls *t = tls_of(fd);
    return t && SSL_pending(t->ssl) > 0;
}

/* The result of a call that returned n <= 0. */
static ssize_t tls_result(struct tls *t, int n) {
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    default: break;
    }
    return tls_failed(t);
}

static ssize_t tls_recv(int fd, void *buf, size_t size, bool peek) {
    struct tls *t = tls_of(fd);
    int room = size > INT_MAX ? INT_MAX : (int)size;
    if (tls_flush(fd) < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
        return -1; /* after a reset, what came before it may still be read */
    ERR_clear_error();
    errno = 0;
    int n = peek ? SSL_peek(t->ssl, buf, room) : SSL_read(t->ssl, buf, room);
    return n > 0 ? n : tls_result(t, n);
}

/* Takes one record when the last one has gone. */
static ssize_t tls_send(int fd, const void *data, size_t size) {
    struct tls *t = tls_of(fd);
    if (tls_flush(fd) < 0)
        return -1;
    if (size == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(t->ssl, data, size < RECORD ? (int)size : RECORD);
    if (n <= 0)
        return tls_result(t, n);
    return tls_flush(fd) < 0 && errno != EAGAIN && errno != EINTR ? -1 : n;
}

/* close_notify, then FIN: as soon as what waits has been sent. */
static int tls_half_close(int fd) {
    struct tls *t = tls_of(fd);
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    t->shut = true;
    return tls_flush(fd) < 0 && errno != EAGAIN ? -1 : 0;
}

/* One step of the handshake. Returns 0 when it is done, or -1. */
static int tls_handshake(int fd) {
    struct tls *t = tls_of(fd);
    ERR_clear_error();
    errno = 0;
    int n = SSL_do_handshake(t->ssl);
    ssize_t result = n == 1 ? 0 : tls_result(t, n);
    int error = errno;
    if (tls_flush(fd) < 0 && (n == 1 || error == EAGAIN))
        return -1;
    errno = error;
    return n == 1 ? 0 : result == 0 ? (tls_why = "closed by close_notify", errno = EPROTO, -1) : -1;
}

static void tls_forget(int fd) {
    struct tls *t = tls_of(fd);
    if (t)
        SSL_free(t->ssl);
    if (t)
        *t = (struct tls){.ssl = NULL};
}

/* A connection that is still open says goodbye. */
static void tls_close_notify(int fd) {
    struct tls *t = tls_of(fd);
    if (!t || !SSL_is_init_finished(t->ssl))
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    tls_flush(fd);
}

/* Returns -1 with tls_why. The name is the one that the kit's certificates are for. */
static int tls_attach(int fd, bool server) {
    if (fd >= tls_room) {
        int room = fd * 2 + 64;
        struct tls *more = realloc(tls_conns, (size_t)room * sizeof *more);
        if (!more)
            return -1;
        memset(more + tls_room, 0, (size_t)(room - tls_room) * sizeof *more);
        tls_conns = more;
        tls_room = room;
    }
    SSL *ssl = tls_conns[fd].ssl = SSL_new(tls_ctx);
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = BIO_new(BIO_s_mem());
    if (!ssl || !in || !out)
        return -1;
    SSL_set_bio(ssl, in, out);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl), SSL_set1_host(ssl, "localhost");
    return 0;
}

/* Returns -1 with tls_why. Without the variable it does nothing. */
static int tls_open(bool server) {
    tls_file = getenv("PEER_TLS");
    if (!tls_file || !*tls_file)
        return 0;
    tls_ctx = SSL_CTX_new(TLS_method());
    bool ok = tls_ctx != NULL;
    if (ok && server)
        ok = SSL_CTX_use_certificate_chain_file(tls_ctx, tls_file) == 1 &&
             SSL_CTX_use_PrivateKey_file(tls_ctx, tls_file, SSL_FILETYPE_PEM) == 1;
    if (ok && !server)
        ok = SSL_CTX_load_verify_locations(tls_ctx, tls_file, NULL) == 1;
    if (!ok)
        return tls_why = ERR_reason_error_string(ERR_peek_last_error()), -1;
    if (!server)
        SSL_CTX_set_verify(tls_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls_ctx, SSL_MODE_RELEASE_BUFFERS);
    return 0;
}
