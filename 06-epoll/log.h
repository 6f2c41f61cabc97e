/* log.h: lines on stderr that never make the program wait, whether anybody reads them or not.
 *
 * Rules:
 * - main calls log_open once, before it starts a thread.
 * - From then on the program writes to stderr through log_line only. A program that fails at its
 *   start says why with die, and ends. */
#pragma once

/* Prepares the log. This takes one descriptor if stderr is a pipe or a terminal. If it fails, lines
 * go to stderr as it is. open(2), proc(5). */
void log_open(void);

/* Writes one line: a format of printf(3) and its arguments, without the newline. Anything beyond
 * PIPE_BUF bytes, its newline included, is cut off. A line that cannot be written now (the pipe is
 * full, Ctrl-S has stopped the terminal, the disk is full) is dropped and counted; "server: 12 log
 * lines lost" comes before the next line that can be written. Any thread may call this function. It
 * leaves errno as it was. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);
