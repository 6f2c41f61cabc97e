/* Unit tests of 06's loop, on pipes. They set the loop's own clock, which only its .c file can:
 * hence the #include. If the loop never returns, SIGALRM ends this program. */
#include "../../06-epoll/loop.c"
#include <CUnit/Basic.h>
#include <sys/wait.h>

enum { SECONDS = 30, MANY = BATCH + 50, HISTORY = 64 };

/* A pipe whose reading end is watched, and what has happened to it. */
struct watched_pipe {
    struct loop_watcher watcher; /* first: loop_free frees the whole of it */
    struct watched_pipe *other;  /* what its handler works on */
    int ends[2];
    int calls;
    uint32_t events; /* of the last call */
};

static char history[HISTORY]; /* a letter for everything that has happened, in order */

static void note(char letter) {
    size_t n = strlen(history);
    if (n < HISTORY - 1)
        history[n] = letter;
}

static void clear_history(void) {
    memset(history, 0, sizeof history);
}

static struct watched_pipe *new_pipe(void (*on_event)(struct loop_watcher *, uint32_t)) {
    struct watched_pipe *p = calloc(1, sizeof *p);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    p->watcher.on_event = on_event;
    CU_ASSERT_EQUAL_FATAL(pipe(p->ends), 0);
    return p;
}

static void delete_pipe(struct watched_pipe *p) {
    loop_close(&p->watcher, p->ends[0]);
    close(p->ends[1]);
    free(p);
}

static void fill(const struct watched_pipe *p) {
    CU_ASSERT_EQUAL(write(p->ends[1], "x", 1), 1);
}

static void count(struct loop_watcher *w, uint32_t events) {
    struct watched_pipe *p = (struct watched_pipe *)w;
    p->calls++;
    p->events = events;
}

/* One step, which ends even if nothing else is ready. */
static void step(void) {
    struct watched_pipe *ready = new_pipe(count);
    fill(ready);
    loop_watch(&ready->watcher, ready->ends[0], EPOLLIN);
    loop_step();
    delete_pipe(ready);
}

/* ---- descriptors ---- */

/* epoll(7): level-triggered, what is not read is reported again. epoll_ctl(2): ADD, MOD, DEL. */
static void watching(void) {
    struct watched_pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    step();
    CU_ASSERT_EQUAL(p->calls, 0); /* nothing there */
    fill(p);
    step();
    step();
    CU_ASSERT_EQUAL(p->calls, 2);
    CU_ASSERT_EQUAL(p->events, EPOLLIN);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLPRI), 0); /* something else now */
    step();
    CU_ASSERT_EQUAL(p->calls, 2);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    step();
    CU_ASSERT_EQUAL(p->calls, 3);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], 0), 0); /* nothing */
    step();
    CU_ASSERT_EQUAL(p->calls, 3);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0); /* again */
    step();
    CU_ASSERT_EQUAL(p->calls, 4);
    delete_pipe(p);
}

static void writable_and_hang_up(void) {
    struct watched_pipe *writer = new_pipe(count);
    struct watched_pipe *reader = new_pipe(count);
    loop_watch(&writer->watcher, writer->ends[1], EPOLLOUT);
    loop_watch(&reader->watcher, reader->ends[0], EPOLLIN);
    close(reader->ends[1]);
    step();
    CU_ASSERT_EQUAL(writer->events, EPOLLOUT);
    CU_ASSERT_EQUAL(reader->events, EPOLLHUP); /* unasked */
    loop_close(&reader->watcher, reader->ends[0]);
    free(reader);
    loop_watch(&writer->watcher, writer->ends[1], 0);
    delete_pipe(writer);
}

/* -1 is no descriptor, so a call of epoll_ctl would fail. */
static void no_change_no_call(void) {
    struct watched_pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, 0), 0);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, p->ends[0], EPOLLIN), 0);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLIN), 0);
    delete_pipe(p);
}

/* epoll_ctl(2), ERRORS. What was watched before is still watched. */
static void watching_fails(void) {
    struct watched_pipe *p = new_pipe(count);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLIN), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
    CU_ASSERT_EQUAL(p->watcher.interest, 0);
    loop_watch(&p->watcher, p->ends[0], EPOLLIN);
    CU_ASSERT_EQUAL(loop_watch(&p->watcher, -1, EPOLLOUT), -1);
    CU_ASSERT_EQUAL(p->watcher.interest, EPOLLIN);
    fill(p);
    step();
    CU_ASSERT_EQUAL(p->calls, 1);
    delete_pipe(p);
}

/* More than one step takes: none is forgotten. */
static void many_at_once(void) {
    static struct watched_pipe *all[MANY];
    int called = 0;
    for (int i = 0; i < MANY; i++) {
        all[i] = new_pipe(count);
        fill(all[i]);
        loop_watch(&all[i]->watcher, all[i]->ends[0], EPOLLIN);
    }
    step();
    step();
    for (int i = 0; i < MANY; i++) {
        if (all[i]->calls > 0)
            called++;
        delete_pipe(all[i]);
    }
    CU_ASSERT_EQUAL(called, MANY);
}

static void stop(struct loop_watcher *w, uint32_t events) {
    count(w, events);
    if (((struct watched_pipe *)w)->calls == 3)
        loop_stop();
}

static void running_until_it_is_stopped(void) {
    struct watched_pipe *p = new_pipe(stop);
    fill(p);
    loop_watch(&p->watcher, p->ends[0], EPOLLIN);
    loop_run();
    CU_ASSERT_EQUAL(p->calls, 3);
    loop_run(); /* it is still stopped */
    CU_ASSERT_EQUAL(p->calls, 3);
    stopped = 0;
    delete_pipe(p);
}

/* ---- closing ---- */

static struct watched_pipe *successor;

/* Ends both pipes, which have events in the same step, and lets a new one have the descriptor. */
static void end_both(struct loop_watcher *w, uint32_t events) {
    struct watched_pipe *p = (struct watched_pipe *)w;
    struct watched_pipe *other = p->other;
    int fd = other->ends[0];
    (void)events;
    note('e');
    loop_close(&other->watcher, fd);
    close(other->ends[1]);
    loop_free(&other->watcher);
    successor = new_pipe(count);
    CU_ASSERT_EQUAL(successor->ends[0], fd);
    loop_watch(&successor->watcher, successor->ends[0], EPOLLIN);
    loop_close(&p->watcher, p->ends[0]);
    close(p->ends[1]);
    loop_free(&p->watcher);
}

/* The stale event: whichever of the two is called, the event of the other is for nobody. */
static void stale_events_are_skipped(void) {
    struct watched_pipe *one = new_pipe(end_both);
    struct watched_pipe *two = new_pipe(end_both);
    clear_history();
    one->other = two;
    two->other = one;
    fill(one);
    fill(two);
    loop_watch(&one->watcher, one->ends[0], EPOLLIN);
    loop_watch(&two->watcher, two->ends[0], EPOLLIN);
    step();
    CU_ASSERT_STRING_EQUAL(history, "e");
    CU_ASSERT_PTR_NOT_NULL(to_free); /* both may have been in this step's events */
    CU_ASSERT_EQUAL(successor->calls, 0);
    fill(successor);
    step();
    CU_ASSERT_PTR_NULL(to_free); /* AddressSanitizer and valgrind see whether they are freed */
    CU_ASSERT_EQUAL(successor->calls, 1);
    delete_pipe(successor);
}

/* epoll(7), Q6: while a duplicate is open, close alone does not end a registration. */
static void closed_while_a_duplicate_is_open(void) {
    struct watched_pipe *p = new_pipe(count);
    int duplicate = dup(p->ends[0]);
    loop_watch(&p->watcher, p->ends[0], EPOLLIN);
    loop_close(&p->watcher, p->ends[0]);
    p->watcher.on_event = count; /* an event that came would be counted */
    fill(p);
    step();
    CU_ASSERT_EQUAL(p->calls, 0);
    close(duplicate);
    close(p->ends[1]);
    loop_free(&p->watcher);
    step(); /* frees it; an event for it would be one for freed memory */
    step();
}

/* The same after fork(2): a child has a duplicate of each descriptor. */
static void closed_while_a_child_has_it(void) {
    struct watched_pipe *p = new_pipe(count);
    loop_watch(&p->watcher, p->ends[0], EPOLLIN);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    CU_ASSERT_FATAL(child > 0);
    loop_close(&p->watcher, p->ends[0]);
    p->watcher.on_event = count;
    fill(p);
    step();
    CU_ASSERT_EQUAL(p->calls, 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(p->ends[1]);
    free(p);
}

/* ---- timers ---- */

static struct loop_timers brief, lengthy; /* 40 ms, 100 ms */
static struct loop_timer a, b, c;
static long long expired_at[3];

static char letter_of(const struct loop_timer *t) {
    if (t == &a)
        return 'a';
    if (t == &b)
        return 'b';
    return 'c';
}

static int none_runs(void) {
    return !loop_timers_first(&brief) && !loop_timers_first(&lengthy);
}

static void on_expired(struct loop_timer *t) {
    CU_ASSERT_PTR_NULL(t->next); /* it is not running any more */
    note(letter_of(t));
    expired_at[letter_of(t) - 'a'] = now_ms();
    if (none_runs())
        loop_stop();
}

/* The clock of the loop is set, as it would be at the begin of a step. */
static void open_timers(void (*handler)(struct loop_timer *)) {
    const struct loop_timer none = {0};
    clear_history();
    a = none;
    b = none;
    c = none;
    CU_ASSERT_EQUAL(loop_timers_open(&brief, 40, handler), 0);
    CU_ASSERT_EQUAL(loop_timers_open(&lengthy, 100, handler), 0);
    stopped = 0;
    step_time = now_ms();
}

static void close_timers(struct loop_timers *q) {
    CU_ASSERT_PTR_EQUAL(all_timers, q); /* the last that was opened */
    all_timers = q->next_opened;
    loop_close(&q->watcher, q->fd);
}

/* Runs until no timer runs any more. Returns what has happened. */
static const char *what_happens(void) {
    if (!none_runs())
        loop_run();
    stopped = 0;
    close_timers(&lengthy);
    close_timers(&brief);
    return history;
}

static void first_and_next(void) {
    open_timers(on_expired);
    CU_ASSERT_PTR_NULL(loop_timers_first(&brief));
    loop_timer_start(&brief, &a);
    CU_ASSERT_PTR_EQUAL(loop_timers_first(&brief), &a);
    CU_ASSERT_PTR_NULL(loop_timers_after(&brief, &a));
    loop_timer_start(&brief, &b);
    CU_ASSERT_PTR_EQUAL(loop_timers_first(&brief), &a);
    CU_ASSERT_PTR_EQUAL(loop_timers_after(&brief, &a), &b);
    loop_timer_start(&brief, &a); /* moves to the end */
    CU_ASSERT_PTR_EQUAL(loop_timers_first(&brief), &b);
    loop_timer_stop(&b);
    CU_ASSERT_PTR_EQUAL(loop_timers_first(&brief), &a);
    loop_timer_stop(&a);
    CU_ASSERT_PTR_NULL(loop_timers_first(&brief));
    CU_ASSERT_PTR_NULL(a.next);
    loop_timer_stop(&a); /* does nothing */
    CU_ASSERT_STRING_EQUAL(what_happens(), "");
}

/* Of one length they expire in the order in which they started, here all at the same time. */
static void at_the_same_time(void) {
    open_timers(on_expired);
    long long start = loop_now();
    loop_timer_start(&brief, &b);
    loop_timer_start(&brief, &a);
    loop_timer_start(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "bac");
    for (int i = 0; i < 3; i++)
        CU_ASSERT(expired_at[i] - start >= 40);
}

static void two_lengths(void) {
    open_timers(on_expired);
    long long start = loop_now();
    loop_timer_start(&lengthy, &a);
    loop_timer_start(&brief, &b);
    CU_ASSERT_STRING_EQUAL(what_happens(), "ba");
    CU_ASSERT(expired_at[0] - start >= 100);
    CU_ASSERT(expired_at[1] - start >= 40);
}

/* Started one after the other: after the first, the timerfd is set for the next. */
static void one_after_the_other(void) {
    open_timers(on_expired);
    loop_timer_start(&brief, &a);
    step_time += 50;
    loop_timer_start(&brief, &b);
    step_time += 50;
    loop_timer_start(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "abc");
    CU_ASSERT(expired_at[1] >= b.deadline);
    CU_ASSERT(expired_at[2] >= c.deadline);
}

/* The timerfd was set for a, which has started again since: it expires in time, not before. */
static void started_again(void) {
    open_timers(on_expired);
    loop_timer_start(&brief, &a);
    loop_timer_start(&brief, &b);
    step_time += 30;
    loop_timer_start(&brief, &a);
    CU_ASSERT_STRING_EQUAL(what_happens(), "ba");
    CU_ASSERT(expired_at[0] >= a.deadline);
}

/* It is alone, so it is always the first: the timerfd rings early, and is set once more. */
static void started_again_alone(void) {
    open_timers(on_expired);
    loop_timer_start(&brief, &a);
    step_time += 30;
    loop_timer_start(&brief, &a);
    CU_ASSERT_STRING_EQUAL(what_happens(), "a");
    CU_ASSERT(expired_at[0] >= a.deadline);
}

static struct loop_timers ticker;
static int ticks;
static long long last_tick;
static int ticked_late; /* the machine was so busy that b may have expired before its restart */

static void on_tick(struct loop_timer *t) {
    if (loop_now() - last_tick > 30)
        ticked_late = 1;
    last_tick = loop_now();
    ticks++;
    loop_timer_start(&brief, &b);
    if (ticks < 20)
        loop_timer_start(&ticker, t);
    else
        note('t');
}

/* b starts again all the time, a never does: so a expires long before b, before the ticks end. */
static void beside_a_busy_one(void) {
    const char *what = "";
    for (int tries = 0; tries < 50; tries++) {
        open_timers(on_expired);
        loop_timers_open(&ticker, 10, on_tick);
        ticks = 0;
        ticked_late = 0;
        last_tick = loop_now();
        loop_timer_start(&brief, &a);
        loop_timer_start(&brief, &b);
        loop_timer_start(&ticker, &c);
        loop_run();
        loop_timer_stop(&c);
        close_timers(&ticker);
        what = what_happens();
        if (!ticked_late)
            break;
    }
    CU_ASSERT_STRING_EQUAL(what, "atb");
}

/* From one length to another, as a connection's does when it is half-closed. */
static void moved(void) {
    open_timers(on_expired);
    long long start = loop_now();
    loop_timer_start(&brief, &a);
    loop_timer_start(&lengthy, &a);
    CU_ASSERT_PTR_NULL(loop_timers_first(&brief));
    CU_ASSERT_STRING_EQUAL(what_happens(), "a");
    CU_ASSERT(expired_at[0] - start >= 100);
}

/* a stops b, which would have been next; c starts once more. */
static void on_expired_change(struct loop_timer *t) {
    static int restarts;
    if (t == &a)
        loop_timer_stop(&b);
    on_expired(t);
    if (t == &c && restarts == 0) {
        restarts++;
        loop_timer_start(&brief, &c);
        stopped = 0;
    }
}

static void changed_in_a_handler(void) {
    open_timers(on_expired_change);
    long long start = loop_now();
    loop_timer_start(&brief, &a);
    loop_timer_start(&brief, &b);
    loop_timer_start(&brief, &c);
    CU_ASSERT_STRING_EQUAL(what_happens(), "acc");
    CU_ASSERT(expired_at[2] - start >= 80);
}

/* timerfd_settime(2): 0 would stop the timer. */
static void no_length_at_all(void) {
    struct loop_timers at_once;
    open_timers(on_expired);
    CU_ASSERT_EQUAL(loop_timers_open(&at_once, 0, on_expired), 0);
    loop_timer_start(&at_once, &c);
    loop_run();
    close_timers(&at_once);
    CU_ASSERT_STRING_EQUAL(what_happens(), "c");
}

/* The handler of the timerfd is called although it has not rung: its read must not wait. */
static void an_event_for_nothing(void) {
    open_timers(on_expired);
    loop_timer_start(&brief, &a);
    step_time += 1000;
    on_timerfd(&brief.watcher, EPOLLIN);
    CU_ASSERT_STRING_EQUAL(history, "");
    loop_timer_stop(&a);
    what_happens();
}

/* The clock of a step stands still until the next one. */
static void time_of_a_step(void) {
    step();
    long long first = loop_now();
    poll(NULL, 0, 5);
    CU_ASSERT_EQUAL(loop_now(), first);
    step();
    CU_ASSERT(loop_now() >= first + 5);
    CU_ASSERT(loop_now() <= now_ms());
}

/* ---- signals ---- */

static void on_signal(int number) {
    if (number == SIGUSR1)
        note('1');
    else if (number == SIGUSR2)
        note('2');
    else
        note('?');
}

static void close_signals(void) {
    loop_close(&signal_watcher, signal_pipe[0]);
    close(signal_pipe[1]);
    signal_pipe[0] = -1;
}

/* signal-safety(7): the signal handler only writes a byte, the rest is an event; none is lost. */
static void signals_are_events(void) {
    clear_history();
    CU_ASSERT_EQUAL(loop_signals_open(on_signal), 0);
    loop_catch_signal(SIGUSR1);
    loop_catch_signal(SIGUSR2);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    CU_ASSERT_STRING_EQUAL(history, ""); /* not before the loop says so */
    loop_step();
    CU_ASSERT_EQUAL(strlen(history), 2);
    CU_ASSERT_PTR_NOT_NULL(strchr(history, '1'));
    CU_ASSERT_PTR_NOT_NULL(strchr(history, '2'));
    close_signals();
}

/* pipe(7): when it is full, a write fails with EAGAIN. The signal handler may neither wait nor
 * change the errno of what it interrupts. */
static void more_signals_than_the_pipe_holds(void) {
    CU_ASSERT_EQUAL(loop_signals_open(on_signal), 0);
    loop_catch_signal(SIGUSR1);
    for (int i = 0; i < 70000; i++) {
        errno = 0;
        raise(SIGUSR1);
        if (errno != 0)
            break;
    }
    CU_ASSERT_EQUAL(errno, 0);
    clear_history();
    loop_step();
    CU_ASSERT_EQUAL(history[0], '1');
    close_signals();
}

static void on_alarm(int number) {
    (void)number;
    note('i');
}

/* epoll_wait(2), EINTR: here by a handler; SIGSTOP and SIGCONT do it without one. */
static void the_wait_is_interrupted(void) {
    const struct sigaction action = {.sa_handler = on_alarm};
    struct sigaction before;
    clear_history();
    sigaction(SIGALRM, &action, &before);
    alarm(1);
    loop_step(); /* nothing else can end it */
    sigaction(SIGALRM, &before, NULL);
    alarm(SECONDS);
    CU_ASSERT_STRING_EQUAL(history, "i");
}

/* ---- the start and the end ---- */

/* getrlimit(2); pipe(7): a write that nobody can read fails with EPIPE, and must not kill. */
static void limits_and_sigpipe(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    CU_ASSERT_EQUAL(files.rlim_cur, files.rlim_max);
    CU_ASSERT(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
}

/* Each returns -1 with errno: for want of descriptors, and where epoll refuses. */
static void starting_fails(void) {
    const int real_epoll = epoll_fd;
    struct loop_timers q;
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    CU_ASSERT_EQUAL(loop_timers_open(&q, 1, on_expired), -1);
    CU_ASSERT_EQUAL(errno, EMFILE);
    CU_ASSERT_EQUAL(loop_signals_open(on_signal), -1);
    CU_ASSERT_EQUAL(errno, EMFILE);
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = -1;
    signal_watcher.interest = 0;
    CU_ASSERT_EQUAL(loop_timers_open(&q, 1, on_expired), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
    CU_ASSERT_EQUAL(loop_signals_open(on_signal), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
    epoll_fd = real_epoll;
    close_timers(&q);
    close_signals();
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            n++;
    }
    return n;
}

/* epoll, two timerfds, and the pipe for signals, if there is one. */
static void everything_is_closed(void) {
    struct loop_timers one, two;
    const int other_loop = epoll_fd;
    const int before = open_descriptors();
    for (int signals = 0; signals <= 1; signals++) {
        CU_ASSERT_EQUAL(loop_open(), 0);
        loop_timers_open(&one, 1, on_expired);
        loop_timers_open(&two, 1, on_expired);
        if (signals)
            loop_signals_open(on_signal);
        struct watched_pipe *p = new_pipe(count);
        loop_close(&p->watcher, p->ends[0]);
        close(p->ends[1]);
        loop_free(&p->watcher);
        CU_ASSERT_EQUAL(open_descriptors(), before + 3 + 2 * signals);
        loop_end();
        CU_ASSERT_EQUAL(open_descriptors(), before);
        CU_ASSERT_PTR_NULL(to_free);
        CU_ASSERT_PTR_NULL(all_timers);
    }
    epoll_fd = other_loop;
}

/* The soft limit is lower than the hard one: loop_open has to change that. */
static int begin(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = 32;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_DFL);
    return loop_open();
}

static int end(void) {
    loop_end();
    return 0;
}

static CU_TestInfo descriptors[] = {
    {"loop_watch: added, changed, removed; level-triggered", watching},
    {"loop_watch: writable, and a hang-up", writable_and_hang_up},
    {"loop_watch: no change, no call", no_change_no_call},
    {"loop_watch: epoll_ctl fails", watching_fails},
    {"loop_step: more events than one step takes", many_at_once},
    {"loop_run, loop_stop", running_until_it_is_stopped},
    {"loop_close, loop_free: stale events", stale_events_are_skipped},
    {"loop_close: a duplicate is open", closed_while_a_duplicate_is_open},
    {"loop_close: a child has a duplicate", closed_while_a_child_has_it},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo timers[] = {
    {"the first, and the next", first_and_next},
    {"in the order in which they started", at_the_same_time},
    {"two lengths", two_lengths},
    {"one after the other", one_after_the_other},
    {"started again", started_again},
    {"started again, alone", started_again_alone},
    {"beside one that starts again all the time", beside_a_busy_one},
    {"moved to another length", moved},
    {"changed in a handler", changed_in_a_handler},
    {"a length of 0", no_length_at_all},
    {"an event for nothing", an_event_for_nothing},
    {"loop_now: the same during a step", time_of_a_step},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo rest[] = {
    {"signals: none is lost", signals_are_events},
    {"signals: more than the pipe holds", more_signals_than_the_pipe_holds},
    {"loop_step: EINTR", the_wait_is_interrupted},
    {"loop_open: the limit of descriptors, and SIGPIPE", limits_and_sigpipe},
    {"loop_end: everything is closed and freed", everything_is_closed},
    {"loop_timers_open, loop_signals_open: they fail", starting_fails},
    CU_TEST_INFO_NULL,
};

int main(void) {
    CU_SuiteInfo suites[] = {
        {"loop, descriptors", begin, end, NULL, NULL, descriptors},
        {"loop, timers", begin, end, NULL, NULL, timers},
        {"loop, signals, start and end", begin, end, NULL, NULL, rest},
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
