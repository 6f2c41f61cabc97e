/* text.c: see text.h. */
#include "text.h"
#include <locale.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

struct range {
    uint32_t first, last;
};

/* C0, DEL and C1, whose 0x9B begins a sequence as ESC [ does; line and paragraph separators; what
 * changes the direction of the text after it. Sorted. */
static const struct range controls[] = {
    {0x00, 0x1F}, {0x7F, 0x9F}, {0x2028, 0x202E}, {0x2066, 0x2069}};

static int is_control(uint32_t c) {
    for (size_t i = 0; i < COUNT(controls); i++) {
        if (c <= controls[i].last)
            return c >= controls[i].first;
    }
    return 0;
}

/* Returns how many bytes the first byte of a character promises. */
static size_t promised_length(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0)
        return 3;
    return 4;
}

/* The second byte has limits of its own: no longer forms than need be, no surrogates (U+D800 to
 * U+DFFF), nothing beyond U+10FFFF. */
static struct range second_byte(unsigned char lead) {
    switch (lead) {
    case 0xE0: return (struct range){0xA0, 0xBF};
    case 0xED: return (struct range){0x80, 0x9F};
    case 0xF0: return (struct range){0x90, 0xBF};
    case 0xF4: return (struct range){0x80, 0x8F};
    default: return (struct range){0x80, 0xBF};
    }
}

size_t text_next_character(const char *text, size_t size, uint32_t *c) {
    const unsigned char *bytes = (const unsigned char *)text;
    const unsigned char lead = bytes[0];
    const size_t length = promised_length(lead);
    *c = length == 1 ? lead : TEXT_NOT_UTF8;
    if (lead < 0xC2 || lead > 0xF4) /* ASCII; or no character begins with it */
        return 1;
    struct range allowed = second_byte(lead);
    uint32_t value = lead & (0x7Fu >> length);
    size_t i = 1;
    while (i < length && i < size && bytes[i] >= allowed.first && bytes[i] <= allowed.last) {
        value = value << 6 | (bytes[i] & 0x3Fu);
        allowed = (struct range){0x80, 0xBF};
        i++;
    }
    if (i == length)
        *c = value;
    return i;
}

size_t text_clean(const char *text, size_t size, char *clean) {
    const char *end = text + size;
    char *next = clean;
    while (text < end) {
        uint32_t c;
        size_t length = text_next_character(text, (size_t)(end - text), &c);
        if (c == '\t') {
            *next = ' ';
            next++;
        } else if (c == TEXT_NOT_UTF8 || is_control(c)) {
            memcpy(next, "\xEF\xBF\xBD", 3);
            next += 3;
        } else {
            memcpy(next, text, length);
            next += length;
        }
        text += length;
    }
    *next = '\0';
    return (size_t)(next - clean);
}

void text_set_locale(void) {
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
}
