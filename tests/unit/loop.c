/* Unit tests of 06's loop.h, on pipes. A loop that never stops ends this program by SIGALRM. */
#include "../../06-epoll/loop.h"
#include <CUnit/Basic.h>
#include <sys/wait.h>

enum { SECONDS = 30, MANY = LOOP_BATCH + 50, TEXT = 64 };

/* A pipe whose reading end is watched: what can happen to it, and how often it did. */
struct pipe {
    struct watcher watcher; /* the first member: loop.h frees it */
    struct pipe *other;     /* what its handler works on */
    int ends[2], calls;
    uint32_t came;
};

static char history[TEXT]; /* one letter for everything that happened, in order */

static void note(char letter) {
    size_t n = strlen(history);
    if (n < TEXT - 1)
        history[n] = letter;
}

static struct pipe *new_pipe(void (*on_event)(struct watcher *, uint32_t)) {
    struct pipe *p = calloc(1, sizeof *p);
    p->watcher.on_event = on_event;
    CU_ASSERT_EQUAL_FATAL(pipe(p->ends), 0);
    return p;
}

static void delete_pipe(struct pipe *p) {
    close(p->ends[0]);
    close(p->ends[1]);
    free(p);
}

static void fill(const struct pipe *p) {
    CU_ASSERT_EQUAL(write(p->ends[1], "x", 1), 1);
}

static void count(struct watcher *w, uint32_t events) {
    struct pipe *p = (struct pipe *)w;
    p->calls++;
    p->came = events;
}

static void stop(struct watcher *w, uint32_t events) {
    count(w, events);
    loop_stopped = 1;
}

/* One batch: whatever is ready now, and a pipe that stops the loop after it. */
static void run_once(void) {
    struct pipe *last = new_pipe(stop);
    fill(last);
    loop_watch(&last->watcher, last->ends[0], EPOLLIN);
    loop_stopped = 0;
    loop_run();
    delete_pipe(last);
}

/* ---- descriptors ---- */

/* epoll(7): level-triggered, what is not read is reported again. epoll_ctl(2): ADD, MOD, DEL. */
static void watching(void) {
    struct pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    run_once();
    CU_ASSERT_EQUAL(p->calls, 0); /* nothing there */
    fill(p);
    run_once();
    run_once();
    CU_ASSERT_EQUAL(p->calls, 2);
    CU_ASSERT_EQUAL(p->came, EPOLLIN);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLPRI), 0); /* now for something else */
    run_once();
    CU_ASSERT_EQUAL(p->calls, 2);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    run_once();
    CU_ASSERT_EQUAL(p->calls, 3);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], 0), 0); /* for nothing */
    run_once();
    CU_ASSERT_EQUAL(p->calls, 3);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0); /* anew */
    run_once();
    CU_ASSERT_EQUAL(p->calls, 4);
    delete_pipe(p);
}

static void writable_and_hang_up(void) {
    struct pipe *writer = new_pipe(count), *reader = new_pipe(count);
    loop_watch(&writer->watcher, writer->ends[1], EPOLLOUT);
    loop_watch(&reader->watcher, reader->ends[0], EPOLLIN);
    close(reader->ends[1]);
    run_once();
    CU_ASSERT_EQUAL(writer->came, EPOLLOUT);
    CU_ASSERT_EQUAL(reader->came, EPOLLHUP); /* asked for or not */
    reader->ends[1] = -1;
    delete_pipe(reader);
    delete_pipe(writer);
}

/* -1 is no descriptor, so that a call of epoll_ctl would fail. */
static void a_wish_that_is_granted_already(void) {
    struct pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, 0), 0);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLIN), 0);
    delete_pipe(p);
}

/* epoll_ctl(2), ERRORS. What was watched before is still watched. */
static void watching_fails(void) {
    struct pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLIN), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
    CU_ASSERT_EQUAL(p->watcher.events, 0);
    loop_watch(&p->watcher, p->ends[0], EPOLLIN);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLOUT), -1);
    CU_ASSERT_EQUAL(p->watcher.events, EPOLLIN);
    fill(p);
    run_once();
    CU_ASSERT_EQUAL(p->calls, 1);
    delete_pipe(p);
}

/* More than one batch takes: nobody is forgotten. */
static void many_at_once(void) {
    static struct pipe *all[MANY];
    int calls = 0;
    for (int i = 0; i < MANY; i++) {
        all[i] = new_pipe(count);
        fill(all[i]);
        loop_watch(&all[i]->watcher, all[i]->ends[0], EPOLLIN);
    }
    run_once();
    run_once();
    for (int i = 0; i < MANY; i++) {
        calls += all[i]->calls > 0;
        delete_pipe(all[i]);
    }
    CU_ASSERT_EQUAL(calls, MANY);
}

static void release(struct pipe *p) {
    close(p->ends[0]);
    close(p->ends[1]);
    loop_release(&p->watcher);
}

static struct pipe *renewed;

/* Ends the other, which has an event in the same batch, and takes its descriptors for a new one. */
static void end_the_other(struct watcher *w, uint32_t events) {
    struct pipe *p = (struct pipe *)w, *other = p->other;
    int fd = other->ends[0];
    (void)events;
    note('e');
    release(other);
    renewed = new_pipe(count);
    CU_ASSERT_EQUAL(renewed->ends[0], fd);
    loop_watch(&renewed->watcher, renewed->ends[0], EPOLLIN);
    CU_ASSERT_PTR_NULL(other->watcher.on_event); /* still there, to be skipped */
    release(p);
}

/* The stale event: whichever of the two is called, the other's event is for nobody any more. */
static void stale_events_are_skipped(void) {
    struct pipe *one = new_pipe(end_the_other), *two = new_pipe(end_the_other);
    memset(history, 0, sizeof history);
    one->other = two;
    two->other = one;
    fill(one);
    fill(two);
    loop_watch(&one->watcher, one->ends[0], EPOLLIN);
    loop_watch(&two->watcher, two->ends[0], EPOLLIN);
    run_once();
    CU_ASSERT_STRING_EQUAL(history, "e");
    CU_ASSERT_PTR_NULL(loop_released); /* both freed: see AddressSanitizer and valgrind */
    CU_ASSERT_EQUAL(renewed->calls, 0);
    fill(renewed);
    run_once();
    CU_ASSERT_EQUAL(renewed->calls, 1);
    delete_pipe(renewed);
}

/* ---- timeouts ---- */

static struct timeouts brief, lengthy;
static struct timeout a, b, c;
static long long ended_at[3];

static char letter_of(const struct timeout *t) {
    return (char)(t == &a ? 'a' : t == &b ? 'b' : 'c');
}

static void on_timeout(struct timeout *t) {
    CU_ASSERT_PTR_NULL(t->next); /* it runs no more */
    note(letter_of(t));
    ended_at[letter_of(t) - 'a'] = now_ms();
    loop_stopped = !timeouts_first(&brief) && !timeouts_first(&lengthy);
}

/* Two lengths. The clock of the loop is set, as it would be when a batch comes. */
static void open_timeouts(void (*on)(struct timeout *)) {
    memset(history, 0, sizeof history);
    a = b = c = (struct timeout){0};
    timeouts_open(&brief, 40, on);
    timeouts_open(&lengthy, 100, on);
    loop_stopped = 0;
    loop_now = now_ms();
}

static void close_timeouts(void) {
    close(brief.fd);
    close(lengthy.fd);
}

/* What happens from now on until nothing more can. */
static const char *what_happens(void) {
    if (timeouts_first(&brief) || timeouts_first(&lengthy))
        loop_run();
    close_timeouts();
    return history;
}

static void the_first(void) {
    open_timeouts(on_timeout);
    CU_ASSERT_PTR_NULL(timeouts_first(&brief));
    timeout_restart(&brief, &a);
    timeout_restart(&brief, &b);
    CU_ASSERT_PTR_EQUAL(timeouts_first(&brief), &a);
    timeout_restart(&brief, &a); /* moves to the end */
    CU_ASSERT_PTR_EQUAL(timeouts_first(&brief), &b);
    timeout_cancel(&b);
    CU_ASSERT_PTR_EQUAL(timeouts_first(&brief), &a);
    timeout_cancel(&a);
    CU_ASSERT_PTR_NULL(timeouts_first(&brief));
    CU_ASSERT_PTR_NULL(a.next);
    timeout_cancel(&a); /* does nothing */
    CU_ASSERT_STRING_EQUAL(what_happens(), "");
}

/* Those of one length end in the order in which they began, the three of them at the same time. */
static void same_time(void) {
    open_timeouts(on_timeout);
    long long start = loop_now;
    timeout_restart(&brief, &b);
    timeout_restart(&brief, &a);
    timeout_restart(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "bac");
    CU_ASSERT(ended_at[0] - start >= 40 && ended_at[1] - start >= 40 && ended_at[2] - start >= 40);
}

static void two_lengths(void) {
    open_timeouts(on_timeout);
    long long start = loop_now;
    timeout_restart(&lengthy, &a);
    timeout_restart(&brief, &b);
    CU_ASSERT_STRING_EQUAL(what_happens(), "ba");
    CU_ASSERT(ended_at[0] - start >= 100 && ended_at[1] - start >= 40);
}

/* Begun one after the other: after the first, the timer is set for the next. */
static void the_timer_is_set_for_the_next(void) {
    open_timeouts(on_timeout);
    timeout_restart(&brief, &a);
    loop_now += 50;
    timeout_restart(&brief, &b);
    loop_now += 50;
    timeout_restart(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "abc");
    CU_ASSERT(ended_at[1] >= b.deadline && ended_at[2] >= c.deadline);
}

/* The timer was set for a, which has begun anew since: it ends in time all the same, not before. */
static void restarted(void) {
    open_timeouts(on_timeout);
    timeout_restart(&brief, &a);
    timeout_restart(&brief, &b);
    loop_now += 30;
    timeout_restart(&brief, &a);
    CU_ASSERT_STRING_EQUAL(what_happens(), "ba");
    CU_ASSERT(ended_at[0] >= a.deadline);
}

static struct timeouts ticker;
static int ticks;

static void on_tick(struct timeout *t) {
    timeout_restart(&brief, &b);
    if (++ticks < 20)
        timeout_restart(&ticker, t);
    else
        note('t');
}

/* b begins anew all the time, a never does: so a ends long before b, and long before it stops. */
static void beside_a_busy_one(void) {
    open_timeouts(on_timeout);
    timeouts_open(&ticker, 10, on_tick);
    ticks = 0;
    timeout_restart(&brief, &a);
    timeout_restart(&brief, &b);
    timeout_restart(&ticker, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "atb");
    close(ticker.fd);
}

/* A timeout that moves from one length to another, as a connection does that is half-closed. */
static void moved(void) {
    open_timeouts(on_timeout);
    long long start = loop_now;
    timeout_restart(&brief, &a);
    timeout_restart(&lengthy, &a);
    CU_ASSERT_PTR_NULL(timeouts_first(&brief));
    CU_ASSERT_STRING_EQUAL(what_happens(), "a");
    CU_ASSERT(ended_at[0] - start >= 100);
}

/* In its handler, a cancels b, which would have been next; c runs once more. */
static void in_a_handler(struct timeout *t) {
    if (t == &a)
        timeout_cancel(&b);
    on_timeout(t);
    if (t == &c && !strchr(strchr(history, 'c') + 1, 'c')) {
        timeout_restart(&brief, &c);
        loop_stopped = 0;
    }
}

static void changed_in_a_handler(void) {
    open_timeouts(in_a_handler);
    long long start = loop_now;
    timeout_restart(&brief, &a);
    timeout_restart(&brief, &b);
    timeout_restart(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "acc");
    CU_ASSERT(ended_at[2] - start >= 80);
}

/* timerfd_settime(2): 0 would stop the timer. The handler was called for nothing: read(2) would
 * wait, and nobody is due. */
static void at_once_and_for_nothing(void) {
    struct timeouts now;
    open_timeouts(on_timeout);
    timeout_restart(&brief, &a);
    loop_now += 1000;
    timeouts_on_event(&brief.watcher, EPOLLIN);
    CU_ASSERT_STRING_EQUAL(history, "");
    timeout_cancel(&a);
    timeouts_open(&now, 0, on_timeout);
    timeout_restart(&now, &c);
    loop_run();
    close(now.fd);
    CU_ASSERT_STRING_EQUAL(what_happens(), "c");
}

/* ---- signals ---- */

static int signals_fd;

static void on_signal(struct watcher *w, uint32_t events) {
    char number = 0;
    (void)w, (void)events;
    CU_ASSERT_EQUAL(read(signals_fd, &number, 1), 1);
    note(number == SIGUSR1 ? '1' : '2');
    loop_stopped = strlen(history) == 2;
}

/* signal-safety(7): the handler only writes a byte, the rest is an event; and none is lost. */
static void signals_are_events(void) {
    struct watcher w = {.on_event = on_signal};
    memset(history, 0, sizeof history);
    signals_fd = loop_watch_signals(&w, SIGUSR1, SIGUSR2);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    loop_stopped = 0;
    loop_run();
    CU_ASSERT(strchr(history, '1') && strchr(history, '2'));
    close(loop_signal_pipe[0]), close(loop_signal_pipe[1]);
    loop_signal_pipe[0] = -1;
}

static struct pipe *late;

static void interrupt_loop(int signal_number) {
    (void)signal_number;
    note('i');
    if (write(late->ends[1], "x", 1) != 1)
        note('!');
}

/* epoll_wait(2), EINTR: here by a handler; SIGSTOP and SIGCONT do it without one. */
static void the_wait_is_interrupted(void) {
    struct sigaction action = {.sa_handler = interrupt_loop}, before;
    memset(history, 0, sizeof history);
    late = new_pipe(stop);
    loop_watch(&late->watcher, late->ends[0], EPOLLIN);
    sigaction(SIGALRM, &action, &before);
    alarm(1);
    loop_stopped = 0;
    loop_run();
    sigaction(SIGALRM, &before, NULL);
    alarm(SECONDS);
    CU_ASSERT_STRING_EQUAL(history, "i");
    CU_ASSERT_EQUAL(late->calls, 1);
    delete_pipe(late);
}

/* ---- the start ---- */

/* getrlimit(2); pipe(7): who writes where nobody reads any more gets EPIPE, and is not killed. */
static void the_start(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    CU_ASSERT_EQUAL(files.rlim_cur, files.rlim_max);
    CU_ASSERT(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
}

static void open_a_loop(void) {
    loop_open();
}
static void open_a_timer(void) {
    timeouts_open(&brief, 1, on_timeout);
}
static void open_signals(void) {
    static struct watcher w;
    loop_watch_signals(&w, SIGUSR1, SIGUSR2);
}
static void watch_a_timer(void) {
    loop_fd = -1;
    timeouts_open(&brief, 1, on_timeout);
}
static void watch_signals(void) {
    loop_fd = -1;
    open_signals();
}

/* Without descriptors a start has failed: exit status 1, and the reason. */
static void starting_fails(void) {
    static const struct {
        void (*task)(void);
        int descriptors;
        const char *text;
    } cases[] = {
        {open_a_loop, 0, "loop: epoll_create1: Too many open files (EMFILE)\n"},
        {open_a_timer, 0, "loop: timerfd: Too many open files (EMFILE)\n"},
        {open_signals, 0, "loop: pipe for signals: Too many open files (EMFILE)\n"},
        {watch_a_timer, 1, "loop: timerfd: Bad file descriptor (EBADF)\n"},
        {watch_signals, 1, "loop: pipe for signals: Bad file descriptor (EBADF)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256] = "";
        int ends[2], status = 0;
        fflush(stdout);
        CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            const struct rlimit none = {0};
            dup2(ends[1], STDERR_FILENO);
            if (!cases[i].descriptors)
                setrlimit(RLIMIT_NOFILE, &none);
            cases[i].task();
            _exit(0);
        }
        close(ends[1]);
        waitpid(pid, &status, 0);
        CU_ASSERT(read(ends[0], text, sizeof text - 1) > 0); /* gcov and sanitizers have more */
        CU_ASSERT_EQUAL(strncmp(text, cases[i].text, strlen(cases[i].text)), 0);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        close(ends[0]);
    }
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* epoll, two timers, and a pipe for signals: two descriptors, if there is one. */
static void everything_is_closed(void) {
    struct watcher w = {.on_event = on_signal};
    struct timeouts one, two;
    const int other_loop = loop_fd, before = open_descriptors();
    for (int signals = 0; signals <= 1; signals++) {
        loop_timeouts = NULL;
        w.events = 0;
        loop_open();
        timeouts_open(&one, 1, on_timeout);
        timeouts_open(&two, 1, on_timeout);
        if (signals)
            loop_watch_signals(&w, SIGUSR1, SIGUSR2);
        release(new_pipe(count));
        CU_ASSERT_EQUAL(open_descriptors(), before + 3 + 2 * signals);
        loop_close();
        CU_ASSERT_EQUAL(open_descriptors(), before);
        CU_ASSERT_PTR_NULL(loop_released);
    }
    loop_signal_pipe[0] = -1;
    loop_fd = other_loop;
}

/* Fewer descriptors than there may be, which is for loop_open to change. */
static int begin(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = 32;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_DFL);
    loop_open();
    return 0;
}

static int end(void) {
    return close(loop_fd);
}

static CU_TestInfo descriptors[] = {
    {"loop_watch: added, changed, removed, level-triggered", watching},
    {"loop_watch: writable, and a hang-up", writable_and_hang_up},
    {"loop_watch: no change, no call", a_wish_that_is_granted_already},
    {"loop_watch: epoll_ctl fails", watching_fails},
    {"loop_run: more than one batch", many_at_once},
    {"loop_release: stale events", stale_events_are_skipped},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo timeouts[] = {
    {"the first one", the_first},
    {"in the order in which they began", same_time},
    {"two lengths", two_lengths},
    {"the timer is set for the next", the_timer_is_set_for_the_next},
    {"begun anew", restarted},
    {"beside one that begins anew all the time", beside_a_busy_one},
    {"moved to another length", moved},
    {"changed while a handler runs", changed_in_a_handler},
    {"at once; and a call for nothing", at_once_and_for_nothing},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo rest[] = {
    {"loop_watch_signals: none is lost", signals_are_events},
    {"loop_run: EINTR", the_wait_is_interrupted},
    {"loop_open: the limit of descriptors, and SIGPIPE", the_start},
    {"loop_close: everything", everything_is_closed},
    {"loop_open, timeouts_open, loop_watch_signals: they fail", starting_fails},
    CU_TEST_INFO_NULL,
};

int main(void) {
    CU_SuiteInfo suites[] = {
        {"loop.h, descriptors", begin, end, NULL, NULL, descriptors},
        {"loop.h, timeouts", begin, end, NULL, NULL, timeouts},
        {"loop.h, signals and the start", begin, end, NULL, NULL, rest},
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
