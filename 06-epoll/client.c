/* 06-epoll/client.c: the kit's load generator; without load options it talks, as the others do.
 *
 * Teaches: the loop from the other side: connect without waiting (EINPROGRESS, SO_ERROR), a bounded
 *   number of handshakes at a time; percentiles, not a mean; every reply checked to the byte.
 * New since 05: ten thousand connections, 72 bytes each; what they say is in load.h.
 * Run: ./client -c 10000 -n 200000    ./client -c 50 -P 16 -d 5    ./client hello    ./client
 * Try to break it: stop the server in mid-run; prlimit --nofile=100; point it at 01, or at 05.
 * Still wrong: a server that stalls is asked less, which flatters it (coordinated omission).
 */
#include "lines.h"
#include "load.h"
#include "loop.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { HANDSHAKES = 256, OTHER_FILES = 16, TICK_MS = 1000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "       client [-a ADDR] [-p PORT] [-c N] [-n N] [-P N] [-s N] [-d N]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9006)\n"
    "Sends each MESSAGE, or the lines of its standard input (`exit` or `q` ends them); or load:\n"
    "  -c N     connections (50)\n"
    "  -n N     requests in total (100000)\n"
    "  -P N     requests that a connection sends together, before it waits (1)\n"
    "  -s N     bytes of a line with its newline (16)\n"
    "  -d N     go on for N seconds, instead of -n\n";
static long count = 50, seconds, patience = 10; /* patience: seconds in which nothing comes */
static struct load load = {.left = 100000, .at_once = 1, .line_size = 16};

struct conn {
    struct watcher watcher;
    int fd;
    struct batch batch;
    long long sent_at;
};
static struct conn *conns;
static long begun, connecting, connected;
static long long started, deadline, last_news; /* by now_ns; 0: not yet */
static struct sockaddr_storage server;
static socklen_t server_size = sizeof server;
static struct timeouts seconds_timer;
static struct timeout tick; /* the only one in it */
static int signal_fd;

/* ---- a connection ---- */

/* Its memory stays, so a stale event finds no handler. */
static void conn_close(struct conn *c) {
    load_drop(&load, &c->batch);
    close(c->fd);
    c->watcher.on_event = NULL;
}

/* Ends this connection only. What is not asked yet, the others ask. */
static void conn_fail(struct conn *c, enum trouble kind, const char *what, int error) {
    load_trouble(&load, kind, what, error);
    conn_close(c);
}

/* One send: the whole batch, or what the kernel takes, wherever that ends. */
static void on_writable(struct conn *c) {
    struct batch *b = &c->batch;
    size_t rest = b->lines * load.line_size - b->sent, size = rest < CHUNK ? rest : CHUNK;
    ssize_t n = send(c->fd, load_text(&load, b, 0, b->sent, size), size, MSG_NOSIGNAL);
    uint32_t wish = EPOLLIN | (n < (ssize_t)rest ? EPOLLOUT : 0);
    b->sent += n > 0 ? (size_t)n : 0;
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || loop_watch(&c->watcher, c->fd, wish) < 0)
        conn_fail(c, LOST, "send", errno);
}

/* When all are asked, it goes if others still wait for their first reply: their server may serve
 * few at a time. Else it stays: no close is to fall into the time that is measured. */
static void conn_ask(struct conn *c, long long now) {
    if (seconds && now >= deadline)
        load.left = 0;
    c->sent_at = now;
    if (load_ask(&load, &c->batch) > 0)
        on_writable(c);
    else if (load.unheard > 0 && c->batch.first > 0)
        conn_close(c);
}

/* One recv: the replies to several lines, or a piece of one. */
static void on_readable(struct conn *c) {
    static char replies[CHUNK];
    ssize_t n = recv(c->fd, replies, sizeof replies, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    last_news = now_ns();
    if (n <= 0)
        conn_fail(c, LOST, n < 0 ? "recv" : "the server closed the connection", n < 0 ? errno : 0);
    else if (load_take(&load, &c->batch, replies, (size_t)n, last_news - c->sent_at) < 0)
        conn_close(c);
    else if (load_answered(&load, &c->batch) == c->batch.lines)
        conn_ask(c, last_news);
}

/* Reads first: a server that cannot send does not read what we send. */
static void on_conn_event(struct watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    events == EPOLLOUT ? on_writable(c) : on_readable(c);
    loop_stopped |= started && !load.waiting;
}

/* The clock starts when all are connected that could be. */
static void start_clock(void) {
    printf("connections %ld\n", connected);
    fflush(stdout);
    started = last_news = now_ns();
    load.left = seconds ? LONG_MAX : load.left;
    deadline = started + seconds * 1000000000LL;
    for (struct conn *c = conns; c < conns + count; c++)
        if (c->watcher.on_event)
            conn_ask(c, now_ns());
    loop_stopped |= !load.waiting;
}

static void connect_more(void);

/* The handshake is over; SO_ERROR says how (connect(2), EINPROGRESS). */
static void on_connected(struct watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    int error = 0;
    (void)events;
    connecting--;
    last_news = now_ns();
    w->on_event = on_conn_event;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (error || loop_watch(w, c->fd, EPOLLIN) < 0)
        conn_fail(c, UNCONNECTED, "connect", error ? error : errno);
    else
        connected++;
    connect_more();
}

/* So many at a time: what finds no room in a backlog is dropped, and comes again a second later. */
static void connect_more(void) {
    for (; begun < count && connecting < HANDSHAKES; begun++) {
        struct conn *c = &conns[begun];
        c->watcher.on_event = on_connected;
        c->batch.connection = (unsigned)begun;
        if (begun > 0)
            c->fd = socket(server.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int failed = c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, server_size) < 0;
        if ((failed && errno != EINPROGRESS && errno != EISCONN) ||
            loop_watch(&c->watcher, c->fd, EPOLLOUT) < 0)
            conn_fail(c, UNCONNECTED, "connect", errno);
        else
            connecting++;
    }
    if (begun == count && !connecting)
        start_clock();
}

/* Once a second: shows how far it is, and gives up when nothing has come for too long. */
static void on_tick(struct timeout *t) {
    long long now = now_ns();
    timeout_restart(&seconds_timer, t);
    if (isatty(STDERR_FILENO))
        load_progress(&load, connected, started ? now - started : 0);
    if (now - last_news > patience * 1000000000LL) {
        load_trouble(&load, started ? LOST : UNCONNECTED, "nothing has come for too long", 0);
        loop_stopped = 1;
    }
}

/* Asks no more, and waits for what is owed, but not long; at the second signal: not at all. */
static void on_signal(struct watcher *w, uint32_t events) {
    char number;
    (void)w, (void)events;
    if (read(signal_fd, &number, 1) < 0)
        return;
    loop_stopped |= !started || patience == 1;
    load.left = 0;
    patience = 1;
}
static struct watcher signals = {.on_event = on_signal};

static void generate_load(int fd) {
    struct rlimit files = {0};
    loop_open();
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < (rlim_t)count + OTHER_FILES)
        die("-c: this user may not have so many descriptors (`ulimit -Hn`)", 0);
    if (!(conns = calloc((size_t)count, sizeof *conns)))
        die("no memory for the connections", 0);
    load_begin(&load);
    signal_fd = loop_watch_signals(&signals, SIGINT, SIGTERM);
    timeouts_open(&seconds_timer, TICK_MS, on_tick);
    timeout_restart(&seconds_timer, &tick);
    getpeername(fd, (struct sockaddr *)&server, &server_size);
    set_nonblocking(fd);
    conns[0].fd = fd; /* connected already: EISCONN will say so */
    connect_more();
    loop_run();
    load_print(&load, started ? now_ns() - started : 0);
    free(conns);
    if (*load.why || load.asked > load.times.total)
        die(*load.why ? load.why : "stopped before all replies had come", 0);
}

/* Without load: one line, its reply, the next line. */
static void talk(int fd, char **messages) {
    static char reply[LINE_LIMIT + 3], *line; /* "+", a line, and the '\0' of fgets */
    FILE *input = *messages ? tmpfile() : stdin, *replies = fdopen(fd, "r");
    size_t room = 0;
    for (char **m = messages; *m && input; m++)
        fprintf(input, "%s\n", *m);
    if (!input || !replies || (*messages && (ferror(input) || fseek(input, 0, SEEK_SET) < 0)))
        die("no file for the messages", errno);
    for (ssize_t n;;) {
        if (isatty(fileno(input)))
            printf("> "), fflush(stdout);
        n = getline(&line, &room, input);
        if (n < 0 && !feof(input)) /* a read error, or no memory for a line */
            die("stdin", errno);
        if (n > 0 && line[n - 1] != '\n')
            line[n++] = '\n'; /* the last line has none; this is where its '\0' was */
        if (n < 0 || (!*messages && (!strncmp(line, "exit\n", 5) || !strncmp(line, "q\n", 2))))
            break;
        int error = send_all(fd, line, (size_t)n, -1) < 0 ? errno : 0;
        if (!fgets(reply, sizeof reply, replies)) /* even so: it may say why */
            die("the server gives no reply", error ? error : ferror(replies) ? errno : 0);
        if (*reply != '+' || n > LINE_LIMIT || memcmp(reply + 1, line, (size_t)n) != 0)
            die(*reply == '-' ? strtok(reply, "\n") : "the reply does not fit the line sent", 0);
        if (fwrite(reply, 1, (size_t)n + 1, stdout) < (size_t)n + 1 || fflush(stdout) != 0)
            die("stdout", errno);
    }
    fclose(input), fclose(replies), free(line);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9006";
    char why[WHY_TEXT];
    int loading = 0;
    for (int option; (option = getopt(argc, argv, "+a:p:c:n:P:s:d:h")) != -1;) {
        loading |= strchr("cnPsd", option) != NULL;
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'c': count = number_arg(usage, 'c', optarg, 1, 60000); break;
        case 'n': load.left = number_arg(usage, 'n', optarg, 1, 1000000000); break;
        case 'P': load.at_once = number_arg(usage, 'P', optarg, 1, 10000); break;
        case 's': load.line_size = (size_t)number_arg(usage, 's', optarg, 2, LINE_LIMIT); break;
        case 'd': seconds = number_arg(usage, 'd', optarg, 1, 86400); break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    }
    if (loading && optind < argc)
        usage_error(usage, "a MESSAGE or load, not both");
    int fd = connect_to(address, port, why);
    if (fd < 0)
        die(why, errno);
    loading ? generate_load(fd) : talk(fd, argv + optind);
    return 0;
}
