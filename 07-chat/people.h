/* people.h: what the client makes of the server's lines: who is there (tab completes their names),
 * and how a line is shown. Pure (tests/unit/people.c).
 *
 * No server is trusted: so many names and no more, none longer than NAME_LIMIT, and all text here
 * is clean (text.h). */
#pragma once
#include "text.h"

enum { PEOPLE = 2048, NAME_ROOM = NAME_LIMIT + 1 }; /* more people are not remembered */

struct people {
    char names[PEOPLE][NAME_ROOM]; /* "": a free place */
};

static inline void people_add(struct people *p, const char *name) {
    char *place = NULL;
    for (size_t i = PEOPLE; i-- > 0;) {
        if (!strcmp(p->names[i], name))
            return;
        place = *p->names[i] ? place : p->names[i];
    }
    if (place)
        strcpy(place, name);
}

static inline void people_remove(struct people *p, const char *name) {
    for (size_t i = 0; i < PEOPLE; i++)
        if (!strcmp(p->names[i], name))
            *p->names[i] = '\0';
}

/* Heeds a line of the server's: `+welcome ann, here: ann, bob`, `+here: ann`, `* bob joined`,
 * `* bob left`, `* bob left (words)`, `* bob is now known as eve`. No other: `* bob: left` is what
 * bob says, and no name has a colon. (32: NAME_LIMIT. strchr finds the end of a text, too.) */
static inline void people_heed(struct people *p, const char *text) {
    char name[NAME_ROOM], new_name[NAME_ROOM];
    const char *here = strstr(text, "here: ");
    int n = 0;
    if (here && (!strncmp(text, "+welcome ", 9) || !strncmp(text, "+here: ", 7))) {
        for (here += 4; sscanf(here, "%*1[:,] %32[^:, ]%n", name, &n) == 1; here += n)
            if (strchr(",", here[n]))
                people_add(p, name);
    } else if (sscanf(text, "* %32[^: ] is now known as %32[^: ]%n", name, new_name, &n) == 2) {
        if (!text[n]) {
            people_remove(p, name);
            people_add(p, new_name);
        }
    } else if (sscanf(text, "* %32[^: ] joined%n", name, &n) == 1 && n && !text[n]) {
        people_add(p, name);
    } else if (sscanf(text, "* %32[^: ] left%n", name, &n) == 1 && n && strchr(" ", text[n])) {
        people_remove(p, name);
    }
}

/* Writes to rest (NAME_ROOM + 1 bytes) what all names that begin with the last word of text have in
 * common after it; and a space if there is only one. "" if there is nothing to add. */
static inline void people_complete(const struct people *p, const char *text, size_t size,
                                   char *rest) {
    const char *word = text + size, *first = "";
    size_t same = 0, count = 0;
    while (word > text && word[-1] != ' ')
        word--;
    size = (size_t)(text + size - word);
    for (size_t i = 0; i < PEOPLE; i++) {
        if (!*p->names[i] || strncmp(p->names[i], word, size) != 0)
            continue;
        if (count++ == 0)
            same = strlen(first = p->names[i]);
        while (strncmp(p->names[i], first, same) != 0)
            same--;
    }
    while (same > size && ((unsigned char)first[same] & 0xC0) == 0x80)
        same--; /* not in mid-character (RFC 3629, 3) */
    snprintf(rest, NAME_ROOM + 1, "%.*s%s", same > size ? (int)(same - size) : 0,
             first + (count ? size : 0), count == 1 ? " " : "");
}

/* Writes a line as it is shown, with its newline: the time before it and, if asked for, the name in
 * a colour of its own: `ann: hi`, `(earlier) ann: hi`, `* ann left`, and our own `(you): hi`. */
static inline void people_show(const char *clock, const char *text, int in_colour, char *shown,
                               size_t room) {
    size_t mark = !strncmp(text, "(earlier) ", 10) ? 10 : !strncmp(text, "* ", 2) ? 2 : 0;
    size_t name = *text == '+' || *text == '-' ? 0 : strcspn(text + mark, " :");
    unsigned colour = 0;
    for (size_t i = 0; i < name; i++)
        colour = colour * 31 + (unsigned char)text[mark + i];
    if (name && in_colour)
        snprintf(shown, room, "%s %.*s\033[1;3%um%.*s\033[0m%s\n", clock, (int)mark, text,
                 1 + colour % 6, (int)name, text + mark, text + mark + name);
    else
        snprintf(shown, room, "%s %s\n", clock, text);
}
