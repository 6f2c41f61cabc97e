/* tls.h: what both programs need of OpenSSL: the settings, and what an unfinished call waits for.
 *
 * Rules:
 * - Call ERR_clear_error before each call of OpenSSL whose failure matters: SSL_get_error,
 *   tls_interest and tls_reason look at a queue of errors that belongs to the thread, and an older
 *   error, perhaps of another connection, may still be in it.
 * - One thread: the texts that these functions return or point at are kept in tls.c. */
#pragma once
#include <openssl/ssl.h>

#ifndef CERTS
#define CERTS "certs" /* the Makefile gives the whole path, so that any working directory will do */
#endif

enum {
    TLS_HANDSHAKE_MS = 5000, /* limit for a whole handshake */
    TLS_READS = 8,           /* how often one call may read its socket, see tls_limit_reads */
    TLS_NAME_TEXT = 160      /* bytes of a name, see tls_name */
};

/* Makes the settings for the connections of a server (TLS_server_method()) or of a client. Loads
 * the program's own certificate, with the rest of its chain, and the key, from PEM files; both
 * NULL: it has none. The other side has to show a certificate that one of those in the file ca has
 * signed; NULL: it is not asked for one. Returns NULL if anything is wrong, with the reason in
 * *why, which is valid until the next call. Free with SSL_CTX_free: connections that were made with
 * the settings keep them alive. SSL_CTX_new(3). */
SSL_CTX *tls_context(const SSL_METHOD *method, const char *certificate, const char *key,
                     const char *ca, const char **why);

/* A call with tls has returned n, and is not done. Returns what to wait for before the same call is
 * made again, POLLIN or POLLOUT: SSL_read may have to wait until it can write, and SSL_write until
 * it can read. Returns 0 if the connection is over, with the reason in *why; OpenSSL has sent the
 * alert that tells the peer. SSL_get_error(3). */
short tls_interest(const SSL *tls, int n, const char **why);

/* Returns why the last call failed: the first error in the queue, which led to the others. */
const char *tls_reason(void);

/* If the last call failed because of a certificate of the other side, returns which one and why;
 * otherwise NULL. */
const char *tls_verify_error(void);

/* Allows at most TLS_READS reads of the socket of tls until tls_renew_reads is called. After that
 * tls finds the socket empty. Otherwise a peer that sends messages without data as fast as it
 * can (KeyUpdate; ClientHello in 1.2) would hold the program in one call: OpenSSL deals with these
 * itself, and reads on. */
void tls_limit_reads(const SSL *tls);

/* Allows TLS_READS reads again. Call it at each event. */
void tls_renew_reads(void);

/* Describes a connection: "connected, TLSv1.3, CN=alice", with the subject of the certificate that
 * the other side has shown, if any. */
const char *tls_describe(const SSL *tls);

/* Writes a name in a certificate to text (TLS_NAME_TEXT bytes), "CN=localhost,O=..." (RFC 4514),
 * and returns text. An attacker may have written the name: a control character becomes \0A, and
 * whatever is too long for text is cut off. */
const char *tls_name(const X509_NAME *name, char *text);
