/* lines.h: the line service without its sockets: bytes in, replies out.
 *
 * A message is a line: bytes up to and including a newline. Its reply is "+" and the line, in
 * order. A line of more than LINES_LIMIT bytes gets one reply that begins with "-", which is the
 * last one. */
#pragma once
#include <sys/types.h>

enum {
    LINES_LIMIT = 65536, /* bytes of a line, its newline included */
    LINES_REPLIES =
        2 * LINES_LIMIT + 128 /* bytes of the longest replies: to LINES_LIMIT newlines */
};

/* Answers the complete lines of data (size bytes, at most LINES_LIMIT). Writes the replies to
 * replies (room for LINES_REPLIES bytes) and their size to *replies_size. Returns how many bytes of
 * data are answered: all but a partial line at the end; or -1 after a refusal, which is the last of
 * the replies. Pure. */
ssize_t lines_answer(const char *data, size_t size, char *replies, size_t *replies_size);
