/* 03-long-conn/server.c: the line service: every line is answered with "+" and the line.
 *
 * Teaches: many messages over one connection; framing: a message ends where its newline stands, not
 *   where recv ends; pipelining; limits: of a line, of idleness; keep-alive; Nagle switched off.
 * New since 01: a buffer that holds an unfinished line; all replies to one read leave in one send.
 * Run: ./server -v    and in another terminal ./client, or nc 127.0.0.1 9003
 * Try to break it: half a line and wait; 70,000 bytes without a newline; 10,000 lines at once.
 * Still wrong: the second client waits until the first has gone (04, 05 and 06 lift that).
 */
#include "../util.h"
#include <netinet/tcp.h>

enum {
    LINE_LIMIT = 65536,                /* bytes of a line with its newline */
    REPLY_ROOM = 2 * LINE_LIMIT + 128, /* the worst case: 65,536 empty lines, and a refusal */
    PAUSE_MS = 100
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-k SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9003)\n"
    "  -i SECONDS  close a connection on which nothing happened for that long (60)\n"
    "  -k SECONDS  ask a silent peer whether it is there after that long (keep-alive); it is gone\n"
    "              when it was silent, or took nothing, for three times that (15)\n"
    "  -v          say on stderr who comes and goes\n";
static int idle_seconds = 60, keepalive_seconds = 15, verbose;

/* A connection's memory is this, whatever its client does: while we send, we do not read. */
struct conn {
    int fd;
    char name[ADDRESS_TEXT];
    char in[LINE_LIMIT]; /* what has come and is not answered: at most one unfinished line */
    size_t in_size;
    char out[REPLY_ROOM]; /* the replies to one read */
    size_t out_size;
    long long lines;
    const char *end; /* how the conversation ended: for the log */
};

/* Pure: moves each complete line from in to out as its reply; keeps the rest at the front of in.
 * Returns 0, or -1 when the line that begins there is too long. */
static int answer_lines(struct conn *c) {
    const char *line = c->in;
    size_t left = c->in_size;
    ssize_t n;
    c->out_size = 0;
    while ((n = line_length(line, left, LINE_LIMIT)) > 0) {
        c->out[c->out_size++] = '+';
        memcpy(c->out + c->out_size, line, (size_t)n);
        c->out_size += (size_t)n;
        line += n;
        left -= (size_t)n;
        c->lines++;
    }
    memmove(c->in, line, left);
    c->in_size = left;
    return n < 0 ? -1 : 0;
}

/* Pure: one more reply, the last one: "-" and the reason. */
static void refuse(struct conn *c, const char *reason) {
    int n = snprintf(c->out + c->out_size, REPLY_ROOM - c->out_size, "-%s\n", reason);
    c->out_size += (size_t)n;
}

/* The kernel's part: a time limit for recv (EAGAIN when it is over: socket(7)); probes to a peer
 * that is silent, and the same limit for bytes that it does not acknowledge (tcp(7)); and no Nagle
 * algorithm, which would hold a small reply back while the one before is not acknowledged. */
static void set_options(int fd) {
    const struct timeval idle = {.tv_sec = idle_seconds};
    const int on = 1, probes = 2, limit_ms = 3000 * keepalive_seconds;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_seconds, sizeof keepalive_seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keepalive_seconds, sizeof keepalive_seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Waits for bytes. Returns how many came; 0 at the end: the client's, or ours when we are to stop
 * and nothing more has arrived, or a second is over; -1 with errno (EAGAIN: idle for too long). */
static ssize_t receive(struct conn *c) {
    while (stopping < 2) {
        ssize_t n =
            recv(c->fd, c->in + c->in_size, sizeof c->in - c->in_size, stopping ? MSG_DONTWAIT : 0);
        if (n >= 0 || (errno != EINTR && !stopping))
            return n;
        if (errno != EINTR)
            return 0;
    }
    return 0;
}

/* Serves one client to its end. Returns 0, with c->end telling how it came, or -1 with errno. */
static int serve(struct conn *c) {
    for (c->end = "closed";;) {
        ssize_t n = receive(c);
        int idle = n < 0 && errno == EAGAIN;
        if (n == 0 || (n < 0 && !idle))
            return (int)n;
        c->in_size += n > 0 ? (size_t)n : 0;
        if (answer_lines(c) < 0)
            refuse(c, c->end = "line of more than 65536 bytes");
        else if (idle)
            refuse(c, c->end = "idle for too long");
        if (send_all(c->fd, c->out, c->out_size, 1000 * idle_seconds) < 0)
            return -1;
        if (strcmp(c->end, "closed") != 0)
            return 0;
    }
}

/* From accept to close. An error of this connection ends this connection, and nothing else. */
static void serve_client(int fd, const struct sockaddr_storage *peer, socklen_t size) {
    static struct conn c; /* one client at a time: one of these */
    c.fd = fd;
    c.in_size = 0;
    c.lines = 0;
    address_text(peer, size, c.name);
    if (verbose)
        fprintf(stderr, "%s connected\n", c.name);
    set_options(fd);
    int failed = serve(&c);
    const char *how = failed ? strerror(errno) : c.end;
    if (failed)
        close(fd);
    else
        linger_close(fd);
    if (verbose)
        fprintf(stderr, "%s %s, %lld lines answered\n", c.name, how, c.lines);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9003";
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:i:k:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'i': idle_seconds = (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'k': keepalive_seconds = (int)number_arg(usage, 'k', optarg, 1, 32767); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    stop_on_signals();
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    announce(listener);
    while (!stopping) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (fd >= 0)
            serve_client(fd, &peer, size);
        else if (errno != EINTR && errno != ECONNABORTED)
            poll(NULL, 0, PAUSE_MS); /* no descriptors or no memory: try again later */
    }
    close(listener);
    return 0;
}
