/* Unit tests of 07's people.h and display.h: what the client makes of the server's lines. */
/* parts: 07-chat/people.c 07-chat/display.c 07-chat/text.c 07-chat/name.c */
#include "../../util.h"
#include "../../07-chat/display.h"
#include "../../07-chat/people.h"
#include "../../07-chat/text.h"
#include <CUnit/Basic.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

static struct people people;

/* Says which row of a table it was: CUnit shows only the line of code. */
static void check(int good, const char *row) {
    if (!good)
        printf("\n    wrong: %s", row);
    CU_ASSERT(good);
}

/* The names that are remembered, in order. */
static const char *known(void) {
    static char text[PEOPLE_MAX * PEOPLE_NAME_SIZE];
    size_t n = 0;
    *text = '\0';
    for (size_t i = 0; i < PEOPLE_MAX; i++)
        if (*people.names[i])
            n += (size_t)sprintf(text + n, "%s%s", n ? " " : "", people.names[i]);
    return text;
}

static void names_in_lines(void) {
    static const struct {
        const char *line, *known; /* after it */
    } cases[] = {
        {"+welcome ann, here: ann, bob, 张三", "ann bob 张三"},
        {"* eve joined", "ann bob 张三 eve"},
        {"* eve joined", "ann bob 张三 eve"},
        {"* bob left: so long", "ann bob 张三 eve"},
        {"joe: hello, jim", "ann bob 张三 eve joe"},
        {"(earlier) zoe: hi", "ann bob 张三 eve joe zoe"},
        {"(earlier) * kim: waves", "ann bob 张三 eve joe zoe kim"},
        {"lee (to you): hi", "ann bob 张三 eve joe zoe kim lee"},
        {"+here: ann, 12345678901234567890123456789012",
         "ann bob 张三 eve joe zoe kim lee 12345678901234567890123456789012"},
    };
    memset(&people, 0, sizeof people);
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_learn(&people, cases[i].line);
        check(!strcmp(known(), cases[i].known), cases[i].line);
    }
}

static void lines_without_names(void) {
    static const char *const cases[] = {
        "",
        "*",
        "* ",
        ": hi",
        "(earlier) ",
        "(you): hi",
        "/who: hi",
        "123456789012345678901234567890123: hi", /* 33 bytes */
        "+welcome",
        "+here:",
        "+here: ",
        "+here: ,,,",
        "+here: 123456789012345678901234567890123, *x, a b",
        "-no bob here: eve",
        "-name eve: taken",
        "+sent to bob",
        "\xEF\xBF\xBD: hi",
    };
    memset(&people, 0, sizeof people);
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_learn(&people, cases[i]);
        check(!*known(), cases[i]);
    }
}

/* However many a server says there are: the newest take the places of the oldest. */
static void more_than_there_is_place_for(void) {
    static char line[32 + 6 * 20000] = "+here: first";
    memset(&people, 0, sizeof people);
    for (int i = 0; i <= PEOPLE_MAX; i++) {
        snprintf(line, 64, "* a%d joined", i);
        people_learn(&people, line);
    }
    CU_ASSERT_STRING_EQUAL(people.names[0], "a256");
    CU_ASSERT_STRING_EQUAL(people.names[1], "a1");
    memset(&people, 0, sizeof people);
    char *next = stpcpy(line, "+here: ");
    for (int i = 0; i < 20000; i++)
        next += sprintf(next, "%04d, ", i % 10000);
    people_learn(&people, line);
    CU_ASSERT_STRING_EQUAL(people.names[0], "0000");
    CU_ASSERT_STRING_EQUAL(people.names[PEOPLE_MAX - 1], "0255");
}

static void completion(void) {
    static const struct {
        const char *text, *rest;
    } cases[] = {
        {"b", "ob "},   {"/msg bo", "b "}, {"bob", " "},   {"x", ""},          {"hi x", ""},
        {"an", "n"},    {"ann", ""},       {"anna", " "},  {"/msg 张", "三 "}, {"中", ""},
        {"x 中", ""},   {"中文", "一"},    {"中文一", ""}, {"", ""},           {"b ", ""},
        {"a b", "ob "}, {"李", ""}, /* 三 and 丁 begin alike */
    };
    char rest[PEOPLE_NAME_SIZE + 1];
    memset(&people, 0, sizeof people);
    people_learn(&people, "+here: bob, ann, anna, 张三, 中文一甲, 中文一丁, 中国, 李三, 李丁");
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_complete(&people, cases[i].text, strlen(cases[i].text), rest);
        check(!strcmp(rest, cases[i].rest), cases[i].text);
    }
    memset(&people, 0, sizeof people);
    people_complete(&people, "x", 1, rest);
    CU_ASSERT_STRING_EQUAL(rest, "");
    people_learn(&people, "* 12345678901234567890123456789012 joined");
    people_complete(&people, "", 0, rest);
    CU_ASSERT_STRING_EQUAL(rest, "12345678901234567890123456789012 ");
}

/* As it is shown, in a block of just the size that is promised. */
static const char *shown(const char *clock, const char *line, size_t columns, int in_color) {
    static char text[4096];
    char *block = malloc(display_size(strlen(line)));
    size_t size = display_line(clock, line, columns, in_color, block);
    CU_ASSERT_EQUAL(size, strlen(block));
    strcpy(text, block);
    free(block);
    return text;
}

static void how_a_line_is_shown(void) {
    static const struct {
        const char *line, *name; /* what is in color */
    } cases[] = {
        {"ann: hi", "ann"},
        {"* ann left", "ann"},
        {"* ann: waves", "ann"},
        {"(you): hi", "(you)"},
        {"ann (to you): hi", "ann"},
        {"张三: 你好", "张三"},
        {"+here: ann", ""},
        {"-no bob here", ""},
        {"", ""},
        {": hi", ""},
        {"* ", ""},
        {"a line of something else", "a"},
    };
    char want[256];
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *line = cases[i].line, *name = cases[i].name;
        int before = *name ? (int)(strstr(line, name) - line) : 0;
        snprintf(want, sizeof want, "12:34 %s\n", line);
        check(!strcmp(shown("12:34", line, 80, 0), want), line);
        const char *got = shown("12:34", line, 80, 1);
        if (*name) /* the digit of the color is the name's own matter */
            snprintf(want, sizeof want, "12:34 %.*s\033[1;3%cm%s\033[0m%s\n", before, line,
                     got[6 + before + 5], name, line + before + strlen(name));
        check(!strcmp(got, want), line);
    }
    CU_ASSERT_STRING_EQUAL(shown("12:34", "(earlier) ann: hi", 80, 0), "--:-- (earlier) ann: hi\n");
    CU_ASSERT_STRING_EQUAL(shown(NULL, "(earlier) ann: hi", 80, 0), "(earlier) ann: hi\n");
}

/* A row is full, and the next one is indented; a wide character is not cut in two. */
static void rows(void) {
    static const struct {
        const char *line, *want;
        size_t columns;
    } cases[] = {
        {"ann: 56789", "12:34 ann: 56789\n", 16},
        {"ann: 567890", "12:34 ann: 56789\n      0\n", 16},
        {"ann: 56789中", "12:34 ann: 56789\n      中\n", 16},
        {"ann: 5678中", "12:34 ann: 5678\n      中\n", 16},
        {"ann: 567中a", "12:34 ann: 567中\n      a\n", 16},
        /* a mark stays where its letter is, and may make it wider: U+0301, U+FE0F */
        {"xe\xCC\x81y", "12:34 xe\xCC\x81\n      y\n", 8},
        {"\u2764\uFE0F\u2764\uFE0Fx", "12:34 \u2764\uFE0F\n      \u2764\uFE0F\n      x\n", 8},
        {"\U0001F1E9xy", "12:34 \U0001F1E9\n      xy\n", 8}, /* half a flag: 1 or 2 */
        {"abcd", "12:34 ab\n      cd\n", 0},                 /* as if it had COLUMNS_MIN */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check(!strcmp(shown("12:34", cases[i].line, cases[i].columns, 0), cases[i].want),
              cases[i].line);
    CU_ASSERT_STRING_EQUAL(shown(NULL, "1234567890", 8, 0), "12345678\n      90\n");
}

static void colors_of_names(void) {
    char line[64];
    int used[10] = {0}, colors = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "name%d: hi", i);
        char digit = shown("12:34", line, 80, 1)[11];
        CU_ASSERT(digit >= '1' && digit <= '6'); /* black and white may be the ground */
        colors += !used[digit - '0']++;
    }
    CU_ASSERT_EQUAL(colors, 6);
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"people_learn: names in lines", names_in_lines},
        {"people_learn: lines without names", lines_without_names},
        {"people_learn: more than there is place for", more_than_there_is_place_for},
        {"people_complete: names, their common part, whole characters", completion},
        {"display_line: the time, and the name in color", how_a_line_is_shown},
        {"display_line: rows", rows},
        {"display_line: six colors, each used", colors_of_names},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"people.h, display.h", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    text_set_locale();
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
