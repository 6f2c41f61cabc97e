/* buffer.c: see buffer.h. */
#include "buffer.h"
#include <stdlib.h>
#include <string.h>

int buffer_keep(char **buffer, size_t capacity, const char *data, size_t size) {
    if (size == 0) {
        free(*buffer);
        *buffer = NULL;
        return 0;
    }
    if (!*buffer)
        *buffer = malloc(capacity);
    if (!*buffer)
        return -1;
    memmove(*buffer, data, size);
    return 0;
}
