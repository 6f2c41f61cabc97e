/* requests.h: the load generator without its sockets: what is sent, whether a reply is the right
 * one, and how many lines are asked, pending, answered.
 *
 * Rules:
 * - A connection sends a batch of lines together, and the next when all of them are answered.
 * - Lines are computed from (connection, number), so nothing is stored. Two lines are the same once
 *   in 65,536 times (lines of 2 bytes: once in 94). So a reply that is old, doubled or another
 *   connection's is found.
 * - Lines are numbered from 0, for each connection. Times are nanoseconds. */
#pragma once
#include "histogram.h"
#include <stddef.h>

enum {
    REQUESTS_LINE_LIMIT = 65536,             /* bytes of a line, its newline included */
    REQUESTS_CHUNK = 2 * REQUESTS_LINE_LIMIT /* bytes sent or compared at a time, at most */
};

/* How a connection may fail. */
enum requests_failure {
    REQUESTS_REFUSED,
    REQUESTS_WRONG,       /* the reply does not fit the line sent */
    REQUESTS_LOST,        /* closed, reset, or silent for too long */
    REQUESTS_UNCONNECTED, /* not connected at all */
    REQUESTS_FAILURES
};

/* The lines that one connection has sent together. A batch of zeros is that of connection 0 before
 * its first line. */
struct requests_batch {
    unsigned connection;
    unsigned first;  /* the number of its first line */
    unsigned lines;  /* how many */
    size_t sent;     /* bytes of the lines */
    size_t received; /* bytes of their replies, all of them right */
    long long start; /* when it was begun */
};

/* All connections together. Set the first three, the rest is 0. */
struct requests {
    long remaining;   /* lines that are not asked yet */
    long pipeline;    /* lines of a batch, at most */
    size_t line_size; /* bytes, its newline included: 2 to REQUESTS_LINE_LIMIT */

    long long asked;                       /* lines */
    long long pending;                     /* of these, lines that are not answered yet */
    long unanswered_connections;           /* that have asked, and have had no reply at all */
    struct histogram times;                /* of the lines that are answered */
    long long failures[REQUESTS_FAILURES]; /* connections, by kind */
    char first_failure[256];               /* "": none */
};

/* Begins the next batch of a connection, at the time now, if any lines remain. Returns how many
 * lines it has, maybe 0. */
unsigned requests_next_batch(struct requests *r, struct requests_batch *b, long long now);

/* Returns the bytes of the batch that are to be sent next, and their number, at most
 * REQUESTS_CHUNK, in *size; 0: all are sent. They are valid until the next call of a function of
 * this part. The caller adds to b->sent what has been sent. */
const char *requests_unsent(const struct requests *r, const struct requests_batch *b, size_t *size);

/* Takes size bytes, 1 to REQUESTS_CHUNK, that have arrived at the time now. Returns 0; or -1 if
 * they are not the ones that had to come next, which is counted as a failure. */
int requests_take(struct requests *r, struct requests_batch *b, const char *bytes, size_t size,
                  long long now);

/* Returns whether all lines of the batch are sent. */
int requests_batch_sent(const struct requests *r, const struct requests_batch *b);

/* Returns whether all lines of the batch are answered. */
int requests_batch_done(const struct requests *r, const struct requests_batch *b);

/* The connection is closed: nothing of its batch is pending any more. */
void requests_drop(struct requests *r, const struct requests_batch *b);

/* Counts a failure; the first one is kept as text: "connect: Connection refused (ECONNREFUSED)";
 * without a reason if error is 0. */
void requests_fail(struct requests *r, enum requests_failure kind, const char *what, int error);
