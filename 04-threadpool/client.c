/* 04-threadpool/client.c: the same conversation over N connections at once, a thread for each.
 *
 * Teaches: threads that share nothing but two counters; a barrier, so that all begin at once; what
 *   a pool of workers looks like from outside: one client too many is connected, and waits.
 * New since 03: more than one connection. Each sends a line and reads its reply before the next.
 * Run: ./client -c 100 hello    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: -c 30 at a server with two workers; stop the server in the middle.
 * Still wrong: a thread for each connection: ten thousand of them need ten thousand stacks (06).
 */
#include "../util.h"
#include "lines.h"
#include <pthread.h>
#include <sys/resource.h>

enum { CONNECTIONS_MAX = 10000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-c CONNECTIONS] [MESSAGE ...]\n"
    "  -a ADDR         name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT         1 to 65535 (9004)\n"
    "  -c CONNECTIONS  open this many at once, and send the MESSAGEs over each of them (1)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1";
static const char *port = "9004";
static long connections = 1;
static char **messages; /* each ends with a newline; NULL after the last */

static pthread_barrier_t all_connected;
static _Atomic long replies;
static _Atomic long failures;

struct conn {
    pthread_t thread;
    int fd;
    char reply[LINES_LIMIT + 2]; /* "+" and a line, or "-" and why; and one byte too many */
};

/* Reports a failure, and counts it: it does not end the other connections. Returns -1. */
static int fail(const char *what, int error) {
    failures++;
    if (error)
        fprintf(stderr, "client: %s: %s (%s)\n", what, strerror(error), errno_name(error));
    else
        fprintf(stderr, "client: %s\n", what);
    return -1;
}

/* ---- a connection: code of its thread ---- */

/* Returns 0; or -1, with the reason in why (WHY_TEXT bytes) and errno. */
static int conn_open(struct conn *c, char *why) {
    c->fd = connect_to(address, port, why);
    return c->fd < 0 ? -1 : 0;
}

/* Sends all, in spite of signals. Returns 0, or an error number. */
static int conn_send(const struct conn *c, const char *data, size_t size) {
    size_t sent = 0;
    while (send_all(c->fd, data, size, &sent, -1) < 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* Reads one line into c->reply. Returns its size, or -1, already reported. */
static ssize_t read_reply(struct conn *c) {
    size_t received = 0;
    ssize_t length = 0;
    while (length == 0) {
        ssize_t n = recv(c->fd, c->reply + received, sizeof c->reply - received, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail("no reply: recv", errno);
        if (n == 0)
            return fail("the server closed without a reply", 0);
        received += (size_t)n;
        length = line_length(c->reply, received, sizeof c->reply);
    }
    if (length != (ssize_t)received)
        return fail("more than one reply to one line", 0);
    return length;
}

/* Returns whether the reply is "+" and the line. */
static int is_echo(const char *reply, size_t reply_size, const char *line, size_t size) {
    return reply_size == size + 1 && reply[0] == '+' && memcmp(reply + 1, line, size) == 0;
}

/* Sends a line, checks its reply and prints it. Returns 0, or -1, already reported. */
static int exchange(struct conn *c, const char *line, size_t size) {
    int send_error = conn_send(c, line, size);
    ssize_t reply_size = read_reply(c); /* also if send has failed: the reply may say why */
    if (reply_size < 0)
        return -1;
    if (c->reply[0] == '-') {
        c->reply[reply_size - 1] = '\0';
        return fail(c->reply, 0);
    }
    if (send_error)
        return fail("send", send_error);
    if (!is_echo(c->reply, (size_t)reply_size, line, size))
        return fail("the reply does not fit the line sent", 0);
    replies++;
    if (fwrite(c->reply, 1, (size_t)reply_size, stdout) != (size_t)reply_size)
        return fail("stdout", errno);
    return 0;
}

/* Sends text (size bytes, the last of them a newline) line by line. Returns 0, or -1, already
 * reported. */
static int exchange_lines(struct conn *c, const char *text, size_t size) {
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = (size_t)(newline - text) + 1;
        if (exchange(c, text, length) < 0)
            return -1;
        text += length;
        size -= length;
    }
    return 0;
}

/* ---- many connections: the messages over each of them ---- */

static void send_messages(struct conn *c) {
    for (char **message = messages; *message; message++) {
        if (exchange_lines(c, *message, strlen(*message)) < 0)
            return;
    }
}

/* A thread. The barrier holds it until all others have connected, or failed to. */
static void *converse(void *conn) {
    struct conn *c = conn;
    char why[WHY_TEXT];
    if (conn_open(c, why) < 0)
        fail(why, errno);
    pthread_barrier_wait(&all_connected);
    if (c->fd >= 0) {
        send_messages(c);
        close(c->fd);
    }
    return NULL;
}

/* Allows as many descriptors as the user may have (getrlimit(2)). */
static void raise_descriptor_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void run_connections(void) {
    struct conn *conns = calloc((size_t)connections, sizeof *conns);
    raise_descriptor_limit();
    if (!conns || pthread_barrier_init(&all_connected, NULL, (unsigned)connections) != 0)
        die("no memory for the connections", 0);
    for (long i = 0; i < connections; i++) {
        int error = pthread_create(&conns[i].thread, NULL, converse, &conns[i]);
        if (error) /* without this thread, the others would wait at the barrier for ever */
            die("cannot start a thread for each connection", error);
    }
    for (long i = 0; i < connections; i++)
        pthread_join(conns[i].thread, NULL);
    pthread_barrier_destroy(&all_connected);
    free(conns);
    if (connections > 1)
        fprintf(stderr, "%ld connections, %ld replies, %ld failures\n", connections, (long)replies,
                (long)failures);
}

/* ---- one connection: the lines of stdin ---- */

/* Shows the prompt, if a user types. Returns 0, or -1, already reported. */
static int show_prompt(void) {
    if (isatty(STDIN_FILENO))
        printf("> ");
    if (fflush(stdout) != 0)
        return fail("stdout", errno);
    return 0;
}

/* Reads a line into *line, as getline(3) does, and adds a newline if the last line has none.
 * Returns its size; or -1 at the end of the file, after `exit` or `q`, or after an error, already
 * reported. */
static ssize_t read_line(char **line, size_t *capacity) {
    ssize_t n = getline(line, capacity, stdin);
    if (n < 0) {
        if (!feof(stdin)) /* a read error, or no memory for a line */
            fail("stdin", errno);
        return -1;
    }
    if ((*line)[n - 1] != '\n') {
        (*line)[n] = '\n'; /* replaces the '\0' */
        n++;
    }
    if (strncmp(*line, "exit\n", 5) == 0 || strncmp(*line, "q\n", 2) == 0)
        return -1;
    return n;
}

static void talk_from_stdin(void) {
    static struct conn c;
    char why[WHY_TEXT];
    char *line = NULL;
    size_t capacity = 0;
    if (conn_open(&c, why) < 0)
        die(why, errno);
    while (show_prompt() == 0) {
        ssize_t size = read_line(&line, &capacity);
        if (size < 0 || exchange_lines(&c, line, (size_t)size) < 0)
            break;
    }
    free(line);
    close(c.fd);
}

/* ---- the start ---- */

/* Returns a copy of a message, with a newline at its end. */
static char *with_newline(const char *message) {
    char *line = malloc(strlen(message) + 2);
    if (!line)
        die("no memory for the messages", 0);
    sprintf(line, "%s\n", message);
    return line;
}

static void take_messages(char **arguments, int count) {
    messages = calloc((size_t)count + 1, sizeof *messages);
    if (!messages)
        die("no memory for the messages", 0);
    for (int i = 0; i < count; i++)
        messages[i] = with_newline(arguments[i]);
}

static void free_messages(void) {
    for (char **message = messages; *message; message++)
        free(*message);
    free(messages);
}

/* Returns -1: go on; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:c:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'c': connections = number_arg(usage, 'c', optarg, 1, CONNECTIONS_MAX); break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (optind == argc && connections > 1)
        usage_error(usage, "-c needs a MESSAGE");
    return -1;
}

int main(int argc, char **argv) {
    reset_inherited();
    signal(SIGPIPE, SIG_IGN); /* if nobody reads our stdout any more, we say so */
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    take_messages(argv + optind, argc - optind);
    if (*messages)
        run_connections();
    else
        talk_from_stdin();
    free_messages();
    if (fflush(stdout) != 0)
        die("stdout", errno);
    return failures > 0; /* including replies that could not be printed */
}
