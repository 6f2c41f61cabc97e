/* message.h: a message is made once, and shared by all who are to get it.
 *
 * It counts its owners. The function that makes one is its first owner; each queue in which it
 * waits (queue.h) and the history (history.h) are more. The last owner frees it. */
#pragma once
#include <stddef.h>

enum { MESSAGE_COST = 48 }; /* bytes beside its own: its header, malloc's, two slots in queues */

struct message {
    unsigned refcount;
    unsigned size;
    char bytes[]; /* without a NUL */
};

/* Returns a new message of size bytes, for the caller to fill (there is room for one more, a NUL);
 * or NULL without memory for it: malloc(3). */
struct message *message_new(size_t size);

/* Returns a new message: a format of printf(3). NULL as above. */
__attribute__((format(printf, 1, 2))) struct message *message_printf(const char *format, ...);

/* The caller is no owner any more. m may be NULL. */
void message_drop(struct message *m);
