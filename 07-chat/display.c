/* display.c: see display.h. */
#define _GNU_SOURCE 1 /* for wcwidth, stpcpy */
#include "display.h"
#include "people.h"
#include "text.h"
#include <stdio.h>
#include <string.h>
#include <wchar.h>

size_t display_size(size_t size) {
    return DISPLAY_EXTRA + size * DISPLAY_GROWTH;
}

/* Returns whether c is a mark, which stands on the character before it. */
static int is_mark(uint32_t c) {
    return c != TEXT_NOT_UTF8 && wcwidth((wchar_t)c) == 0;
}

/* Returns how many columns a character may take: rather one too many than one too few. Terminals do
 * not agree, and they break a row that is too long themselves. A mark can make the character before
 * it wider (U+FE0F makes an emoji of it), and most of what is beyond U+FFFF is an emoji, or new. */
static size_t width_of(uint32_t c) {
    if (c == TEXT_NOT_UTF8 || is_mark(c))
        return 1;
    int width = wcwidth((wchar_t)c);
    if (width < 0 || c > 0xFFFF)
        return 2;
    return (size_t)width;
}

/* Writes size bytes of text to next, in rows; *column is where the cursor is. Returns the end. */
static char *put_rows(char *next, const char *text, size_t size, size_t columns, size_t *column) {
    const char *end = text + size;
    while (text < end) {
        uint32_t c;
        size_t length = text_next_character(text, (size_t)(end - text), &c);
        if (*column + width_of(c) > columns && !is_mark(c)) { /* a mark stays with its letter */
            next += sprintf(next, "\n%*s", DISPLAY_INDENT, "");
            *column = DISPLAY_INDENT;
        }
        *column += width_of(c);
        memcpy(next, text, length);
        next += length;
        text += length;
    }
    return next;
}

/* Returns one of six colors: neither black nor white, which may be the background. */
static unsigned color_of(const char *name, size_t size) {
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + (unsigned char)name[i];
    return 1 + sum % 6;
}

size_t display_line(const char *clock, const char *line, size_t columns, int in_color,
                    char *shown) {
    size_t name_size;
    const char *name = people_name(line, &name_size);
    size_t column = 0;
    char *next = shown;
    if (columns < DISPLAY_COLUMNS_MIN)
        columns = DISPLAY_COLUMNS_MIN;
    if (clock) {
        if (strncmp(line, "(earlier) ", 10) == 0)
            clock = "--:--";
        next += sprintf(next, "%.5s ", clock);
        column = DISPLAY_INDENT;
    }
    next = put_rows(next, line, (size_t)(name - line), columns, &column);
    if (in_color && name_size > 0)
        next += sprintf(next, "\033[1;3%um", color_of(name, name_size));
    next = put_rows(next, name, name_size, columns, &column);
    if (in_color && name_size > 0)
        next = stpcpy(next, "\033[0m");
    next = put_rows(next, name + name_size, strlen(name + name_size), columns, &column);
    next = stpcpy(next, "\n");
    return (size_t)(next - shown);
}
