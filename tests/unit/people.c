/* Unit tests of people.h: what the chat's client makes of the server's lines. */
#include "../../07-chat/people.h"
#include <CUnit/Basic.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

static struct people people;

/* Says which row of a table it was: CUnit shows only the line of code. */
static void check(int good, const char *row) {
    if (!good)
        printf("\n    wrong: %s", row);
    CU_ASSERT(good);
}

/* Who is known, in order of their places: "ann bob". */
static const char *known(void) {
    static char text[PEOPLE * NAME_ROOM];
    size_t n = 0;
    *text = '\0';
    for (size_t i = 0; i < PEOPLE; i++)
        if (*people.names[i])
            n += (size_t)sprintf(text + n, "%s%s", n ? " " : "", people.names[i]);
    return text;
}

static void lines_that_tell(void) {
    static const struct {
        const char *line, *known; /* after it */
    } cases[] = {
        {"+welcome ann, here: ann, bob, 张三", "ann bob 张三"},
        {"* eve joined", "ann bob 张三 eve"},
        {"* eve joined", "ann bob 张三 eve"},
        {"* bob left", "ann 张三 eve"},
        {"* zoe joined", "ann zoe 张三 eve"}, /* where bob was */
        {"* 张三 left (connection lost)", "ann zoe eve"},
        {"* nobody left", "ann zoe eve"},
        {"* zoe is now known as Zoë", "ann Zoë eve"},
        {"+here: ann, eve, 12345678901234567890123456789012",
         "ann Zoë 12345678901234567890123456789012 eve"},
        {"* 12345678901234567890123456789012 is now known as x", "ann Zoë x eve"},
    };
    memset(&people, 0, sizeof people);
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_heed(&people, cases[i].line);
        check(!strcmp(known(), cases[i].known), cases[i].line);
    }
}

static void lines_that_do_not(void) {
    static const char *const cases[] = {
        "",
        "*",
        "* ",
        "ann: * eve joined",
        "(earlier) * eve joined",
        "* ann: joined", /* what ann says with /me */
        "* ann: left",
        "* ann: is now known as eve",
        "* eve joined us",
        "* ann leftover",
        "* ann is now known as",
        "* ann is now known as eve and more",
        "* 123456789012345678901234567890123 joined", /* 33 bytes */
        "* server is closing",
        "+welcome",
        "+welcome eve",
        "+here:",
        "+here: ",
        "+here: ,,,",
        "+welcome eve, here: 123456789012345678901234567890123",
        "+here: eve:, x:",
        "-no bob here: eve",
        "there: eve", /* what there says */
    };
    memset(&people, 0, sizeof people);
    people_heed(&people, "* ann joined");
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_heed(&people, cases[i]);
        check(!strcmp(known(), "ann"), cases[i]);
    }
}

/* A server may say that so many came; the places are taken, and nothing else happens. */
static void more_than_there_is_room_for(void) {
    char line[64];
    memset(&people, 0, sizeof people);
    for (int i = 0; i < 2 * PEOPLE; i++) {
        snprintf(line, sizeof line, "* a%d joined", i);
        people_heed(&people, line);
    }
    CU_ASSERT_STRING_EQUAL(people.names[0], "a0");
    CU_ASSERT_STRING_EQUAL(people.names[PEOPLE - 1], "a2047");
    people_heed(&people, "* a7 left");
    people_heed(&people, "* bob joined");
    CU_ASSERT_STRING_EQUAL(people.names[7], "bob");
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
    char rest[NAME_ROOM + 1];
    memset(&people, 0, sizeof people);
    people_heed(&people, "+here: bob, ann, anna, 张三, 中文一甲, 中文一丁, 中国, 李三, 李丁");
    for (size_t i = 0; i < COUNT(cases); i++) {
        people_complete(&people, cases[i].text, strlen(cases[i].text), rest);
        check(!strcmp(rest, cases[i].rest), cases[i].text);
    }
    memset(&people, 0, sizeof people);
    people_complete(&people, "x", 1, rest);
    CU_ASSERT_STRING_EQUAL(rest, "");
    people_heed(&people, "* 12345678901234567890123456789012 joined");
    people_complete(&people, "", 0, rest);
    CU_ASSERT_STRING_EQUAL(rest, "12345678901234567890123456789012 ");
}

static void how_a_line_is_shown(void) {
    static const struct {
        const char *line, *name; /* what is in colour */
    } cases[] = {
        {"ann: hi", "ann"},     {"(earlier) ann: hi", "ann"},
        {"* ann left", "ann"},  {"* ann: waves", "ann"},
        {"(you): hi", "(you)"}, {"ann (to you): hi", "ann"},
        {"张三: 你好", "张三"}, {"+here: ann", ""},
        {"-no bob here", ""},   {"", ""},
        {": hi", ""},           {"* ", ""},
        {"(earlier) ", ""},     {"a line of something else", "a"},
    };
    char plain[256], shown[256], want[256];
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *line = cases[i].line, *name = cases[i].name;
        int before = *name ? (int)(strstr(line, name) - line) : 0;
        people_show("12:34", line, 0, plain, sizeof plain);
        snprintf(want, sizeof want, "12:34 %s\n", line);
        check(!strcmp(plain, want), line);
        people_show("12:34", line, 1, shown, sizeof shown);
        if (*name) /* the digit of the colour is the name's own matter */
            snprintf(want, sizeof want, "12:34 %.*s\033[1;3%cm%s\033[0m%s\n", before, line,
                     shown[6 + before + 5], name, line + before + strlen(name));
        check(!strcmp(shown, want), line);
    }
}

static void colours_of_names(void) {
    char line[64], shown[128];
    int used[10] = {0}, colours = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "name%d: hi", i);
        people_show("12:34", line, 1, shown, sizeof shown);
        CU_ASSERT(shown[11] >= '1' && shown[11] <= '6'); /* black and white may be the ground */
        colours += !used[shown[11] - '0']++;
    }
    CU_ASSERT_EQUAL(colours, 6);
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"people_heed: who comes, goes, is renamed, is there", lines_that_tell},
        {"people_heed: lines that only look so", lines_that_do_not},
        {"people_heed: more than there is room for", more_than_there_is_room_for},
        {"people_complete: names, their common part, whole characters", completion},
        {"people_show: the time, and the name in colour", how_a_line_is_shown},
        {"people_show: six colours, each used", colours_of_names},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"people.h", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
