/* tls.c: the header has the rules. */
#include "tls.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { RECORD = 16384 };

struct tls {
    SSL *ssl;        /* NULL: this descriptor has no TLS connection */
    int fin_pending; /* FIN follows what waits */
};

static SSL_CTX *context; /* NULL: no TLS */
static const char *error_text;
static struct tls *connections; /* by descriptor */
static int capacity;

static struct tls *tls_of(int fd) {
    if (fd < 0 || fd >= capacity || !connections[fd].ssl)
        return NULL;
    return &connections[fd];
}

int tls_on(void) {
    return context != NULL;
}

const char *tls_error(void) {
    return error_text;
}

/* ---- results ---- */

/* Keeps the reason of a failure. Returns -1, with EPROTO if TLS itself has failed. */
static int tls_failed(const struct tls *t) {
    const unsigned long error = ERR_peek_error();
    const long verdict = SSL_get_verify_result(t->ssl);
    if (error == 0) { /* the socket's own error, or an end of file in the handshake */
        error_text = "closed during the handshake";
        if (errno == 0)
            errno = EPROTO;
        return -1;
    }
    error_text = ERR_reason_error_string(error);
    if (verdict != X509_V_OK)
        error_text = X509_verify_cert_error_string(verdict);
    if (!error_text)
        error_text = "an unknown error";
    if (ERR_GET_LIB(error) != ERR_LIB_SYS)
        errno = EPROTO;
    return -1;
}

/* Returns the result of a call that has returned n <= 0. */
static int tls_result(const struct tls *t, int n) {
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    default: return tls_failed(t);
    }
}

/* ---- sending and receiving ---- */

/* Takes so many bytes out of a memory BIO: reading is the only way. */
static void discard(BIO *out, ssize_t size) {
    char ignored[RECORD];
    while (size > 0) {
        const int n = size < RECORD ? (int)size : RECORD;
        size -= BIO_read(out, ignored, n);
    }
}

int tls_flush(int fd) {
    struct tls *t = tls_of(fd);
    char *data;
    if (!t)
        return 0;
    BIO *out = SSL_get_wbio(t->ssl);
    long size = BIO_get_mem_data(out, &data);
    while (size > 0) {
        ssize_t sent = send(fd, data, (size_t)size, 0);
        if (sent < 0)
            return -1;
        discard(out, sent);
        size = BIO_get_mem_data(out, &data);
    }
    if (t->fin_pending && shutdown(fd, SHUT_WR) < 0)
        return -1;
    t->fin_pending = 0;
    return 0;
}

int tls_ready(int fd) {
    const struct tls *t = tls_of(fd);
    return !t || SSL_is_init_finished(t->ssl);
}

int tls_unsent(int fd) {
    const struct tls *t = tls_of(fd);
    return t && (BIO_ctrl_pending(SSL_get_wbio(t->ssl)) > 0 || t->fin_pending);
}

int tls_unread(int fd) {
    const struct tls *t = tls_of(fd);
    return t && SSL_pending(t->ssl) > 0;
}

ssize_t tls_recv(int fd, void *data, size_t size, int peek) {
    const struct tls *t = tls_of(fd);
    const int max = size > INT_MAX ? INT_MAX : (int)size;
    int n;
    if (tls_flush(fd) < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
        return -1; /* after a reset, earlier data can still be read */
    ERR_clear_error();
    errno = 0;
    if (peek)
        n = SSL_peek(t->ssl, data, max);
    else
        n = SSL_read(t->ssl, data, max);
    if (n > 0)
        return n;
    return tls_result(t, n);
}

ssize_t tls_send(int fd, const void *data, size_t size) {
    const struct tls *t = tls_of(fd);
    if (size > RECORD)
        size = RECORD;
    if (tls_flush(fd) < 0)
        return -1;
    if (size == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(t->ssl, data, (int)size);
    if (n <= 0)
        return tls_result(t, n);
    if (tls_flush(fd) < 0 && errno != EAGAIN && errno != EINTR)
        return -1;
    return n;
}

/* ---- the beginning and the end of a connection ---- */

int tls_handshake(int fd) {
    const struct tls *t = tls_of(fd);
    int result = 0;
    ERR_clear_error();
    errno = 0;
    const int n = SSL_do_handshake(t->ssl);
    if (n != 1)
        result = tls_result(t, n);
    const int error = errno;
    if (tls_flush(fd) < 0 && (n == 1 || error == EAGAIN))
        return -1;
    errno = error;
    if (n != 1 && result == 0) {
        error_text = "closed by close_notify";
        errno = EPROTO;
        return -1;
    }
    return result;
}

int tls_half_close(int fd) {
    struct tls *t = tls_of(fd);
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    t->fin_pending = 1;
    if (tls_flush(fd) < 0 && errno != EAGAIN)
        return -1;
    return 0;
}

void tls_forget(int fd) {
    struct tls *t = tls_of(fd);
    if (!t)
        return;
    SSL_free(t->ssl);
    *t = (struct tls){.ssl = NULL};
}

void tls_close_notify(int fd) {
    const struct tls *t = tls_of(fd);
    if (!t || !SSL_is_init_finished(t->ssl))
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    tls_flush(fd);
}

/* Makes room for this descriptor. Returns 0, or -1: no memory. */
static int reserve(int fd) {
    const int larger = fd * 2 + 64;
    if (fd < capacity)
        return 0;
    struct tls *more = realloc(connections, (size_t)larger * sizeof *more);
    if (!more)
        return -1;
    memset(more + capacity, 0, (size_t)(larger - capacity) * sizeof *more);
    connections = more;
    capacity = larger;
    return 0;
}

int tls_attach(int fd, int server) {
    if (reserve(fd) < 0)
        return -1;
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *out = BIO_new(BIO_s_mem());
    connections[fd].ssl = ssl;
    if (!ssl || !in || !out)
        return -1; /* peer ends: it frees nothing */
    SSL_set_bio(ssl, in, out);
    if (server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        SSL_set1_host(ssl, "localhost");
    }
    return 0;
}

/* Reads the chain and the key of a server. Returns 0 or -1. */
static int load_server(const char *file) {
    if (SSL_CTX_use_certificate_chain_file(context, file) != 1)
        return -1;
    if (SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) != 1)
        return -1;
    return 0;
}

/* Reads the CA's certificate for a client. Returns 0 or -1. */
static int load_client(const char *file) {
    if (SSL_CTX_load_verify_locations(context, file, NULL) != 1)
        return -1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return 0;
}

int tls_open(int server) {
    const char *file = getenv("PEER_TLS");
    int result = -1;
    if (!file || *file == '\0')
        return 0;
    context = SSL_CTX_new(TLS_method());
    if (context && server)
        result = load_server(file);
    if (context && !server)
        result = load_client(file);
    if (result < 0) {
        error_text = ERR_reason_error_string(ERR_peek_last_error());
        return -1;
    }
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return 0;
}
