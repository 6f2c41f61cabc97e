/* name.c: see name.h. */
#define _GNU_SOURCE 1 /* for wcwidth */
#include "name.h"
#include "text.h"
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* The four Hangul fillers are letters that cannot be seen. Vowel signs are letters, too: marks on
 * the letter before them. Other marks are not: the C library has one class for accents and for
 * marks that cannot be seen. So an accented letter is one character (NFC) or is refused, and so are
 * names that need tone marks (Thai) or a virama (Hindi); utf8proc or ICU could tell these apart. */
static int is_letter(uint32_t c) {
    if (c == TEXT_NOT_UTF8 || c == 0x115F || c == 0x1160 || c == 0x3164 || c == 0xFFA0)
        return 0;
    return iswalnum((wint_t)c) != 0;
}

static int may_begin(uint32_t c) {
    return is_letter(c) && wcwidth((wchar_t)c) > 0; /* a mark has no width of its own */
}

static int may_follow(uint32_t c) {
    if (c <= '~' && strchr("-_.'", (int)c))
        return 1;
    return is_letter(c);
}

const char *name_problem(const char *name) {
    const char *end = name + strlen(name);
    uint32_t c;
    if (name == end)
        return "empty";
    if (end - name > NAME_LIMIT)
        return "more than 32 bytes";
    name += text_next_character(name, (size_t)(end - name), &c);
    if (!may_begin(c))
        return "does not begin with a letter or a digit";
    while (name < end) {
        name += text_next_character(name, (size_t)(end - name), &c);
        if (!may_follow(c))
            return "has a character that is not a letter, a digit or one of - _ . '";
    }
    return NULL;
}
