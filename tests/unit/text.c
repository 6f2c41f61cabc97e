/* Unit tests of 07's text.h and name.h. What is read stands in a block of just its size, and what
 * is written in one of just the room that is promised: AddressSanitizer sees one byte too many. */
/* parts: 07-chat/name.c */
#include "../../util.h"
#include "../../07-chat/name.h"
#include "../../07-chat/text.c" /* with its table of control characters */
#include <CUnit/Basic.h>

#define FFFD "\xEF\xBF\xBD"

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
    size_t n = text_clean(block, size, clean);
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
        size_t length = text_next_character(text, n, &read);
        size_t size = text_clean(text, n, clean);
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

#define BEGIN "does not begin with a letter or a digit"
#define OTHER "has a character that is not a letter, a digit or one of - _ . '"

static const char *const good_names[] = {
    "ann", "a", "7", "Ann_2", "a-b.c", "O'Neil", "12345678901234567890123456789012",
};
static const char *const good_letters[] = {
    "张三",  "ñandú",
    "Ωmega", "Зоя",
    "שלום",  "中村さん",
    "한글",  "\xE0\xA4\xA8\xE0\xA4\xBE", /* U+0928, and the vowel sign U+093E on it */
};
static const struct {
    const char *name, *why;
} bad_names[] = {
    {"", "empty"},
    {"123456789012345678901234567890123", "more than 32 bytes"},
    {"一二三四五六七八九十一", "more than 32 bytes"}, /* 33 bytes, 11 characters */
    {"*", BEGIN},
    {"+welcome", BEGIN},
    {"-no", BEGIN},
    {"/who", BEGIN},
    {"(earlier)", BEGIN},
    {"_ann", BEGIN},
    {"'", BEGIN},
    {"👩", BEGIN},
    {" ann", BEGIN},
    {"\xCC\x81", BEGIN}, /* U+0301, an accent without a letter */
    {"\xCD\x85"
     "ann",
     BEGIN}, /* U+0345, a mark that counts as a letter */
    {"\xE2\x82\xAC"
     "5",
     BEGIN},                     /* U+20AC */
    {"\xE3\x80\x80", BEGIN},     /* U+3000, a space */
    {"\xE3\x85\xA4", BEGIN},     /* U+3164, a letter that cannot be seen */
    {"\xEF\xBE\xA0", BEGIN},     /* U+FFA0 */
    {"\xE1\x85\x9F", BEGIN},     /* U+115F */
    {"\xE1\x85\xA0", BEGIN},     /* U+1160 */
    {"\xEE\x80\x80", BEGIN},     /* U+E000, private use */
    {"\xF3\xB0\x80\x80", BEGIN}, /* U+F0000, private use */
    {"\xCD\xB8", BEGIN},         /* U+0378, unassigned */
    {"\xEF\xBF\xBE", BEGIN},     /* U+FFFE, not a character */
    {"\xF4\x8F\xBF\xBF", BEGIN}, /* U+10FFFF, not a character */
    {"\xE2\x80\xAE"
     "nna",
     BEGIN}, /* U+202E */
    {"\xE2\x81\xA6"
     "ann",
     BEGIN}, /* U+2066 */
    {"ann:", OTHER},
    {"a,b", OTHER},
    {"a@b", OTHER},
    {"a*+-/(b", OTHER},
    {"ann bob", OTHER},
    {"ann\xCC\x81", OTHER},         /* U+0301: an accent of its own */
    {"ann\xC2\xA0", OTHER},         /* U+00A0 */
    {"ann\xC2\xAD", OTHER},         /* U+00AD */
    {"ann\xE2\x80\x8B", OTHER},     /* U+200B */
    {"ann\xE2\x80\x8D", OTHER},     /* U+200D */
    {"ann\xE1\x85\xA0", OTHER},     /* U+1160 */
    {"ann\xEF\xBB\xBF", OTHER},     /* U+FEFF */
    {"ann\xEF\xB8\x8F", OTHER},     /* U+FE0F */
    {"ann\xF3\xA0\x84\x80", OTHER}, /* U+E0100 */
    {"ann\xF0\x9B\xB2\xA0", OTHER}, /* U+1BCA0 */
    {"ann\xF0\x9D\x85\xBA", OTHER}, /* U+1D17A */
    {"ann\xEE\x80\x80", OTHER},     /* U+E000 */
    {"ann\x1B", OTHER},
    {"ann\x7F", OTHER},
    {"ann\xC2\x9B", OTHER},
    {"ann\xFF", OTHER},
    {"ann\xE4\xB8", OTHER},
    {"ann" FFFD, OTHER}, /* it may have been anything */
};

static void check_names(int utf8) {
    for (size_t i = 0; i < COUNT(good_names); i++)
        check(name_problem(good_names[i]) == NULL, good_names[i]);
    for (size_t i = 0; i < COUNT(good_letters); i++)
        check(!utf8 == (name_problem(good_letters[i]) != NULL), good_letters[i]);
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        const char *why = name_problem(bad_names[i].name);
        check(why && strcmp(why, bad_names[i].why) == 0, bad_names[i].name);
    }
}

static void names(void) {
    text_set_locale();
    check_names(1);
}

/* Without a UTF-8 locale, the C locale stays (setlocale(3)); musl knows letters there, too. */
static void names_without_a_locale(void) {
#ifdef __GLIBC__
    setlocale(LC_CTYPE, "C");
    check_names(0);
#endif
    text_set_locale();
    check_names(1);
}

/* Whatever the name is: what may stand before or after it in a line can be told from it. */
static void first_characters(void) {
    text_set_locale();
    for (int c = 1; c < 0x80; c++) {
        char name[] = {(char)c, '\0'};
        int good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        CU_ASSERT_EQUAL(name_problem(name) == NULL, good);
    }
}

/* is_control stops at the first range that could hold it: that takes order. */
static void sorted_table(void) {
    for (size_t i = 1; i < COUNT(controls); i++)
        CU_ASSERT(controls[i - 1].last < controls[i].first);
    CU_ASSERT_FALSE(is_control(0x110000));
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"text_clean: valid text stays", valid_text},
        {"text_clean: control characters", control_characters},
        {"text_clean: what is not UTF-8", invalid_text},
        {"text_next_character, text_clean: every code point", every_character},
        {"name_problem: names, and what cannot be one", names},
        {"name_problem: where there is no UTF-8 locale", names_without_a_locale},
        {"name_problem: the first character", first_characters},
        {"the table of control characters is sorted", sorted_table},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"text.h, name.h", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
