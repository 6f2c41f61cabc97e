/* Tests of 06-epoll/load.h: what the load generator sends, checks and counts, without sockets. */
#include "../../06-epoll/load.h"
#include <CUnit/Basic.h>

static struct load l;

/* A load of `lines` lines of `size` bytes, `at_once` in a batch. */
static void begin(long lines, long at_once, size_t size) {
    l = (struct load){.left = lines, .at_once = at_once, .line_size = size};
    load_begin(&l);
}

/* Every time falls into a bucket whose middle is at most 1.6 % away; larger ones never into a
 * smaller bucket. */
static void buckets(void) {
    size_t last = 0;
    for (long long ns = 0; ns < 1LL << 40; ns += 1 + ns / 100) {
        size_t bucket = bucket_of(ns);
        double off = bucket_ns(bucket) - (double)ns;
        CU_ASSERT(bucket >= last && bucket < BUCKETS);
        CU_ASSERT(off <= 0.016 * (double)ns && -off <= 0.016 * (double)ns);
        last = bucket;
    }
    CU_ASSERT(bucket_of(-1) == 0);
    CU_ASSERT(bucket_of(LLONG_MAX) < BUCKETS);
}

/* Nearest rank: of 1 to 100, the 50th is 50, the 99th 99; never more than the longest. */
static void percentiles(void) {
    static struct histogram h;
    CU_ASSERT(histogram_at(&h, 50) == 0);
    for (int i = 1; i <= 100; i++)
        histogram_add(&h, i * 1000, 2);
    histogram_add(&h, 1000000, 0); /* no time */
    CU_ASSERT_EQUAL(h.total, 200);
    CU_ASSERT_EQUAL(h.longest, 100000);
    CU_ASSERT_DOUBLE_EQUAL(histogram_at(&h, 50), 50000, 800);
    CU_ASSERT_DOUBLE_EQUAL(histogram_at(&h, 99), 99000, 1600);
    CU_ASSERT(histogram_at(&h, 100) <= 100000 && histogram_at(&h, 100) >= 98400);
}

/* However a batch is cut, its bytes are the same; lines end where they should; a reply is the line
 * with "+" before it; no two connections and no two lines say the same. */
static void text(void) {
    char whole[64], reply[64], other[64];
    begin(8, 4, 16);
    struct batch b = {.connection = 3, .first = 7, .lines = 4}, c = b;
    memcpy(whole, load_text(&l, &b, 0, 0, 64), 64);
    for (size_t from = 0; from < 64; from++)
        for (size_t size = 1; from + size <= 64; size++)
            CU_ASSERT(memcmp(load_text(&l, &b, 0, from, size), whole + from, size) == 0);
    for (size_t i = 0; i < 64; i++)
        CU_ASSERT_EQUAL(whole[i] == '\n', i % 16 == 15);
    memcpy(reply, load_text(&l, &b, 1, 17, 17), 17); /* the second */
    CU_ASSERT(reply[0] == '+' && memcmp(reply + 1, whole + 16, 16) == 0);
    CU_ASSERT(memcmp(whole, whole + 16, 16) != 0);
    c.connection = 4;
    memcpy(other, load_text(&l, &c, 0, 0, 64), 64);
    CU_ASSERT(memcmp(whole, other, 16) != 0);
    c = (struct batch){.connection = 3, .first = 11, .lines = 4}; /* the next batch */
    CU_ASSERT(memcmp(whole, load_text(&l, &c, 0, 0, 16), 16) != 0);
}

/* Who asks, waits and goes is counted; the last batch is the smaller one; then nothing is left. */
static void asking(void) {
    struct batch a = {0}, b = {.connection = 1};
    begin(5, 3, 8);
    CU_ASSERT_EQUAL(load_ask(&l, &a), 3);
    CU_ASSERT_EQUAL(load_ask(&l, &b), 2);
    CU_ASSERT(l.left == 0 && l.asked == 5 && l.waiting == 5 && l.unheard == 2);
    CU_ASSERT(load_take(&l, &a, load_text(&l, &a, 1, 0, 9), 9, 1000) == 0);
    CU_ASSERT(l.waiting == 4 && l.unheard == 1 && l.times.total == 1);
    load_drop(&l, &a);
    CU_ASSERT(l.waiting == 2 && l.unheard == 1);
    load_drop(&l, &b);
    CU_ASSERT(l.waiting == 0 && l.unheard == 0 && l.asked == 5);
    b.lines = 0;
    CU_ASSERT_EQUAL(load_ask(&l, &b), 0);
}

/* Replies count however they are cut: a byte at a time, and all in one. */
static void right_replies(void) {
    char all[27];
    struct batch b = {0};
    begin(6, 3, 8);
    for (int round = 0; round < 2; round++) {
        CU_ASSERT_EQUAL(load_ask(&l, &b), 3);
        memcpy(all, load_text(&l, &b, 1, 0, 27), 27);
        for (size_t i = 0, n = round ? 27 : 1; i < 27; i += n)
            CU_ASSERT_EQUAL(load_take(&l, &b, all + i, n, 500), 0);
        CU_ASSERT_EQUAL(load_answered(&l, &b), 3);
    }
    CU_ASSERT(l.times.total == 6 && l.waiting == 0 && l.why[0] == '\0');
}

/* What is not the next reply is a trouble: one wrong byte anywhere, another line's reply, one too
 * many; "-" where a reply begins is a refusal, in the middle of one it is a wrong byte. */
static void wrong_replies(void) {
    char all[28];
    for (size_t i = 0; i < 20; i++) {
        struct batch b = {0};
        size_t n = 18;
        begin(2, 2, 8);
        load_ask(&l, &b);
        memcpy(all, load_text(&l, &b, 1, 0, 18), 18);
        if (i < 18)
            all[i] = all[i] == '-' ? 'x' : '-';
        else if (i == 18)
            memmove(all, all + 9, 9); /* the second reply first */
        else
            all[n++] = '+'; /* one too many */
        CU_ASSERT_EQUAL(load_take(&l, &b, all, n, 500), -1);
        int refused = i == 0 || i == 9;
        CU_ASSERT(l.bad[REFUSED] == refused && l.bad[WRONG] == !refused);
        CU_ASSERT(l.times.total == (i < 18 ? (long long)i / 9 : i == 18 ? 0 : 2));
    }
}

/* The server's words are kept, the first ones. */
static void refusals(void) {
    struct batch b = {0};
    begin(2, 2, 8);
    load_ask(&l, &b);
    CU_ASSERT_EQUAL(load_take(&l, &b, "-too many clients\n", 18, 500), -1);
    CU_ASSERT_STRING_EQUAL(l.why, "the server refuses: too many clients");
    load_trouble(&l, LOST, "recv", ECONNRESET);
    CU_ASSERT_STRING_EQUAL(l.why, "the server refuses: too many clients");
    CU_ASSERT(l.bad[REFUSED] == 1 && l.bad[LOST] == 1);
    l.why[0] = '\0';
    load_trouble(&l, LOST, "recv", ECONNRESET);
    CU_ASSERT_STRING_EQUAL(l.why, "recv: Connection reset by peer (ECONNRESET)");
}

int main(void) {
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    CU_pSuite suite = CU_add_suite("load.h", NULL, NULL);
    if (!CU_add_test(suite, "buckets", buckets) ||
        !CU_add_test(suite, "percentiles", percentiles) || !CU_add_test(suite, "text", text) ||
        !CU_add_test(suite, "asking", asking) ||
        !CU_add_test(suite, "right replies", right_replies) ||
        !CU_add_test(suite, "wrong replies", wrong_replies) ||
        !CU_add_test(suite, "refusals", refusals))
        return 1;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() ? 1 : 0;
    CU_cleanup_registry();
    return failed;
}
