/* buffer.h: a connection's buffer that exists only while it holds something. */
#pragma once
#include <stddef.h>

/* Keeps size bytes of data at the start of *buffer. Data may lie in *buffer already, anywhere. If
 * there is no buffer yet (NULL), allocates one of capacity bytes; with size 0, frees it and sets
 * *buffer to NULL. Returns 0, or -1 with ENOMEM. malloc(3). */
int buffer_keep(char **buffer, size_t capacity, const char *data, size_t size);
