/* lines.c: see lines.h. */
#include "../util.h"
#include "lines.h"

ssize_t lines_answer(const char *data, size_t size, char *replies, size_t *replies_size) {
    char *next = replies;
    size_t used = 0;
    ssize_t length;
    while ((length = line_length(data + used, size - used, LINES_LIMIT)) > 0) {
        *next = '+';
        memcpy(next + 1, data + used, (size_t)length);
        next += 1 + length;
        used += (size_t)length;
    }
    if (length < 0)
        next += sprintf(next, "-line of more than %d bytes\n", LINES_LIMIT);
    *replies_size = (size_t)(next - replies);
    if (length < 0)
        return -1;
    return (ssize_t)used;
}
