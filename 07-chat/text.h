/* text.h: what people send, made fit to be shown: bytes in, clean UTF-8 out (tests/unit/text.c).
 *
 * A terminal obeys control characters: they move the cursor, change the title, answer for its user.
 * A server that passes them on lends every listener's screen to whoever speaks. So each of them
 * becomes U+FFFD, the replacement character, and so does whatever is not UTF-8 (RFC 3629): what is
 * broken might be read in another way elsewhere. All functions here are pure. */
#pragma once
#include "../util.h"
#include <stdint.h>

enum {
    LINE_LIMIT = 2000,               /* bytes of a line, without its newline */
    CLEAN_ROOM = 3 * LINE_LIMIT + 1, /* one bad byte becomes the three of U+FFFD; and a NUL */
    NAME_LIMIT = 32,
    REPLACEMENT = 0xFFFD,
    NOT_UTF8 = 0x110000 /* one more than the last code point */
};

struct range {
    uint32_t first, last;
};

/* C0, DEL and C1, whose 0x9B begins a sequence as ESC [ does; line and paragraph separators; what
 * changes the direction of the text after it. Sorted. */
static const struct range controls[] = {
    {0x00, 0x1F}, {0x7F, 0x9F}, {0x2028, 0x202E}, {0x2066, 0x2069}};

/* A name must not look like another one: no spaces, nothing that cannot be seen. (Letters that look
 * alike are let in: the list of them is long.) Sorted. */
static const struct range blanks[] = {
    {0x20, 0x20},       {0xA0, 0xA0},      {0xAD, 0xAD},     {0x034F, 0x034F}, {0x061C, 0x061C},
    {0x115F, 0x1160},   {0x1680, 0x1680},  {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200F},
    {0x2028, 0x202F},   {0x205F, 0x206F},  {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164},
    {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},  {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};

#define IS_IN(table, c) is_in(table, sizeof(table) / sizeof *(table), c)
static inline int is_in(const struct range *table, size_t n, uint32_t c) {
    size_t i = 0;
    while (i < n && c > table[i].last)
        i++;
    return i < n && c >= table[i].first;
}

/* Reads the character with which text begins (size > 0) and returns its length. What is not UTF-8
 * is NOT_UTF8 and as long as the beginning of a character that it could have been, at least 1: so
 * all programs that follow Unicode 3.9, table 3-7, put the same number of U+FFFD there. */
static inline size_t next_character(const char *text, size_t size, uint32_t *c) {
    const unsigned char *byte = (const unsigned char *)text;
    const unsigned char lead = byte[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4, i = 1;
    *c = lead < 0x80 ? lead : NOT_UTF8;
    if (lead < 0xC2 || lead > 0xF4) /* ASCII; or no character begins with it */
        return 1;
    /* The second byte has limits of its own: no longer forms than need be, no surrogates (U+D800 to
     * U+DFFF), nothing beyond U+10FFFF. */
    unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = lead & (0x7Fu >> length);
    for (; i < length && i < size && byte[i] >= low && byte[i] <= high; i++) {
        value = value << 6 | (byte[i] & 0x3Fu);
        low = 0x80, high = 0xBF;
    }
    if (i == length)
        *c = value;
    return i;
}

/* Writes text to clean (3 * size + 1 bytes at most), fit to be shown: valid UTF-8 without control
 * characters, a tab being a space, and a NUL at the end. Returns its size. */
static inline size_t clean_text(const char *text, size_t size, char *clean) {
    char *next = clean;
    for (size_t n; size > 0; text += n, size -= n) {
        uint32_t c;
        n = next_character(text, size, &c);
        if (c == '\t')
            *next++ = ' ';
        else if (c == NOT_UTF8 || IS_IN(controls, c))
            next = stpcpy(next, "\xEF\xBF\xBD");
        else
            next = (char *)memcpy(next, text, n) + n;
    }
    *next = '\0';
    return (size_t)(next - clean);
}

/* NULL, or why this cannot be a name. With what it refuses, a name could pass for a notice of the
 * server, for another name, or for two in a list of names. */
static inline const char *name_problem(const char *name) {
    size_t size = strlen(name);
    if (size == 0)
        return "empty";
    if (size > NAME_LIMIT)
        return "more than 32 bytes";
    if (strchr("*+-/(", *name))
        return "begins with one of * + - / (";
    for (size_t n; size > 0; name += n, size -= n) {
        uint32_t c;
        n = next_character(name, size, &c);
        if (c == NOT_UTF8 || c == REPLACEMENT || (IS_IN(controls, c) && !IS_IN(blanks, c)))
            return "has a control character, or is not UTF-8";
        if (IS_IN(blanks, c))
            return "has a space, or a character that cannot be seen";
        if (c == ':' || c == ',')
            return "has a colon or a comma";
    }
    return NULL;
}
