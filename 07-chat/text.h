/* text.h: what people send, made fit to be shown: bytes in, clean UTF-8 out.
 *
 * A terminal obeys control characters: they move the cursor, change the title, answer for its user.
 * A server that passes them on lends every reader's screen to whoever speaks. So each of them
 * becomes U+FFFD, the replacement character, and so does whatever is not UTF-8 (RFC 3629): another
 * program might read broken bytes in another way. All functions but text_set_locale are pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    TEXT_LINE_LIMIT = 2000,                    /* bytes of a line, without its newline */
    TEXT_CLEAN_SIZE = 3 * TEXT_LINE_LIMIT + 1, /* one bad byte becomes the three of U+FFFD; a NUL */
    TEXT_NOT_UTF8 = 0x110000                   /* one more than the last code point */
};

/* Reads the character with which text begins (size bytes, at least 1) into *c. Returns its length
 * in bytes. For bytes that are not UTF-8, *c is TEXT_NOT_UTF8, and the length is that of the
 * beginning of a character that they could have been, at least 1: so all programs that follow
 * Unicode 3.9, table 3-7, put the same number of U+FFFD there. */
size_t text_next_character(const char *text, size_t size, uint32_t *c);

/* Writes text (size bytes) to clean, which has room for 3 * size + 1 bytes: valid UTF-8 without
 * control characters, a space for each tab, and a NUL at the end. Returns how many bytes come
 * before the NUL. */
size_t text_clean(const char *text, size_t size, char *clean);

/* Lets the C library know letters and widths beyond ASCII, which it does in a UTF-8 locale only
 * (setlocale(3)). If the system has none, names have ASCII letters and digits only. Call it at the
 * start, before there are other threads. */
void text_set_locale(void);
