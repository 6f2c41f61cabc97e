/* commands.h: what a line that begins with a slash does. */
#pragma once
#include "room.h"

/* Runs a command of m, who is inside: a line of clean text, "/msg bob hello", which is changed on
 * the way. The answer goes into the queue of m. */
void commands_run(struct room *r, struct member *m, char *line);
