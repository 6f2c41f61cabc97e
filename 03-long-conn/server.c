/* 03-long-conn/server.c: the line service: the reply to each line is "+" and the line.
 *
 * Teaches: many messages over one connection; framing: a message ends at its newline, not where a
 *   recv ends; pipelining; limits on the length of a line and on silence; keep-alive; TCP_NODELAY.
 * New since 01: a buffer that holds a partial line; all replies to one read leave in one send.
 * Run: ./server -v    and in another terminal ./client, or nc 127.0.0.1 9003
 * Try to break it: send half a line and wait; 70,000 bytes without a newline; 10,000 lines at once.
 * Still wrong: the second client waits until the first has gone (04, 05 and 06 fix that).
 */
#include "../util.h"
#include <netinet/tcp.h>

enum {
    LINE_LIMIT = 65536,                  /* bytes of a line, its newline included */
    OUT_CAPACITY = 2 * LINE_LIMIT + 128, /* the worst case: 65,536 empty lines, and a refusal */
    PAUSE_MS = 100                       /* before the next accept, when descriptors are used up */
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-k SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9003)\n"
    "  -i SECONDS  close a connection that is idle for this long, or on which a line is not\n"
    "              complete this long after its first byte (60)\n"
    "  -k SECONDS  probe a peer that is silent for this long (keep-alive); give it up when it has\n"
    "              not answered, or has taken nothing, for three times as long (15)\n"
    "  -v          log on stderr who connects and who leaves\n";
static const char *address = "127.0.0.1";
static const char *port = "9003";
static int idle_seconds = 60;
static int keepalive_seconds = 15;
static int verbose;

/* 0: serve. 1: a signal has asked us to stop; one more for each second since then. Built in 01. */
static volatile sig_atomic_t stop_count;

/* All the memory that a connection takes, whatever its client does: while the server sends, it does
 * not read. */
struct conn {
    int fd;
    char name[ADDRESS_TEXT];
    char in[LINE_LIMIT]; /* bytes not answered yet; between two reads, at most a partial line */
    size_t in_size;
    long long line_deadline; /* of the partial line, on now_ms's clock */
    char out[OUT_CAPACITY];  /* the replies to one read */
    size_t out_size;
    long long lines; /* answered */
    const char *end; /* how the conversation ended, for the log; NULL while it goes on */
};

/* ---- lines ---- */

/* Turns each complete line of c->in into its reply in c->out, and keeps the rest at the front of
 * c->in. Returns 0, or -1 if the line that begins there is too long. Pure. */
static int answer_lines(struct conn *c) {
    const char *line = c->in;
    size_t remaining = c->in_size;
    ssize_t length;
    while ((length = line_length(line, remaining, LINE_LIMIT)) > 0) {
        c->out[c->out_size] = '+';
        memcpy(c->out + c->out_size + 1, line, (size_t)length);
        c->out_size += 1 + (size_t)length;
        line += length;
        remaining -= (size_t)length;
        c->lines++;
    }
    memmove(c->in, line, remaining);
    c->in_size = remaining;
    return length < 0 ? -1 : 0;
}

/* Appends the final reply, "-" and the reason, and ends the conversation. Pure. */
static void refuse(struct conn *c, const char *reason) {
    int n = snprintf(c->out + c->out_size, OUT_CAPACITY - c->out_size, "-%s\n", reason);
    c->out_size += (size_t)n;
    c->end = reason;
}

/* Answers the n bytes that have just been added to c->in. */
static void on_received(struct conn *c, size_t n) {
    const int was_partial = c->in_size > 0;
    c->in_size += n;
    if (answer_lines(c) < 0)
        refuse(c, "line of more than 65536 bytes");
    else if (!was_partial || c->out_size > 0) /* the partial line, if any, has just begun */
        c->line_deadline = now_ms() + 1000LL * idle_seconds;
}

static void on_timeout(struct conn *c) {
    if (c->in_size > 0)
        refuse(c, "line not complete in time");
    else
        refuse(c, "idle for too long");
}

/* ---- one client ---- */

/* Sets what the kernel does for us: a time limit for recv, which then fails with EAGAIN
 * (socket(7)); probes to a silent peer, and the same limit for bytes that it does not acknowledge
 * (tcp(7)); and no Nagle algorithm, which would hold a small reply back until the one before is
 * acknowledged. */
static void set_options(int fd) {
    const struct timeval idle = {.tv_sec = idle_seconds};
    const int on = 1;
    const int probes = 2;
    const int limit_ms = 3000 * keepalive_seconds;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_seconds, sizeof keepalive_seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keepalive_seconds, sizeof keepalive_seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Waits for more of a partial line, which has to be complete within the idle time of its first
 * byte: otherwise a client that sends a byte now and then would keep the connection for ever.
 * Returns 0; or -1 with errno: EAGAIN (too late), EINTR. */
static int await_rest_of_line(const struct conn *c) {
    struct pollfd more = {.fd = c->fd, .events = POLLIN};
    long long remaining_ms = c->line_deadline - now_ms();
    int ready = 0;
    if (remaining_ms > 0)
        ready = poll(&more, 1, (int)remaining_ms);
    if (ready > 0)
        return 0;
    if (ready == 0)
        errno = EAGAIN;
    return -1;
}

/* Waits for bytes. Returns how many arrived, 0 at the client's end of file; or -1 with errno:
 * EAGAIN (too late), EINTR, or what is wrong with the connection. */
static ssize_t receive_in_time(struct conn *c) {
    if (c->in_size > 0 && await_rest_of_line(c) < 0)
        return -1;
    return recv(c->fd, c->in + c->in_size, sizeof c->in - c->in_size, 0);
}

/* Does not wait. Returns how many bytes had arrived; 0 if there are no more; or -1 with EINTR. */
static ssize_t receive_arrived(struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_size, sizeof c->in - c->in_size, MSG_DONTWAIT);
    if (n < 0 && errno != EINTR)
        return 0;
    return n;
}

/* Returns how many bytes arrived. Returns 0 at the client's end of file, and when the server is to
 * stop: nothing more has arrived, or a second has passed. Returns -1 with errno, EAGAIN: too late.
 * */
static ssize_t receive(struct conn *c) {
    ssize_t n;
    while (stop_count < 2) {
        if (stop_count)
            n = receive_arrived(c);
        else
            n = receive_in_time(c);
        if (n >= 0 || errno != EINTR)
            return n;
    }
    return 0;
}

/* Sends c->out, in one call if the kernel has room for it. Returns 0; or -1 with errno, EAGAIN: the
 * client has taken nothing for too long. */
static int send_replies(struct conn *c) {
    size_t sent = 0;
    while (send_all(c->fd, c->out, c->out_size, &sent, 1000 * idle_seconds) < 0) {
        if (errno != EINTR || stop_count > 1)
            return -1;
    }
    c->out_size = 0;
    return 0;
}

/* Serves one client until the conversation ends, and records in c->end how it ended. Returns 0; or
 * -1 with errno if the connection has failed. */
static int serve(struct conn *c) {
    while (!c->end) {
        ssize_t n = receive(c);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0)
            on_timeout(c);
        else if (n == 0)
            c->end = "closed";
        else
            on_received(c, (size_t)n);
        if (send_replies(c) < 0)
            return -1;
    }
    return 0;
}

/* From accept to close. An error ends this connection and nothing else. */
static void serve_client(int fd, const struct sockaddr_storage *peer, socklen_t size) {
    static struct conn c; /* too large for the stack; one is enough for one client at a time */
    c.fd = fd;
    c.in_size = 0;
    c.out_size = 0;
    c.lines = 0;
    c.end = NULL;
    address_text(peer, size, c.name);
    if (verbose)
        fprintf(stderr, "%s connected\n", c.name);
    set_options(fd);
    if (serve(&c) < 0) {
        c.end = strerror(errno);
        close(fd);
    } else {
        linger_close(fd);
    }
    if (verbose)
        fprintf(stderr, "%s %s, %lld lines answered\n", c.name, c.end, c.lines);
}

/* ---- all clients ---- */

/* Serves one client after the other until a signal arrives. */
static void serve_clients(int listener) {
    struct sockaddr_storage peer;
    while (!stop_count) {
        socklen_t size = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (fd >= 0)
            serve_client(fd, &peer, size);
        else if (errno != EINTR && errno != ECONNABORTED)
            poll(NULL, 0, PAUSE_MS); /* no descriptors or no memory: try again later */
    }
}

/* ---- main ---- */

/* Built in 01. */
static void on_stop_signal(int signal_number) {
    if (signal_number == SIGALRM && stop_count == 0)
        return; /* nobody has asked to stop: this alarm is not ours */
    if (signal_number != SIGALRM && stop_count > 0)
        return; /* asked again: the alarm that is already set must not be delayed */
    stop_count = stop_count + 1;
    alarm(1);
}

static void catch_signals(void) {
    const struct sigaction action = {.sa_handler = on_stop_signal}; /* no SA_RESTART: see 01 */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the server */
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: serve. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:i:k:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'i': idle_seconds = (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'k': keepalive_seconds = (int)number_arg(usage, 'k', optarg, 1, 32767); break;
        case 'v': verbose = 1; break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    reset_inherited();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    catch_signals();
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    announce(listener);
    serve_clients(listener);
    close(listener);
    return 0;
}
