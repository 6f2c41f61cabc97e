/* tls.c: see tls.h. */
#include "../util.h"
#include "tls.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <sys/stat.h>

enum { REASON_TEXT = 1024 };

static char reason_text[REASON_TEXT]; /* what *why points at, unless that is a constant */
static char verify_text[WHY_TEXT] = "certificate verify failed";
static int reads_left; /* how often the socket of a connection may still be read */

/* ---- reasons ---- */

/* Keeps the reason, which is formatted as by printf. Returns -1. */
__attribute__((format(printf, 1, 2))) static int failed(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason_text, sizeof reason_text, format, arguments);
    va_end(arguments);
    return -1;
}

static int first_error_is(int reason) {
    return ERR_peek_error() == ERR_PACK(ERR_LIB_SSL, 0, reason);
}

const char *tls_verify_error(void) {
    if (first_error_is(SSL_R_CERTIFICATE_VERIFY_FAILED))
        return verify_text;
    return NULL;
}

const char *tls_reason(void) {
    unsigned long error = ERR_peek_error();
    if (tls_verify_error())
        return tls_verify_error();
    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    if (ERR_reason_error_string(error))
        return ERR_reason_error_string(error);
    return "closed";
}

/* Anyone on the way can send a FIN to cut the stream off; only close_notify comes from the peer
 * itself. A port scan, which sends nothing at all, ends with a FIN, too. */
static const char *end_reason(const SSL *tls) {
    if (!first_error_is(SSL_R_UNEXPECTED_EOF_WHILE_READING))
        return tls_reason();
    if (BIO_number_read(SSL_get_rbio(tls)) > 0)
        return "truncated: it ended without close_notify";
    return "closed without sending anything";
}

short tls_interest(const SSL *tls, int n, const char **why) {
    switch (SSL_get_error(tls, n)) {
    case SSL_ERROR_WANT_READ: return POLLIN;
    case SSL_ERROR_WANT_WRITE: return POLLOUT;
    case SSL_ERROR_SYSCALL:
        failed("%s (%s)", strerror(errno), errno_name(errno));
        *why = reason_text;
        return 0;
    default: *why = end_reason(tls); return 0;
    }
}

/* ---- names ---- */

const char *tls_name(const X509_NAME *name, char *text) {
    BIO *memory = BIO_new(BIO_s_mem());
    int size = 0;
    if (memory && X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) > 0)
        size = BIO_read(memory, text, TLS_NAME_TEXT - 1);
    BIO_free(memory);
    if (size <= 0)
        return "someone without a name";
    text[size] = '\0';
    return text;
}

const char *tls_describe(const SSL *tls) {
    static char text[WHY_TEXT];
    char name[TLS_NAME_TEXT];
    const X509 *peer = SSL_get0_peer_certificate(tls);
    if (peer)
        snprintf(text, sizeof text, "connected, %s, %s", SSL_get_version(tls),
                 tls_name(X509_get_subject_name(peer), name));
    else
        snprintf(text, sizeof text, "connected, %s", SSL_get_version(tls));
    return text;
}

/* ---- reads ---- */

/* OpenSSL calls this before and after each operation on the socket. */
static long on_socket_operation(BIO *socket, int operation, const char *data, size_t size, int i,
                                long l, int result, size_t *done) {
    (void)data;
    (void)size;
    (void)i;
    (void)l;
    (void)done;
    if (operation != BIO_CB_READ)
        return result;
    if (reads_left > 0) {
        reads_left--;
        return result;
    }
    BIO_set_retry_read(socket); /* as after EAGAIN */
    return -1;
}

void tls_limit_reads(const SSL *tls) {
    BIO_set_callback_ex(SSL_get_rbio(tls), on_socket_operation);
}

void tls_renew_reads(void) {
    reads_left = TLS_READS;
}

/* ---- settings: our own certificate ---- */

/* Without this, OpenSSL would ask for a key's password on the terminal, and wait. */
static int on_password(char *password, int capacity, int writing, void *unused) {
    (void)password;
    (void)capacity;
    (void)writing;
    (void)unused;
    return -1;
}

/* Returns whether a key's file is too open. The key is a secret of its owner, and at most of the
 * owner's group, for a server that runs as a user of its own (Debian: root and ssl-cert, mode
 * 0640). Nobody else may read it, and the group may not write it. */
static int others_may_use(const char *file) {
    struct stat status;
    if (stat(file, &status) < 0)
        return 0; /* OpenSSL will report why it cannot be read */
    return (status.st_mode & (S_IWGRP | S_IRWXO)) != 0;
}

/* Returns whether the signature on our certificate is as strong as level 2 requires (112 bits;
 * SHA-1 has 63). Older versions of OpenSSL check this; newer ones leave it to the peer. */
static int is_signed_well(const SSL_CTX *tls) {
    int bits = 0;
    X509_get_signature_info(SSL_CTX_get0_certificate(tls), NULL, NULL, &bits, NULL);
    return bits >= 112;
}

/* Loads our own certificate, with the rest of its chain, and its private key. */
static int load_identity(SSL_CTX *tls, const char *certificate, const char *key) {
    SSL_CTX_set_default_passwd_cb(tls, on_password);
    if (others_may_use(key))
        return failed("key %s: others may use it (chmod 640, or 600)", key);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1)
        return failed("certificate %s: %s", certificate, tls_reason());
    if (!is_signed_well(tls))
        return failed("certificate %s: its signature uses too weak a hash", certificate);
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        return failed("key %s: %s", key, tls_reason());
    if (SSL_CTX_check_private_key(tls) != 1)
        return failed("key %s: mismatch: it does not belong to %s", key, certificate);
    return 0;
}

/* ---- settings: the other side's certificate ---- */

/* OpenSSL calls this for each certificate of a chain, with the result of its checks. Keeps the
 * reason for tls_verify_error; the result stays as it is. */
static int on_verify(int ok, X509_STORE_CTX *chain) {
    char name[TLS_NAME_TEXT];
    int error = X509_STORE_CTX_get_error(chain);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(chain);
    if (!ok && certificate)
        snprintf(verify_text, sizeof verify_text, "certificate of %s: %s (%d)",
                 tls_name(X509_get_subject_name(certificate), name),
                 X509_verify_cert_error_string(error), error);
    return ok;
}

/* Trusts the authorities in a file. From then on the other side has to show a certificate that one
 * of them has signed. */
static int tls_trust(SSL_CTX *tls, const char *ca) {
    STACK_OF(X509_NAME) *names = NULL;
    if (SSL_CTX_load_verify_file(tls, ca) == 1)
        names = SSL_load_client_CA_file(ca);
    if (!names)
        return failed("CA %s: %s", ca, tls_reason());
    SSL_CTX_set_client_CA_list(tls, names); /* a server sends these names to its clients */
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    return 0;
}

/* ---- settings: tickets ---- */

static int has_expired(const X509 *certificate) {
    return X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

/* OpenSSL calls this when a client has brought a ticket. It does not check again the certificate
 * that the ticket brings back. So if that has expired, this function refuses the ticket, and a full
 * handshake follows. (It checks that certificate only: if an authority between it and ours expires
 * earlier, its clients may come back until SIGHUP.) */
static SSL_TICKET_RETURN on_ticket(SSL *tls, SSL_SESSION *session, const unsigned char *name,
                                   size_t size, SSL_TICKET_STATUS status, void *unused) {
    const X509 *peer = NULL;
    (void)tls;
    (void)name;
    (void)size;
    (void)unused;
    if (session)
        peer = SSL_SESSION_get0_peer(session);
    if (peer && has_expired(peer))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    switch (status) {
    case SSL_TICKET_SUCCESS: return SSL_TICKET_RETURN_USE;
    case SSL_TICKET_SUCCESS_RENEW: return SSL_TICKET_RETURN_USE_RENEW;
    default: return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
}

/* A client that comes back needs no full handshake if it brings the ticket that the server gave it.
 * The ticket is the session, encrypted by the server, which itself keeps only the key to it, until
 * SIGHUP makes a new one. (With that key a thief can read what was sent in TLS 1.2 after a ticket;
 * in 1.3 not even that.) */
static void set_tickets(SSL_CTX *tls) {
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"08", 2);
    SSL_CTX_set_num_tickets(tls, 1);
    SSL_CTX_set_session_ticket_cb(tls, NULL, on_ticket, NULL);
}

/* ---- settings ---- */

/* The list of ciphers is for TLS 1.2: fresh keys for each connection, and authenticated encryption.
 * TLS 1.3 has no other ciphers. Level 2: no RSA below 2048 bits, no SHA-1. */
static int set_protocol(SSL_CTX *tls) {
    if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        return failed("OpenSSL: out of memory");
    SSL_CTX_set_security_level(tls, 2);
    SSL_CTX_set_options(tls, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION);
    /* An idle connection takes 34 kB less; and what SSL_write is given again may have moved. */
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return 0;
}

/* Applies all settings. Returns 0, or -1 with the reason in reason_text. */
static int configure(SSL_CTX *tls, const char *certificate, const char *key, const char *ca) {
    if (set_protocol(tls) < 0)
        return -1;
    set_tickets(tls);
    if (certificate && load_identity(tls, certificate, key) < 0)
        return -1;
    if (ca && tls_trust(tls, ca) < 0)
        return -1;
    return 0;
}

SSL_CTX *tls_context(const SSL_METHOD *method, const char *certificate, const char *key,
                     const char *ca, const char **why) {
    *why = reason_text;
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(method);
    if (!tls) {
        failed("OpenSSL: out of memory");
        return NULL;
    }
    if (configure(tls, certificate, key, ca) < 0) {
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}
