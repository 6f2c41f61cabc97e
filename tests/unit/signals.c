/* Unit tests of how 01's server takes a signal that asks it to stop. The text is the same in 02, 03
 * and 05. The server's main has another name here, and is not called. */
int server_main(int argc, char **argv);
#define main server_main
#include "../../01-basic-tcp/server.c"
#undef main
#include <CUnit/Basic.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void stop_signals_are_counted(void) {
    static const struct {
        int signal_number, count;
        unsigned alarm; /* seconds to the next */
    } cases[] = {{SIGTERM, 1, 1}, {SIGTERM, 1, 0}, {SIGINT, 1, 0},
                 {SIGALRM, 2, 1}, {SIGTERM, 2, 0}, {SIGALRM, 3, 1}};
    on_stop_signal(SIGALRM); /* from somebody else, before anybody has asked to stop */
    CU_ASSERT_EQUAL(stop_count, 0);
    CU_ASSERT_EQUAL(alarm(0), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        on_stop_signal(cases[i].signal_number);
        CU_ASSERT_EQUAL(stop_count, cases[i].count);
        CU_ASSERT_EQUAL(alarm(0), cases[i].alarm); /* 0: the one that was set is not put off */
    }
}

/* signal(7): only without SA_RESTART does a blocking call fail with EINTR. */
static void stop_signals_are_installed(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGALRM, SIGHUP};
    signal(SIGHUP, SIG_DFL);
    catch_signals();
    for (size_t i = 0; i < COUNT(all); i++) {
        struct sigaction now;
        sigaction(all[i], NULL, &now);
        CU_ASSERT(now.sa_handler == on_stop_signal);
        CU_ASSERT_EQUAL(now.sa_flags & SA_RESTART, 0);
        signal(all[i], SIG_DFL);
    }
    CU_ASSERT(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
}

/* nohup(1): the program was started with SIGHUP ignored. */
static void an_ignored_hangup_stays_ignored(void) {
    signal(SIGHUP, SIG_IGN);
    catch_signals();
    CU_ASSERT(signal(SIGHUP, SIG_DFL) == SIG_IGN);
}

int main(void) {
    static CU_TestInfo tests[] = {
        {"on_stop_signal: counts, and asks for an alarm", stop_signals_are_counted},
        {"catch_signals: no SA_RESTART, no SIGPIPE", stop_signals_are_installed},
        {"catch_signals: SIGHUP may be ignored", an_ignored_hangup_stays_ignored},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"signals", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
