/* tls.h: TLS for peer.c: what peer does to a stream socket, through an OpenSSL connection.
 *
 * PEER_TLS=FILE in the environment turns it on. For a client, FILE is the certificate of the CA
 * that must have signed the server's; for a server (-l), its own chain and key.
 *
 * The calls are those of a non-blocking socket: they return a count, 0 at the peer's close_notify,
 * or -1 with errno, also EAGAIN. EPROTO: TLS has failed, and tls_error says how. An end of file
 * without close_notify is such a failure.
 *
 * OpenSSL reads from the socket but writes into memory, and tls_flush sends from there. So peer
 * knows what is not sent yet, as with a socket's own buffer, and the end can wait behind it. At
 * most one record waits. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

/* Reads PEER_TLS and its file; does nothing without the variable. Returns 0, or -1 with
 * tls_error. */
int tls_open(int server);

/* Whether TLS is on. */
int tls_on(void);

/* The reason of the last failure, for a message; NULL: there was none. */
const char *tls_error(void);

/* Gives this descriptor a TLS connection. The server's name must be localhost, for which the kit's
 * certificates are. Returns 0; or -1: no memory. */
int tls_attach(int fd, int server);

/* Frees the descriptor's TLS connection, if it has one, and leaves the socket open. */
void tls_forget(int fd);

/* One step of the handshake. Returns 0 when it is done, or -1 with errno. */
int tls_handshake(int fd);

/* Whether the handshake is done, or fd has no TLS connection. */
int tls_ready(int fd);

/* As recv(2). With peek, the data can be read again. */
ssize_t tls_recv(int fd, void *data, size_t size, int peek);

/* As send(2). Takes at most one record, once the last one has been sent. */
ssize_t tls_send(int fd, const void *data, size_t size);

/* Sends what waits, as much as the kernel takes. Returns 0 when all is sent; or -1 with errno. */
int tls_flush(int fd);

/* Whether something waits to be sent: data or the end. */
int tls_unsent(int fd);

/* Whether data has been read from the socket that the script has not: poll cannot know of it. */
int tls_unread(int fd);

/* Sends close_notify, then FIN, as soon as what waits has been sent. Returns 0, or -1 with
 * errno. */
int tls_half_close(int fd);

/* Sends close_notify, before close. Does nothing if the handshake is not done. */
void tls_close_notify(int fd);
