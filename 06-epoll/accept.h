/* accept.h: a listening socket in the loop.
 *
 * While there are no descriptors or no memory for a connection, it pauses: new clients wait in the
 * kernel's backlog, and those that are connected are served. */
#pragma once
#include <netinet/in.h>

/* Makes listener non-blocking, and has on_connection called for each connection that it accepts:
 * with its socket, which is non-blocking and which on_connection must close, and with the peer's
 * address, a sockaddr_in6 or the shorter sockaddr_in. One listener for each program. Returns 0, or
 * -1: fcntl(2), timerfd_create(2). accept4(2). */
int accept_start(int listener, void (*on_connection)(int fd, const struct sockaddr_in6 *peer));

/* Closes the listener: no new connections from now on. */
void accept_stop(void);
