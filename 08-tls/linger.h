/* linger.h: closes sockets so that the last bytes arrive, and makes nobody wait: it does in the
 * loop what linger_close of util.h does.
 *
 * Closing a socket with unread input would send a reset, which may destroy what the peer has not
 * read yet: the last reply, an alert, close_notify. */
#pragma once
#include "loop.h"

/* Makes this part ready; call loop_open before. Returns 0, or -1: timerfd_create(2). */
int linger_open(void);

/* Takes fd over from w. No handler of w is called any more, so the caller only has to free w.
 * Sends FIN, discards what comes until the peer's FIN or for LINGER_MS, and closes fd. If the peer
 * has reset the connection, or there is no memory, it closes fd at once. */
void linger_take(struct loop_watcher *w, int fd);

/* Returns whether any socket that was taken over is still open. */
int linger_any(void);

/* Closes the sockets that are still open; call it before loop_end. */
void linger_end(void);
