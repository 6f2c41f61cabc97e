/* people.h: whose names the client has seen, for the tab key. Pure.
 *
 * No server is trusted: only what can be a name is remembered, and no more than PEOPLE_MAX names. A
 * name stays when its owner has left: completing it does no harm. All text here is clean
 * (text.h). */
#pragma once
#include "name.h"
#include <stddef.h>

enum {
    PEOPLE_MAX = 256,                  /* names remembered; a new one replaces the oldest */
    PEOPLE_NAME_SIZE = NAME_LIMIT + 1, /* with a NUL */
    PEOPLE_REST_SIZE = NAME_LIMIT + 2  /* with a space and a NUL */
};

struct people {
    char names[PEOPLE_MAX][PEOPLE_NAME_SIZE]; /* "": free */
    unsigned next;                            /* where the next new one goes */
};

/* Returns where the name in a line of the server's begins, and its size in *size, as in "ann: hi",
 * "(earlier) ann: hi" and "* ann left". *size is 0 for an answer, which begins with + or -. */
const char *people_name(const char *line, size_t *size);

/* Remembers the names in a line: the one with which it begins; or, of an answer, the first
 * PEOPLE_MAX of those after "here: ". */
void people_learn(struct people *p, const char *line);

/* Writes to rest (PEOPLE_REST_SIZE bytes) what all names that begin with the last word of text
 * (size bytes) have in common after it, and a space if there is only one; "" if there is nothing to
 * add. */
void people_complete(const struct people *p, const char *text, size_t size, char *rest);
