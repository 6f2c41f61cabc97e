/* Unit tests of lines.h, the same text in 05 and 06; 04's is the first part of it. What is read and
 * what is written stand in blocks of just their size: AddressSanitizer sees one byte too many. */
#include "../../05-select/lines.h"
#include <CUnit/Basic.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define REFUSAL      "-line of more than 65536 bytes\n"

/* So that a malloc that fails can be tested under AddressSanitizer, too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* Says which row of a table it was: CUnit shows only the line of code. */
static void check(int good, const char *row) {
    if (!good)
        printf("\n    wrong: %s", row);
    CU_ASSERT(good);
}

/* Whether data get these replies, and so many bytes of them are dealt with. */
static int gets(const char *data, size_t size, const char *want, size_t want_size, ssize_t used) {
    char *block = malloc(size ? size : 1), *replies = malloc(REPLY_ROOM);
    size_t got = 0;
    memcpy(block, data, size);
    int good = answer_lines(block, size, replies, &got) == used && got == want_size &&
               memcmp(replies, want, got) == 0;
    free(block);
    free(replies);
    return good;
}

static void short_lines(void) {
    static const struct {
        const char *data;
        size_t size;
        const char *want;
        size_t want_size;
        ssize_t used;
    } cases[] = {
        {"", 0, "", 0, 0},
        {"a", 1, "", 0, 0}, /* a line begun */
        {"\n", 1, "+\n", 2, 1},
        {"a\n", 2, "+a\n", 3, 2},
        {"a\nb", 3, "+a\n", 3, 2}, /* a line, and one begun */
        {"a\nbc\n", 5, "+a\n+bc\n", 7, 5},
        {"\n\n\nx", 4, "+\n+\n+\n", 6, 3},
        {"+a\n-b\n", 6, "++a\n+-b\n", 8, 6},
        {"a\0b\r\n\0", 6, "+a\0b\r\n", 6, 5}, /* NUL and CR are bytes as any other */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check(gets(cases[i].data, cases[i].size, cases[i].want, cases[i].want_size, cases[i].used),
              cases[i].data);
}

/* LINE_LIMIT bytes: the newline counts. That many newlines have the longest reply of all. */
static void long_lines(void) {
    static char data[LINE_LIMIT], want[REPLY_ROOM];
    memset(data, 'x', sizeof data);
    CU_ASSERT(gets(data, LINE_LIMIT, REFUSAL, strlen(REFUSAL), -1));
    CU_ASSERT(gets(data, LINE_LIMIT - 1, "", 0, 0)); /* a newline may still come */
    data[LINE_LIMIT - 1] = '\n';
    want[0] = '+';
    memcpy(want + 1, data, LINE_LIMIT);
    CU_ASSERT(gets(data, LINE_LIMIT, want, LINE_LIMIT + 1, LINE_LIMIT));
    data[0] = '\n'; /* two lines; the second has the room that is left */
    memcpy(want, "+\n+", 3);
    memcpy(want + 3, data + 1, LINE_LIMIT - 1);
    CU_ASSERT(gets(data, LINE_LIMIT, want, LINE_LIMIT + 2, LINE_LIMIT));
    data[LINE_LIMIT - 1] = 'x'; /* a line, and the begin of one that is not too long yet */
    CU_ASSERT(gets(data, LINE_LIMIT, want, 2, 1));
    memset(data, '\n', sizeof data);
    for (size_t i = 0; i < LINE_LIMIT; i++)
        memcpy(want + 2 * i, "+\n", 2);
    CU_ASSERT(gets(data, LINE_LIMIT, want, 2 * LINE_LIMIT, LINE_LIMIT));
}

/* However a stream is cut into pieces, the replies are the same: here it is fed as a connection
 * would feed it, what is left over before what comes next. */
static void any_pieces(void) {
    static const char stream[] =
        "one\n\ntwo three\n+\n-four\nfive\nsix and some more\n\n\nseven\nrest";
    static const char want[] =
        "+one\n+\n+two three\n++\n+-four\n+five\n+six and some more\n+\n+\n+seven\n";
    char in[LINE_LIMIT], replies[REPLY_ROOM], all[256];
    for (int round = 0; round < 500; round++) {
        size_t have = 0, total = 0;
        for (size_t at = 0, n; at < sizeof stream - 1; at += n) {
            size_t left = sizeof stream - 1 - at, size;
            n = 1 + (size_t)random() % 9;
            n = n < left ? n : left;
            memcpy(in + have, stream + at, n);
            have += n;
            size_t used = (size_t)answer_lines(in, have, replies, &size);
            memcpy(all + total, replies, size);
            total += size;
            have -= used;
            memmove(in, in + used, have);
        }
        CU_ASSERT(total == sizeof want - 1 && memcmp(all, want, total) == 0);
        CU_ASSERT(have == 4 && memcmp(in, "rest", 4) == 0);
    }
}

/* The buffer is there only while it holds something. */
static void a_buffer_that_comes_and_goes(void) {
    char *buffer = NULL;
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, "", 0), 0);
    CU_ASSERT_PTR_NULL(buffer);
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, "abcdefgh", 8), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(buffer);
    CU_ASSERT_EQUAL(memcmp(buffer, "abcdefgh", 8), 0);
    char *first = buffer;
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, buffer + 2, 6),
                    0); /* the rest lies in it, and overlaps */
    CU_ASSERT_PTR_EQUAL(buffer, first);
    CU_ASSERT_EQUAL(memcmp(buffer, "cdefgh", 6), 0);
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, buffer, 6), 0); /* nothing has changed */
    CU_ASSERT_EQUAL(memcmp(buffer, "cdefgh", 6), 0);
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, "xy", 2), 0); /* it lies elsewhere */
    CU_ASSERT_EQUAL(memcmp(buffer, "xyefgh", 6), 0);
    CU_ASSERT_EQUAL(keep_rest(&buffer, 8, buffer + 2, 0), 0);
    CU_ASSERT_PTR_NULL(buffer);
}

/* malloc(3) never grants more than PTRDIFF_MAX. volatile: a compiler would say so, too. */
static void no_memory(void) {
    volatile size_t too_much = (size_t)-1;
    char *buffer = NULL;
    errno = 0;
    CU_ASSERT_EQUAL(keep_rest(&buffer, too_much, "a", 1), -1);
    CU_ASSERT_EQUAL(errno, ENOMEM);
    CU_ASSERT_PTR_NULL(buffer);
    CU_ASSERT_EQUAL(keep_rest(&buffer, too_much, "a", 0), 0); /* nothing is asked for */
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"answer_lines: none, one, several, a part of one", short_lines},
        {"answer_lines: up to the limit, and beyond it", long_lines},
        {"answer_lines: a stream cut anywhere", any_pieces},
        {"keep_rest: there only while it holds something", a_buffer_that_comes_and_goes},
        {"keep_rest: no memory", no_memory},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"lines.h", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
