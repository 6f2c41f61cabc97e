/* 05-select/server.c: the line service in one thread: whoever is ready is served.
 *
 * Teaches: non-blocking sockets; select; a state for each connection instead of a thread; to read
 *   only while nothing is owed, so that a slow reader takes bounded memory and nobody's time.
 * New since 04: no threads, no locks; handlers that never wait, and leave their wish in `want`.
 * Run: ./server -v    and ./client in as many terminals as you like
 * Try to break it: 1,100 clients; a client that never reads; bytes one at a time.
 * Still wrong: no descriptor from FD_SETSIZE on fits; every call walks every descriptor (06).
 */
#include "lines.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/select.h>

enum { PAUSE_MS = 100, TICK_MS = 10, STOP_MS = 900, SPARE = 16, ROOM = FD_SETSIZE - SPARE };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9005)\n"
    "  -i SECONDS  close a connection on which nothing happened for that long (60)\n"
    "  -v          say on stderr who comes and goes\n";
static int listener, idle_ms = 60000, verbose;
static long long stop_at; /* 0: serve; else finish what is owed until then, by now_ms */

struct conn { /* its buffers exist only while they hold something */
    int fd;
    enum { WANT_READ, WANT_WRITE } want; /* never both: while a reply is stuck, we do not read */
    enum { OPEN, LAST_WORDS, HALF_CLOSED } state; /* half-close once out is empty; that is done */
    unsigned in_size, out_size;
    char *in;                 /* the beginning of a line, room for LINE_LIMIT bytes; or NULL */
    char *out;                /* owed, at most REPLY_ROOM bytes; or NULL */
    long long deadline;       /* by now_ms: idle for too long */
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};
static int loop_add(struct conn *c);              /* starts to watch it; -1: no room */
static void loop_forget(struct conn *c);          /* closed: lets go of it */
static void loop_restart_timeout(struct conn *c); /* something has happened on it */

/* ---- connections: this part is the same in 05 and 06 ---- */

static char line_room[LINE_LIMIT], reply_room[REPLY_ROOM]; /* shared: empty between two handlers */

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        fprintf(stderr, "%s %s\n", address_text(&c->peer, sizeof c->peer, text), what);
}

/* After this c is no more: the handler that calls it does so last. */
static void conn_close(struct conn *c, const char *how) {
    log_peer(c, how);
    close(c->fd);
    free(c->in);
    free(c->out);
    loop_forget(c);
}

/* Takes over a new, non-blocking socket. Without memory for it, it alone is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct conn){.fd = fd, .peer = *peer};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    log_peer(c, "connected");
    if (loop_add(c) < 0)
        conn_close(c, strerror(errno));
}

/* The last reply must not meet a reset: send FIN, then discard until the peer's, or LINGER_MS. */
static void conn_half_close(struct conn *c) {
    shutdown(c->fd, SHUT_WR);
    c->state = HALF_CLOSED;
    loop_restart_timeout(c);
}

/* Sends what the kernel takes of data and keeps the rest. Calls conn_close at an error. */
static void conn_send(struct conn *c, const char *data, size_t size) {
    ssize_t n = size ? send(c->fd, data, size, MSG_NOSIGNAL) : 0;
    int failed = n < 0 && errno != EAGAIN && errno != EINTR;
    c->out_size = (unsigned)(n > 0 ? size - (size_t)n : size);
    c->want = c->out_size ? WANT_WRITE : WANT_READ;
    if (failed || keep_rest(&c->out, c->out_size, data + size - c->out_size, c->out_size) < 0)
        conn_close(c, strerror(errno));
    else if (!c->out && c->state == LAST_WORDS)
        conn_half_close(c);
}

/* One recv, and one send of all replies to it. */
static void on_readable(struct conn *c) {
    char *room = c->in ? c->in : line_room;
    size_t replies;
    ssize_t n = recv(c->fd, room + c->in_size, LINE_LIMIT - c->in_size, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(c, n == 0 ? "closed" : strerror(errno));
    if (n <= 0 || c->state == HALF_CLOSED) /* closed; nothing there; nobody to read it */
        return;
    loop_restart_timeout(c);
    size_t size = c->in_size + (size_t)n;
    ssize_t used = answer_lines(room, size, reply_room, &replies);
    c->state = used < 0 ? LAST_WORDS : OPEN;
    c->in_size = used < 0 ? 0 : (unsigned)(size - (size_t)used);
    if (keep_rest(&c->in, LINE_LIMIT, room + size - c->in_size, c->in_size) < 0)
        conn_close(c, strerror(errno));
    else
        conn_send(c, reply_room, replies);
}

static void on_writable(struct conn *c) {
    loop_restart_timeout(c);
    conn_send(c, c->out, c->out_size);
}

/* Nothing has happened for too long. Who does not read, or has been told, is told no more. */
static void on_timeout(struct conn *c) {
    static const char refusal[] = "-idle for too long\n";
    if (c->state == HALF_CLOSED || c->out) {
        conn_close(c, "timed out");
    } else {
        c->state = LAST_WORDS;
        loop_restart_timeout(c);
        conn_send(c, refusal, sizeof refusal - 1);
    }
}

/* ---- the loop ---- */

static struct conn *conns[FD_SETSIZE]; /* by descriptor */
static int top;                        /* the highest descriptor; the listener's is the lowest */
static long long accept_at;            /* later than now: no descriptors were free */

static int loop_add(struct conn *c) {
    conns[c->fd] = c;
    top = c->fd > top ? c->fd : top;
    loop_restart_timeout(c);
    return 0;
}

static void loop_forget(struct conn *c) {
    conns[c->fd] = NULL;
    while (top > listener && !conns[top])
        top--;
    free(c);
}

static void loop_restart_timeout(struct conn *c) {
    c->deadline = now_ms() + (c->state == HALF_CLOSED ? LINGER_MS : idle_ms);
}

/* FD_SET(fd) sets bit fd of FD_SETSIZE bits and checks nothing: a larger one would be written past
 * the end. main has seen to it that none is larger; the last few are for those who get a refusal,
 * which has to linger as any last reply does. */
static void on_acceptable(void) {
    static const char refusal[] = "-too many clients\n";
    struct sockaddr_in6 peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        conn_open(fd, &peer);
        if (fd >= ROOM && conns[fd]) {
            conns[fd]->state = LAST_WORDS;
            conn_send(conns[fd], refusal, sizeof refusal - 1);
        }
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        accept_at = now_ms() + PAUSE_MS; /* no descriptors, no memory: new clients wait */
    }
}

/* Fills the sets, which each call of select overwrites. Returns how many ms it may wait. */
static long long loop_prepare(fd_set *reading, fd_set *writing) {
    long long now = now_ms(), until = now + (stop_at ? TICK_MS : 3600000);
    FD_ZERO(reading);
    FD_ZERO(writing);
    if (!stop_at && accept_at <= now)
        FD_SET(listener, reading);
    else if (!stop_at)
        until = accept_at;
    for (int fd = 0; fd <= top; fd++)
        if (conns[fd]) {
            FD_SET(fd, conns[fd]->want == WANT_READ ? reading : writing);
            until = conns[fd]->deadline < until ? conns[fd]->deadline : until;
        }
    return until > now ? until - now : 0;
}

/* A handler closes its own connection only, and accept comes last: so nobody new has got a number
 * that select reported for somebody else. */
static void loop_dispatch(const fd_set *reading, const fd_set *writing) {
    long long now = now_ms();
    for (int fd = 0; fd <= top; fd++) {
        struct conn *c = conns[fd];
        if (c && FD_ISSET(fd, writing))
            on_writable(c);
        else if (c && FD_ISSET(fd, reading))
            on_readable(c);
        else if (c && c->deadline <= now)
            on_timeout(c);
        else if (c && stop_at && c->state == OPEN && !c->out) /* nothing came, nothing is owed */
            conn_half_close(c);
    }
    if (!stop_at && FD_ISSET(listener, reading))
        on_acceptable();
}

/* Until a signal comes (an alarm a second later, if it came just before select began to wait), and
 * then until all who have something to say have been heard, or STOP_MS. */
static void loop_run(void) {
    while (!stop_at || (top > listener && now_ms() < stop_at)) {
        fd_set reading, writing;
        long long ms = loop_prepare(&reading, &writing);
        struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
        if (select(top + 1, &reading, &writing, NULL, &wait) >= 0)
            loop_dispatch(&reading, &writing);
        if (stopping && !stop_at) {
            stop_at = now_ms() + STOP_MS;
            close(listener);
        }
    }
    while (top > listener)
        conn_close(conns[top], "cut off: we are to stop");
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9005";
    struct rlimit files = {0};
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:i:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'i': idle_ms = 1000 * (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    stop_on_signals();
    getrlimit(RLIMIT_NOFILE, &files); /* as many as may be, and fit, and no more */
    files.rlim_cur = files.rlim_max < FD_SETSIZE ? files.rlim_max : FD_SETSIZE;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("setrlimit", errno);
    top = listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    set_nonblocking(listener);
    announce(listener);
    loop_run();
    return 0;
}
