/* 04-threadpool/client.c: the same conversation over N connections at once, a thread for each.
 *
 * Teaches: threads that share nothing but two counters; a barrier, so that all begin at once; what
 *   a pool of workers looks like from outside: one client too many is connected, and waits.
 * New since 03: more than one connection. Each sends a line and reads its reply before the next.
 * Run: ./client -c 100 hello    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: -c 30 at a server with two workers; stop the server meanwhile.
 * Still wrong: a thread a connection: ten thousand of them want ten thousand stacks (06).
 */
#include "lines.h"
#include <pthread.h>
#include <sys/resource.h>

enum { MOST_CONNECTIONS = 10000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-c CONNECTIONS] [MESSAGE ...]\n"
    "  -a ADDR         name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT         1 to 65535 (9004)\n"
    "  -c CONNECTIONS  open so many at once, and send the MESSAGEs over each of them (1)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1", *port = "9004";
static char **messages;
static pthread_barrier_t all_connected;
static _Atomic long replies, failures;

struct conn {
    pthread_t thread;
    int fd;
    char reply[LINE_LIMIT + 2]; /* "+", a line; or "-" and why */
};

/* A failed connection does not end the others: it is said, and counted. Returns -1. */
static int fail(const char *what, int error) {
    failures++;
    if (error)
        fprintf(stderr, "client: %s: %s (%s)\n", what, strerror(error), errno_name(error));
    else
        fprintf(stderr, "client: %s\n", what);
    return -1;
}

/* Reads one line into c->reply. Returns its size, or -1: said. */
static ssize_t read_reply(struct conn *c) {
    size_t have = 0;
    ssize_t line = 0;
    while (line == 0) {
        ssize_t n = recv(c->fd, c->reply + have, sizeof c->reply - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail("no reply: recv", errno);
        if (n == 0)
            return fail("the server closed without a reply", 0);
        have += (size_t)n;
        line = line_length(c->reply, have, sizeof c->reply);
    }
    return line == (ssize_t)have ? line : fail("more than one reply to one line", 0);
}

/* Sends a line of n bytes, checks its reply and prints it. Returns 0, or -1: said. */
static int exchange(struct conn *c, const char *line, size_t n) {
    int error = send_all(c->fd, line, n, -1) < 0 ? errno : 0;
    ssize_t size = read_reply(c); /* even so: it may say why */
    if (size < 0)
        return -1;
    if (c->reply[0] == '-') {
        c->reply[size - 1] = '\0';
        return fail(c->reply, 0);
    }
    if (error)
        return fail("send", error);
    if (c->reply[0] != '+' || (size_t)size != n + 1 || memcmp(c->reply + 1, line, n) != 0)
        return fail("the reply does not fit the line sent", 0);
    replies++;
    return fwrite(c->reply, 1, n + 1, stdout) == n + 1 ? 0 : fail("stdout", errno);
}

/* Sends the size bytes of text, which end with a newline, line by line. Returns 0, or -1: said. */
static int converse(struct conn *c, const char *text, size_t size) {
    while (size > 0) {
        size_t n = (size_t)((const char *)memchr(text, '\n', size) - text) + 1;
        if (exchange(c, text, n) < 0)
            return -1;
        text += n;
        size -= n;
    }
    return 0;
}

static void *run(void *conn) {
    struct conn *c = conn;
    char why[WHY_TEXT];
    c->fd = connect_to(address, port, why);
    if (c->fd < 0)
        fail(why, errno);
    pthread_barrier_wait(&all_connected);
    for (char **m = messages; c->fd >= 0 && *m; m++)
        if (converse(c, *m, strlen(*m)) < 0)
            break;
    if (c->fd >= 0)
        close(c->fd);
    return NULL;
}

static void run_many(long n) {
    struct conn *conns = calloc((size_t)n, sizeof *conns);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* as many descriptors as we may have */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (!conns || pthread_barrier_init(&all_connected, NULL, (unsigned)n) != 0)
        die("no memory for the connections", 0);
    for (long i = 0; i < n; i++) {
        int error = pthread_create(&conns[i].thread, NULL, run, &conns[i]);
        if (error) /* the others wait at the barrier, for as many as were promised */
            die("cannot start a thread for each connection", error);
    }
    for (long i = 0; i < n; i++)
        pthread_join(conns[i].thread, NULL);
    pthread_barrier_destroy(&all_connected);
    free(conns);
    if (n > 1)
        fprintf(stderr, "%ld connections, %ld replies, %ld failures\n", n, (long)replies,
                (long)failures);
}

static void talk_from_stdin(void) {
    static struct conn c;
    char why[WHY_TEXT], *line = NULL;
    size_t room = 0;
    c.fd = connect_to(address, port, why);
    if (c.fd < 0)
        die(why, errno);
    for (;;) {
        if (isatty(STDIN_FILENO))
            printf("> ");
        fflush(stdout);
        ssize_t n = getline(&line, &room, stdin);
        if (n < 0 && !feof(stdin)) /* a read error, or no memory for a line */
            fail("stdin", errno);
        if (n > 0 && line[n - 1] != '\n')
            line[n++] = '\n'; /* the last line has none; this is where its '\0' was */
        if (n < 0 || !strncmp(line, "exit\n", 5) || !strncmp(line, "q\n", 2))
            break;
        if (converse(&c, line, (size_t)n) < 0)
            break;
    }
    free(line);
    close(c.fd);
}

/* Copies of the arguments, each with a newline at its end; NULL: no memory. */
static char **with_newlines(char **arguments, int n) {
    char **lines = calloc((size_t)n + 1, sizeof *lines);
    for (int i = 0; lines && i < n; i++) {
        size_t size = strlen(arguments[i]);
        lines[i] = malloc(size + 2);
        if (!lines[i])
            return NULL;
        memcpy(lines[i], arguments[i], size);
        memcpy(lines[i] + size, "\n", 2);
    }
    return lines;
}

int main(int argc, char **argv) {
    long connections = 1;
    for (int option; (option = getopt(argc, argv, "+a:p:c:h")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'c': connections = number_arg(usage, 'c', optarg, 1, MOST_CONNECTIONS); break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind == argc && connections > 1)
        usage_error(usage, "-c needs a MESSAGE");
    messages = with_newlines(argv + optind, argc - optind);
    if (!messages)
        die("no memory for the messages", 0);
    if (*messages)
        run_many(connections);
    else
        talk_from_stdin();
    for (char **m = messages; *m; m++)
        free(*m);
    free(messages);
    if (fflush(stdout) != 0)
        die("stdout", errno);
    return failures > 0;
}
