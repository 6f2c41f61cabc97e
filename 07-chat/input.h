/* input.h: what members send: bytes in, and lines that are heard in time. */
#pragma once
#include "room.h"

/* How far input_hear has come. */
enum input_result {
    INPUT_HEARD,      /* all lines are heard; a partial line may be left */
    INPUT_TOO_EARLY,  /* the next line comes too early (pace.h): pause, then call again */
    INPUT_SEND_FIRST, /* send all that is pending (room.h), then call again */
    INPUT_LEFT        /* this member is not heard any more */
};

/* Hears the lines of data (size bytes): all that m has sent and was not heard yet. The first line
 * is its name, the others are said or run as commands. now: now_ms. Sets *used to the bytes that
 * are heard; the rest is to come again. */
enum input_result input_hear(struct room *r, struct member *m, const char *data, size_t size,
                             long long now, size_t *used);

/* Keeps a copy of what was not heard (data, size bytes, not in m->input) in m->input, in place of
 * what was kept there. Without memory for it, m is dropped. */
void input_keep(struct room *r, struct member *m, const char *data, size_t size);
