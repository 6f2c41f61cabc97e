/* Unit tests of util.h: tables of cases for the pure parts, sockets on loopback for the others. */
#include "../../util.h"
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { PLENTY = 1 << 20, SECONDS = 10, OUTPUT = 2048 };
#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Says which row of a table it was: CUnit shows only the line of code. */
static void check(int good, const char *row) {
    if (!good)
        printf("\n    wrong: %s", row);
    CU_ASSERT(good);
}

/* ---- the pure parts ---- */

/* errno(3); the numbers are those of this <errno.h>, and EWOULDBLOCK is EAGAIN (socket(7)). */
static void errno_names(void) {
    static const struct {
        int value;
        const char *name;
    } cases[] = {
#define E(name) {name, #name},
        /* clang-format off */
        E(EACCES) E(EADDRINUSE) E(EADDRNOTAVAIL) E(EAFNOSUPPORT) E(EAGAIN) E(EBADF) E(ECONNABORTED)
        E(ECONNREFUSED) E(ECONNRESET) E(EHOSTUNREACH) E(EINTR) E(EINVAL) E(EIO) E(EMFILE)
        E(EMSGSIZE) E(ENETDOWN) E(ENETUNREACH) E(ENFILE) E(ENOBUFS) E(ENOENT) E(ENOMEM) E(ENOTCONN)
        E(EPERM) E(EPIPE) E(EPROTO) E(ETIMEDOUT) E(EFBIG) E(EISDIR) E(ENOSPC)
        /* clang-format on */
        {EWOULDBLOCK, "EAGAIN"},
        {0, "errno"},
        {-1, "errno"},
        {ELOOP, "errno"},
        {INT_MAX, "errno"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check(strcmp(errno_name(cases[i].value), cases[i].name) == 0, cases[i].name);
}

/* Not strtol(3), which takes a sign, white space, a 0x and what follows the number. */
static const struct {
    const char *text;
    long min, max, want;
} number_cases[] = {
    {"0", 0, 65535, 0},
    {"7", 0, 65535, 7},
    {"9002", 0, 65535, 9002},
    {"65535", 0, 65535, 65535},
    {"65536", 0, 65535, -1},
    {"655350", 0, 65535, -1}, /* too large by its last digit, */
    {"655360", 0, 65535, -1}, /* and by the one before */
    {"1", 1, 1, 1},
    {"0", 1, 1, -1},
    {"2", 1, 1, -1},
    {"9", 10, 20, -1},
    {"10", 10, 20, 10},
    {"20", 10, 20, 20},
    {"21", 10, 20, -1},
    {"0", 0, 0, 0},
    {"00080", 0, 65535, 80}, /* decimal, not octal */
    {"0000000000000000000000000000000000000000000009", 0, 9, 9},
    {"99999999999999999999999999999999999999999999", 0, 65535, -1},
    {"18446744073709551617", 0, 65535, -1}, /* 2 to the 64th, plus 1 */
    {"4294967297", 0, 65535, -1},           /* 2 to the 32nd, plus 1 */
    {"999999999999999999999", 0, LONG_MAX, -1},
    {"2147483647", 0, 2147483647, 2147483647}, /* the largest long of 32 bits */
    {"2147483648", 0, 2147483647, -1},
    {"4294967297", 0, 2147483647, -1},
    {"21474836470", 0, 2147483647, -1},
    {"9", 0, 5, -1},
    {"50", 0, 5, -1},
    {"", 0, 65535, -1},
    {"0x50", 0, 65535, -1},
    {"-1", 0, 65535, -1},
    {"-0", 0, 65535, -1},
    {"+80", 0, 65535, -1},
    {" 80", 0, 65535, -1},
    {"80 ", 0, 65535, -1},
    {"80x", 0, 65535, -1},
    {"8:0", 0, 65535, -1}, /* ':' comes after '9', '/' before '0' */
    {"8/0", 0, 65535, -1},
    {"8.0", 0, 65535, -1},
    {"80\n", 0, 65535, -1},
    {"http", 0, 65535, -1},
};

static void numbers(void) {
    for (size_t i = 0; i < COUNT(number_cases); i++)
        check(parse_number(number_cases[i].text, number_cases[i].min, number_cases[i].max) ==
                  number_cases[i].want,
              number_cases[i].text);
}

/* Text after RFC 5952 (IPv6, brackets: section 6) and RFC 4007, 11 (the zone of link-local). */
static void address_texts(void) {
    static const struct {
        int family;
        const char *address, *text;
        unsigned zone;
        in_port_t port;
    } cases[] = {
        {AF_INET, "127.0.0.1", "127.0.0.1:9001", 0, 9001},
        {AF_INET, "0.0.0.0", "0.0.0.0:0", 0, 0},
        {AF_INET, "255.255.255.255", "255.255.255.255:65535", 0, 65535},
        {AF_INET6, "::1", "[::1]:9001", 0, 9001},
        {AF_INET6, "::", "[::]:80", 0, 80},
        {AF_INET6, "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80", 0, 80},
        {AF_INET6, "fe80::1", "[fe80::1%lo]:80", 1, 80},
        {AF_INET6, "fe80:1111:2222:3333:4444:5555:6666:7777",
         "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535", 4294967295, 65535},
    };
    char text[ADDRESS_TEXT];
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(cases[i].port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                                  .sin6_port = htons(cases[i].port),
                                  .sin6_scope_id = cases[i].zone};
        int six = cases[i].family == AF_INET6;
        inet_pton(cases[i].family, cases[i].address,
                  six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
        const char *got =
            six ? address_text(&v6, sizeof v6, text) : address_text(&v4, sizeof v4, text);
        check(got == text && strcmp(text, cases[i].text) == 0, cases[i].text);
    }
    struct sockaddr_storage other = {.ss_family = AF_UNSPEC};
    CU_ASSERT_STRING_EQUAL(address_text(&other, sizeof other, text), "?");
    other.ss_family = AF_PACKET;
    CU_ASSERT_STRING_EQUAL(address_text(&other, sizeof other, text), "?");
    other.ss_family = AF_INET; /* cut off after the family: see the length that accept(2) returns */
    CU_ASSERT_STRING_EQUAL(address_text(&other, sizeof other.ss_family, text), "?");
}

/* The data stand in a block of just their size, so that AddressSanitizer sees one byte too many. */
static void line_lengths(void) {
    static const struct {
        const char *data;
        size_t n, limit;
        ssize_t want;
    } cases[] = {
        {"", 0, 8, 0},
        {"", 0, 1, 0},
        {"a", 1, 8, 0},
        {"abcdefg", 7, 8, 0},    /* one more may come, */
        {"abcdefgh", 8, 8, -1},  /* not two: the newline counts */
        {"abcdefghi", 9, 8, -1}, /* n > limit */
        {"\n", 1, 8, 1},         /* the first byte */
        {"\n", 1, 1, 1},
        {"a", 1, 1, -1},
        {"a\n", 2, 8, 2},
        {"abcdefg\n", 8, 8, 8},   /* exactly the limit */
        {"abcdefgh\n", 9, 8, -1}, /* one past it */
        {"abcdefghijklmno\n", 16, 8, -1},
        {"abcdefg\nx", 9, 8, 8},
        {"ab\ncd\n", 6, 8, 3}, /* the first of two */
        {"\n\n\n", 3, 8, 1},
        {"a\0b\n", 4, 8, 4}, /* NUL is a byte like any other */
        {"\0\0\0", 3, 8, 0},
        {"a\r\n", 3, 8, 3}, /* so is CR */
        {"ab\n", 2, 8, 0},  /* the newline is not there yet */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *block = malloc(cases[i].n ? cases[i].n : 1);
        memcpy(block, cases[i].data, cases[i].n);
        check(line_length(block, cases[i].n, cases[i].limit) == cases[i].want, cases[i].data);
        free(block);
    }
}

/* ---- helpers for what talks to the kernel ---- */

static void caught(int signal_number) {
    (void)signal_number;
}

/* A signal each ms or never: without SA_RESTART, calls end early or with EINTR (signal(7)). */
static void interrupt_often(int often) {
    struct sigaction action = {.sa_handler = caught};
    struct itimerval every = {{0, often ? 1000 : 0}, {0, often ? 1000 : 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static char byte_at(size_t i) {
    return (char)(i % 251);
}

static int for_the_child; /* a second descriptor: what it uses, or has to close */

/* A child that does task(fd) and exits with what it returns; it cannot outlive SECONDS. */
static pid_t start_child(int (*task)(int), int fd) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        exit(task(fd));
    }
    return pid;
}

static int status_of(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What stream (stdout or stderr) says during task, which may end its process, with *status. */
static const char *said(FILE *stream, int (*task)(int), int *status) {
    static char text[OUTPUT];
    int ends[2];
    fflush(stdout);
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        dup2(ends[1], fileno(stream));
        task(0);
        _exit(0); /* what was not flushed is lost */
    }
    close(ends[1]);
    size_t size = 0;
    ssize_t n;
    while ((n = read(ends[0], text + size, OUTPUT - 1 - size)) > 0)
        size += (size_t)n;
    text[size] = '\0';
    close(ends[0]);
    *status = status_of(pid);
    return text;
}

/* ---- start-up failures ---- */

static const char usage[] = "usage: util [-p PORT]\n";

static int die_with_errno(int fd) {
    (void)fd;
    die("bind 127.0.0.1:80", EACCES);
}
static int die_without(int fd) {
    (void)fd;
    die("resolve nowhere: Name or service not known", 0);
}
static int die_of_usage(int fd) {
    (void)fd;
    usage_error(usage, "the server takes no arguments but options");
}
static int die_of_a_number(int fd) {
    (void)fd;
    return (int)number_arg(usage, 'p', "80x", 1, 65535);
}
static int good_number(int fd) {
    (void)fd;
    exit(number_arg(usage, 'p', "80", 1, 65535) == 80 ? 7 : 8);
}

static void failures_at_start(void) {
    static const struct {
        int (*task)(int);
        int status;
        const char *text;
    } cases[] = {
        {die_with_errno, 1, "util: bind 127.0.0.1:80: Permission denied (EACCES)\n"},
        {die_without, 1, "util: resolve nowhere: Name or service not known\n"},
        {die_of_usage, 2,
         "util: the server takes no arguments but options\nusage: util [-p PORT]\n"},
        {die_of_a_number, 2,
         "util: -p \"80x\": not a number from 1 to 65535\nusage: util [-p PORT]\n"},
        {good_number, 7, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int status;
        check(strcmp(said(stderr, cases[i].task, &status), cases[i].text) == 0, cases[i].text);
        CU_ASSERT_EQUAL(status, cases[i].status);
        CU_ASSERT_STRING_EQUAL(said(stdout, cases[i].task, &status), "");
    }
}

/* ---- opening ---- */

/* The port a socket is bound to, as text. */
static const char *port_text(int fd) {
    static char text[8];
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    getsockname(fd, (struct sockaddr *)&own, &size);
    getnameinfo((struct sockaddr *)&own, size, NULL, 0, text, sizeof text, NI_NUMERICSERV);
    return text;
}

static int can_bind(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, SOCK_STREAM, 0);
    int bound = fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0;
    if (fd >= 0)
        close(fd);
    return bound;
}

/* Whether this machine has that address, or one of that name: without IPv6 it has no ::1, and
 * without /etc/hosts it may not know localhost. */
static int is_here(const char *address) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int here = 0;
    if (getaddrinfo(address, "0", &hints, &list) == 0) {
        for (struct addrinfo *ai = list; ai && !here; ai = ai->ai_next)
            here = can_bind(ai);
        freeaddrinfo(list);
    }
    if (!here)
        printf("\n    not tested, as this machine has no %s", address);
    return here;
}

/* Port 0 is a free one (ip(7)); "::" is both families (RFC 3493, 5.3). */
static void opening(void) {
    static const struct {
        const char *listen, *connect;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"127.0.0.1", "localhost"},
        {"localhost", "localhost"},
        {"::1", "::1"},
        {"::", "::1"},
        {"::", "127.0.0.1"},
        {"0.0.0.0", "127.0.0.1"},
    };
    char why[WHY_TEXT];
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (!is_here(cases[i].listen) || !is_here(cases[i].connect))
            continue;
        int listener = listen_on(cases[i].listen, "0", why);
        int fd = connect_to(cases[i].connect, port_text(listener), why);
        int served = fd < 0 ? -1 : accept(listener, NULL, NULL); /* which would wait for ever */
        check(served >= 0 && fd >= 0, cases[i].connect);
        CU_ASSERT(fcntl(listener, F_GETFD) & FD_CLOEXEC);
        CU_ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        close(served);
        close(listener);
    }
}

/* What a call that failed says is "CALL ADDRESS:PORT"; of an unknown name, why says all. */
static void check_failure(int fd, const char *why, int error, const char *call, const char *port) {
    char want[WHY_TEXT];
    int is = errno;
    /* cppcheck-suppress wrongPrintfScanfArgNum */
    snprintf(want, sizeof want, call, port);
    check(fd == -1 && is == error && strncmp(why, want, strlen(want)) == 0, want);
    if (fd != -1 || is != error || strncmp(why, want, strlen(want)) != 0)
        printf(", is %d, errno %d: %s", fd, is, why);
}

/* The lowest that is free, which the next open takes. */
static int next_descriptor(void) {
    int fd = fcntl(0, F_DUPFD, 0);
    close(fd);
    return fd;
}

/* bind(2), connect(2), socket(2), getaddrinfo(3). A label of a name has at most 63 bytes (RFC 1035,
 * 2.3.4), so nobody is asked for this one. 192.0.2.0/24 is nobody's (RFC 5737). */
static void opening_fails(void) {
    static const char unknown[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    char why[WHY_TEXT], port[8];
    int lowest = next_descriptor(), listener = listen_on("127.0.0.1", "0", why);
    strcpy(port, port_text(listener));
    check_failure(listen_on("127.0.0.1", port, why), why, EADDRINUSE, "bind 127.0.0.1:%s", port);
    CU_ASSERT_EQUAL(fcntl(listener, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); /* the first is unharmed */
    close(listener);
    check_failure(connect_to("127.0.0.1", port, why), why, ECONNREFUSED, "connect 127.0.0.1:%s",
                  port);
    check_failure(listen_on("192.0.2.1", "0", why), why, EADDRNOTAVAIL, "bind 192.0.2.1:0", "");
    check_failure(connect_to(unknown, "80", why), why, 0, "resolve %s: ", unknown);
    check_failure(listen_on("127.0.0.1", "http", why), why, 0, "resolve 127.0.0.1: ", "");
    struct rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int fd = connect_to("127.0.0.1", "80", why), error = errno;
    setrlimit(RLIMIT_NOFILE, &limit);
    errno = error;
    check_failure(fd, why, EMFILE, "socket 127.0.0.1:80", "");
    CU_ASSERT_EQUAL(next_descriptor(), lowest); /* what failed is closed */
}

static int hold_a_while(int fd) {
    poll(NULL, 0, 50);
    return fd < 0;
}

/* connect(2): signals do not end it. Here nobody accepts, so that it has to wait; then nobody
 * listens any more: that is the reason, and not EINTR. */
static void connecting_is_interrupted(void) {
    char why[WHY_TEXT], port[8];
    int listener = listen_on("127.0.0.1", "0", why);
    strcpy(port, port_text(listener));
    listen(listener, 0); /* room for one */
    int first = connect_to("127.0.0.1", port, why);
    pid_t holder = start_child(hold_a_while, listener);
    close(listener);
    interrupt_often(1);
    int fd = connect_to("127.0.0.1", port, why), error = errno;
    interrupt_often(0);
    errno = error;
    check_failure(fd, why, ECONNREFUSED, "connect 127.0.0.1:%s", port);
    CU_ASSERT_EQUAL(fcntl(first, F_GETFL) & O_NONBLOCK, 0); /* as connect(2) would leave it */
    close(first);
    CU_ASSERT_EQUAL(status_of(holder), 0);
}

/* Both ends of a connection that one socket has with itself; and of one that two have. */
static void own_ends(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof own;
    char why[WHY_TEXT];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bind(fd, (struct sockaddr *)&own, sizeof own);
    CU_ASSERT(!connected_to_itself(fd));
    getsockname(fd, (struct sockaddr *)&own, &size);
    CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&own, size), 0);
    CU_ASSERT(connected_to_itself(fd));
    close(fd);
    int listener = listen_on("127.0.0.1", "0", why);
    fd = connect_to("127.0.0.1", port_text(listener), why);
    CU_ASSERT(!connected_to_itself(fd));
    close(fd);
    close(listener);
}

/* A name with two addresses: were the second taken where the first is in use, two servers would
 * share the name and each client find only one of them. */
static void a_port_in_use_is_not_evaded(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    char why[WHY_TEXT], port[8], first[ADDRESS_TEXT];
    if (!is_here("localhost") || getaddrinfo("localhost", "0", &hints, &list) != 0)
        return;
    getnameinfo(list->ai_addr, list->ai_addrlen, first, sizeof first, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    if (!is_here(first))
        return; /* the name's first address is another */
    int listener = listen_on(first, "0", why);
    strcpy(port, port_text(listener));
    check_failure(listen_on("localhost", port, why), why, EADDRINUSE, "bind ", "");
    close(listener);
}

static int announce_it(int fd) {
    static char buffer[OUTPUT]; /* CUnit has turned it off */
    (void)fd;
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    announce(for_the_child);
    return 0;
}

static int announce_without_descriptors(int fd) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)for_the_child + 1;
    (void)fd;
    while (dup(for_the_child) >= 0) /* all that are free */
        setrlimit(RLIMIT_NOFILE, &limit);
    announce(for_the_child);
    return 0;
}

/* A server that cannot take a single client says so; a UDP socket needs no more descriptors. */
static void announcing_in_vain(void) {
    char why[WHY_TEXT];
    int status;
    for_the_child = listen_on("127.0.0.1", "0", why);
    const char *expected =
        "util: no descriptor is left for a client: Too many open files (EMFILE)\n";
    const char *text = said(stderr, announce_without_descriptors, &status);
    /* LeakSanitizer wants a descriptor at the end, too, and says more when there is none. */
    CU_ASSERT_NSTRING_EQUAL(text, expected, strlen(expected));
    CU_ASSERT_EQUAL(status, 1);
    CU_ASSERT_STRING_EQUAL(said(stdout, announce_without_descriptors, &status), "");
    close(for_the_child);
    for_the_child = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_STRING_EQUAL(said(stdout, announce_without_descriptors, &status),
                           "listening on 0.0.0.0:0\n");
    CU_ASSERT_EQUAL(status, 0);
    close(for_the_child);
}

/* The line by which others learn the port: at once, also where stdout is no terminal (stdio(3)). */
static void announcing(void) {
    const struct {
        const char *address, *text;
    } cases[] = {{"127.0.0.1", "listening on 127.0.0.1:"},
                 {"::1", "listening on [::1]:"},
                 {"::", "listening on [::]:"}};
    char why[WHY_TEXT], want[OUTPUT];
    int status;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (!is_here(cases[i].address))
            continue;
        for_the_child = listen_on(cases[i].address, "0", why);
        snprintf(want, sizeof want, "%s%s\n", cases[i].text, port_text(for_the_child));
        check(strcmp(said(stdout, announce_it, &status), want) == 0, want);
        close(for_the_child);
    }
    for_the_child = -1; /* not a socket: says so, and no more */
    CU_ASSERT_STRING_EQUAL(said(stdout, announce_it, &status), "listening on ?\n");
}

/* ---- the start, and descriptors that do not wait ---- */

/* As a careless parent would leave it: descriptors 0 to 2 closed, signals blocked and ignored. */
static void spoil_inherited_state(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    alarm(100);
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
}

static int signals_are_reset(void) {
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    if (sigismember(&blocked, SIGTERM) || sigismember(&blocked, SIGUSR1) || alarm(0) != 0)
        return 0;
    return !signal_ignored(SIGTERM) && signal_ignored(SIGHUP);
}

/* The places are taken, and reading and writing there still fails. */
static int descriptors_are_reset(void) {
    char byte;
    if (read(0, &byte, 1) >= 0 || write(1, "x", 1) >= 0 || write(2, "x", 1) >= 0)
        return 0;
    return dup(0) >= 3;
}

static void inherited_state_is_reset(void) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        spoil_inherited_state();
        reset_inherited();
        _exit(signals_are_reset() && descriptors_are_reset() ? 0 : 1);
    }
    waitpid(child, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
}

/* fcntl(2); the other flags of the descriptor stay. */
static void nonblocking(void) {
    int pair[2];
    char byte;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fcntl(pair[0], F_SETFL, O_APPEND);
    CU_ASSERT_EQUAL(set_nonblocking(pair[0]), 0);
    CU_ASSERT_EQUAL(recv(pair[0], &byte, 1, 0), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT(fcntl(pair[0], F_GETFL) & O_APPEND);
    close(pair[0]);
    close(pair[1]);
    CU_ASSERT_EQUAL(set_nonblocking(pair[0]), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
}

/* ---- send_all ---- */

/* Reads slowly to the end; 0 if PLENTY of the right bytes came. */
static int read_slowly(int fd) {
    char part[4096];
    size_t at = 0;
    int bad = 0;
    ssize_t n;
    while ((n = recv(fd, part, sizeof part, MSG_WAITALL)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (part[i] != byte_at(at))
                bad = 1;
            at++;
        }
        if (at % 131072 == 0)
            poll(NULL, 0, 9);
    }
    return bad || at != PLENTY;
}

/* A pair whose send buffer is far smaller than what goes through it: send(2) has to wait. */
static void small_pair(int pair[2]) {
    const int bytes = 4096;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static char data[PLENTY];

static int read_other_end(int fd) {
    close(fd); /* the sender's end, inherited */
    return read_slowly(for_the_child);
}

/* Calls send_all until it has sent size bytes of data, or can send no more. Returns as it does. */
static int keep_calling(int fd, size_t size, size_t *sent, int wait_ms) {
    size_t before;
    int result;
    do {
        before = *sent;
        result = send_all(fd, data, size, sent, wait_ms);
    } while (result < 0 && errno == EINTR && *sent > before);
    return result;
}

/* send(2), poll(2): a call that is interrupted, or has sent only a part, goes on when it is made
 * again. A signal that comes while there is no room has sent nothing. */
static void everything_is_sent(void) {
    size_t sent = 0;
    int pair[2];
    for (size_t i = 0; i < PLENTY; i++)
        data[i] = byte_at(i);
    small_pair(pair);
    for_the_child = pair[1];
    pid_t reader = start_child(read_other_end, pair[0]);
    close(pair[1]);
    interrupt_often(1);
    CU_ASSERT_EQUAL(keep_calling(pair[0], 10, &sent, -1), 0);
    CU_ASSERT_EQUAL(sent, 10);
    while (keep_calling(pair[0], PLENTY, &sent, -1) < 0 && errno == EINTR)
        continue;
    interrupt_often(0);
    CU_ASSERT_EQUAL(sent, PLENTY);
    close(pair[0]);
    CU_ASSERT_EQUAL(status_of(reader), 0);
}

/* A caller that has to stop must hear of each short write: a peer that reads slowly but steadily
 * would otherwise keep it for ever. */
static void short_writes_return(void) {
    size_t sent = 0;
    int pair[2];
    small_pair(pair);
    CU_ASSERT_EQUAL(send_all(pair[0], data, PLENTY, &sent, -1), -1);
    CU_ASSERT_EQUAL(errno, EINTR);
    CU_ASSERT(sent > 0 && sent < PLENTY);
    close(pair[0]);
    close(pair[1]);
}

/* EAGAIN: nobody has read for so long. EINTR: a signal came while there was no room. EPIPE: the
 * peer is gone; had SIGPIPE come too, this program would have ended here. */
static void sending_fails(void) {
    static const struct {
        int wait_ms, signals, peer_gone, want;
    } cases[] = {{20, 0, 0, EAGAIN}, {-1, 1, 0, EINTR}, {-1, 0, 1, EPIPE}};
    signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t sent = 0;
        int pair[2];
        small_pair(pair);
        if (cases[i].peer_gone)
            close(pair[1]);
        interrupt_often(cases[i].signals);
        CU_ASSERT_EQUAL(keep_calling(pair[0], PLENTY, &sent, cases[i].wait_ms), -1);
        CU_ASSERT_EQUAL(errno, cases[i].want);
        interrupt_often(0);
        CU_ASSERT_EQUAL(send_all(pair[0], data, sent, &sent, -1), 0); /* nothing is left to send */
        close(pair[0]);
        if (!cases[i].peer_gone)
            close(pair[1]);
    }
}

/* wait_for_room: 0 at once if there is room; its time is a limit, not a pause. */
static void room_is_awaited(void) {
    size_t sent = 0;
    int pair[2];
    small_pair(pair);
    CU_ASSERT_EQUAL(wait_for_room(pair[0], 0), 0);
    CU_ASSERT_EQUAL(keep_calling(pair[0], PLENTY, &sent, 0), -1); /* fills the buffer */
    long long start = now_ms();
    CU_ASSERT_EQUAL(wait_for_room(pair[0], 20), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT(now_ms() - start >= 19);
    close(pair[1]);
    CU_ASSERT_EQUAL(wait_for_room(pair[0], -1), 0); /* send will say that the peer is gone */
    close(pair[0]);
}

/* ---- linger_close ---- */

/* Two ends of a TCP connection; a reset needs TCP. */
static void tcp_pair(int pair[2]) {
    char why[WHY_TEXT];
    int listener = listen_on("127.0.0.1", "0", why);
    pair[1] = connect_to("127.0.0.1", port_text(listener), why);
    pair[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
}

/* Sends until that fails; 0 if it was not for ever. */
static int keep_sending(int fd) {
    close(for_the_child);
    while (send(fd, data, 65536, MSG_NOSIGNAL) > 0)
        poll(NULL, 0, 1);
    return 0;
}

/* Half a second would be a healthy time; a busy machine gets more. */
static void linger_ends_though_the_peer_keeps_sending(void) {
    int pair[2];
    tcp_pair(pair);
    for_the_child = pair[0];
    pid_t sender = start_child(keep_sending, pair[1]);
    close(pair[1]);
    long long start = now_ms();
    linger_close(pair[0]);
    long long took = now_ms() - start;
    CU_ASSERT(took >= LINGER_MS - 1);
    CU_ASSERT(took < 2000);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_GETFD), -1); /* and it is closed */
    CU_ASSERT_EQUAL(status_of(sender), 0);
}

static int linger_there(int fd) {
    close(for_the_child);
    send(fd, "last word\n", 10, MSG_NOSIGNAL);
    linger_close(fd);
    return 0;
}

/* RFC 2525, 2.17: close(2) with input unread resets, and the reset destroys what was sent. The peer
 * reads only after the other side has had the time to do so. */
static void the_last_word_arrives(void) {
    char word[32];
    size_t sent = 0;
    int pair[2];
    tcp_pair(pair);
    keep_calling(pair[1], 100000, &sent, -1); /* nobody reads it */
    for_the_child = pair[1];
    pid_t child = start_child(linger_there, pair[0]);
    close(pair[0]);
    poll(&(struct pollfd){.fd = pair[1], .events = POLLRDHUP}, 1, SECONDS * 1000);
    CU_ASSERT_EQUAL(recv(pair[1], word, sizeof word, 0), 10);
    CU_ASSERT_EQUAL(recv(pair[1], word, sizeof word, 0), 0);
    close(pair[1]);
    CU_ASSERT_EQUAL(status_of(child), 0);
}

static int end_after_us(int fd) {
    close(for_the_child);
    while (recv(fd, data, sizeof data, 0) > 0)
        continue;
    return 0;
}

/* It half-closes, and the peer's end is what it waits for: then the time is not used up. The
 * shortest of ten, for a busy machine may hold one up. */
static void linger_ends_with_the_peer(void) {
    long long shortest = LINGER_MS;
    for (int i = 0; i < 10 && shortest >= LINGER_MS / 2; i++) {
        int pair[2];
        tcp_pair(pair);
        for_the_child = pair[0];
        pid_t peer = start_child(end_after_us, pair[1]);
        close(pair[1]);
        long long start = now_ms();
        linger_close(pair[0]);
        shortest = now_ms() - start < shortest ? now_ms() - start : shortest;
        CU_ASSERT_EQUAL(status_of(peer), 0);
    }
    CU_ASSERT(shortest < LINGER_MS / 2);
}

/* 300 ms are all that a peer gets which neither speaks nor ends; signals do not cut them short. */
static void linger_waits_for_a_silent_peer(void) {
    for (int signals = 0; signals <= 1; signals++) {
        int pair[2];
        tcp_pair(pair);
        interrupt_often(signals);
        long long start = now_ms();
        linger_close(pair[0]);
        CU_ASSERT(now_ms() - start >= LINGER_MS - 1);
        interrupt_often(0);
        close(pair[1]);
    }
}

static CU_TestInfo kernel[] = {
    {"die, usage_error, number_arg: status and text", failures_at_start},
    {"listen_on and connect_to: names and families", opening},
    {"listen_on and connect_to: what failed, and why", opening_fails},
    {"connect_to: signals do not end it", connecting_is_interrupted},
    {"connected_to_itself", own_ends},
    {"listen_on: a name whose first address is in use", a_port_in_use_is_not_evaded},
    {"announce: at once, on stdout", announcing},
    {"announce: no descriptor is left for a client", announcing_in_vain},
    {"reset_inherited: signals, an alarm, descriptors", inherited_state_is_reset},
    {"set_nonblocking: EAGAIN, other flags stay", nonblocking},
    {"wait_for_room: at most so long", room_is_awaited},
    {"send_all: every byte, through short writes and EINTR", everything_is_sent},
    {"send_all: a short write returns to the caller", short_writes_return},
    {"send_all: EAGAIN, EINTR, EPIPE and no SIGPIPE", sending_fails},
    {"linger_close: the last word arrives", the_last_word_arrives},
    {"linger_close: a peer that keeps sending", linger_ends_though_the_peer_keeps_sending},
    {"linger_close: a peer that ends after it", linger_ends_with_the_peer},
    {"linger_close: a peer that is silent", linger_waits_for_a_silent_peer},
    CU_TEST_INFO_NULL,
};

int main(void) {
    static CU_TestInfo pure[] = {
        {"errno_name: the names of errno(3)", errno_names},
        {"parse_number: decimal, all of the text, within its range", numbers},
        {"address_text: numbers, brackets, zones", address_texts},
        {"line_length: a line, a part of one, too long a one", line_lengths},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"util.h, the pure parts", NULL, NULL, NULL, NULL, pure},
        {"util.h, with the kernel", NULL, NULL, NULL, NULL, kernel},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    /* Not CU_get_number_of_failures, which misses a suite whose initialiser failed. */
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
