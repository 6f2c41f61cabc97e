/* 07-chat/server.c: a chat room. The first line is a name; then each line reaches everyone else.
 *
 * Teaches: fan-out: one message, many owners, one write for each receiver; readers slower than the
 *   writers: bounded queues, back-pressure for a moment, then dropping; not to trust what is sent.
 * New since 06: clients that talk to each other, so that one may bring about the end of another.
 *   The room has no sockets (room.h, members.h, input.h); after each batch, flush_pending sends
 *   what is in its queues.
 * Run: ./server -v    and ./client -n ann, or nc 127.0.0.1 9007
 * Try to break it: ./server -r 0, a member that sends 200,000 lines, one that never reads.
 * Still wrong: everything travels in the clear, and any name is free to take (08).
 */
#include "../util.h"
#include "accept.h"
#include "input.h"
#include "log.h"
#include "loop.h"
#include "members.h"
#include "room.h"
#include "text.h"
#include <limits.h>
#include <netinet/tcp.h>
#include <stddef.h>

enum {
    NAME_MS = 10000, /* how long a client may take to say its name */
    PAUSE_MS = 30,
    STOP_TICK_MS = 50,
    STOP_MS = 1500,
    INPUT_SIZE = 8192,            /* bytes that are read at a time */
    UNSENT_IN_KERNEL = 128 * 1024 /* bytes; without this limit, the kernel would take megabytes */
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-m N] [-r LINES] [-k N] [-t SECONDS] [-v]\n"
    "  -a ADDR   name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT   0 to 65535; 0 takes a free one (9007)\n"
    "  -m N      accept at most N people, 1 to 2000 (1000)\n"
    "  -r LINES  lines per second from each member, 1 to 1000 (20); 100 bytes count as one;\n"
    "            0: no limit, but readers slower than all speakers together are dropped\n"
    "  -k N      show newcomers the last N messages, 0 to 1000 (20); at most 64 KiB\n"
    "  -t SECONDS  remove a member whose machine has not answered for this long, 3 to 3600 (30)\n"
    "  -v        log on stderr who connects and who leaves\n";
static const char *address = "127.0.0.1";
static const char *port = "9007";
static unsigned members_max = 1000;
static unsigned rate = 20;
static unsigned history_max = 20;
static int vanished_seconds = 30;
static int verbose;

static struct room room;

struct conn {
    struct loop_watcher watcher; /* first: a watcher's address is its connection's */
    struct loop_timer timer;     /* of its pause; else, while unnamed: naming; outside: lingering */
    struct member member;        /* what it has sent, and what it is owed */
    int fd;
    int paused;             /* it has sent something that can be heard only after a pause */
    int half_closed;        /* FIN sent: discard input until the peer's FIN */
    const char *end_reason; /* why flush_pending is to close it; or NULL */
    struct conn *next_ended;
    int on_ended_list;
    struct sockaddr_in6 peer; /* or the shorter sockaddr_in */
};

static struct loop_timers naming, pauses, lingering, stop_ticks;
static struct loop_timer stop_timer; /* the only one in stop_ticks */
static long long stop_deadline;      /* on loop_now's clock; 0: nobody has asked us to stop */
static int stopped;

/* What a handler returns. CLOSE: flush_pending closes the connection after the batch. */
enum verdict { KEEP, CLOSE };

/* ---- connections: handlers fill queues, flush_pending empties them ---- */

static struct conn *ended; /* connections that a handler wants to be closed */

static struct conn *conn_of_member(struct member *m) {
    return (struct conn *)(void *)((char *)m - offsetof(struct conn, member));
}

static struct conn *conn_of_timer(struct loop_timer *t) {
    return (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
}

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        log_line("%s %s", address_text(&c->peer, sizeof c->peer, text), what);
}

/* Notes why the connection ends. Returns CLOSE, for the handler to return. */
static enum verdict conn_end(struct conn *c, const char *reason) {
    c->end_reason = reason;
    return CLOSE;
}

/* Lets the member leave: it is sent what it is owed, then FIN. */
static void conn_leave(struct conn *c) {
    members_leave(&room, &c->member, NULL);
    loop_timer_start(&lingering, &c->timer);
}

static void conn_half_close(struct conn *c) {
    shutdown(c->fd, SHUT_WR);
    c->half_closed = 1;
}

/* Sends all that is owed, in one call. Returns how many bytes the kernel has taken, or -1. */
static ssize_t send_owed(const struct conn *c) {
    static struct iovec pieces[IOV_MAX];
    const unsigned count = queue_pieces(&c->member.queue, pieces, IOV_MAX);
    /* msg_iovlen is a size_t in glibc, an int in musl, and each takes a short without a warning. */
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (unsigned short)count};
    if (count == 0)
        return 0;
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n;
}

/* After the last message comes a FIN; then the server discards until the peer's, or LINGER_MS
 * without progress: the last message must not meet a reset. */
static enum verdict on_writable(struct conn *c) {
    struct member *m = &c->member;
    ssize_t n = send_owed(c);
    if (n < 0)
        return conn_end(c, "connection lost");
    room_sent(&room, m, (size_t)n);
    if (m->state != ROOM_OUTSIDE)
        return KEEP;
    if (n > 0)
        loop_timer_start(&lingering, &c->timer);
    if (m->queue.count == 0 && !c->half_closed)
        conn_half_close(c);
    return KEEP;
}

/* Starts the pause after which the rest of its input is heard. */
static void conn_pause(struct conn *c) {
    c->paused = 1;
    loop_timer_start(&pauses, &c->timer);
}

/* Ends a pause: starts the timeout that belongs to the member's state. */
static void conn_resume(struct conn *c) {
    c->paused = 0;
    loop_timer_stop(&c->timer);
    if (c->member.state == ROOM_UNNAMED)
        loop_timer_start(&naming, &c->timer);
}

static void send_pending(void);

static char input_buffer[INPUT_SIZE]; /* shared: it holds nothing between two handlers */

/* Hears what was kept of the member's input, and n new bytes, which stand behind it in
 * input_buffer; keeps what cannot be heard yet. A read that brings more than the queues should take
 * at once is interrupted, between two lines, to send what is pending. */
static enum input_result hear_input(struct conn *c, size_t n) {
    struct member *m = &c->member;
    size_t size = m->input_size + n;
    size_t heard = 0;
    size_t used;
    if (m->input)
        memcpy(input_buffer, m->input, m->input_size);
    enum input_result result = input_hear(&room, m, input_buffer, size, loop_now(), &heard);
    while (result == INPUT_SEND_FIRST && !c->end_reason) {
        send_pending(); /* may mark this connection, too */
        result = input_hear(&room, m, input_buffer + heard, size - heard, loop_now(), &used);
        heard += used;
    }
    if (result == INPUT_LEFT || c->end_reason)
        heard = size; /* nobody hears the rest */
    input_keep(&room, m, input_buffer + heard, size - heard);
    return result;
}

/* Hears the input, then pauses if need be. While a member lags, everyone pauses after each read, so
 * that a flood does not outrun quick readers as well (queue.h). */
static void conn_hear(struct conn *c, size_t n) {
    struct member *m = &c->member;
    const enum input_result result = hear_input(c, n);
    if (c->end_reason || m->drop_reason)
        return;                  /* it is closed after the batch */
    room_mark_pending(&room, m); /* what follows changes its interest */
    if (result == INPUT_LEFT)
        conn_leave(c);
    else if (result == INPUT_TOO_EARLY)
        conn_pause(c);
    else if (m->state == ROOM_INSIDE && n > 0 && room.lagging > 0)
        conn_pause(c);
    else if (m->state == ROOM_INSIDE || c->paused)
        conn_resume(c);
}

static enum verdict on_readable(struct conn *c) {
    const size_t kept = c->member.input_size;
    ssize_t n = recv(c->fd, input_buffer + kept, INPUT_SIZE - kept, 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return conn_end(c, "connection lost");
    if (n == 0 && c->half_closed)
        return conn_end(c, "closed");
    if (n < 0 || c->half_closed) /* nothing there; or nobody hears it any more */
        return KEEP;
    if (n == 0)
        conn_leave(c);
    else
        conn_hear(c, (size_t)n);
    return KEEP;
}

static enum verdict on_name_timeout(struct conn *c) {
    room_tell(&room, &c->member, message_printf("-no name within %d seconds\n", NAME_MS / 1000));
    conn_leave(c);
    return KEEP;
}

/* ---- after the batch ---- */

/* A member is heard unless it pauses; outside, once it has been sent everything: until the peer's
 * FIN. */
static int is_heard(const struct conn *c) {
    if (c->member.state == ROOM_OUTSIDE)
        return c->half_closed;
    return !c->paused;
}

static enum verdict conn_update_interest(struct conn *c) {
    uint32_t interest = 0;
    if (is_heard(c))
        interest |= EPOLLIN;
    if (c->member.queue.count > 0)
        interest |= EPOLLOUT;
    if (loop_watch(&c->watcher, c->fd, interest) < 0)
        return conn_end(c, "out of memory");
    return KEEP;
}

/* Does what a handler has decided. It may be called for any connection at any time: the connection
 * is only marked. */
static void conn_update(struct conn *c, enum verdict verdict) {
    if (verdict == KEEP || c->on_ended_list)
        return;
    c->on_ended_list = 1;
    c->next_ended = ended;
    ended = c;
}

/* Does what there is to do for a pending member: sends, and waits for what it wants next. */
static enum verdict conn_flush(struct conn *c) {
    if (c->member.drop_reason)
        return conn_end(c, c->member.drop_reason);
    if (on_writable(c) == CLOSE)
        return CLOSE;
    return conn_update_interest(c);
}

/* Sends what the batch has brought, in one call for each member. */
static void send_pending(void) {
    struct member *m;
    while ((m = room_next_pending(&room)) != NULL) {
        struct conn *c = conn_of_member(m);
        if (!c->end_reason)
            conn_update(c, conn_flush(c));
    }
}

/* The only place where a connection is closed. It is freed when no event can point to it. A member
 * that was dropped has missed lines: so no FIN, which would say that this was all, but a reset;
 * after it the kernel keeps nothing for the peer (socket(7), SO_LINGER). */
static void conn_close(struct conn *c) {
    const struct linger reset = {.l_onoff = 1};
    log_peer(c, c->end_reason);
    if (c->member.drop_reason)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    loop_timer_stop(&c->timer);
    loop_close(&c->watcher, c->fd);
    members_forget(&room, &c->member, c->end_reason);
    loop_free(&c->watcher);
}

/* Sends what the batch has brought, and closes the connections that it has marked. The notices
 * about that make others pending again, so this is a loop. It ends, since no connection is marked
 * twice. */
static void flush_pending(void) {
    send_pending();
    while (ended) {
        struct conn *c = ended;
        ended = c->next_ended;
        conn_close(c);
        send_pending();
    }
}

/* ---- the loop ---- */

/* An error or a hang-up is reported by the send or recv that follows. */
static void on_conn_event(struct loop_watcher *w, uint32_t events) {
    struct conn *c = (struct conn *)w;
    const uint32_t input = events & ~(uint32_t)EPOLLOUT;
    if (c->end_reason || c->member.drop_reason)
        return; /* marked earlier in this batch */
    room_mark_pending(&room, &c->member);
    if (input && (w->interest & EPOLLIN))
        conn_update(c, on_readable(c));
}

static void on_naming_expired(struct loop_timer *t) {
    struct conn *c = conn_of_timer(t);
    conn_update(c, on_name_timeout(c));
}

/* The member's input may wait for hours, in the socket too, and recv gives out all of it before it
 * reports a reset, or that the machine has vanished. SO_ERROR knows at once (socket(7)). */
static void on_pause_over(struct loop_timer *t) {
    struct conn *c = conn_of_timer(t);
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        conn_update(c, conn_end(c, "connection lost"));
    else
        conn_hear(c, 0);
}

static void on_linger_expired(struct loop_timer *t) {
    struct conn *c = conn_of_timer(t);
    conn_update(c, conn_end(c, "closed"));
}

/* A member whose machine has vanished would keep its name. Keep-alive notices it while nothing is
 * sent (03): a probe after a third of the time, then more of them. USER_TIMEOUT notices it while
 * something is sent that nobody acknowledges, which otherwise takes a quarter of an hour
 * (tcp(7)). */
static void set_options(int fd) {
    const int third = vanished_seconds / 3;
    const int options[][3] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                              {SOL_SOCKET, SO_KEEPALIVE, 1},
                              {IPPROTO_TCP, TCP_KEEPIDLE, third},
                              {IPPROTO_TCP, TCP_KEEPINTVL, third},
                              {IPPROTO_TCP, TCP_KEEPCNT, 2},
                              {IPPROTO_TCP, TCP_USER_TIMEOUT, 1000 * vanished_seconds},
                              {IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        setsockopt(fd, options[i][0], options[i][1], &options[i][2], sizeof(int));
}

/* Takes over a new, non-blocking socket. Without memory for it, only this connection is closed. */
static void conn_open(int fd, const struct sockaddr_in6 *peer) {
    struct conn *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct conn){.watcher.on_event = on_conn_event, .fd = fd, .peer = *peer};
    set_options(fd);
    log_peer(c, "connected");
    members_arrive(&room, &c->member, pace_address_key(peer));
    if (c->member.state == ROOM_UNNAMED)
        loop_timer_start(&naming, &c->timer);
    else
        loop_timer_start(&lingering, &c->timer);
}

/* Lets everyone leave whose timer is in this queue. */
static void leave_all(const struct loop_timers *timers) {
    struct loop_timer *t;
    while ((t = loop_timers_first(timers)) != NULL)
        conn_leave(conn_of_timer(t)); /* moves it to lingering */
}

/* Tells everyone inside. Those without a name leave without a notice, also those whose name has to
 * wait: only they pause when all others have left. */
static void close_room(void) {
    room_notice(&room, message_printf("* server is closing\n"));
    room.closing = 1;
    while (room.inside.next != &room.inside)
        conn_leave(conn_of_member(room.inside.next));
    leave_all(&naming);
    leave_all(&pauses);
}

/* A signal has asked to stop, one tick ago or more. All input from before it has been heard. */
static void on_stop_tick(struct loop_timer *t) {
    if (!room.closing)
        close_room();
    if (!loop_timers_first(&lingering) || loop_now() >= stop_deadline)
        stopped = 1;
    loop_timer_start(&stop_ticks, t);
}

static void on_signal(int number) {
    (void)number;
    if (stop_deadline)
        return; /* one is enough */
    accept_stop();
    stop_deadline = loop_now() + STOP_MS;
    loop_timer_start(&stop_ticks, &stop_timer);
}

static void open_loop(int listener) {
    if (loop_open() < 0 || loop_signals_open(on_signal) < 0 ||
        loop_timers_open(&naming, NAME_MS, on_naming_expired) < 0 ||
        loop_timers_open(&pauses, PAUSE_MS, on_pause_over) < 0 ||
        loop_timers_open(&lingering, LINGER_MS, on_linger_expired) < 0 ||
        loop_timers_open(&stop_ticks, STOP_TICK_MS, on_stop_tick) < 0 ||
        accept_start(listener, conn_open) < 0)
        die("event loop", errno);
    loop_catch_signal(SIGINT);
    loop_catch_signal(SIGTERM);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        loop_catch_signal(SIGHUP);
}

/* Serves until everyone has left after a signal, or STOP_MS have passed. */
static void serve(void) {
    struct loop_timer *t;
    while (!stopped) {
        loop_step();
        flush_pending();
    }
    while ((t = loop_timers_first(&lingering)) != NULL) {
        struct conn *c = conn_of_timer(t);
        conn_end(c, "closed: the server stops");
        conn_close(c);
    }
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: serve. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:m:r:k:t:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'm':
            members_max = (unsigned)number_arg(usage, 'm', optarg, 1, ROOM_MEMBERS_MAX);
            break;
        case 'r': rate = (unsigned)number_arg(usage, 'r', optarg, 0, 1000); break;
        case 'k': history_max = (unsigned)number_arg(usage, 'k', optarg, 0, HISTORY_MAX); break;
        case 't': vanished_seconds = (int)number_arg(usage, 't', optarg, 3, 3600); break;
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
    log_open();
    text_set_locale();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    room_open(&room, members_max, history_max, rate);
    open_loop(listener);
    announce(listener);
    serve();
    room_close(&room);
    loop_end();
    return 0;
}
