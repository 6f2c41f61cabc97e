/* tls.h: what both programs need of OpenSSL: a context, and why something failed.
 *
 * Rules: ERR_clear_error() comes before each call whose failure matters: SSL_get_error and
 * tls_reason look at the thread's queue of errors, where an older one may still be. One thread. */
#pragma once
#include "../util.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#ifndef CERTS
#define CERTS "certs" /* the Makefile says where that is, so that any working directory will do */
#endif

enum { HANDSHAKE_MS = 5000, READS = 8, NAME_TEXT = 160, TLS_TEXT = 1024 };

static char tls_why[TLS_TEXT]; /* why the last call of tls_context failed, or of tls_wish with 0 */
static int tls_reads; /* how often the next call may read the socket, where tls_on_read is set */
static char tls_refused[WHY_TEXT] = "a certificate"; /* the last that did not pass, and why */

/* A name in a certificate, "CN=localhost,O=..." (RFC 4514). Whoever wrote it may mean harm: control
 * characters come out as \0A, and what is longer than text (NAME_TEXT bytes) is cut off. */
static inline const char *tls_name(const X509_NAME *name, char *text) {
    BIO *memory = BIO_new(BIO_s_mem());
    int written = memory ? X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) : 0;
    int n = written > 0 ? BIO_read(memory, text, NAME_TEXT - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    BIO_free(memory);
    return n > 0 ? text : "a nameless one";
}

/* OpenSSL calls it for each certificate of a chain, with what it found; this only takes notes. */
static inline int tls_on_verify(int ok, X509_STORE_CTX *chain) {
    char name[NAME_TEXT];
    int error = X509_STORE_CTX_get_error(chain);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(chain);
    if (!ok && certificate)
        snprintf(tls_refused, WHY_TEXT, "certificate of %s: %s (%d)",
                 tls_name(X509_get_subject_name(certificate), name),
                 X509_verify_cert_error_string(error), error);
    return ok;
}

/* "connected, TLSv1.3, CN=alice": the version, and whose certificate the other side has shown. */
static inline const char *tls_describe(const SSL *tls) {
    static char text[WHY_TEXT];
    char name[NAME_TEXT];
    const X509 *peer = SSL_get0_peer_certificate(tls);
    snprintf(text, WHY_TEXT, "connected, %s%s%s", SSL_get_version(tls), peer ? ", " : "",
             peer ? tls_name(X509_get_subject_name(peer), name) : "");
    return text;
}

/* Why the last call failed: of the errors in the queue the first, which led to the others. */
static inline const char *tls_reason(void) {
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);
    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    if (error == ERR_PACK(ERR_LIB_SSL, 0, SSL_R_CERTIFICATE_VERIFY_FAILED))
        return tls_refused;
    return text ? text : "closed";
}

/* A call with tls has returned n: it is not done. Returns what to wait for before it is made again,
 * POLLIN or POLLOUT: a read may have to send something first, and the reverse. 0: it never will be
 * done, and *why is the reason; OpenSSL has sent the alert that tells the peer. */
static inline short tls_wish(const SSL *tls, int n, const char **why) {
    int error = SSL_get_error(tls, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    /* A FIN alone need not be the peer's: whoever wants to cut the stream off can send one. From a
     * port scan it is all there is. */
    int cut = ERR_peek_error() == ERR_PACK(ERR_LIB_SSL, 0, SSL_R_UNEXPECTED_EOF_WHILE_READING);
    snprintf(tls_why, TLS_TEXT, "%s (%s)", strerror(errno), errno_name(errno));
    *why = error == SSL_ERROR_SYSCALL           ? tls_why
           : !cut                               ? tls_reason()
           : BIO_number_read(SSL_get_rbio(tls)) ? "truncated: it ended without close_notify"
                                                : "closed without a word";
    return 0;
}

/* Lets one call read the socket so often, then tells it that there is no more. Else a peer that
 * sends what is no data as fast as it can (KeyUpdate; ClientHello in 1.2) would never let go of it:
 * OpenSSL deals with these itself, and reads on. */
static inline long tls_on_read(BIO *socket, int operation, const char *data, size_t size, int i,
                               long l, int result, size_t *done) {
    (void)data, (void)size, (void)i, (void)l, (void)done;
    if (operation != BIO_CB_READ || tls_reads-- > 0)
        return result;
    BIO_set_retry_read(socket);
    return -1;
}

/* For the password of a key OpenSSL would ask the terminal, and wait. */
static inline int tls_no_password(char *room, int size, int writing, void *unused) {
    (void)room, (void)size, (void)writing, (void)unused;
    return -1;
}

/* Who we are: a certificate, with what its chain needs, and its private key. */
static inline int tls_load(SSL_CTX *tls, const char *certificate, const char *key) {
    struct stat file = {0};
    SSL_CTX_set_default_passwd_cb(tls, tls_no_password);
    if (stat(key, &file) == 0 && file.st_mode & (S_IRWXG | S_IRWXO))
        snprintf(tls_why, TLS_TEXT, "key %s: others may use it (chmod 600)", key);
    else if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1)
        snprintf(tls_why, TLS_TEXT, "certificate %s: %s", certificate, tls_reason());
    else if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        snprintf(tls_why, TLS_TEXT, "key %s: %s", key, tls_reason());
    else if (SSL_CTX_check_private_key(tls) != 1)
        snprintf(tls_why, TLS_TEXT, "key %s: mismatch: not that of %s", key, certificate);
    else
        return 0;
    return -1;
}

/* Whose certificates we believe. From then on the other side has to show one of these. */
static inline int tls_believe(SSL_CTX *tls, const char *ca) {
    STACK_OF(X509_NAME) *names = NULL;
    if (SSL_CTX_load_verify_file(tls, ca) != 1 || !(names = SSL_load_client_CA_file(ca)))
        return snprintf(tls_why, TLS_TEXT, "CA %s: %s", ca, tls_reason()), -1;
    SSL_CTX_set_client_CA_list(tls, names); /* a server tells its clients which it would take */
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_on_verify);
    return 0;
}

/* A ticket brings back a client's certificate that nobody looks at again: once that has expired,
 * the ticket is worth nothing, and a full handshake says so. (That one only: if an authority
 * between it and ours expires earlier, its clients may come back until SIGHUP.) */
static inline SSL_TICKET_RETURN tls_on_ticket(SSL *tls, SSL_SESSION *session,
                                              const unsigned char *name, size_t size,
                                              SSL_TICKET_STATUS status, void *unused) {
    const X509 *peer = session ? SSL_SESSION_get0_peer(session) : NULL;
    (void)tls, (void)name, (void)size, (void)unused;
    if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) ||
        (peer && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* The settings of all connections of a server or a client. certificate and ca may be NULL: we have
 * none, we ask for none. Returns NULL if something is wrong; tls_why says what. */
static inline SSL_CTX *tls_context(const SSL_METHOD *method, const char *certificate,
                                   const char *key, const char *ca) {
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(method);
    strcpy(tls_why, "OpenSSL: no memory");
    /* The list is for 1.2: fresh keys for each connection, and encryption that notices changes.
     * 1.3 has nothing else. Level 2: no RSA below 2048 bits, no SHA-1. */
    if (tls && SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) &&
        SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20")) {
        SSL_CTX_set_security_level(tls, 2);
        SSL_CTX_set_options(tls, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION);
        /* 34 kB less for each idle connection; what is sent again after a wait may have moved. */
        SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        /* A client that comes again needs no full handshake if it brings the ticket that a server
         * gave it: all there is to know, encrypted by the server, which itself keeps nothing but
         * the key to it, until SIGHUP makes a new one. (Who steals that can read what was said in
         * 1.2 after a ticket; in 1.3 not even then.) */
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_session_id_context(tls, (const unsigned char *)"08", 2);
        SSL_CTX_set_num_tickets(tls, 1);
        SSL_CTX_set_session_ticket_cb(tls, NULL, tls_on_ticket, NULL);
        if ((!certificate || tls_load(tls, certificate, key) == 0) &&
            (!ca || tls_believe(tls, ca) == 0))
            return tls;
    }
    SSL_CTX_free(tls);
    return NULL;
}
