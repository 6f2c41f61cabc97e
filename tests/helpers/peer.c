/* peer.c: a scripted client, as polite or as hostile as its script, for TCP and UDP.
 *
 * It opens its connections, then does each verb on each of them, in the order given, and exits
 * with 0 if everything went as the script says. With it the tests play a client that sends one
 * byte at a time, resets, vanishes, or never reads. With -l it accepts instead: a scripted server.
 *
 * The verbs are a list of what an ordinary day on the internet brings to a server. Every socket is
 * non-blocking, and only await() waits, so that no verb can outlive the time limit of -t.
 * peer does not use util.h, because a program that judges others must not share their mistakes.
 * With PEER_TLS in the environment it does all this through TLS: see tls.h. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tls.h"

static const char usage[] =
    "usage: peer [-a ADDR] [-u] [-l] [-n N] [-r N] [-t SECONDS] [-b BYTES] [-P PORT] PORT VERB...\n"
    "  -a ADDR     address, 127.0.0.1 if not given\n"
    "  -u          UDP: every send and every recv is one datagram\n"
    "  -l          listen on PORT (0: any) and do the script on each connection accepted\n"
    "  -n N        open N connections at once (1)\n"
    "  -r N        do the whole script N times, with new connections (1)\n"
    "  -t SECONDS  give up after that long (20; 0: never) and exit 3\n"
    "  -b BYTES    receive buffer of each socket (SO_RCVBUF)\n"
    "  -P PORT     source port\n"
    "TEXT is the rest of the argument; it may have \\n \\r \\t \\0 \\\\ \\xHH. The exit status is "
    "2 if\n"
    "the script is wrong, and 1 if anything does not go as it says. Verbs:\n"
    "  send:TEXT  file:PATH  fill:N[:CHAR]    send it (fill: N bytes, no newline)\n"
    "  lines:N[:LEN]  lines-back:N[:LEN]      send N numbered lines of LEN bytes (16);\n"
    "                                         read the reply '+' line to each, check every byte\n"
    "  dribble:MS:TEXT                        one byte per segment, a pause of MS after each\n"
    "  recv:N  line                           N bytes, or up to a newline, to stdout\n"
    "                                         (UDP: one datagram, recv without N: any size)\n"
    "  eof  drain                             read to the end: to stdout, or print the count\n"
    "  echo:PATH[:BYTES_PER_MS]               send the file, half-close, and read to the end\n"
    "                                         at the same time, no faster than the given pace\n"
    "  half-close  close  reset               send FIN and still read; FIN; RST\n"
    "  cut                                    FIN as in half-close, but never a close_notify\n"
    "  gone                                   close with the reply unread\n"
    "  closed:MS  open:MS                     the peer closes within MS (print after how many);\n"
    "                                         or it stays open and silent for MS\n"
    "  flood:SECONDS                          send lines, never read; print the bytes accepted\n"
    "  within:MS:VERB                         VERB, and fail if it takes longer than MS\n"
    "  sleep:MS  print:TEXT  ready:FILE       wait; print; create FILE (for others to see)\n"
    "  until:FILE  silent                     wait until FILE exists, or until stdin ends\n"
    "PATIENCE=N in the environment multiplies the limits of -t, within and closed by N.\n"
    "PEER_TLS=FILE does all this through TLS. FILE is the CA's certificate, or with -l the\n"
    "server's chain and key. The handshake is done, on all connections at the same time, before\n"
    "the first verb that sends or reads; half-close and close send close_notify.\n";

enum {
    CHUNK = 65536,  /* bytes sent or read at a time at most; no datagram is larger */
    LINE_SIZE = 16, /* of lines without LEN */
    GONE_MS = 200,  /* how long gone waits for a reply that it leaves unread */
    EXIT_LATE = 3
};
#define NEVER INT64_MAX

struct step {
    const char *words; /* the verb as it was given, for messages */
    char *copy;        /* the same, split into fields; text points into it */
    const struct verb *verb;
    long num[2]; /* its numbers, -1 where none was given */
    char *text;  /* its TEXT, FILE or PATH, without escapes; "" where none was given */
    size_t size; /* bytes of text */
    long within; /* MS of within:MS:VERB, else -1 */
};

struct verb {
    const char *name;
    const char *args;                           /* n number, N number or none, t text, p path */
    void (*each)(int fd, const struct step *s); /* done on every connection, */
    void (*once)(const struct step *s);         /* or once for all of them */
    int tcp_only;
};

/* The options. */
static const char *address = "127.0.0.1";
static const char *port;
static const char *source_port;
static int udp;
static int listening;
static long count = 1;
static long repeats = 1;
static long seconds = 20;
static long receive_buffer;
static long patience = 1; /* a factor for -t, within and closed */

/* The connections (-1: closed), and for messages the verb that is done, and on which of them. */
static int *conns;
static long current;
static const char *doing = "start";
static int64_t doing_since;
static int64_t step_limit = NEVER;
static int64_t time_limit = NEVER;

/* UDP with -l: replies go to the sender of the last datagram. */
static struct sockaddr_storage sender;
static socklen_t sender_size;

/* ---- failing and waiting ---- */

static const char *errno_name(int error) {
    switch (error) {
    case EACCES: return "EACCES";
    case EADDRINUSE: return "EADDRINUSE";
    case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
    case EBADF: return "EBADF";
    case ECONNABORTED: return "ECONNABORTED";
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case EINVAL: return "EINVAL";
    case EISDIR: return "EISDIR";
    case EMFILE: return "EMFILE";
    case EMSGSIZE: return "EMSGSIZE";
    case ENETUNREACH: return "ENETUNREACH";
    case ENFILE: return "ENFILE";
    case ENOBUFS: return "ENOBUFS";
    case ENOENT: return "ENOENT";
    case ENOMEM: return "ENOMEM";
    case ENOTCONN: return "ENOTCONN";
    case EPERM: return "EPERM";
    case EPIPE: return "EPIPE";
    case ETIMEDOUT: return "ETIMEDOUT";
    default: return "errno";
    }
}

/* Says which verb failed where and why, in one line, and ends the program. */
static _Noreturn void quit(int status, const char *format, ...) {
    va_list args;
    fflush(stdout);
    fprintf(stderr, "peer: %.40s (port %s, connection %ld of %ld): ", doing, port, current + 1,
            count);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static _Noreturn void fail_errno(void) {
    const int error = errno;
    if (error == EPROTO && tls_error())
        quit(EXIT_FAILURE, "TLS: %s", tls_error());
    quit(EXIT_FAILURE, "%s (%s)", strerror(error), errno_name(error));
}

/* Ends the program unless the call that failed can be repeated. */
static void fail_unless_temporary(void) {
    if (errno != EAGAIN && errno != EINTR)
        fail_errno();
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Returns the milliseconds until then, as poll takes them. */
static int ms_until(int64_t then) {
    const int64_t left = then - now_ms();
    if (left < 0)
        return 0;
    if (left > INT_MAX)
        return INT_MAX;
    return (int)left;
}

/* The only place that waits. Returns the events that came, or 0 once it is `until`; ends the
 * program when the time of -t has passed. */
static short await(int fd, short events, int64_t until) {
    struct pollfd p = {.fd = fd, .events = events};
    while (1) {
        int n = poll(&p, 1, ms_until(until < time_limit ? until : time_limit));
        if (now_ms() >= time_limit)
            quit(EXIT_LATE, "not done after %ld s", seconds);
        if (n > 0)
            return p.revents;
        if (n < 0 && errno != EINTR)
            fail_errno();
        if (n == 0 && now_ms() >= until)
            return 0;
    }
}

/* Fails if the time of within:MS has passed. */
static void check_limit(void) {
    if (now_ms() >= step_limit)
        quit(EXIT_FAILURE, "not done within %lld ms", (long long)(step_limit - doing_since));
}

/* Waits in a verb that cannot go on before the descriptor is ready. */
static void ready(int fd, short events) {
    await(fd, events, step_limit);
    check_limit();
}

static void nap(int64_t ms) {
    await(-1, 0, now_ms() + ms);
    check_limit();
}

/* ---- sending and receiving ---- */

/* As send(2), through TLS if it is on. */
static ssize_t put(int fd, const char *data, size_t size) {
    const struct sockaddr *to = NULL;
    if (tls_on())
        return tls_send(fd, data, size);
    if (sender_size)
        to = (const struct sockaddr *)&sender;
    return sendto(fd, data, size, 0, to, sender_size);
}

/* As recv(2), through TLS if it is on. */
static ssize_t take(int fd, char *data, size_t size, int flags) {
    if (tls_on())
        return tls_recv(fd, data, size, flags & MSG_PEEK);
    return recv(fd, data, size, flags);
}

/* Sends all of it; over UDP as one datagram, which may be empty. */
static void send_all(int fd, const char *data, size_t size) {
    size_t sent = 0;
    do {
        ready(fd, POLLOUT);
        ssize_t n = put(fd, data + sent, size - sent);
        if (n >= 0)
            sent += (size_t)n;
        else
            fail_unless_temporary();
    } while (sent < size || tls_unsent(fd));
}

/* Waits until TLS can go on: for input, and for room if output waits. */
static void ready_for_tls(int fd) {
    short events = POLLIN;
    if (tls_unsent(fd))
        events = POLLIN | POLLOUT;
    ready(fd, events);
}

/* Waits until there is something to read. */
static void ready_to_read(int fd) {
    if (tls_unread(fd))
        nap(0);
    else
        ready_for_tls(fd);
}

/* As recv(2) on a UDP socket. With -l, the next replies go to the sender. */
static ssize_t take_datagram(int fd, char *data, size_t size) {
    struct sockaddr_storage from;
    socklen_t from_size = sizeof from;
    ssize_t n = recvfrom(fd, data, size, 0, (struct sockaddr *)&from, &from_size);
    if (n >= 0 && listening) {
        sender = from;
        sender_size = from_size;
    }
    return n;
}

/* Waits for input, and returns how much there is; 0: the end of a stream, or an empty datagram. */
static size_t receive(int fd, char *data, size_t size) {
    ssize_t n = -1;
    while (n < 0) {
        ready_to_read(fd);
        if (udp)
            n = take_datagram(fd, data, size);
        else
            n = take(fd, data, size, 0);
        if (n < 0)
            fail_unless_temporary();
    }
    return (size_t)n;
}

/* Returns byte `at` of an endless stream of numbered lines of `size` bytes: letters, then the
 * line's number in its last 8 bytes before the newline. So a line that is lost, duplicated or moved
 * is noticed. */
static char line_byte(size_t at, size_t size) {
    size_t line = at / size;
    const size_t column = at % size;
    const size_t from_end = size - 1 - column;
    if (from_end == 0)
        return '\n';
    if (from_end > 8)
        return (char)('a' + (line + column) % 26);
    for (size_t i = 1; i < from_end; i++)
        line /= 10;
    return (char)('0' + line % 10);
}

static size_t line_size(const struct step *s) {
    if (s->num[1] < 0)
        return LINE_SIZE;
    return (size_t)s->num[1];
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static int open_file(const struct step *s) {
    int file = open(s->text, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail_errno();
    return file;
}

/* Reads at most CHUNK bytes. Returns 0 at the end of the file. */
static size_t read_file(int file, char *data) {
    ssize_t n = read(file, data, CHUNK);
    if (n < 0)
        fail_errno();
    return (size_t)n;
}

/* Closes the connection; later verbs must not use it. */
static void hang_up(int fd) {
    tls_forget(fd);
    close(fd);
    conns[current] = -1;
}

/* ---- verbs that send ---- */

static void do_send(int fd, const struct step *s) {
    send_all(fd, s->text, s->size);
}

static void do_file(int fd, const struct step *s) {
    char data[CHUNK];
    int file = open_file(s);
    size_t n;
    while ((n = read_file(file, data)) > 0)
        send_all(fd, data, n);
    close(file);
}

static void do_fill(int fd, const struct step *s) {
    char data[CHUNK];
    size_t left = (size_t)s->num[0];
    memset(data, s->size ? s->text[0] : 'x', sizeof data);
    while (left > 0) {
        const size_t n = smaller(left, CHUNK);
        send_all(fd, data, n);
        left -= n;
    }
}

/* Sends the lines in as few segments as the kernel makes of them. */
static void do_lines(int fd, const struct step *s) {
    char data[CHUNK];
    const size_t size = line_size(s);
    const size_t end = (size_t)s->num[0] * size;
    size_t at = 0;
    while (at < end) {
        const size_t n = smaller(end - at, CHUNK);
        for (size_t i = 0; i < n; i++)
            data[i] = line_byte(at + i, size);
        send_all(fd, data, n);
        at += n;
    }
}

static void do_dribble(int fd, const struct step *s) {
    for (size_t i = 0; i < s->size; i++) {
        send_all(fd, s->text + i, 1);
        nap(s->num[0]);
    }
}

/* Sends what the kernel takes now of the endless stream `data`, of which so much has been sent.
 * Returns how much it has taken. */
static size_t flood_once(int fd, const char *data, size_t sent) {
    const size_t at = sent % CHUNK;
    ssize_t n = put(fd, data + at, CHUNK - at);
    if (n < 0) {
        fail_unless_temporary();
        return 0;
    }
    return (size_t)n;
}

/* Sends what the kernel takes and never reads, on all connections in turn. */
static void do_flood(const struct step *s) {
    char data[CHUNK];
    size_t total = 0;
    size_t *sent = calloc((size_t)count, sizeof *sent);
    if (!sent)
        fail_errno();
    for (size_t i = 0; i < CHUNK; i++)
        data[i] = line_byte(i, LINE_SIZE);
    while (now_ms() < doing_since + 1000 * s->num[0]) {
        const size_t total_before = total;
        for (current = 0; current < count; current++) {
            const size_t n = flood_once(conns[current], data, sent[current]);
            sent[current] += n;
            total += n;
        }
        nap(total > total_before ? 0 : 1);
    }
    free(sent);
    printf("%zu\n", total);
}

/* ---- verbs that receive ---- */

/* One datagram: of that size, if one was given. */
static void receive_datagram(int fd, const struct step *s) {
    char data[CHUNK];
    const size_t n = receive(fd, data, CHUNK);
    fwrite(data, 1, n, stdout);
    if (s->num[0] >= 0 && n != (size_t)s->num[0])
        quit(EXIT_FAILURE, "got a datagram of %zu bytes", n);
}

static void do_recv(int fd, const struct step *s) {
    char data[CHUNK];
    size_t left = (size_t)s->num[0];
    if (udp) {
        receive_datagram(fd, s);
        return;
    }
    while (left > 0) {
        const size_t n = receive(fd, data, smaller(left, CHUNK));
        fwrite(data, 1, n, stdout);
        if (n == 0)
            quit(EXIT_FAILURE, "closed with %zu bytes still to come", left);
        left -= n;
    }
}

/* One byte at a time, because what follows the newline belongs to the next verb. */
static void do_line(int fd, const struct step *s) {
    char c = 0;
    if (udp) {
        receive_datagram(fd, s);
        return;
    }
    while (c != '\n') {
        if (receive(fd, &c, 1) == 0)
            quit(EXIT_FAILURE, "closed before a newline came");
        putchar(c);
    }
}

/* Checks byte `at` of the replies to lines of this size. */
static void check_reply(size_t at, size_t size, char received) {
    const size_t reply = at / (size + 1);
    const size_t column = at % (size + 1);
    char expected = '+';
    if (column > 0)
        expected = line_byte(reply * size + column - 1, size);
    if (received != expected)
        quit(EXIT_FAILURE, "reply %zu, byte %zu: expected 0x%02x, received 0x%02x", reply + 1,
             column + 1, (unsigned char)expected, (unsigned char)received);
}

static void do_lines_back(int fd, const struct step *s) {
    char data[CHUNK];
    const size_t size = line_size(s);
    const size_t end = (size_t)s->num[0] * (size + 1);
    size_t at = 0;
    while (at < end) {
        const size_t n = receive(fd, data, smaller(end - at, CHUNK));
        if (n == 0)
            quit(EXIT_FAILURE, "closed after %zu of %ld replies", at / (size + 1), s->num[0]);
        for (size_t i = 0; i < n; i++)
            check_reply(at + i, size, data[i]);
        at += n;
    }
}

static void do_eof(int fd, const struct step *s) {
    char data[CHUNK];
    size_t n;
    (void)s;
    while ((n = receive(fd, data, sizeof data)) > 0)
        fwrite(data, 1, n, stdout);
}

static void do_drain(int fd, const struct step *s) {
    char data[CHUNK];
    size_t total = 0;
    size_t n;
    (void)s;
    while ((n = receive(fd, data, sizeof data)) > 0)
        total += n;
    printf("%zu\n", total);
}

/* The state of echo. */
struct echo {
    int file;
    char out[CHUNK]; /* a piece of the file */
    size_t out_size;
    size_t sent;
    int half_closed; /* all of the file is sent */
    int64_t start;
    int64_t pace; /* bytes per millisecond; -1: as fast as possible */
    int64_t received;
    int ended; /* the peer has closed */
};

static void half_close(int fd) {
    int result;
    if (tls_on())
        result = tls_half_close(fd);
    else
        result = shutdown(fd, SHUT_WR);
    if (result < 0)
        fail_errno();
}

/* Sends what the kernel takes now; half-closes after the last byte. */
static void echo_send(int fd, struct echo *e) {
    if (e->half_closed) {
        if (tls_flush(fd) < 0)
            fail_unless_temporary();
        return;
    }
    if (e->sent == e->out_size) {
        e->out_size = read_file(e->file, e->out);
        e->sent = 0;
    }
    if (e->out_size == 0) {
        half_close(fd);
        e->half_closed = 1;
        return;
    }
    ssize_t n = put(fd, e->out + e->sent, e->out_size - e->sent);
    if (n >= 0)
        e->sent += (size_t)n;
    else
        fail_unless_temporary();
}

/* Returns how many bytes the pace allows to read now. */
static int64_t echo_allowance(const struct echo *e) {
    if (e->ended)
        return 0;
    if (e->pace < 0)
        return CHUNK;
    return e->pace * (now_ms() - e->start + 1) - e->received;
}

static void echo_receive(int fd, struct echo *e, size_t max) {
    char data[CHUNK];
    ssize_t n = take(fd, data, smaller(max, CHUNK), 0);
    if (n < 0) {
        fail_unless_temporary();
        return;
    }
    fwrite(data, 1, (size_t)n, stdout);
    e->received += n;
    e->ended = n == 0;
}

/* Returns what echo waits for; allowance: how many bytes it may read now. */
static short echo_events(int fd, const struct echo *e, int64_t allowance) {
    short events = 0;
    if (allowance > 0)
        events |= POLLIN;
    if (!e->half_closed || tls_unsent(fd))
        events |= POLLOUT;
    return events;
}

/* Waits until echo can send or read, and does it. It reads first: after a reset a send fails, and
 * earlier input must be seen. */
static void echo_step(int fd, struct echo *e) {
    const int64_t allowance = echo_allowance(e);
    const int unread = allowance > 0 && tls_unread(fd);
    int64_t until = step_limit;
    if (unread)
        until = 0;
    else if (allowance <= 0 && !e->ended)
        until = now_ms() + 1;
    const short came = await(fd, echo_events(fd, e, allowance), until);
    check_limit();
    if (unread || (allowance > 0 && came & ~POLLOUT))
        echo_receive(fd, e, (size_t)allowance);
    if (came & POLLOUT)
        echo_send(fd, e);
}

/* A client that sends all before it reads blocks once the kernel's buffers are full of replies. So
 * this one does both at the same time; the pace makes it a slow reader. */
static void do_echo(int fd, const struct step *s) {
    struct echo e = {.file = open_file(s), .start = now_ms(), .pace = s->num[0]};
    while (!e.ended || !e.half_closed)
        echo_step(fd, &e);
    close(e.file);
}

/* ---- verbs that end a connection, and those that watch it end ---- */

static void do_half_close(int fd, const struct step *s) {
    (void)s;
    half_close(fd);
}

static void do_cut(int fd, const struct step *s) {
    (void)s;
    if (shutdown(fd, SHUT_WR) < 0)
        fail_errno();
}

static void do_close(int fd, const struct step *s) {
    (void)s;
    tls_close_notify(fd);
    hang_up(fd);
}

/* SO_LINGER with a time of 0: close drops unsent data and sends RST (socket(7)). */
static void do_reset(int fd, const struct step *s) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)s;
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0)
        fail_errno();
    hang_up(fd);
}

/* As a program that ends with input unread: the kernel then sends RST. */
static void do_gone(int fd, const struct step *s) {
    (void)s;
    await(fd, POLLIN, now_ms() + GONE_MS); /* until there is input to leave unread */
    hang_up(fd);
}

/* Takes input once. Returns whether the connection is closed, by FIN or RST. */
static int take_end(int fd, int64_t until) {
    char data[CHUNK];
    ssize_t n = take(fd, data, sizeof data, 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return 1;
    if (n < 0) {
        fail_unless_temporary();
        await(fd, POLLIN, until);
    }
    return 0;
}

/* The time of all connections is measured from the moment when the verb began. */
static void do_closed(int fd, const struct step *s) {
    const int64_t until = doing_since + patience * s->num[0];
    while (!take_end(fd, until)) {
        if (now_ms() >= until)
            quit(EXIT_FAILURE, "still open after %ld ms", patience * s->num[0]);
    }
    printf("%lld\n", (long long)(now_ms() - doing_since));
}

static void do_open(int fd, const struct step *s) {
    char data[CHUNK];
    ssize_t n = -1;
    while (n < 0) {
        n = take(fd, data, sizeof data, MSG_PEEK);
        if (n >= 0)
            break;
        fail_unless_temporary();
        if (await(fd, POLLIN, doing_since + s->num[0]) == 0)
            return;
    }
    if (n == 0 && !udp)
        quit(EXIT_FAILURE, "closed after %lld ms", (long long)(now_ms() - doing_since));
    quit(EXIT_FAILURE, "not silent: %zd bytes came", n);
}

/* ---- verbs that wait or tell ---- */

static void do_sleep(const struct step *s) {
    nap(s->num[0]);
}

static void do_print(const struct step *s) {
    fwrite(s->text, 1, s->size, stdout);
}

static void do_ready(const struct step *s) {
    FILE *file = fopen(s->text, "w");
    if (!file || fclose(file) != 0)
        fail_errno();
}

static void do_until(const struct step *s) {
    while (access(s->text, F_OK) < 0)
        nap(5);
}

static void do_silent(const struct step *s) {
    char ignored[CHUNK];
    (void)s;
    do
        ready(STDIN_FILENO, POLLIN);
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0);
}

static const struct verb verbs[] = {
    {"send", "t", do_send, NULL, 0},
    {"file", "p", do_file, NULL, 0},
    {"fill", "nT", do_fill, NULL, 0},
    {"lines", "nN", do_lines, NULL, 1},
    {"lines-back", "nN", do_lines_back, NULL, 1},
    {"dribble", "nt", do_dribble, NULL, 0},
    {"flood", "n", NULL, do_flood, 1},
    {"recv", "N", do_recv, NULL, 0},
    {"line", "", do_line, NULL, 0},
    {"eof", "", do_eof, NULL, 1},
    {"drain", "", do_drain, NULL, 1},
    {"echo", "pN", do_echo, NULL, 1},
    {"half-close", "", do_half_close, NULL, 1},
    {"close", "", do_close, NULL, 0},
    {"cut", "", do_cut, NULL, 1},
    {"reset", "", do_reset, NULL, 1},
    {"gone", "", do_gone, NULL, 0},
    {"closed", "n", do_closed, NULL, 1},
    {"open", "n", do_open, NULL, 0},
    {"sleep", "n", NULL, do_sleep, 0},
    {"print", "t", NULL, do_print, 0},
    {"ready", "p", NULL, do_ready, 0},
    {"until", "p", NULL, do_until, 0},
    {"silent", "", NULL, do_silent, 0},
};

/* ---- the script ---- */

static _Noreturn void bad_usage(const char *what, const char *words) {
    fprintf(stderr, "peer: %s: %s (peer -h lists the options and verbs)\n", what, words);
    exit(2);
}

static long number(const char *text, const char *words) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < 0 || n > INT_MAX)
        bad_usage("not a number", words);
    return n;
}

/* Returns the byte that the escape stands for whose letter comes at *from, and moves *from to its
 * last character. */
static char escaped_byte(const char **from, const char *words) {
    static const char names[] = "nrt0\\";
    static const char bytes[] = "\n\r\t\0\\";
    unsigned byte;
    if (**from == '\0')
        bad_usage("bad escape", words);
    const char *name = strchr(names, **from);
    if (name)
        return bytes[name - names];
    if (**from != 'x' || strspn(*from + 1, "0123456789abcdefABCDEF") < 2)
        bad_usage("bad escape", words);
    sscanf(*from + 1, "%2x", &byte);
    *from += 2;
    return (char)byte;
}

/* Replaces the escapes in place and returns the size: TEXT may have NUL bytes. */
static size_t unescape(char *text, const char *words) {
    const char *from = text;
    size_t size = 0;
    while (*from != '\0') {
        char byte = *from;
        if (byte == '\\') {
            from++;
            byte = escaped_byte(&from, words);
        }
        text[size] = byte;
        size++;
        from++;
    }
    return size;
}

/* Splits the first field off at its ':'. Returns it; *rest is NULL after the last one. */
static char *split_field(char **rest) {
    char *field = *rest;
    char *colon = strchr(field, ':');
    *rest = NULL;
    if (colon) {
        *colon = '\0';
        *rest = colon + 1;
    }
    return field;
}

/* Stores an argument of this kind: see struct verb. */
static void store_arg(struct step *s, char kind, char *field, int *numbers) {
    if (kind == 'n' || kind == 'N') {
        s->num[*numbers] = number(field, s->words);
        *numbers += 1;
        return;
    }
    s->text = field;
    if (kind == 'p')
        s->size = strlen(field);
    else
        s->size = unescape(field, s->words);
}

/* Takes the verb's arguments out of `rest` (NULL: none given), as its `args` in the table says. The
 * last one may have colons. */
static void parse_args(struct step *s, char *rest) {
    int numbers = 0;
    for (const char *kind = s->verb->args; *kind != '\0'; kind++) {
        char *field = rest;
        if (!rest && (*kind == 'N' || *kind == 'T'))
            continue;
        if (!rest)
            bad_usage("too few arguments", s->words);
        if (kind[1] == '\0')
            rest = NULL;
        else
            field = split_field(&rest);
        store_arg(s, *kind, field, &numbers);
    }
    if (rest)
        bad_usage("too many arguments", s->words);
}

/* Returns the verb with this name, if it can be done over UDP or TCP, whichever it is. */
static const struct verb *find_verb(const char *name, const char *rest, const char *words) {
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            verb = &verbs[i];
    }
    if (!verb)
        bad_usage("no such verb", words);
    if (udp && verb->tcp_only)
        bad_usage("not over UDP", words);
    if (!udp && verb->each == do_recv && !rest)
        bad_usage("too few arguments", words);
    return verb;
}

static struct step parse_step(const char *words) {
    struct step s = {.words = words, .num = {-1, -1}, .within = -1, .text = ""};
    char *rest = strdup(words);
    const char *name = "";
    if (!rest)
        fail_errno();
    s.copy = rest;
    name = split_field(&rest);
    if (strcmp(name, "within") == 0 && rest) {
        s.within = number(split_field(&rest), words);
        name = "";
        if (rest)
            name = split_field(&rest);
    }
    s.verb = find_verb(name, rest, words);
    parse_args(&s, rest);
    if (strncmp(s.verb->name, "lines", 5) == 0 && s.num[1] == 0)
        bad_usage("a line has at least its newline", words);
    return s;
}

/* Whether the verb sends or reads: those that end a connection, wait or print need no handshake. */
static int needs_handshake(const struct verb *v) {
    if (!tls_on() || v->each == do_close || v->each == do_reset || v->each == do_gone ||
        v->each == do_cut)
        return 0;
    return v->each || v->once == do_flood;
}

/* One step of a handshake that is not done. */
static void step_handshake(int fd) {
    if (tls_handshake(fd) < 0)
        fail_unless_temporary();
}

/* Begins all handshakes, so that they run at the same time, then waits for each. */
static void do_handshakes(void) {
    for (current = 0; current < count; current++) {
        if (conns[current] >= 0 && !tls_ready(conns[current]))
            step_handshake(conns[current]);
    }
    for (current = 0; current < count; current++) {
        const int fd = conns[current];
        while (fd >= 0 && !tls_ready(fd)) {
            step_handshake(fd);
            if (!tls_ready(fd))
                ready_for_tls(fd);
        }
    }
}

static void do_on_each(const struct step *s) {
    for (current = 0; current < count; current++) {
        if (conns[current] < 0)
            quit(EXIT_FAILURE, "the script has closed this connection");
        s->verb->each(conns[current], s);
    }
}

static void do_step(const struct step *s) {
    doing = s->words;
    doing_since = now_ms();
    step_limit = NEVER;
    if (s->within >= 0)
        step_limit = doing_since + patience * s->within;
    if (needs_handshake(s->verb))
        do_handshakes();
    current = 0;
    if (s->verb->once)
        s->verb->once(s);
    else
        do_on_each(s);
    if (fflush(stdout) != 0)
        fail_errno();
    step_limit = NEVER;
}

/* ---- opening ---- */

static struct addrinfo *resolve(const char *host, const char *service, int family) {
    struct addrinfo hints = {.ai_family = family, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    hints.ai_socktype = udp ? SOCK_DGRAM : SOCK_STREAM;
    int error = getaddrinfo(host, service, &hints, &list);
    if (error != 0)
        quit(EXIT_FAILURE, "%s", gai_strerror(error));
    return list;
}

static int new_socket(const struct addrinfo *ai) {
    const int on = 1;
    const int bytes = (int)receive_buffer;
    int fd = socket(ai->ai_family, ai->ai_socktype, 0);
    if (fd < 0)
        fail_errno();
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd;
}

/* Makes fd non-blocking, without Nagle's algorithm: a segment leaves when the script says so. */
static void tune(int fd) {
    const int on = 1;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail_errno();
    if (!udp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls_on() && !udp && tls_attach(fd, listening) < 0)
        quit(EXIT_FAILURE, "no memory for TLS");
}

static void bind_source(int fd, int family) {
    struct addrinfo *from = resolve(NULL, source_port, family);
    if (bind(fd, from->ai_addr, from->ai_addrlen) < 0)
        fail_errno();
    freeaddrinfo(from);
}

static int start_connect(const struct addrinfo *ai) {
    int fd = new_socket(ai);
    tune(fd);
    if (source_port)
        bind_source(fd, ai->ai_family);
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
        fail_errno();
    return fd;
}

static void finish_connect(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    ready(fd, POLLOUT);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    if (error != 0)
        fail_errno();
}

/* Begins all connections, so that they are made at the same time, then waits for each. */
static void connect_all(const struct addrinfo *ai) {
    for (current = 0; current < count; current++)
        conns[current] = start_connect(ai);
    for (current = 0; current < count; current++)
        finish_connect(conns[current]);
}

/* Returns the next connection. */
static int accept_next(int listener) {
    int fd = accept(listener, NULL, NULL);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) {
        ready(listener, POLLIN);
        fd = accept(listener, NULL, NULL);
    }
    return fd;
}

static void accept_all(int listener) {
    for (current = 0; current < count; current++) {
        if (udp)
            conns[current] = dup(listener);
        else
            conns[current] = accept_next(listener);
        if (conns[current] < 0)
            fail_errno();
        tune(conns[current]);
    }
}

/* Prints the address at which fd listens. */
static void announce(int fd) {
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    char host[INET6_ADDRSTRLEN + 32];
    char service[8];
    if (getsockname(fd, (struct sockaddr *)&own, &size) < 0)
        fail_errno();
    getnameinfo((struct sockaddr *)&own, size, host, sizeof host, service, sizeof service,
                NI_NUMERICHOST | NI_NUMERICSERV);
    if (own.ss_family == AF_INET6)
        printf("listening on [%s]:%s\n", host, service);
    else
        printf("listening on %s:%s\n", host, service);
    fflush(stdout);
}

static int listen_on(const struct addrinfo *ai) {
    int fd = new_socket(ai);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        fail_errno();
    if (!udp && listen(fd, SOMAXCONN) < 0)
        fail_errno();
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail_errno();
    announce(fd);
    return fd;
}

/* ---- the start ---- */

static void parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:un:r:t:b:P:lh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'u': udp = 1; break;
        case 'l': listening = 1; break;
        case 'n': count = number(optarg, "-n"); break;
        case 'r': repeats = number(optarg, "-r"); break;
        case 't': seconds = number(optarg, "-t"); break;
        case 'b': receive_buffer = number(optarg, "-b"); break;
        case 'P': source_port = optarg; break;
        case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
        default: exit(2); /* getopt has said what is wrong */
        }
    }
}

/* Takes what is not an option: PORT, and PATIENCE of the environment. */
static void parse_port(int argc, char **argv) {
    if (getenv("PATIENCE"))
        patience = number(getenv("PATIENCE"), "PATIENCE");
    seconds *= patience;
    if (argc - optind < 2)
        bad_usage("missing", "PORT and at least one VERB");
    port = argv[optind];
    if (count < 1)
        bad_usage("out of range", "-n");
    if (number(port, "PORT") > 65535)
        bad_usage("out of range", "PORT");
}

/* Each connection takes a descriptor: allows as many as the user may have (getrlimit(2)). */
static void raise_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Opens the connections, does the script on them, and closes those that are still open. */
static void play(const struct step *script, int steps, const struct addrinfo *ai, int listener) {
    if (listening) {
        doing = "accept";
        accept_all(listener);
    } else {
        doing = "connect";
        connect_all(ai);
    }
    for (int i = 0; i < steps; i++)
        do_step(&script[i]);
    for (current = 0; current < count; current++) {
        if (conns[current] >= 0)
            do_close(conns[current], NULL);
    }
}

/* Plays the script as often as the options say. */
static void play_all(const struct step *script, int steps) {
    int listener = -1;
    signal(SIGPIPE, SIG_IGN); /* a write to a closed connection must fail with EPIPE */
    raise_limit();
    if (seconds > 0)
        time_limit = now_ms() + 1000 * seconds;
    if (tls_open(listening) < 0)
        quit(EXIT_FAILURE, "PEER_TLS=%s: %s", getenv("PEER_TLS"), tls_error());
    struct addrinfo *ai = resolve(address, port, AF_UNSPEC);
    if (listening)
        listener = listen_on(ai);
    for (long round = 0; round < repeats; round++)
        play(script, steps, ai, listener);
    freeaddrinfo(ai);
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    parse_port(argc, argv);
    const int steps = argc - optind - 1;
    struct step *script = calloc((size_t)steps, sizeof *script);
    conns = calloc((size_t)count, sizeof *conns);
    if (!script || !conns)
        fail_errno();
    for (int i = 0; i < steps; i++)
        script[i] = parse_step(argv[optind + 1 + i]);
    play_all(script, steps);
    for (int i = 0; i < steps; i++)
        free(script[i].copy);
    free(conns);
    free(script);
    return EXIT_SUCCESS;
}
