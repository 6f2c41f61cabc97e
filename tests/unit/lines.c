/* Unit tests of the lines of 04, 05, 06 and 08, and of the buffers of 05, 06 and 08. What is read
 * and what is written stand in blocks of just their size: AddressSanitizer sees a byte too many. */
/* parts: 06-epoll/lines.c 06-epoll/buffer.c */
#include "../../06-epoll/buffer.h"
#include "../../06-epoll/lines.h"
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* Returns whether data gets these replies, and used of its bytes are answered. */
static int answers(const char *data, size_t size, const char *want, size_t want_size,
                   ssize_t used) {
    char *block = malloc(size ? size : 1);
    char *replies = malloc(LINES_REPLIES);
    size_t got = 0;
    memcpy(block, data, size);
    ssize_t answered = lines_answer(block, size, replies, &got);
    int good = answered == used && got == want_size && memcmp(replies, want, got) == 0;
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
        {"a", 1, "", 0, 0}, /* a partial line */
        {"\n", 1, "+\n", 2, 1},
        {"a\n", 2, "+a\n", 3, 2},
        {"a\nb", 3, "+a\n", 3, 2}, /* a line and a partial one */
        {"a\nbc\n", 5, "+a\n+bc\n", 7, 5},
        {"\n\n\nx", 4, "+\n+\n+\n", 6, 3},
        {"+a\n-b\n", 6, "++a\n+-b\n", 8, 6},
        {"a\0b\r\n\0", 6, "+a\0b\r\n", 6, 5}, /* NUL and CR are bytes as any other */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check(
            answers(cases[i].data, cases[i].size, cases[i].want, cases[i].want_size, cases[i].used),
            cases[i].data);
}

/* LINES_LIMIT bytes: the newline counts. That many newlines have the longest reply of all. */
static void long_lines(void) {
    static char data[LINES_LIMIT], want[LINES_REPLIES];
    memset(data, 'x', sizeof data);
    CU_ASSERT(answers(data, LINES_LIMIT, REFUSAL, strlen(REFUSAL), -1));
    CU_ASSERT(answers(data, LINES_LIMIT - 1, "", 0, 0)); /* a newline may still come */
    data[LINES_LIMIT - 1] = '\n';
    want[0] = '+';
    memcpy(want + 1, data, LINES_LIMIT);
    CU_ASSERT(answers(data, LINES_LIMIT, want, LINES_LIMIT + 1, LINES_LIMIT));
    data[0] = '\n'; /* two lines; the second has the bytes that are left */
    memcpy(want, "+\n+", 3);
    memcpy(want + 3, data + 1, LINES_LIMIT - 1);
    CU_ASSERT(answers(data, LINES_LIMIT, want, LINES_LIMIT + 2, LINES_LIMIT));
    data[LINES_LIMIT - 1] = 'x'; /* a line, and a partial one that is not too long yet */
    CU_ASSERT(answers(data, LINES_LIMIT, want, 2, 1));
    memset(data, '\n', sizeof data);
    for (size_t i = 0; i < LINES_LIMIT; i++)
        memcpy(want + 2 * i, "+\n", 2);
    CU_ASSERT(answers(data, LINES_LIMIT, want, 2 * LINES_LIMIT, LINES_LIMIT));
}

/* However a stream is cut into pieces, the replies are the same. Here it is fed as a connection
 * would feed it: a partial line stays, and what comes next is put behind it. */
static void any_pieces(void) {
    static const char stream[] =
        "one\n\ntwo three\n+\n-four\nfive\nsix and some more\n\n\nseven\nrest";
    static const char want[] =
        "+one\n+\n+two three\n++\n+-four\n+five\n+six and some more\n+\n+\n+seven\n";
    static char in[LINES_LIMIT], replies[LINES_REPLIES];
    for (int round = 0; round < 500; round++) {
        char all[256];
        size_t in_size = 0;
        size_t all_size = 0;
        size_t fed = 0;
        while (fed < sizeof stream - 1) {
            size_t size;
            size_t piece = 1 + (size_t)rand() % 9;
            if (piece > sizeof stream - 1 - fed)
                piece = sizeof stream - 1 - fed;
            memcpy(in + in_size, stream + fed, piece);
            fed += piece;
            in_size += piece;
            size_t used = (size_t)lines_answer(in, in_size, replies, &size);
            memcpy(all + all_size, replies, size);
            all_size += size;
            in_size -= used;
            memmove(in, in + used, in_size);
        }
        CU_ASSERT(all_size == sizeof want - 1 && memcmp(all, want, all_size) == 0);
        CU_ASSERT(in_size == 4 && memcmp(in, "rest", 4) == 0);
    }
}

/* The buffer is there only while it holds something. */
static void a_buffer_that_comes_and_goes(void) {
    char *buffer = NULL;
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, "", 0), 0);
    CU_ASSERT_PTR_NULL(buffer);
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, "abcdefgh", 8), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(buffer);
    CU_ASSERT_EQUAL(memcmp(buffer, "abcdefgh", 8), 0);
    const char *first = buffer;
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, buffer + 2, 6), 0); /* data lies in it, and overlaps */
    CU_ASSERT_PTR_EQUAL(buffer, first);
    CU_ASSERT_EQUAL(memcmp(buffer, "cdefgh", 6), 0);
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, buffer, 6), 0); /* nothing changes */
    CU_ASSERT_EQUAL(memcmp(buffer, "cdefgh", 6), 0);
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, "xy", 2), 0); /* data lies elsewhere */
    CU_ASSERT_EQUAL(memcmp(buffer, "xyefgh", 6), 0);
    CU_ASSERT_EQUAL(buffer_keep(&buffer, 8, buffer + 2, 0), 0);
    CU_ASSERT_PTR_NULL(buffer);
}

/* malloc(3) never grants more than PTRDIFF_MAX. volatile: a compiler would say so, too. */
static void no_memory(void) {
    volatile size_t too_much = (size_t)-1;
    char *buffer = NULL;
    errno = 0;
    CU_ASSERT_EQUAL(buffer_keep(&buffer, too_much, "a", 1), -1);
    CU_ASSERT_EQUAL(errno, ENOMEM);
    CU_ASSERT_PTR_NULL(buffer);
    CU_ASSERT_EQUAL(buffer_keep(&buffer, too_much, "a", 0), 0); /* nothing is asked for */
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"lines_answer: none, one, several, a part of one", short_lines},
        {"lines_answer: up to the limit, and beyond it", long_lines},
        {"lines_answer: a stream cut anywhere", any_pieces},
        {"buffer_keep: there only while it holds something", a_buffer_that_comes_and_goes},
        {"buffer_keep: no memory", no_memory},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"lines and buffers", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
