/* Unit tests of 06's accept: a listener in the loop, and accept4(2) fails as the test says. If the
 * loop never returns, SIGALRM ends this program. */
/* parts: 06-epoll/loop.c */
#include "../../util.h"

/* The errors of the next calls of accept4, 0 for a call that is made; then all are made. */
static int faults[8];
static int faults_used;
static int calls;

static int faulty_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
    calls++;
    if (faults_used < 8 && faults[faults_used] != 0) {
        errno = faults[faults_used];
        faults_used++;
        return -1;
    }
    if (faults_used < 8)
        faults_used++;
    return accept4(fd, address, size, flags);
}

#define accept4 faulty_accept4
#include "../../06-epoll/accept.c"
#undef accept4
#include <CUnit/Basic.h>

enum { SECONDS = 30, MANY = BATCH + 10 };

static struct sockaddr_in own; /* the listener's address */
static int server_fd;          /* the listener */
static int accepted[MANY];     /* descriptors, in the order in which they came */
static int accepted_count;
static struct sockaddr_in last_peer;
static int nonblocking;

static void on_connection(int fd, const struct sockaddr_in6 *peer) {
    CU_ASSERT_FATAL(accepted_count < MANY);
    accepted[accepted_count] = fd;
    accepted_count++;
    memcpy(&last_peer, peer, sizeof last_peer);
    nonblocking = (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* A timer ends a step in which nothing else happens. */
static struct loop_timers limits;
static struct loop_timer limit;
static int limit_reached;

static void on_limit(struct loop_timer *t) {
    (void)t;
    limit_reached = 1;
}

/* Steps until count connections are accepted, or for ms milliseconds. Returns how many steps. */
static int step_until(int count, long long ms) {
    int steps = 0;
    CU_ASSERT_EQUAL_FATAL(loop_timers_open(&limits, ms, on_limit), 0);
    limit_reached = 0;
    loop_timer_start(&limits, &limit);
    while (accepted_count < count && !limit_reached) {
        loop_step();
        steps++;
    }
    loop_timer_stop(&limit);
    return steps;
}

/* Begins each test with a loop and a listener; errors are those of the first calls of accept4. */
static void start(int first_error, int second_error) {
    socklen_t size = sizeof own;
    accepted_count = 0;
    calls = 0;
    memset(faults, 0, sizeof faults);
    faults[0] = first_error;
    faults[1] = second_error;
    faults_used = 0;
    CU_ASSERT_EQUAL_FATAL(loop_open(), 0);
    server_fd = socket(AF_INET, SOCK_STREAM, 0);
    own = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CU_ASSERT_EQUAL_FATAL(bind(server_fd, (struct sockaddr *)&own, size), 0);
    CU_ASSERT_EQUAL_FATAL(listen(server_fd, SOMAXCONN), 0);
    getsockname(server_fd, (struct sockaddr *)&own, &size);
    CU_ASSERT_EQUAL(accept_start(server_fd, on_connection), 0);
}

static void end(void) {
    for (int i = 0; i < accepted_count; i++)
        close(accepted[i]);
    loop_end();
}

/* Returns a client's socket, connected; or -1 with errno. */
static int new_client(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&own, sizeof own) < 0)
        return close_failed(fd);
    return fd;
}

/* accept4(2): the socket does not wait, and the address is that of the client. */
static void a_connection(void) {
    struct sockaddr_in client_address = {0};
    socklen_t size = sizeof client_address;
    start(0, 0);
    CU_ASSERT(fcntl(server_fd, F_GETFL) & O_NONBLOCK);
    int client = new_client();
    getsockname(client, (struct sockaddr *)&client_address, &size);
    step_until(1, 5000);
    CU_ASSERT_EQUAL(accepted_count, 1);
    CU_ASSERT_TRUE(nonblocking);
    CU_ASSERT_EQUAL(last_peer.sin_port, client_address.sin_port);
    close(client);
    accept_stop();
    end();
}

/* More than one step accepts: the rest come in the next. */
static void many_connections(void) {
    int clients[MANY];
    start(0, 0);
    for (int i = 0; i < MANY; i++)
        clients[i] = new_client();
    loop_step();
    CU_ASSERT_EQUAL(accepted_count, BATCH);
    step_until(MANY, 5000);
    CU_ASSERT_EQUAL(accepted_count, MANY);
    for (int i = 0; i < MANY; i++)
        close(clients[i]);
    accept_stop();
    end();
}

/* accept(2), ERRORS: a signal, or a client that has gone already. The next one may be there. */
static void errors_of_one_connection(void) {
    start(EINTR, ECONNABORTED);
    int client = new_client();
    CU_ASSERT_EQUAL(step_until(1, 5000), 1); /* within one step */
    CU_ASSERT_EQUAL(accepted_count, 1);
    close(client);
    accept_stop();
    end();
}

/* Without descriptors, buffers or memory it pauses, and the listener, which stays readable, does
 * not make the loop spin. Then it accepts again. */
static void exhaustion(void) {
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        start(errors[i], errors[i]);
        int client = new_client();
        long long begin = now_ms();
        int steps = step_until(1, 5000);
        CU_ASSERT_EQUAL(accepted_count, 1);
        CU_ASSERT(now_ms() - begin >= 2 * PAUSE_MS - 5);
        CU_ASSERT(steps <= 6); /* two failures, two pauses, the connection */
        CU_ASSERT(calls <= 4);
        close(client);
        accept_stop();
        end();
    }
}

/* No connection any more, and no timer that would watch a listener that is closed. */
static void stopping_during_a_pause(void) {
    start(EMFILE, 0);
    int client = new_client();
    loop_step();
    CU_ASSERT_EQUAL(accepted_count, 0);
    accept_stop();
    CU_ASSERT_EQUAL(fcntl(server_fd, F_GETFD), -1);
    step_until(1, 3 * PAUSE_MS);
    CU_ASSERT_EQUAL(accepted_count, 0);
    close(client);
    end();
}

static void stopping(void) {
    start(0, 0);
    accept_stop();
    CU_ASSERT_EQUAL(fcntl(server_fd, F_GETFD), -1);
    CU_ASSERT_EQUAL(new_client(), -1);
    CU_ASSERT_EQUAL(errno, ECONNREFUSED);
    end();
}

static void starting_fails(void) {
    CU_ASSERT_EQUAL(loop_open(), 0);
    CU_ASSERT_EQUAL(accept_start(-1, on_connection), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
    loop_end();
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"a connection", a_connection},
        {"more than one step accepts", many_connections},
        {"errors of one connection", errors_of_one_connection},
        {"no descriptors, no memory", exhaustion},
        {"accept_stop", stopping},
        {"accept_stop during a pause", stopping_during_a_pause},
        {"accept_start fails", starting_fails},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"accept", NULL, NULL, NULL, NULL, tests},
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
