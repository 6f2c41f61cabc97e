/* lines.h: the line service without its sockets: bytes in, replies out (tests/unit/lines.c).
 *
 * A message is a line, its newline included. The reply is "+" and the line, in order. A line of
 * more than LINE_LIMIT bytes has one reply that begins with "-", and it is the last. */
#pragma once
#include "../util.h"

enum {
    LINE_LIMIT = 65536,
    REPLY_ROOM = 2 * LINE_LIMIT + 128 /* the worst that LINE_LIMIT bytes bring: all are newlines */
};

/* Writes to replies (REPLY_ROOM bytes) the reply to each complete line of data (size bytes, at most
 * LINE_LIMIT), and their size to *replies_size. Returns how many bytes of data are dealt with: all
 * but a line begun; -1 after a refusal, which is among the replies. Pure. */
static inline ssize_t answer_lines(const char *data, size_t size, char *replies,
                                   size_t *replies_size) {
    char *next = replies;
    size_t used = 0;
    ssize_t n;
    while ((n = line_length(data + used, size - used, LINE_LIMIT)) > 0) {
        *next++ = '+';
        memcpy(next, data + used, (size_t)n);
        next += n;
        used += (size_t)n;
    }
    if (n < 0)
        next += sprintf(next, "-line of more than %d bytes\n", LINE_LIMIT);
    *replies_size = (size_t)(next - replies);
    return n < 0 ? -1 : (ssize_t)used;
}

/* Keeps size bytes of data, which may lie in *buffer already, in a buffer of room bytes that exists
 * only while it holds something. Returns 0, or -1 with errno ENOMEM. Pure but for malloc. */
static inline int keep_rest(char **buffer, size_t room, const char *data, size_t size) {
    if (size && !*buffer)
        *buffer = malloc(room);
    if (size && *buffer)
        memmove(*buffer, data, size);
    if (!size) {
        free(*buffer);
        *buffer = NULL;
    }
    return size && !*buffer ? -1 : 0;
}
