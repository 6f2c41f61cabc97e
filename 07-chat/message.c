/* message.c: see message.h. */
#include "message.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct message *message_new(size_t size) {
    struct message *m = malloc(sizeof *m + size + 1);
    if (!m)
        return NULL;
    m->refcount = 1;
    m->size = (unsigned)size;
    return m;
}

struct message *message_printf(const char *format, ...) {
    va_list measured;
    va_list written;
    va_start(measured, format);
    va_copy(written, measured);
    int size = vsnprintf(NULL, 0, format, measured);
    struct message *m = message_new((size_t)size);
    if (m)
        vsnprintf(m->bytes, (size_t)size + 1, format, written);
    va_end(written);
    va_end(measured);
    return m;
}

void message_drop(struct message *m) {
    if (!m)
        return;
    m->refcount--;
    if (m->refcount == 0)
        free(m);
}
