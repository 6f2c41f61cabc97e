/* display.h: how the client shows a line of the server's on a terminal. Pure. */
#pragma once
#include <stddef.h>

enum {
    DISPLAY_INDENT = 6,      /* columns before a row that continues a line: as wide as the time */
    DISPLAY_COLUMNS_MIN = 8, /* a terminal with fewer is treated as if it had so many */
    DISPLAY_EXTRA = 64,      /* bytes of the time, the colors, a newline and a NUL */
    DISPLAY_GROWTH = 2 + DISPLAY_INDENT /* each byte may begin a row: a newline and the indent */
};

/* Returns how many bytes display_line writes at most for a line of this size:
 * DISPLAY_EXTRA, and DISPLAY_GROWTH for each byte. */
size_t display_size(size_t size);

/* Writes a line of clean text (text.h) to shown, which has room for display_size bytes, as it is to
 * be shown, with a newline and a NUL. Returns how many bytes come before the NUL. clock, if not
 * NULL, is the time, "12:34", that precedes the line; the time of what was said earlier is not
 * known. The name has a color of its own if in_color is not 0. No row of the terminal, which has
 * columns columns, is left for the terminal to fill: each row that continues a line is indented, so
 * that nobody can take it for a line of its own. */
size_t display_line(const char *clock, const char *line, size_t columns, int in_color, char *shown);
