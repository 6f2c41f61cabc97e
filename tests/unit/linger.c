/* Unit tests of 08's linger, on socket pairs. A test that waits for ever is ended by SIGALRM. */
/* parts: 08-tls/linger.c 08-tls/loop.c */
#include "../../util.h"
#include "../../08-tls/linger.h"
#include <CUnit/Basic.h>

enum { SECONDS = 30, LATE_MS = 2000 };

/* A socket whose owner has nothing more to say: first a watcher, which loop_free frees. */
struct owner {
    struct loop_watcher watcher;
    int fd;
};

static int calls; /* of the owner's handler */
static int peer;  /* the other end */

static void on_event(struct loop_watcher *w, uint32_t events) {
    (void)w;
    (void)events;
    calls++;
}

static int begin(void) {
    return loop_open() < 0 || linger_open() < 0;
}

static int end(void) {
    linger_end();
    loop_end();
    return 0;
}

static int is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* Returns a watched socket, and sets peer. */
static struct owner *new_owner(void) {
    struct owner *o = calloc(1, sizeof *o);
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    o->watcher.on_event = on_event;
    o->fd = pair[0];
    peer = pair[1];
    calls = 0;
    CU_ASSERT_EQUAL_FATAL(loop_watch(&o->watcher, o->fd, EPOLLIN), 0);
    return o;
}

/* Closes as a server does. Returns the descriptor, which lingers now. */
static int take(struct owner *o) {
    int fd = o->fd;
    linger_take(&o->watcher, fd);
    loop_free(&o->watcher);
    return fd;
}

/* Takes steps until no socket lingers. Returns how many milliseconds that took. */
static long long steps_to_the_end(void) {
    const long long start = now_ms();
    while (linger_any())
        loop_step();
    return now_ms() - start;
}

/* Returns what the peer receives: bytes, 0 at the end, -1 at an error. */
static ssize_t received(void) {
    char bytes[64];
    return recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
}

static void send_from_peer(void) {
    CU_ASSERT_EQUAL(send(peer, "late", 4, MSG_NOSIGNAL), 4);
}

/* ---- the tests ---- */

static void the_peer_ends(void) {
    struct owner *o = new_owner();
    CU_ASSERT_FALSE(linger_any());
    CU_ASSERT_EQUAL(send(o->fd, "last", 4, 0), 4);
    int fd = take(o);
    CU_ASSERT_TRUE(linger_any());
    CU_ASSERT_EQUAL(received(), 4);
    CU_ASSERT_EQUAL(received(), 0); /* FIN */
    send_from_peer();
    loop_step();
    CU_ASSERT_TRUE(is_open(fd));
    shutdown(peer, SHUT_WR);
    CU_ASSERT(steps_to_the_end() < LINGER_MS);
    CU_ASSERT_FALSE(is_open(fd));
    CU_ASSERT_EQUAL(calls, 0);
    close(peer);
}

/* close(2) alone would lose what the peer has not read yet. */
static void unread_input_is_no_reset(void) {
    struct owner *o = new_owner();
    send_from_peer();
    CU_ASSERT_EQUAL(send(o->fd, "last", 4, 0), 4);
    take(o);
    shutdown(peer, SHUT_WR);
    steps_to_the_end();
    CU_ASSERT_EQUAL(received(), 4);
    CU_ASSERT_EQUAL(received(), 0);
    CU_ASSERT_EQUAL(calls, 0);
    close(peer);
}

static void the_peer_stays(void) {
    int fd = take(new_owner());
    long long ms = steps_to_the_end();
    CU_ASSERT(ms >= LINGER_MS - 1 && ms < LATE_MS);
    CU_ASSERT_FALSE(is_open(fd));
    close(peer);
}

/* More bytes bring no more time. */
static void the_peer_sends_all_the_time(void) {
    const long long start = now_ms();
    int fd = take(new_owner());
    while (linger_any()) {
        send(peer, "more", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_step();
    }
    CU_ASSERT(now_ms() - start < LATE_MS);
    CU_ASSERT_FALSE(is_open(fd));
    close(peer);
}

/* shutdown(2): ENOTCONN. Nothing is left to wait for. */
static void a_reset_connection_is_closed(void) {
    struct owner *o = calloc(1, sizeof *o);
    o->fd = socket(AF_INET, SOCK_STREAM, 0);
    int fd = take(o);
    CU_ASSERT_FALSE(linger_any());
    CU_ASSERT_FALSE(is_open(fd));
}

/* Of two, one ends earlier than the other. */
static void several(void) {
    int first = take(new_owner());
    int first_peer = peer;
    int second = take(new_owner());
    close(peer);
    loop_step();
    CU_ASSERT_TRUE(is_open(first));
    CU_ASSERT_FALSE(is_open(second));
    CU_ASSERT_TRUE(linger_any());
    close(first_peer);
    steps_to_the_end();
    CU_ASSERT_FALSE(is_open(first));
}

/* A duplicate must not keep the owner's registration alive: its memory is freed. */
static void a_duplicate(void) {
    struct owner *o = new_owner();
    int duplicate = dup(o->fd);
    int fd = take(o);
    shutdown(peer, SHUT_WR);
    steps_to_the_end();
    CU_ASSERT_FALSE(is_open(fd));
    int pipe_ends[2]; /* so that there is something else to wait for */
    struct loop_watcher ready = {.on_event = on_event};
    CU_ASSERT_EQUAL_FATAL(pipe(pipe_ends), 0);
    CU_ASSERT_EQUAL(loop_watch(&ready, pipe_ends[1], EPOLLOUT), 0);
    loop_step();
    CU_ASSERT_EQUAL(calls, 1); /* of the pipe's, and no other */
    loop_close(&ready, pipe_ends[1]);
    close(pipe_ends[0]);
    close(duplicate);
    close(peer);
}

static struct owner *pair_of_owners[2];

static void take_the_other(struct loop_watcher *w, uint32_t events) {
    (void)events;
    calls++;
    take(pair_of_owners[w == &pair_of_owners[0]->watcher]);
}

/* Both have an event in one step; the handler of one closes the other, whose event is stale. */
static void a_stale_event(void) {
    int peers[2];
    for (int i = 0; i < 2; i++) {
        pair_of_owners[i] = new_owner();
        pair_of_owners[i]->watcher.on_event = take_the_other;
        peers[i] = peer;
        send_from_peer();
    }
    loop_step();
    CU_ASSERT_EQUAL(calls, 1);
    linger_end();
    int left = is_open(pair_of_owners[0]->fd) ? 0 : 1;
    take(pair_of_owners[left]);
    for (int i = 0; i < 2; i++)
        close(peers[i]);
    steps_to_the_end();
}

static void the_end_closes_them(void) {
    int first = take(new_owner());
    close(peer);
    int second = take(new_owner());
    linger_end();
    CU_ASSERT_FALSE(linger_any());
    CU_ASSERT_FALSE(is_open(first));
    CU_ASSERT_FALSE(is_open(second));
    close(peer);
}

static CU_TestInfo tests[] = {
    {"the peer's end is the end", the_peer_ends},
    {"with unread input the last bytes arrive, too", unread_input_is_no_reset},
    {"a peer that stays is waited for for LINGER_MS", the_peer_stays},
    {"and not longer if it sends all the time", the_peer_sends_all_the_time},
    {"a connection that was reset is closed at once", a_reset_connection_is_closed},
    {"several at a time", several},
    {"a duplicate of the descriptor", a_duplicate},
    {"no stale event reaches its old owner", a_stale_event},
    {"linger_end closes all", the_end_closes_them},
    CU_TEST_INFO_NULL,
};

int main(void) {
    CU_SuiteInfo suites[] = {
        {"linger", begin, end, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    alarm(SECONDS);
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() > 0 || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
