/* Unit tests of 07's text.h. What is read stands in a block of just its size, and what is written
 * in one of just the room that is promised: AddressSanitizer sees one byte too many. */
#include "../../07-chat/text.h"
#include <CUnit/Basic.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define FFFD         "\xEF\xBF\xBD"

/* Says which row of a table it was: CUnit shows only the line of code. */
static void check(int good, const char *row) {
    if (!good)
        printf("\n    wrong: %s", row);
    CU_ASSERT(good);
}

/* Whether text becomes that. */
static int becomes(const char *text, size_t size, const char *want) {
    char *block = malloc(size ? size : 1), *clean = malloc(3 * size + 1);
    memcpy(block, text, size);
    size_t n = clean_text(block, size, clean);
    int good = n == strlen(want) && memcmp(clean, want, n + 1) == 0;
    free(block);
    free(clean);
    return good;
}

struct cleaning {
    const char *text, *want; /* NULL: it stays as it is */
};

static void check_cleaning(const struct cleaning *cases, size_t n) {
    for (size_t i = 0; i < n; i++)
        check(becomes(cases[i].text, strlen(cases[i].text),
                      cases[i].want ? cases[i].want : cases[i].text),
              cases[i].text);
}

/* RFC 3629, 3: the first and the last character of each length, and those beside the surrogates. */
static void valid_text(void) {
    static const struct cleaning cases[] = {
        {"", NULL},
        {"hello, world", NULL},
        {" ~", NULL},
        {"\xC2\xA0\xDF\xBF", NULL},
        {"\xE0\xA0\x80\xEF\xBF\xBF", NULL},
        {"\xED\x9F\xBF\xEE\x80\x80", NULL},
        {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", NULL},
        {"张三 Grüße ñ שלום 👩‍💻", NULL},
        {FFFD, NULL},
    };
    check_cleaning(cases, COUNT(cases));
}

/* What a terminal obeys, what breaks a line elsewhere, what changes the order of what is shown. */
static void control_characters(void) {
    static const struct cleaning cases[] = {
        {"\t", " "},
        {"\x1B[2J", FFFD "[2J"},
        {"\x1B]0;x\x07", FFFD "]0;x" FFFD},
        {"a\rb\x7F", "a" FFFD "b" FFFD},
        {"\x9B", FFFD},     /* C1 as a bare byte is no UTF-8 */
        {"\xC2\x9B", FFFD}, /* and as a character it is C1 */
        {"\xC2\x80\xC2\x9F\xC2\xA0", FFFD FFFD "\xC2\xA0"},
        {"\xC0\x9B\xE0\x80\x9B", FFFD FFFD FFFD FFFD FFFD}, /* longer forms of ESC */
        {"\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xAE\xE2\x80\xAF",
         "\xE2\x80\xA7" FFFD FFFD "\xE2\x80\xAF"},
        {"\xE2\x81\xA5\xE2\x81\xA6\xE2\x81\xA9\xE2\x81\xAA",
         "\xE2\x81\xA5" FFFD FFFD "\xE2\x81\xAA"},
    };
    check_cleaning(cases, COUNT(cases));
    CU_ASSERT(becomes("a\0b\n", 4, "a" FFFD "b" FFFD));
    for (char c = 0; c < ' '; c++)
        CU_ASSERT(becomes(&c, 1, c == '\t' ? " " : FFFD));
}

/* Unicode 3.9, "U+FFFD Substitution of Maximal Subparts": tables 3-8 to 3-11 and the like. */
static void invalid_text(void) {
    static const struct cleaning cases[] = {
        {"\x80", FFFD},
        {"\xBF\xBF", FFFD FFFD},
        {"\xC0\xAF\xC1\xBF", FFFD FFFD FFFD FFFD},
        {"\xE0\x9F\xBF", FFFD FFFD FFFD},
        {"\xF0\x8F\xBF\xBF", FFFD FFFD FFFD FFFD},
        {"\xED\xA0\x80\xED\xBF\xBF", FFFD FFFD FFFD FFFD FFFD FFFD},
        {"\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xF5\xFE\xFF", FFFD FFFD FFFD},
        {"\xC2", FFFD}, /* cut off: one for all that could have become a character */
        {"\xE4\xB8", FFFD},
        {"\xF0\x9F\x98", FFFD},
        {"\xE4\xB8"
         "a",
         FFFD "a"},
        {"\xF0\x9F\xE4\xB8\xAD", FFFD "\xE4\xB8\xAD"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
         "A",
         FFFD FFFD FFFD FFFD "A"},
    };
    check_cleaning(cases, COUNT(cases));
    CU_ASSERT(becomes("\xE4\xB8\0", 3, FFFD FFFD));
}

/* Every code point, as its own UTF-8: what stays, stays whole. */
static void every_character(void) {
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4], clean[13];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n; i-- > 1;)
            text[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3F));
        text[0] = (char)(n == 1 ? c : (0xF00u >> n & 0xFFu) | c >> 6 * (n - 1));
        uint32_t read, surrogate = c >= 0xD800 && c <= 0xDFFF;
        size_t length = next_character(text, n, &read);
        size_t size = clean_text(text, n, clean);
        int stays = size == n && memcmp(text, clean, n) == 0;
        int bad = c < ' ' || (c >= 0x7F && c <= 0x9F) || (c >= 0x2028 && c <= 0x202E) ||
                  (c >= 0x2066 && c <= 0x2069) || surrogate;
        if (stays == bad || (!surrogate && (read != c || length != n))) {
            printf("\n    wrong: U+%04X", (unsigned)c);
            CU_FAIL("a character");
        }
    }
    CU_PASS("all of them");
}

static const char *const good_names[] = {
    "ann",     "a",     "Ann_2", "张三", "ñandú",
    "a*+-/(b", "'",     "\"x\"", "<b>",  "12345678901234567890123456789012",
    "👩",       "a.b@c",
};
static const struct {
    const char *name, *why;
} bad_names[] = {
    {"", "empty"},
    {"123456789012345678901234567890123", "more than 32 bytes"},
    {"一二三四五六七八九十一", "more than 32 bytes"}, /* 33 bytes, 11 characters */
    {"*", "begins with one of * + - / ("},
    {"+welcome", "begins with one of * + - / ("},
    {"-no", "begins with one of * + - / ("},
    {"/who", "begins with one of * + - / ("},
    {"(earlier)", "begins with one of * + - / ("},
    {"ann:", "has a colon or a comma"},
    {"a,b", "has a colon or a comma"},
    {"ann bob", "has a space, or a character that cannot be seen"},
    {" ann", "has a space, or a character that cannot be seen"},
    {"ann\xC2\xA0", "has a space, or a character that cannot be seen"},
    {"ann\xE2\x80\x8B", "has a space, or a character that cannot be seen"},     /* U+200B */
    {"\xE3\x80\x80", "has a space, or a character that cannot be seen"},        /* U+3000 */
    {"ann\xEF\xBB\xBF", "has a space, or a character that cannot be seen"},     /* U+FEFF */
    {"ann\xEF\xB8\x8F", "has a space, or a character that cannot be seen"},     /* U+FE0F */
    {"ann\xF0\x9B\xB2\xA0", "has a space, or a character that cannot be seen"}, /* U+1BCA0 */
    {"ann\xF0\x9D\x85\xBA", "has a space, or a character that cannot be seen"}, /* U+1D17A */
    {"\xE2\x80\xAE"
     "nna",
     "has a space, or a character that cannot be seen"}, /* U+202E */
    {"\xE2\x81\xA6"
     "ann",
     "has a space, or a character that cannot be seen"}, /* U+2066 */
    {"ann\x1B", "has a control character, or is not UTF-8"},
    {"ann\xC2\x9B", "has a control character, or is not UTF-8"},
    {"ann\xFF", "has a control character, or is not UTF-8"},
    {"ann\xE4\xB8", "has a control character, or is not UTF-8"},
    {"ann" FFFD, "has a control character, or is not UTF-8"}, /* it may have been anything */
};

static void names(void) {
    for (size_t i = 0; i < COUNT(good_names); i++)
        check(name_problem(good_names[i]) == NULL, good_names[i]);
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        const char *why = name_problem(bad_names[i].name);
        check(why && strcmp(why, bad_names[i].why) == 0, bad_names[i].name);
    }
}

/* is_in stops at the first range that could hold it: that takes order. */
static void sorted_tables(void) {
    for (size_t i = 1; i < COUNT(controls); i++)
        CU_ASSERT(controls[i - 1].last < controls[i].first);
    for (size_t i = 1; i < COUNT(blanks); i++)
        CU_ASSERT(blanks[i - 1].last < blanks[i].first);
    CU_ASSERT_FALSE(IS_IN(controls, 0x110000u));
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"clean_text: valid text stays", valid_text},
        {"clean_text: control characters", control_characters},
        {"clean_text: what is not UTF-8", invalid_text},
        {"next_character, clean_text: every code point", every_character},
        {"name_problem: names, and what cannot be one", names},
        {"the tables are sorted", sorted_tables},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"text.h", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
