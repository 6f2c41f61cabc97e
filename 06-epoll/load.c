/* 06-epoll/load.c: the kit's load generator: many connections that send lines and check the
 * replies.
 *
 * Teaches: the loop from the other side: connect without waiting (EINPROGRESS, SO_ERROR), a bounded
 *   number of handshakes at a time; percentiles, not a mean; every reply is checked to the byte.
 * New since 05: ten thousand connections, 72 bytes each. requests.h has what they send and expect,
 *   histogram.h the times.
 * Run: ./load -c 10000 -n 200000    or ./load -c 50 -P 16 -d 5
 * Try to break it: stop the server in mid-run; prlimit --nofile=100; point it at 01, or at 05.
 * Still wrong: a server that stalls gets fewer requests, so its times look better than they are
 *   (coordinated omission).
 */
#include "../util.h"
#include "histogram.h"
#include "loop.h"
#include "requests.h"
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum {
    HANDSHAKES = 256, /* at a time: the kernel drops what finds no room in the server's backlog,
                       * and tries again only a second later */
    OTHER_FILES = 16, /* descriptors that are not connections */
    TICK_MS = 1000,
    PATIENCE_S = 10,     /* after that time without a byte it gives up */
    STOP_PATIENCE_S = 1, /* the same, once a signal has asked it to stop */
    NS_PER_S = 1000000000
};

static const char usage[] =
    "usage: load [-a ADDR] [-p PORT] [-c N] [-n N] [-P N] [-s N] [-d N]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9006)\n"
    "  -c N     connections (50)\n"
    "  -n N     requests in total (100000)\n"
    "  -P N     requests that a connection sends together, before it waits (1)\n"
    "  -s N     bytes of a line with its newline (16)\n"
    "  -d N     send requests for N seconds, instead of -n\n";
static const char *address = "127.0.0.1";
static const char *port = "9006";
static long count = 50;
static long seconds; /* 0: -n requests */

struct conn {
    struct loop_watcher watcher; /* first, so that its address is the connection's, too */
    int fd;                      /* -1: there is no socket */
    struct requests_batch batch;
};

/* What a handler returns. Only conn_update and conn_close look at the connection after CLOSE. */
enum verdict { KEEP, CLOSE };

static struct requests requests = {.remaining = 100000, .pipeline = 1, .line_size = 16};
static struct conn *conns; /* count of them, until the end */
static long begun, connecting, connected;
static struct sockaddr_storage server;
static socklen_t server_size = sizeof server;

static long long started;      /* on now_ns's clock, as the others; 0: not all are connected yet */
static long long deadline;     /* of -d */
static long long last_arrival; /* of a byte or a connection */
static int stop_asked;
static struct loop_timers ticks;
static struct loop_timer tick; /* the only one in ticks */

/* Nanoseconds of a clock that never jumps. */
static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (long long)NS_PER_S + t.tv_nsec;
}

/* ---- connections ---- */

/* Counts a failure. Returns CLOSE, for the handler to return: only this connection ends. The
 * others ask the requests that it has not asked yet. */
static enum verdict conn_fail(enum requests_failure kind, const char *what, int error) {
    requests_fail(&requests, kind, what, error);
    return CLOSE;
}

/* Sends once: the batch, or what the kernel takes of it, wherever that ends. */
static enum verdict on_writable(struct conn *c) {
    size_t size;
    const char *lines = requests_unsent(&requests, &c->batch, &size);
    ssize_t n = send(c->fd, lines, size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return conn_fail(REQUESTS_LOST, "send", errno);
    if (n > 0)
        c->batch.sent += (size_t)n;
    return KEEP;
}

/* Sends the next batch. When no requests are left, closes the connection if others still wait for
 * their first reply: the server may serve only a few at a time. Else the connection stays open, so
 * that no close falls into the time that is measured. */
static enum verdict conn_ask(struct conn *c, long long now) {
    if (seconds > 0 && now >= deadline)
        requests.remaining = 0;
    if (requests_next_batch(&requests, &c->batch, now) > 0)
        return on_writable(c);
    if (requests.unanswered_connections > 0 && c->batch.first > 0)
        return CLOSE;
    return KEEP;
}

/* Receives once: the replies to several lines, or a piece of one. */
static enum verdict on_readable(struct conn *c) {
    static char replies[REQUESTS_CHUNK];
    ssize_t n = recv(c->fd, replies, sizeof replies, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return KEEP;
    last_arrival = now_ns();
    if (n < 0)
        return conn_fail(REQUESTS_LOST, "recv", errno);
    if (n == 0)
        return conn_fail(REQUESTS_LOST, "the server closed the connection", 0);
    if (requests_take(&requests, &c->batch, replies, (size_t)n, last_arrival) < 0)
        return CLOSE;
    if (requests_batch_done(&requests, &c->batch))
        return conn_ask(c, last_arrival);
    return KEEP;
}

/* The only place where a connection is closed. Its memory stays until the end of the program. */
static void conn_close(struct conn *c) {
    requests_drop(&requests, &c->batch);
    if (c->fd >= 0)
        loop_close(&c->watcher, c->fd);
    c->fd = -1;
}

/* Does what a handler has decided: closes the connection, or waits for replies and, if some of the
 * batch is not sent yet, for room. */
static void conn_update(struct conn *c, enum verdict verdict) {
    uint32_t interest = EPOLLIN;
    if (!requests_batch_sent(&requests, &c->batch))
        interest |= EPOLLOUT;
    if (verdict == KEEP && loop_watch(&c->watcher, c->fd, interest) < 0)
        verdict = conn_fail(REQUESTS_LOST, "epoll_ctl", errno);
    if (verdict == CLOSE)
        conn_close(c);
}

/* Ends the loop when all that was asked is answered, or cannot be any more. */
static void stop_if_done(void) {
    if (started && requests.pending == 0)
        loop_stop();
}

/* Reads first: a server that cannot send does not read what we send. */
static void on_conn_event(struct loop_watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    if (events == EPOLLOUT)
        conn_update(c, on_writable(c));
    else
        conn_update(c, on_readable(c));
    stop_if_done();
}

/* ---- the start: connections are made, then the clock starts ---- */

static void start_clock(void) {
    printf("connections %ld\n", connected);
    if (fflush(stdout) != 0)
        die("stdout", errno);
    started = now_ns();
    last_arrival = started;
    deadline = started + (long long)seconds * NS_PER_S;
    if (seconds > 0)
        requests.remaining = LONG_MAX;
    for (struct conn *c = conns; c < conns + count; c++) {
        if (c->fd >= 0)
            conn_update(c, conn_ask(c, now_ns()));
    }
    stop_if_done();
}

/* The handshake is over; SO_ERROR says how it went (connect(2), EINPROGRESS). */
static enum verdict on_connected(struct conn *c) {
    const int on = 1;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (error == 0 && loop_watch(&c->watcher, c->fd, EPOLLIN) < 0)
        error = errno;
    if (error)
        return conn_fail(REQUESTS_UNCONNECTED, "connect", error);
    connected++;
    c->watcher.on_event = on_conn_event;
    return KEEP;
}

static void connect_more(void);

static void on_connect_event(struct loop_watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    (void)events;
    last_arrival = now_ns();
    connecting--;
    conn_update(c, on_connected(c));
    connect_more();
}

/* Begins a handshake. Returns a non-blocking socket, or -1 with errno. */
static int begin_connect(void) {
    int fd = socket(server.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&server, server_size) < 0 && errno != EINPROGRESS)
        return close_failed(fd);
    return fd;
}

/* Waits for the end of a handshake, unless it could not even begin. */
static void conn_open(struct conn *c, int fd) {
    c->fd = fd;
    c->watcher.on_event = on_connect_event;
    if (fd < 0 || loop_watch(&c->watcher, fd, EPOLLOUT) < 0)
        conn_update(c, conn_fail(REQUESTS_UNCONNECTED, "connect", errno));
    else
        connecting++;
}

/* Begins handshakes, HANDSHAKES at a time. When all have ended, the clock starts. */
static void connect_more(void) {
    while (begun < count && connecting < HANDSHAKES) {
        struct conn *c = &conns[begun];
        c->batch.connection = (unsigned)begun;
        begun++;
        conn_open(c, begin_connect());
    }
    if (begun == count && connecting == 0)
        start_clock();
}

/* ---- the report ---- */

static void print_progress(long long ns) {
    const long long answered = requests.times.total;
    double rate = 0;
    if (ns > 0)
        rate = (double)answered * NS_PER_S / (double)ns;
    fprintf(stderr, "%ld connections, %lld replies, %.0f a second, %lld to come\033[K\r", connected,
            answered, rate, requests.pending);
}

static void print_failures(void) {
    const long long *failures = requests.failures;
    long long total = 0;
    for (int kind = 0; kind < REQUESTS_FAILURES; kind++)
        total += failures[kind];
    printf("errors %lld (refused %lld, wrong %lld, lost %lld, not connected %lld)\n", total,
           failures[REQUESTS_REFUSED], failures[REQUESTS_WRONG], failures[REQUESTS_LOST],
           failures[REQUESTS_UNCONNECTED]);
}

static void print_report(long long ns) {
    static const double percents[] = {50, 90, 99};
    const long long answered = requests.times.total;
    const double elapsed = (double)ns / NS_PER_S;
    if (isatty(STDERR_FILENO))
        fputs("\033[K", stderr); /* wipes the progress line */
    printf("requests %lld in %.3f s\n", answered, elapsed);
    printf("requests/s %.0f\n", ns > 0 ? (double)answered / elapsed : 0);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        double time = histogram_percentile(&requests.times, percents[i]);
        printf("p%.0f %.1f us\n", percents[i], time / 1000);
    }
    printf("max %.1f us\n", (double)requests.times.longest / 1000);
    printf("unanswered %lld\n", requests.asked - answered);
    print_failures();
    if (fflush(stdout) != 0 || ferror(stdout))
        die("stdout", errno);
}

/* ---- the loop ---- */

/* Returns the time since the clock started; 0 if it has not. */
static long long elapsed_ns(void) {
    if (!started)
        return 0;
    return now_ns() - started;
}

/* Once a second: shows how far it is, and gives up when nothing has come for too long. */
static void on_tick(struct loop_timer *t) {
    const long long patience = stop_asked ? STOP_PATIENCE_S : PATIENCE_S;
    loop_timer_start(&ticks, t);
    if (isatty(STDERR_FILENO))
        print_progress(elapsed_ns());
    if (now_ns() - last_arrival <= patience * NS_PER_S)
        return;
    enum requests_failure kind = started ? REQUESTS_LOST : REQUESTS_UNCONNECTED;
    requests_fail(&requests, kind, "nothing has come for too long", 0);
    loop_stop();
}

/* Stops asking, and waits a short time for pending replies; at the second signal, not at all. */
static void on_signal(int number) {
    (void)number;
    if (!started || stop_asked)
        loop_stop();
    requests.remaining = 0;
    stop_asked = 1;
}

static void open_loop(void) {
    if (loop_open() < 0 || loop_signals_open(on_signal) < 0 ||
        loop_timers_open(&ticks, TICK_MS, on_tick) < 0)
        die("event loop", errno);
    loop_catch_signal(SIGINT);
    loop_catch_signal(SIGTERM);
    if (!signal_ignored(SIGHUP))
        loop_catch_signal(SIGHUP);
    last_arrival = now_ns();
    loop_timer_start(&ticks, &tick);
}

/* Ends the program if it may not have so many descriptors; loop_open has raised the limit. */
static void require_descriptors(void) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < (rlim_t)count + OTHER_FILES)
        die("-c: this user may not have so many descriptors (`ulimit -Hn`)", 0);
}

/* Returns a non-blocking socket connected to the server; server gets the address that answered. */
static int connect_first(void) {
    char why[WHY_TEXT];
    int fd;
    fd = connect_to(address, port, why);
    if (fd < 0)
        die(why, errno);
    getpeername(fd, (struct sockaddr *)&server, &server_size);
    set_nonblocking(fd);
    return fd;
}

/* Returns -1: go on; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:c:n:P:s:d:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'c': count = number_arg(usage, 'c', optarg, 1, 60000); break;
        case 'n': requests.remaining = number_arg(usage, 'n', optarg, 1, 1000000000); break;
        case 'P': requests.pipeline = number_arg(usage, 'P', optarg, 1, 10000); break;
        case 's':
            requests.line_size = (size_t)number_arg(usage, 's', optarg, 2, REQUESTS_LINE_LIMIT);
            break;
        case 'd': seconds = number_arg(usage, 'd', optarg, 1, 86400); break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (optind < argc)
        usage_error(usage, "the load generator takes no arguments but options");
    return -1;
}

int main(int argc, char **argv) {
    reset_inherited();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    int first = connect_first();
    open_loop();
    require_descriptors();
    conns = calloc((size_t)count, sizeof *conns);
    if (!conns)
        die("no memory for the connections", 0);
    conn_open(&conns[0], first);
    begun = 1;
    connect_more();
    loop_run();
    print_report(elapsed_ns());
    loop_end();
    free(conns);
    if (requests.first_failure[0] != '\0')
        die(requests.first_failure, 0);
    if (requests.asked > requests.times.total)
        die("stopped before all replies had come", 0);
    return 0;
}
