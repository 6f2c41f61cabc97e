/* Unit tests of 04's queue. If a thread waits for ever, SIGALRM ends this program. */
/* parts: 04-threadpool/queue.c */
#include "../../04-threadpool/queue.h"
#include <CUnit/Basic.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

enum { CAPACITY = 3, THREADS = 4, ITEMS = 5000, SECONDS = 30, NO_RESULT = -2 };

/* A thread that uses q, and what it has seen. */
struct user {
    struct queue *q;
    pthread_t thread;
    int item;                /* to put */
    _Atomic int result;      /* of the last call; NO_RESULT: it has not returned */
    int taken_from[THREADS]; /* how many items of each putter it has taken */
    int last_from[THREADS];  /* the last item of each putter */
    int errors;              /* items out of order, or not put */
};

/* Long enough for a thread that need not wait. A test that is held up here does not fail. */
static void let_them_run(void) {
    poll(NULL, 0, 30);
}

static void *put_one(void *user) {
    struct user *u = user;
    u->result = queue_put(u->q, u->item);
    return NULL;
}

static void *take_one(void *user) {
    struct user *u = user;
    u->result = queue_take(u->q);
    return NULL;
}

static void start(struct user *u, struct queue *q, void *(*body)(void *), int item) {
    *u = (struct user){.q = q, .item = item, .result = NO_RESULT};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&u->thread, NULL, body, u), 0);
}

static int result_of(struct user *u) {
    pthread_join(u->thread, NULL);
    return u->result;
}

/* ---- one thread ---- */

/* Puts so many items and takes them again. Returns the next item to put. */
static int put_and_take(struct queue *q, int first_item, int count) {
    for (int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(queue_put(q, first_item + i), 0);
    for (int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(queue_take(q), first_item + i);
    return first_item + count;
}

/* First in, first out, through every position of the ring. */
static void order_is_kept(void) {
    for (int capacity = 1; capacity <= CAPACITY; capacity++) {
        struct queue q;
        int item = 0;
        CU_ASSERT_EQUAL_FATAL(queue_init(&q, (size_t)capacity), 0);
        for (int round = 0; round < 20; round++)
            item = put_and_take(&q, item, 1 + round % capacity);
        queue_destroy(&q);
    }
}

static void closed(void) {
    struct queue q;
    queue_init(&q, CAPACITY);
    queue_put(&q, 7);
    queue_put(&q, 8);
    queue_close(&q);
    CU_ASSERT_EQUAL(queue_put(&q, 9), -1); /* although it is not full */
    CU_ASSERT_EQUAL(queue_take(&q), 7);
    CU_ASSERT_EQUAL(queue_take(&q), 8);
    CU_ASSERT_EQUAL(queue_take(&q), -1);
    CU_ASSERT_EQUAL(queue_take(&q), -1);
    CU_ASSERT_EQUAL(queue_put(&q, 9), -1);
    queue_destroy(&q);
}

/* calloc(3) fails if the product does not fit. Without volatile, the compiler would warn of it. */
static void no_memory(void) {
    volatile size_t too_much = SIZE_MAX / 2;
    struct queue q;
    errno = 0;
    CU_ASSERT_EQUAL(queue_init(&q, too_much), -1);
    CU_ASSERT_EQUAL(errno, ENOMEM);
    queue_destroy(&q);
}

/* ---- several threads ---- */

/* A wait may end although nothing has changed (pthread_cond_wait(3p)). A broadcast forces that. */
static void take_waits_while_empty(void) {
    struct queue q;
    struct user taker;
    queue_init(&q, CAPACITY);
    start(&taker, &q, take_one, 0);
    for (int i = 0; i < 3; i++) {
        let_them_run();
        CU_ASSERT_EQUAL(taker.result, NO_RESULT);
        pthread_cond_broadcast(&q.not_empty);
    }
    let_them_run();
    CU_ASSERT_EQUAL(taker.result, NO_RESULT);
    queue_put(&q, 5);
    CU_ASSERT_EQUAL(result_of(&taker), 5);
    queue_destroy(&q);
}

static void put_waits_while_full(void) {
    struct queue q;
    struct user putter;
    queue_init(&q, CAPACITY);
    for (int i = 0; i < CAPACITY; i++)
        queue_put(&q, i);
    start(&putter, &q, put_one, CAPACITY);
    for (int i = 0; i < 3; i++) {
        let_them_run();
        CU_ASSERT_EQUAL(putter.result, NO_RESULT);
        pthread_cond_broadcast(&q.not_full);
    }
    let_them_run();
    CU_ASSERT_EQUAL(putter.result, NO_RESULT);
    CU_ASSERT_EQUAL(queue_take(&q), 0);
    CU_ASSERT_EQUAL(result_of(&putter), 0);
    for (int i = 1; i <= CAPACITY; i++)
        CU_ASSERT_EQUAL(queue_take(&q), i); /* nothing is overwritten */
    queue_destroy(&q);
}

/* Each item wakes one of the threads that wait. */
static void every_waiter_gets_one(void) {
    struct queue q;
    struct user takers[THREADS];
    int sum = 0;
    queue_init(&q, THREADS);
    for (int i = 0; i < THREADS; i++)
        start(&takers[i], &q, take_one, 0);
    let_them_run();
    for (int i = 0; i < THREADS; i++)
        queue_put(&q, 1 << i);
    for (int i = 0; i < THREADS; i++)
        sum += result_of(&takers[i]);
    CU_ASSERT_EQUAL(sum, (1 << THREADS) - 1);
    queue_destroy(&q);
}

/* Threads that wait to take, and threads that wait to put. The latter keep their items. */
static void close_wakes_all(void) {
    struct queue empty;
    struct queue full;
    struct user takers[THREADS];
    struct user putters[THREADS];
    queue_init(&empty, CAPACITY);
    queue_init(&full, 1);
    queue_put(&full, 7);
    for (int i = 0; i < THREADS; i++) {
        start(&takers[i], &empty, take_one, 0);
        start(&putters[i], &full, put_one, i);
    }
    let_them_run();
    queue_close(&empty);
    queue_close(&full);
    for (int i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(result_of(&takers[i]), -1);
        CU_ASSERT_EQUAL(result_of(&putters[i]), -1);
    }
    CU_ASSERT_EQUAL(queue_take(&full), 7);
    CU_ASSERT_EQUAL(queue_take(&full), -1);
    queue_destroy(&empty);
    queue_destroy(&full);
}

/* Its items say who has put them: item % THREADS. */
static void *put_many(void *user) {
    struct user *u = user;
    for (int i = 1; i <= ITEMS; i++) {
        if (queue_put(u->q, i * THREADS + u->item) < 0)
            u->errors++;
    }
    return NULL;
}

static void *take_all(void *user) {
    struct user *u = user;
    int item;
    while ((item = queue_take(u->q)) >= 0) {
        int putter = item % THREADS;
        if (item <= u->last_from[putter])
            u->errors++;
        u->taken_from[putter]++;
        u->last_from[putter] = item;
    }
    return NULL;
}

/* All at once: no item is lost or taken twice, and those of one putter keep their order. */
static void nothing_lost_and_nothing_twice(void) {
    struct queue q;
    struct user takers[THREADS];
    struct user putters[THREADS];
    queue_init(&q, CAPACITY);
    for (int i = 0; i < THREADS; i++) {
        start(&takers[i], &q, take_all, 0);
        start(&putters[i], &q, put_many, i);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(putters[i].thread, NULL);
    queue_close(&q);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(takers[i].thread, NULL);
        CU_ASSERT_EQUAL(takers[i].errors, 0);
        CU_ASSERT_EQUAL(putters[i].errors, 0);
    }
    for (int putter = 0; putter < THREADS; putter++) {
        int sum = 0;
        for (int i = 0; i < THREADS; i++)
            sum += takers[i].taken_from[putter];
        CU_ASSERT_EQUAL(sum, ITEMS);
    }
    queue_destroy(&q);
}

/* A calloc that fails can then be tested with the sanitizers, too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

int main(void) {
    static CU_TestInfo alone[] = {
        {"first in, first out", order_is_kept},
        {"closed: put fails, take hands out the rest", closed},
        {"no memory", no_memory},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo threads[] = {
        {"take waits while the queue is empty", take_waits_while_empty},
        {"put waits while the queue is full", put_waits_while_full},
        {"each put wakes a thread that waits", every_waiter_gets_one},
        {"queue_close wakes all", close_wakes_all},
        {"nothing is lost, doubled or out of order", nothing_lost_and_nothing_twice},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"queue, one thread", NULL, NULL, NULL, NULL, alone},
        {"queue, several threads", NULL, NULL, NULL, NULL, threads},
        CU_SUITE_INFO_NULL,
    };
    alarm(SECONDS);
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
