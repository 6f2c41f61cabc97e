/* 07-chat/server.c: a chat room. The first line is a name; then each line reaches everyone else.
 *
 * Teaches: fan-out: one message, many owners, one write for each receiver; readers slower than the
 *   writers: bounded queues, back-pressure for a moment, then dropping; not to trust what is sent.
 * New since 06: clients that talk to each other, so that one may bring about the end of another.
 *   The room, room.h, has no sockets. The loop does something after each batch (attend).
 * Run: ./server -v    and ./client -n ann, or nc 127.0.0.1 9007
 * Try to break it: ./server -r 0, one who sends 200,000 lines, one who never reads: nc … | sleep 99
 * Still wrong: everything travels in the clear, and any name is free to take (08).
 */
#include "loop.h"
#include "room.h"
#include <limits.h>
#include <netinet/tcp.h>

enum { NAME_MS = 10000, PAUSE_MS = 30, TICK_MS = 50, STOP_MS = 1500, READ_ROOM = 8192 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-m N] [-r LINES] [-k N] [-v]\n"
    "  -a ADDR   name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT   0 to 65535; 0 takes a free one (9007)\n"
    "  -m N      at most N people, 1 to 2000 (1000)\n"
    "  -r LINES  a second from each, and twice that at once, 1 to 1000 (20); 0: any number\n"
    "  -k N      newcomers see the last N messages, 0 to 1000 (20); 64 KiB at most\n"
    "  -v        say on stderr who comes and goes\n";
static int signal_fd, verbose;
static long long stop_at; /* 0: serve; else finish what is owed until then, by now_ms */
static struct room room;
static struct timeouts naming, pauses, linger, tick;
static struct timeout look; /* the only one in tick */

struct conn {
    struct watcher watcher;
    struct timeout timeout; /* at the door: naming; inside: a pause, or none; outside: linger */
    struct member member;   /* what it sent and what it is owed */
    int fd, half_closed;
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};
/* The connection of which this is a part. */
#define CONN_OF(at, part) ((struct conn *)(void *)((char *)(at)-offsetof(struct conn, part)))

/* ---- connections: handlers fill queues; attend empties them: after a batch, at MUST_SEND ---- */

static char input[READ_ROOM]; /* shared: empty between two handlers */

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        fprintf(stderr, "%s %s\n", address_text(&c->peer, sizeof c->peer, text), what);
}

/* At once; only the memory stays until the batch is over. Who was cut has missed lines: so no FIN,
 * "that was all", but a reset; after it the kernel keeps nothing for it (socket(7), SO_LINGER). */
static void conn_close(struct conn *c, const char *why) {
    const struct linger reset = {.l_onoff = 1};
    log_peer(c, why);
    if (c->member.cut)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    room_forget(&room, &c->member, why);
    timeout_cancel(&c->timeout);
    loop_release(&c->watcher);
}

/* It is told what it is owed, and then that this is the end. */
static void conn_leave(struct conn *c) {
    room_leave(&room, &c->member, NULL);
    timeout_restart(&linger, &c->timeout);
}

/* All that is ready leaves in one call. After the last word a FIN, then discard until the peer's,
 * or LINGER_MS without progress: the last word must not meet a reset. */
static void on_writable(struct conn *c) {
    static struct iovec owed[IOV_MAX];
    struct msghdr message = {.msg_iov = owed, .msg_iovlen = room_owed(&c->member, owed, IOV_MAX)};
    ssize_t n = message.msg_iovlen ? sendmsg(c->fd, &message, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_close(c, "connection lost");
        return;
    }
    room_sent(&room, &c->member, n > 0 ? (size_t)n : 0);
    if (c->member.place == OUTSIDE && n > 0)
        timeout_restart(&linger, &c->timeout);
    if (c->member.place == OUTSIDE && !c->member.queue.count && !c->half_closed) {
        shutdown(c->fd, SHUT_WR);
        c->half_closed = 1;
    }
}

/* Inside, it is heard unless it has a pause; outside, when it has been told everything. */
static uint32_t wish(const struct conn *c) {
    int heard = c->member.place == OUTSIDE ? c->half_closed
                                           : c->member.place == AT_THE_DOOR || !c->timeout.next;
    return (heard ? EPOLLIN : 0) | (c->member.queue.count ? EPOLLOUT : 0);
}

/* Everyone for whom there is something to do: sends, once to each, what the batch has brought, and
 * closes whom the room has cut. The notice of that puts the others in line again: no recursion, and
 * it ends, as nobody is cut twice. */
static void attend(void) {
    for (struct member *m; (m = room_next(&room));) {
        struct conn *c = CONN_OF(m, member);
        if (c->watcher.on_event) /* else it is closed already */
            m->cut ? conn_close(c, m->cut) : on_writable(c);
        if (c->watcher.on_event && loop_watch(&c->watcher, c->fd, wish(c)) < 0)
            conn_close(c, "out of memory");
    }
}

/* The room hears what it has not heard yet, and n new bytes, which stand in input behind it. While
 * somebody lags, a pause follows, so that a flood does not outrun quick readers too (queue.h). */
static void hear(struct conn *c, size_t n) {
    struct member *m = &c->member;
    size_t size = m->kept_size + n, at = 0, used;
    enum heard heard;
    if (m->kept)
        memcpy(input, m->kept, m->kept_size);
    while ((heard = room_hear(&room, m, input + at, size - at, loop_now, &used)) == MUST_SEND) {
        at += used;
        attend(); /* may close anyone, this one too: then it has LEFT */
    }
    at += used;
    if (!c->watcher.on_event || m->cut)
        return;
    room_attend(&room, m); /* only now: what follows changes its wish */
    room_keep(&room, m, input + at, heard == LEFT ? 0 : size - at);
    if (heard == LEFT)
        conn_leave(c);
    else if (m->place == INSIDE && (heard == MUST_WAIT || (n && room.lagging)))
        timeout_restart(&pauses, &c->timeout);
    else if (m->place == INSIDE)
        timeout_cancel(&c->timeout);
}

static void on_readable(struct conn *c) {
    ssize_t n = recv(c->fd, input + c->member.kept_size, READ_ROOM - c->member.kept_size, 0);
    if (n > 0 && !c->half_closed) /* else nobody hears it any more */
        hear(c, (size_t)n);
    else if (n == 0 && !c->half_closed)
        conn_leave(c);
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(c, n == 0 ? "closed" : "connection lost");
}

static void on_conn_event(struct watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    room_attend(&room, &c->member); /* an error or a hang-up is what send or recv will report */
    if ((events & ~(uint32_t)EPOLLOUT) && (w->events & EPOLLIN) && !c->member.cut)
        on_readable(c);
}

/* Keep-alive, so that who is cut off without a word does not stay for ever (03). The kernel would
 * take megabytes for one that does not read; NOTSENT_LOWAT makes it 128 KiB (tcp(7)). */
static void set_options(int fd) {
    static const int options[][3] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                                     {SOL_SOCKET, SO_KEEPALIVE, 1},
                                     {IPPROTO_TCP, TCP_KEEPIDLE, 60},
                                     {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 128 * 1024}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        setsockopt(fd, options[i][0], options[i][1], &options[i][2], sizeof(int));
}

/* Takes over a new, non-blocking socket. Without memory for it, it alone is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct conn){.watcher.on_event = on_conn_event, .fd = fd, .peer = *peer};
    set_options(fd);
    log_peer(c, "connected");
    room_arrive(&room, &c->member);
    timeout_restart(c->member.place == AT_THE_DOOR ? &naming : &linger, &c->timeout);
}

/* ---- the loop ---- */

static void on_no_name(struct timeout *t) {
    struct conn *c = CONN_OF(t, timeout);
    room_tell(&room, &c->member, compose(&room, "-no name within %d seconds\n", NAME_MS / 1000));
    conn_leave(c);
}

static void on_pause_over(struct timeout *t) {
    hear(CONN_OF(t, timeout), 0);
}

static void on_lingered(struct timeout *t) {
    conn_close(CONN_OF(t, timeout), "closed");
}

/* Everyone inside is told. Who is still at the door goes without a word. */
static void say_goodbye(void) {
    room_notice(&room, compose(&room, "* server is closing\n"));
    room.closing = 1;
    while (room.list.after != &room.list)
        conn_leave(CONN_OF(room.list.after, member));
    for (struct timeout *t; (t = timeouts_first(&naming));)
        conn_leave(CONN_OF(t, timeout));
}

/* Asked to stop, one tick ago or more: what had come before that has been heard. */
static void on_tick(struct timeout *t) {
    if (!room.closing)
        say_goodbye();
    loop_stopped = !timeouts_first(&linger) || loop_now >= stop_at;
    timeout_restart(&tick, t);
}

static void on_signal(struct watcher *w, uint32_t events) {
    (void)events;
    loop_watch(w, signal_fd, 0); /* one is enough */
    loop_accept_no_more();
    stop_at = loop_now + STOP_MS;
    timeout_restart(&tick, &look);
}
static struct watcher signals = {.on_event = on_signal};

static void serve(int listener) {
    loop_open();
    loop_after_batch = attend;
    signal_fd = loop_watch_signals(&signals, SIGINT, SIGTERM);
    timeouts_open(&naming, NAME_MS, on_no_name);
    timeouts_open(&pauses, PAUSE_MS, on_pause_over);
    timeouts_open(&linger, LINGER_MS, on_lingered);
    timeouts_open(&tick, TICK_MS, on_tick);
    loop_accept(listener, conn_open);
    announce(listener);
    loop_run();
    for (struct timeout *t; (t = timeouts_first(&linger));)
        conn_close(CONN_OF(t, timeout), "closed: we are to stop");
    room_close(&room);
    loop_close();
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9007";
    unsigned most = 1000, rate = 20, keep = 20;
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:m:r:k:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'm': most = (unsigned)number_arg(usage, 'm', optarg, 1, PEOPLE_MOST); break;
        case 'r': rate = (unsigned)number_arg(usage, 'r', optarg, 0, 1000); break;
        case 'k': keep = (unsigned)number_arg(usage, 'k', optarg, 0, HISTORY_MOST); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    room_open(&room, most, keep, rate);
    serve(listener);
    return 0;
}
