/* Unit tests of 06's load generator: what it sends, checks and counts, without sockets. */
/* parts: 06-epoll/histogram.c 06-epoll/requests.c */
#include "../../06-epoll/histogram.h"
#include "../../06-epoll/requests.h"
#include <CUnit/Basic.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static struct requests r;
static char replies[2 * REQUESTS_CHUNK];

/* So many lines of line_size bytes, pipeline of them in a batch. */
static void begin(long lines, long pipeline, size_t line_size) {
    r = (struct requests){.remaining = lines, .pipeline = pipeline, .line_size = line_size};
}

/* Writes the replies to the batch's lines to replies. Returns their size. */
static size_t write_replies(const struct requests_batch *b) {
    const struct requests_batch unsent = {
        .connection = b->connection, .first = b->first, .lines = b->lines};
    size_t size;
    const char *lines = requests_unsent(&r, &unsent, &size);
    char *next = replies;
    CU_ASSERT_EQUAL_FATAL(size, b->lines * r.line_size);
    for (size_t line = 0; line < b->lines; line++) {
        *next = '+';
        memcpy(next + 1, lines + line * r.line_size, r.line_size);
        next += 1 + r.line_size;
    }
    return (size_t)(next - replies);
}

/* ---- times ---- */

/* The middle of a time's bucket is at most 1.6 % away; a larger time never has a smaller one. */
static void precision(void) {
    double last = 0;
    for (long long ns = 0; ns < 1LL << 40; ns += 1 + ns / 100) {
        static struct histogram h;
        h = (struct histogram){0};
        histogram_add(&h, ns, 1);
        histogram_add(&h, LLONG_MAX, 1); /* or the longest would be the answer */
        double time = histogram_percentile(&h, 50);
        CU_ASSERT(time >= last);
        CU_ASSERT(time <= 1.016 * (double)ns);
        CU_ASSERT(time >= 0.984 * (double)ns);
        last = time;
    }
}

/* Nearest rank: of 1 to 100, the 50th is 50, the 99th 99; never more than the longest. */
static void percentiles(void) {
    static struct histogram h;
    CU_ASSERT_EQUAL(histogram_percentile(&h, 50), 0);
    for (int i = 1; i <= 100; i++)
        histogram_add(&h, i * 1000, 2);
    histogram_add(&h, 1000000, 0); /* not at all */
    CU_ASSERT_EQUAL(h.total, 200);
    CU_ASSERT_EQUAL(h.longest, 100000);
    CU_ASSERT_DOUBLE_EQUAL(histogram_percentile(&h, 50), 50000, 800);
    CU_ASSERT_DOUBLE_EQUAL(histogram_percentile(&h, 99), 99000, 1600);
    CU_ASSERT(histogram_percentile(&h, 100) <= 100000);
    CU_ASSERT(histogram_percentile(&h, 100) >= 98400);
}

/* ---- lines ---- */

/* From wherever a batch is sent, its bytes are the same, and lines end where they should. No two
 * lines, of the same connection or of two, are the same. */
static void lines(void) {
    char whole[64];
    size_t size;
    struct requests_batch b = {.connection = 3, .first = 7, .lines = 4};
    begin(8, 4, 16);
    memcpy(whole, requests_unsent(&r, &b, &size), sizeof whole);
    CU_ASSERT_EQUAL(size, sizeof whole);
    for (size_t i = 0; i < sizeof whole; i++)
        CU_ASSERT_EQUAL(whole[i] == '\n', i % 16 == 15);
    for (b.sent = 0; b.sent < sizeof whole; b.sent++) {
        const char *rest = requests_unsent(&r, &b, &size);
        CU_ASSERT_EQUAL(size, sizeof whole - b.sent);
        CU_ASSERT_EQUAL(memcmp(rest, whole + b.sent, size), 0);
        CU_ASSERT_FALSE(requests_batch_sent(&r, &b));
    }
    CU_ASSERT_TRUE(requests_batch_sent(&r, &b));
    requests_unsent(&r, &b, &size);
    CU_ASSERT_EQUAL(size, 0);
    CU_ASSERT_NOT_EQUAL(memcmp(whole, whole + 16, 16), 0);
    const struct requests_batch other = {.connection = 4, .first = 7, .lines = 4};
    CU_ASSERT_NOT_EQUAL(memcmp(whole, requests_unsent(&r, &other, &size), 16), 0);
    const struct requests_batch next = {.connection = 3, .first = 11, .lines = 4};
    CU_ASSERT_NOT_EQUAL(memcmp(whole, requests_unsent(&r, &next, &size), 16), 0);
}

/* The largest lines, of which a chunk holds two: a batch of three takes several. */
static void more_than_a_chunk(void) {
    size_t size;
    struct requests_batch b = {0};
    begin(3, 3, REQUESTS_LINE_LIMIT);
    CU_ASSERT_EQUAL(requests_next_batch(&r, &b, 0), 3);
    for (size_t line = 0; line < 3; line++) {
        char *reply = replies + line * (REQUESTS_LINE_LIMIT + 1);
        b.sent = line * REQUESTS_LINE_LIMIT;
        const char *text = requests_unsent(&r, &b, &size);
        CU_ASSERT_EQUAL(size, line == 2 ? REQUESTS_LINE_LIMIT : REQUESTS_CHUNK);
        reply[0] = '+';
        memcpy(reply + 1, text, REQUESTS_LINE_LIMIT);
    }
    CU_ASSERT_EQUAL(requests_take(&r, &b, replies, REQUESTS_CHUNK, 0), 0);
    size = 3 * (REQUESTS_LINE_LIMIT + 1) - REQUESTS_CHUNK;
    CU_ASSERT_EQUAL(requests_take(&r, &b, replies + REQUESTS_CHUNK, size, 0), 0);
    CU_ASSERT_TRUE(requests_batch_done(&r, &b));
}

/* Lines are counted when they are asked, answered and dropped. The last batch is smaller. */
static void counting(void) {
    struct requests_batch a = {0};
    struct requests_batch b = {.connection = 1};
    begin(5, 3, 8);
    CU_ASSERT_EQUAL(requests_next_batch(&r, &a, 100), 3);
    CU_ASSERT_EQUAL(requests_next_batch(&r, &b, 100), 2);
    CU_ASSERT_EQUAL(r.remaining, 0);
    CU_ASSERT_EQUAL(r.asked, 5);
    CU_ASSERT_EQUAL(r.pending, 5);
    CU_ASSERT_EQUAL(r.unanswered_connections, 2);
    write_replies(&a);
    CU_ASSERT_EQUAL(requests_take(&r, &a, replies, 9, 1100), 0); /* the first of three */
    CU_ASSERT_EQUAL(r.pending, 4);
    CU_ASSERT_EQUAL(r.unanswered_connections, 1);
    CU_ASSERT_EQUAL(r.times.total, 1);
    CU_ASSERT_EQUAL(r.times.longest, 1000);
    requests_drop(&r, &a);
    CU_ASSERT_EQUAL(r.pending, 2);
    CU_ASSERT_EQUAL(r.unanswered_connections, 1);
    requests_drop(&r, &b);
    CU_ASSERT_EQUAL(r.pending, 0);
    CU_ASSERT_EQUAL(r.unanswered_connections, 0);
    CU_ASSERT_EQUAL(r.asked, 5);
    CU_ASSERT_EQUAL(requests_next_batch(&r, &b, 2000), 0);
    CU_ASSERT_TRUE(requests_batch_done(&r, &b));
    CU_ASSERT_TRUE(requests_batch_sent(&r, &b));
}

/* ---- replies ---- */

/* They count however they are cut: a byte at a time, and all at once. */
static void right_replies(void) {
    struct requests_batch b = {0};
    begin(6, 3, 8);
    CU_ASSERT_EQUAL(requests_next_batch(&r, &b, 0), 3);
    CU_ASSERT_EQUAL(write_replies(&b), 27);
    for (size_t i = 0; i < 27; i++) {
        CU_ASSERT_FALSE(requests_batch_done(&r, &b));
        CU_ASSERT_EQUAL(requests_take(&r, &b, replies + i, 1, 500), 0);
    }
    CU_ASSERT_TRUE(requests_batch_done(&r, &b));
    CU_ASSERT_EQUAL(requests_next_batch(&r, &b, 500), 3);
    CU_ASSERT_EQUAL(b.first, 3);
    write_replies(&b);
    CU_ASSERT_EQUAL(requests_take(&r, &b, replies, 27, 1000), 0);
    CU_ASSERT_TRUE(requests_batch_done(&r, &b));
    CU_ASSERT_EQUAL(r.times.total, 6);
    CU_ASSERT_EQUAL(r.pending, 0);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "");
}

/* Takes size bytes of replies, of which something is wrong. right: so many replies before that. */
static void expect_failure(struct requests_batch *b, size_t size, enum requests_failure kind,
                           long long right) {
    CU_ASSERT_EQUAL(requests_take(&r, b, replies, size, 500), -1);
    for (int i = 0; i < REQUESTS_FAILURES; i++)
        CU_ASSERT_EQUAL(r.failures[i], i == (int)kind);
    CU_ASSERT_EQUAL(r.times.total, right);
}

/* Two lines of 8 bytes are asked, and replies has what has to come: 18 bytes. */
static struct requests_batch two_lines(void) {
    struct requests_batch b = {0};
    begin(2, 2, 8);
    requests_next_batch(&r, &b, 0);
    CU_ASSERT_EQUAL(write_replies(&b), 18);
    return b;
}

/* One wrong byte, anywhere. "-" where a reply begins is a refusal. */
static void one_wrong_byte(void) {
    for (size_t i = 0; i < 18; i++) {
        struct requests_batch b = two_lines();
        replies[i] = '\t'; /* no line has one */
        expect_failure(&b, 18, REQUESTS_WRONG, (long long)i / 9);
        b = two_lines();
        if (replies[i] == '-')
            continue;
        replies[i] = '-';
        enum requests_failure kind = i % 9 == 0 ? REQUESTS_REFUSED : REQUESTS_WRONG;
        expect_failure(&b, 18, kind, (long long)i / 9);
    }
}

static void replies_in_the_wrong_order(void) {
    struct requests_batch b = two_lines();
    memmove(replies, replies + 9, 9);
    expect_failure(&b, 9, REQUESTS_WRONG, 0);
}

static void too_many_replies(void) {
    struct requests_batch b = two_lines();
    replies[18] = '+';
    expect_failure(&b, 19, REQUESTS_WRONG, 2);
}

static void a_reply_to_nothing(void) {
    struct requests_batch b = {0};
    begin(2, 2, 8);
    memcpy(replies, "+", 1);
    expect_failure(&b, 1, REQUESTS_WRONG, 0);
}

/* The server's words are kept, if they have come; and only the first failure. */
static void words_of_a_failure(void) {
    struct requests_batch b = two_lines();
    memcpy(replies, "-too many clients\n", 18);
    expect_failure(&b, 18, REQUESTS_REFUSED, 0);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "the server refuses: too many clients");
    requests_fail(&r, REQUESTS_LOST, "recv", ECONNRESET);
    CU_ASSERT_EQUAL(r.failures[REQUESTS_LOST], 1);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "the server refuses: too many clients");
    b = two_lines();
    memcpy(replies, "-too", 4);
    expect_failure(&b, 4, REQUESTS_REFUSED, 0);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "the server refuses: ");
    begin(1, 1, 8);
    requests_fail(&r, REQUESTS_LOST, "recv", ECONNRESET);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "recv: Connection reset by peer (ECONNRESET)");
    begin(1, 1, 8);
    requests_fail(&r, REQUESTS_LOST, "the server closed the connection", 0);
    CU_ASSERT_STRING_EQUAL(r.first_failure, "the server closed the connection");
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"histogram: a time is known to 1.6 %", precision},
        {"histogram: percentiles", percentiles},
        {"requests: lines", lines},
        {"requests: more than a chunk", more_than_a_chunk},
        {"requests: asked, answered, dropped", counting},
        {"replies: the right ones", right_replies},
        {"replies: one wrong byte", one_wrong_byte},
        {"replies: in the wrong order", replies_in_the_wrong_order},
        {"replies: too many", too_many_replies},
        {"replies: to nothing", a_reply_to_nothing},
        {"failures: their words", words_of_a_failure},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"load", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
