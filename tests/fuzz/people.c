/* libFuzzer target for 07's people.h and display.h: `make fuzz`. The bytes are the lines that a
 * server sends; the first is also the width of the terminal. Whatever they are, only possible names
 * are remembered and completed, the display has no control characters but its own newlines and
 * colors, no row is wider than the terminal, and each row begins with a time or an indent. */
/* parts: 07-chat/people.c 07-chat/display.c 07-chat/text.c 07-chat/name.c */
#include "../../util.h"
#include "../../07-chat/display.h"
#include "../../07-chat/people.h"
#include "../../07-chat/text.h"
#include <wchar.h>

#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct people people;

/* Returns the columns of a row, and requires that it has no control character. */
static size_t row_width(const char *row, size_t size) {
    size_t width = 0;
    size_t at = 0;
    uint32_t c;
    while (at < size) {
        at += text_next_character(row + at, size - at, &c);
        REQUIRE(c != TEXT_NOT_UTF8 && c >= ' ' && c != 0x7F && !(c >= 0x80 && c < 0xA0));
        const int columns = wcwidth((wchar_t)c);
        width += columns < 0 ? 2 : (size_t)columns;
    }
    return width;
}

/* Requires that the first row begins with a time, and the others with an indent. */
static void check_begin(const char *row, int is_first) {
    if (is_first)
        REQUIRE(!strncmp(row, "12:34 ", 6) || !strncmp(row, "--:-- (earlier) ", 8));
    else
        REQUIRE(!strncmp(row, "      ", DISPLAY_INDENT));
}

static void check_rows(const char *block, size_t max_width) {
    const char *row = block;
    while (*row) {
        const size_t size = strcspn(row, "\n");
        REQUIRE(row_width(row, size) <= max_width);
        check_begin(row, row == block);
        row += size + 1;
    }
}

static void check_shown(const char *text, size_t columns) {
    char *block = malloc(display_size(strlen(text)));
    const size_t size = display_line("12:34", text, columns, 0, block);
    REQUIRE(size == strlen(block) && block[size - 1] == '\n');
    if (columns < DISPLAY_COLUMNS_MIN)
        check_rows(block, DISPLAY_COLUMNS_MIN);
    else
        check_rows(block, columns);
    display_line("12:34", text, columns, 1, block); /* with colors: only its bound is checked */
    free(block);
}

static void check_names(const char *text) {
    char rest[PEOPLE_NAME_SIZE + 1];
    for (size_t i = 0; i < PEOPLE_MAX; i++)
        REQUIRE(!*people.names[i] || !name_problem(people.names[i]));
    people_complete(&people, text, strlen(text), rest);
    REQUIRE(strlen(rest) <= PEOPLE_NAME_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *next = (const char *)data;
    const char *end = next + size;
    size_t columns = 80;
    if (size > 0)
        columns = *data % 100;
    text_set_locale();
    memset(&people, 0, sizeof people);
    while (next < end) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        if (!newline)
            newline = end;
        const size_t line_size = (size_t)(newline - next);
        char *text = malloc(3 * line_size + 1);
        text_clean(next, line_size, text);
        people_learn(&people, text);
        check_names(text);
        check_shown(text, columns);
        free(text);
        next = newline;
        if (next < end)
            next++;
    }
    return 0;
}
