/*
 * peer: a scripted client, as polite or as hostile as its script, for TCP and UDP.
 *
 * It opens its connections, then does each verb on each of them, in the order given, and exits
 * with 0 if all went as the script says. It is how the tests play a client that sends one byte at
 * a time, resets, vanishes, or never reads. With -l it accepts instead: a scripted server.
 *
 * Read it as a list of what an ordinary day on the internet brings to a server. Every socket is
 * non-blocking, and only await() ever waits: so nothing here can outlive the time limit of -t.
 * It does without util.h, since what judges a program should not share its mistakes. With PEER_TLS
 * in the environment it does all this through TLS: see peer_tls.h.
 */
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
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "peer_tls.h"

static const char usage[] =
    "usage: peer [-a ADDR] [-u] [-l] [-n N] [-r N] [-t SECONDS] [-b BYTES] [-P PORT] PORT VERB...\n"
    "  -a ADDR     address, 127.0.0.1 if not given\n"
    "  -u          UDP: every send and every recv is one datagram\n"
    "  -l          listen on PORT (0: any) and do the script on each connection that comes\n"
    "  -n N        so many connections at once (1)\n"
    "  -r N        the whole script so many times, with new connections (1)\n"
    "  -t SECONDS  give up after that long (20; 0: never) and exit 3\n"
    "  -b BYTES    receive buffer of each socket (SO_RCVBUF)\n"
    "  -P PORT     source port\n"
    "TEXT knows \\n \\r \\t \\0 \\\\ \\xHH and takes the rest of the argument. A bad script exits "
    "2,\n"
    "anything that does not go as it says exits 1. Verbs:\n"
    "  send:TEXT  file:PATH  fill:N[:CHAR]    send it (fill: N bytes, no newline)\n"
    "  lines:N[:LEN]  lines-back:N[:LEN]      send N numbered lines of LEN bytes (16);\n"
    "                                         read the reply '+' line to each, check every byte\n"
    "  dribble:MS:TEXT                        one byte a segment, a pause of MS after each\n"
    "  recv:N  line                           N bytes, or up to a newline, to stdout\n"
    "                                         (UDP: one datagram, recv without N: any size)\n"
    "  eof  drain                             to the end: to stdout, or print only the count\n"
    "  echo:PATH[:BYTES_PER_MS]               send the file, half-close, and read to the end\n"
    "                                         at the same time, no faster than the given pace\n"
    "  half-close  close  reset               FIN and still read; FIN; RST\n"
    "  cut                                    FIN as in half-close, but never a close_notify\n"
    "  gone                                   close with the reply unread\n"
    "  closed:MS  open:MS                     it is closed within MS (print after how many), or\n"
    "                                         stays open and silent for MS\n"
    "  flood:SECONDS                          send lines, never read; print the bytes accepted\n"
    "  within:MS:VERB                         VERB, and fail if it takes longer than MS\n"
    "  sleep:MS  print:TEXT  ready:FILE       wait; say; create FILE (for others to see)\n"
    "  until:FILE  silent                     hold on until FILE exists, or stdin ends\n"
    "PATIENCE=N in the environment: N times the limits of -t, within and closed.\n"
    "With PEER_TLS=FILE: through TLS. FILE is the CA's certificate, or with -l\n"
    "the chain and the key. The handshake is done, on all connections at the same time, before\n"
    "the first verb that sends or reads; half-close and close send close_notify.\n";

enum {
    CHUNK = 65536, /* at most so much at a time; no datagram is larger */
    LINE_LEN = 16, /* of lines without LEN */
    GONE_MS = 200, /* gone waits so long for a reply to leave unread */
    EXIT_LATE = 3
};
#define NEVER INT64_MAX

struct step {
    const char *words; /* the verb as it was given, for messages */
    char *copy;        /* cut into its parts; text points into it */
    const struct verb *verb;
    long num[2]; /* its numbers, -1 where none was given */
    char *text;  /* its TEXT, FILE or PATH, escapes undone; "" where none was given */
    size_t len;
    long within; /* MS of within:MS:VERB, else -1 */
};

struct verb {
    const char *name;
    const char *args;                           /* n number, N number or none, t text, p path */
    void (*each)(int fd, const struct step *s); /* done on every connection, */
    void (*once)(const struct step *s);         /* or once for all of them */
    bool tcp_only;
};

/* The options. */
static const char *address = "127.0.0.1", *port, *source_port;
static bool udp, listening;
static long count = 1, repeats = 1, seconds = 20, rcvbuf;
static long patience = 1; /* a factor for -t, within and closed */

/* The connections (-1: closed), and what is being done to which, for messages. */
static int *conns;
static long current;
static const char *doing = "start";
static int64_t doing_since, step_limit = NEVER, time_limit = NEVER;

/* UDP with -l: replies go to whoever sent the last datagram. */
static struct sockaddr_storage sender;
static socklen_t sender_len;

/* ---- failing and waiting ---- */

static const char *errno_name(int e) {
#define IS(name) e == name ? #name:
    /* clang-format off */
    return IS(EACCES) IS(EADDRINUSE) IS(EADDRNOTAVAIL) IS(EBADF) IS(ECONNABORTED)
        IS(ECONNREFUSED) IS(ECONNRESET) IS(EHOSTUNREACH) IS(EINVAL) IS(EISDIR) IS(EMFILE)
        IS(EMSGSIZE) IS(ENETUNREACH) IS(ENFILE) IS(ENOBUFS) IS(ENOENT) IS(ENOMEM) IS(ENOTCONN)
        IS(EPERM) IS(EPIPE) IS(ETIMEDOUT) "errno";
    /* clang-format on */
#undef IS
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
    int e = errno;
    if (e == EPROTO && tls_why)
        quit(EXIT_FAILURE, "TLS: %s", tls_why);
    quit(EXIT_FAILURE, "%s (%s)", strerror(e), errno_name(e));
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The only place that waits. Returns the events that came, or 0 when it is `until`;
   ends the program when the time of -t is over. */
static short await(int fd, short events, int64_t until) {
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t first = until < time_limit ? until : time_limit, left = first - now_ms();
        int n = poll(&p, 1, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
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

/* The limit of within:MS. */
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

/* send and recv, through TLS if there is any. */
static ssize_t put(int fd, const char *data, size_t len) {
    const struct sockaddr *to = sender_len ? (const struct sockaddr *)&sender : NULL;
    return tls_ctx ? tls_send(fd, data, len) : sendto(fd, data, len, 0, to, sender_len);
}

static ssize_t take(int fd, char *buf, size_t size, int flags) {
    return tls_ctx ? tls_recv(fd, buf, size, flags & MSG_PEEK) : recv(fd, buf, size, flags);
}

/* All of it, down to the kernel; over UDP as one datagram, which may be empty. */
static void send_all(int fd, const char *data, size_t len) {
    size_t sent = 0;
    do {
        ready(fd, POLLOUT);
        ssize_t n = put(fd, data + sent, len - sent);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            fail_errno();
    } while (sent < len || tls_unsent(fd));
}

/* Waits until there is something to read. */
static void ready_to_read(int fd) {
    if (tls_unread(fd))
        nap(0);
    else
        ready(fd, (short)(tls_unsent(fd) ? POLLIN | POLLOUT : POLLIN));
}

/* What there is, waiting for it: 0 is the end of a stream, or an empty datagram. */
static size_t receive(int fd, char *buf, size_t size) {
    for (;;) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        ready_to_read(fd);
        ssize_t n = udp ? recvfrom(fd, buf, size, 0, (struct sockaddr *)&from, &from_len)
                        : take(fd, buf, size, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            fail_errno();
        if (n < 0)
            continue;
        if (udp && listening) {
            sender = from;
            sender_len = from_len;
        }
        return (size_t)n;
    }
}

/* Byte `at` of an endless stream of numbered lines of `len` bytes: letters, then the line's number
   in its last 8 bytes before the newline. So a line that is lost, doubled or moved shows. */
static char line_byte(size_t at, size_t len) {
    size_t line = at / len, column = at % len, from_end = len - 1 - column;
    if (from_end == 0)
        return '\n';
    if (from_end > 8)
        return (char)('a' + (line + column) % 26);
    while (--from_end > 0)
        line /= 10;
    return (char)('0' + line % 10);
}

static size_t line_len(const struct step *s) {
    return s->num[1] < 0 ? LINE_LEN : (size_t)s->num[1];
}

static int open_file(const struct step *s) {
    int file = open(s->text, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail_errno();
    return file;
}

static size_t read_file(int file, char *buf) {
    ssize_t n = read(file, buf, CHUNK);
    if (n < 0)
        fail_errno();
    return (size_t)n;
}

/* Closes the connection; the verbs after this one must not use it. */
static void hang_up(int fd) {
    tls_forget(fd);
    close(fd);
    conns[current] = -1;
}

/* ---- verbs that send ---- */

static void do_send(int fd, const struct step *s) {
    send_all(fd, s->text, s->len);
}

static void do_file(int fd, const struct step *s) {
    char buf[CHUNK];
    int file = open_file(s);
    for (size_t n; (n = read_file(file, buf)) > 0;)
        send_all(fd, buf, n);
    close(file);
}

static void do_fill(int fd, const struct step *s) {
    char buf[CHUNK];
    memset(buf, s->len ? s->text[0] : 'x', sizeof buf);
    for (size_t n, left = (size_t)s->num[0]; left > 0; left -= n) {
        n = left < CHUNK ? left : CHUNK;
        send_all(fd, buf, n);
    }
}

static void do_lines(int fd, const struct step *s) {
    char buf[CHUNK];
    size_t len = line_len(s), end = (size_t)s->num[0] * len;
    for (size_t n, at = 0; at < end; at += n) {
        for (n = 0; n < CHUNK && at + n < end; n++)
            buf[n] = line_byte(at + n, len);
        send_all(fd, buf, n); /* as few segments as the kernel will have */
    }
}

static void do_dribble(int fd, const struct step *s) {
    for (size_t i = 0; i < s->len; i++) {
        send_all(fd, s->text + i, 1);
        nap(s->num[0]);
    }
}

/* Sends what the kernel takes and never reads, on all connections in turn. */
static void do_flood(const struct step *s) {
    char buf[CHUNK];
    size_t total = 0, *sent = calloc((size_t)count, sizeof *sent);
    for (size_t i = 0; i < CHUNK; i++)
        buf[i] = line_byte(i, LINE_LEN);
    while (sent != NULL && now_ms() < doing_since + 1000 * s->num[0]) {
        bool moved = false;
        for (current = 0; current < count; current++) {
            size_t at = sent[current] % CHUNK;
            ssize_t n = put(conns[current], buf + at, CHUNK - at);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                fail_errno();
            if (n > 0) {
                sent[current] += (size_t)n;
                total += (size_t)n;
                moved = true;
            }
        }
        nap(moved ? 0 : 1);
    }
    free(sent);
    printf("%zu\n", total);
}

/* ---- verbs that receive ---- */

static void do_recv(int fd, const struct step *s) {
    char buf[CHUNK];
    bool any = s->num[0] < 0;
    size_t left = any ? CHUNK : (size_t)s->num[0];
    while (left > 0 || udp) {
        size_t n = receive(fd, buf, udp || left > CHUNK ? CHUNK : left);
        fwrite(buf, 1, n, stdout);
        if (udp && !any && n != left)
            quit(EXIT_FAILURE, "got a datagram of %zu bytes", n);
        if (udp)
            return;
        if (n == 0)
            quit(EXIT_FAILURE, "closed with %zu bytes still to come", left);
        left -= n;
    }
}

/* One byte at a time, since what follows the newline belongs to the next verb. */
static void do_line(int fd, const struct step *s) {
    if (udp) {
        do_recv(fd, s);
        return;
    }
    for (char c = 0; c != '\n'; putchar(c))
        if (receive(fd, &c, 1) == 0)
            quit(EXIT_FAILURE, "closed before a newline came");
}

static void do_lines_back(int fd, const struct step *s) {
    char buf[CHUNK];
    size_t len = line_len(s), end = (size_t)s->num[0] * (len + 1);
    for (size_t n, at = 0; at < end; at += n) {
        n = receive(fd, buf, end - at < CHUNK ? end - at : CHUNK);
        if (n == 0)
            quit(EXIT_FAILURE, "closed after %zu of %ld replies", at / (len + 1), s->num[0]);
        for (size_t i = 0; i < n; i++) {
            size_t reply = (at + i) / (len + 1), column = (at + i) % (len + 1);
            char want = column == 0 ? '+' : line_byte(reply * len + column - 1, len);
            if (buf[i] != want)
                quit(EXIT_FAILURE, "reply %zu, byte %zu: expected 0x%02x, received 0x%02x",
                     reply + 1, column + 1, (unsigned char)want, (unsigned char)buf[i]);
        }
    }
}

static void do_eof(int fd, const struct step *s) {
    (void)s;
    char buf[CHUNK];
    for (size_t n; (n = receive(fd, buf, sizeof buf)) > 0;)
        fwrite(buf, 1, n, stdout);
}

static void do_drain(int fd, const struct step *s) {
    (void)s;
    char buf[CHUNK];
    size_t total = 0;
    for (size_t n; (n = receive(fd, buf, sizeof buf)) > 0;)
        total += n;
    printf("%zu\n", total);
}

/* A file on its way out, for echo. */
struct outgoing {
    int file;
    char buf[CHUNK];
    size_t have, sent;
    bool done;
};

static void half_close(int fd) {
    if ((tls_ctx ? tls_half_close(fd) : shutdown(fd, SHUT_WR)) < 0)
        fail_errno();
}

/* Sends what the kernel takes now; half-closes after the last byte. */
static void send_some(int fd, struct outgoing *out) {
    if (out->done && tls_flush(fd) < 0 && errno != EAGAIN && errno != EINTR)
        fail_errno();
    if (out->done)
        return;
    if (out->sent == out->have) {
        out->have = read_file(out->file, out->buf);
        out->sent = 0;
    }
    if (out->have == 0) {
        half_close(fd);
        out->done = true;
        return;
    }
    ssize_t n = put(fd, out->buf + out->sent, out->have - out->sent);
    if (n >= 0)
        out->sent += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        fail_errno();
}

/* A client that sends all before it reads blocks as soon as the kernel's buffers are full of
   replies. So this one does both at once; the pace makes it a slow reader. */
static void do_echo(int fd, const struct step *s) {
    char buf[CHUNK];
    struct outgoing out = {.file = open_file(s)};
    int64_t start = now_ms(), pace = s->num[0], got = 0;
    for (bool ended = false; !ended || !out.done;) {
        int64_t room = pace < 0 ? CHUNK : pace * (now_ms() - start + 1) - got;
        bool reading = !ended && room > 0;
        bool unread = reading && tls_unread(fd), sending = !out.done || tls_unsent(fd);
        short events = (short)((sending ? POLLOUT : 0) | (reading ? POLLIN : 0));
        int64_t until = unread ? 0 : ended || reading ? step_limit : now_ms() + 1;
        short came = await(fd, events, until);
        check_limit();
        if (came & POLLOUT)
            send_some(fd, &out);
        if (unread || (reading && came & ~POLLOUT)) {
            ssize_t n = take(fd, buf, room < CHUNK ? (size_t)room : CHUNK, 0);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                fail_errno();
            if (n > 0)
                fwrite(buf, 1, (size_t)n, stdout);
            got += n > 0 ? n : 0;
            ended = n == 0;
        }
    }
    close(out.file);
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

/* SO_LINGER with a time of 0: close() throws away what is unsent and sends RST. */
static void do_reset(int fd, const struct step *s) {
    (void)s;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0)
        fail_errno();
    hang_up(fd);
}

/* A program that ends in the middle: the kernel answers unread data with RST, too. */
static void do_gone(int fd, const struct step *s) {
    (void)s;
    await(fd, POLLIN, now_ms() + GONE_MS); /* so that there is something unread */
    hang_up(fd);
}

/* All connections are timed from the moment the verb began. */
static void do_closed(int fd, const struct step *s) {
    char buf[CHUNK];
    int64_t until = doing_since + patience * s->num[0];
    for (ssize_t n = 1; n != 0;) {
        n = take(fd, buf, sizeof buf, 0);
        if (n < 0 && errno == ECONNRESET)
            n = 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            fail_errno();
        if (n < 0)
            await(fd, POLLIN, until);
        if (n != 0 && now_ms() >= until)
            quit(EXIT_FAILURE, "still open after %ld ms", patience * s->num[0]);
    }
    printf("%lld\n", (long long)(now_ms() - doing_since));
}

static void do_open(int fd, const struct step *s) {
    char buf[CHUNK];
    ssize_t n;
    while ((n = take(fd, buf, sizeof buf, MSG_PEEK)) < 0 && (errno == EAGAIN || errno == EINTR))
        if (await(fd, POLLIN, doing_since + s->num[0]) == 0)
            return;
    if (n < 0)
        fail_errno();
    if (n == 0 && !udp)
        quit(EXIT_FAILURE, "closed after %lld ms", (long long)(now_ms() - doing_since));
    quit(EXIT_FAILURE, "not silent: %zd bytes came", n);
}

/* ---- verbs that wait or tell ---- */

static void do_sleep(const struct step *s) {
    nap(s->num[0]);
}

static void do_print(const struct step *s) {
    fwrite(s->text, 1, s->len, stdout);
}

static void do_ready(const struct step *s) {
    FILE *f = fopen(s->text, "w");
    if (f == NULL || fclose(f) != 0)
        fail_errno();
}

static void do_until(const struct step *s) {
    while (access(s->text, F_OK) < 0)
        nap(5);
}

static void do_silent(const struct step *s) {
    (void)s;
    char buf[CHUNK];
    do
        ready(STDIN_FILENO, POLLIN);
    while (read(STDIN_FILENO, buf, sizeof buf) > 0);
}

static const struct verb verbs[] = {
    {"send", "t", do_send, NULL, false},
    {"file", "p", do_file, NULL, false},
    {"fill", "nT", do_fill, NULL, false},
    {"lines", "nN", do_lines, NULL, true},
    {"lines-back", "nN", do_lines_back, NULL, true},
    {"dribble", "nt", do_dribble, NULL, false},
    {"flood", "n", NULL, do_flood, true},
    {"recv", "N", do_recv, NULL, false},
    {"line", "", do_line, NULL, false},
    {"eof", "", do_eof, NULL, true},
    {"drain", "", do_drain, NULL, true},
    {"echo", "pN", do_echo, NULL, true},
    {"half-close", "", do_half_close, NULL, true},
    {"close", "", do_close, NULL, false},
    {"cut", "", do_cut, NULL, true},
    {"reset", "", do_reset, NULL, true},
    {"gone", "", do_gone, NULL, false},
    {"closed", "n", do_closed, NULL, true},
    {"open", "n", do_open, NULL, false},
    {"sleep", "n", NULL, do_sleep, false},
    {"print", "t", NULL, do_print, false},
    {"ready", "p", NULL, do_ready, false},
    {"until", "p", NULL, do_until, false},
    {"silent", "", NULL, do_silent, false},
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

/* Undoes the escapes in place and returns the length: TEXT may hold NUL bytes. */
static size_t unescape(char *text, const char *words) {
    static const char names[] = "nrt0\\", bytes[] = "\n\r\t\0\\";
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        const char *name;
        unsigned byte;
        if (*from != '\\')
            *to++ = *from;
        else if (*++from != '\0' && (name = strchr(names, *from)) != NULL)
            *to++ = bytes[name - names];
        else if (*from == 'x' && strspn(from + 1, "0123456789abcdefABCDEF") >= 2) {
            sscanf(from + 1, "%2x", &byte);
            *to++ = (char)byte;
            from += 2;
        } else
            bad_usage("bad escape", words);
    }
    return (size_t)(to - text);
}

/* Cuts the first field off at its ':'; the rest is NULL after the last one. */
static char *cut(char **rest) {
    char *field = *rest;
    *rest = strchr(field, ':');
    if (*rest != NULL)
        *(*rest)++ = '\0';
    return field;
}

/* Takes the verb's arguments out of `rest` (NULL: none given), as its `args` in the table says. */
static void parse_args(struct step *s, char *rest) {
    int numbers = 0;
    for (const char *kind = s->verb->args; *kind != '\0'; kind++) {
        bool last = kind[1] == '\0';
        if (rest == NULL && (*kind == 'N' || *kind == 'T'))
            continue;
        if (rest == NULL)
            bad_usage("too few arguments", s->words);
        char *field = last ? rest : cut(&rest);
        if (last)
            rest = NULL;
        if (*kind == 'n' || *kind == 'N')
            s->num[numbers++] = number(field, s->words);
        else {
            s->text = field;
            s->len = *kind == 'p' ? strlen(field) : unescape(field, s->words);
        }
    }
    if (rest != NULL)
        bad_usage("too many arguments", s->words);
}

static struct step parse_step(const char *words) {
    struct step s = {.words = words, .num = {-1, -1}, .within = -1, .text = ""};
    char *rest = s.copy = strdup(words), *name;
    if (rest == NULL)
        fail_errno();
    name = cut(&rest);
    if (strcmp(name, "within") == 0 && rest != NULL) {
        s.within = number(cut(&rest), words);
        name = rest != NULL ? cut(&rest) : "";
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            s.verb = &verbs[i];
    if (s.verb == NULL)
        bad_usage("no such verb", words);
    if (udp ? s.verb->tcp_only : s.verb->each == do_recv && rest == NULL)
        bad_usage(udp ? "not over UDP" : "too few arguments", words);
    parse_args(&s, rest);
    if (strncmp(s.verb->name, "lines", 5) == 0 && s.num[1] == 0)
        bad_usage("a line has at least its newline", words);
    return s;
}

/* What ends a connection, and what waits or tells, needs no handshake. */
static bool needs_handshake(const struct verb *v) {
    return tls_ctx && v->each != do_close && v->each != do_reset && v->each != do_gone &&
           v->each != do_cut && (v->each || v->once == do_flood);
}

/* The handshakes of all connections run at the same time; then each is waited for. */
static void do_handshakes(bool wait) {
    for (current = 0; current < count; current++)
        while (conns[current] >= 0 && !tls_ready(conns[current])) {
            if (tls_handshake(conns[current]) < 0 && errno != EAGAIN && errno != EINTR)
                fail_errno();
            if (!wait)
                break;
            if (!tls_ready(conns[current]))
                ready(conns[current], tls_unsent(conns[current]) ? POLLIN | POLLOUT : POLLIN);
        }
}

static void do_step(const struct step *s) {
    doing = s->words;
    doing_since = now_ms();
    step_limit = s->within < 0 ? NEVER : doing_since + patience * s->within;
    if (needs_handshake(s->verb)) {
        do_handshakes(false);
        do_handshakes(true);
    }
    current = 0;
    if (s->verb->once)
        s->verb->once(s);
    else
        for (; current < count; current++) {
            if (conns[current] < 0)
                quit(EXIT_FAILURE, "the script has closed this connection");
            s->verb->each(conns[current], s);
        }
    if (fflush(stdout) != 0)
        fail_errno();
    step_limit = NEVER;
}

/* ---- opening ---- */

static struct addrinfo *resolve(const char *host, const char *service, int family) {
    struct addrinfo *found, hints = {.ai_family = family, .ai_flags = AI_PASSIVE};
    hints.ai_socktype = udp ? SOCK_DGRAM : SOCK_STREAM;
    int e = getaddrinfo(host, service, &hints, &found);
    if (e != 0)
        quit(EXIT_FAILURE, "%s", gai_strerror(e));
    return found;
}

static int new_socket(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, ai->ai_socktype, 0), on = 1, bytes = (int)rcvbuf;
    if (fd < 0)
        fail_errno();
    if (rcvbuf > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd;
}

/* Non-blocking; and no Nagle: a segment leaves when the script says so. */
static void tune(int fd) {
    int on = 1;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail_errno();
    if (!udp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls_ctx && !udp && tls_attach(fd, listening) < 0)
        quit(EXIT_FAILURE, "no memory for TLS");
}

static int start_connect(const struct addrinfo *ai) {
    int fd = new_socket(ai);
    tune(fd);
    if (source_port) {
        struct addrinfo *from = resolve(NULL, source_port, ai->ai_family);
        if (bind(fd, from->ai_addr, from->ai_addrlen) < 0)
            fail_errno();
        freeaddrinfo(from);
    }
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
        fail_errno();
    return fd;
}

/* All handshakes run at the same time; then each is waited for. */
static void connect_all(const struct addrinfo *ai) {
    for (current = 0; current < count; current++)
        conns[current] = start_connect(ai);
    for (current = 0; current < count; current++) {
        int e = 0;
        socklen_t len = sizeof e;
        ready(conns[current], POLLOUT);
        getsockopt(conns[current], SOL_SOCKET, SO_ERROR, &e, &len);
        if ((errno = e) != 0)
            fail_errno();
    }
}

static void accept_all(int listener) {
    for (current = 0; current < count; current++) {
        if (udp)
            conns[current] = dup(listener);
        while (!udp && (conns[current] = accept(listener, NULL, NULL)) < 0 &&
               (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
            ready(listener, POLLIN);
        if (conns[current] < 0)
            fail_errno();
        tune(conns[current]);
    }
}

static int listen_on(const struct addrinfo *ai) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    char host[INET6_ADDRSTRLEN + 32], serv[8];
    int fd = new_socket(ai);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || (!udp && listen(fd, SOMAXCONN) < 0) ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail_errno();
    if (getsockname(fd, (struct sockaddr *)&name, &len) < 0)
        fail_errno();
    getnameinfo((struct sockaddr *)&name, len, host, sizeof host, serv, sizeof serv,
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = name.ss_family == AF_INET6;
    printf("listening on %s%s%s:%s\n", v6 ? "[" : "", host, v6 ? "]" : "", serv);
    fflush(stdout);
    return fd;
}

static void parse_options(int argc, char **argv) {
    for (int o; (o = getopt(argc, argv, "+a:un:r:t:b:P:lh")) != -1;)
        switch (o) {
        case 'a': address = optarg; break;
        case 'u': udp = true; break;
        case 'l': listening = true; break;
        case 'n': count = number(optarg, "-n"); break;
        case 'r': repeats = number(optarg, "-r"); break;
        case 't': seconds = number(optarg, "-t"); break;
        case 'b': rcvbuf = number(optarg, "-b"); break;
        case 'P': source_port = optarg; break;
        case 'h': fputs(usage, stdout); exit(EXIT_SUCCESS);
        default: exit(2); /* getopt has said why */
        }
    if (getenv("PATIENCE"))
        patience = number(getenv("PATIENCE"), "PATIENCE");
    seconds *= patience;
    if (argc - optind < 2)
        bad_usage("missing", "PORT and at least one VERB");
    port = argv[optind];
    if (count < 1 || number(port, "PORT") > 65535)
        bad_usage("out of range", count < 1 ? "-n" : "PORT");
}

/* Ten thousand connections are ten thousand descriptors: take what the system grants. */
static void raise_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    int steps = argc - optind - 1;
    struct step *script = calloc((size_t)steps, sizeof *script);
    conns = calloc((size_t)count, sizeof *conns);
    if (script == NULL || conns == NULL)
        fail_errno();
    for (int i = 0; i < steps; i++)
        script[i] = parse_step(argv[optind + 1 + i]);

    signal(SIGPIPE, SIG_IGN); /* a write to a closed connection is to fail with EPIPE */
    raise_limit();
    if (seconds > 0)
        time_limit = now_ms() + 1000 * seconds;
    if (tls_open(listening) < 0)
        quit(EXIT_FAILURE, "PEER_TLS=%s: %s", getenv("PEER_TLS"), tls_why);
    struct addrinfo *ai = resolve(address, port, AF_UNSPEC);
    int listener = listening ? listen_on(ai) : -1;
    for (long round = 0; round < repeats; round++) {
        doing = listening ? "accept" : "connect";
        if (listening)
            accept_all(listener);
        else
            connect_all(ai);
        for (int i = 0; i < steps; i++)
            do_step(&script[i]);
        for (current = 0; current < count; current++)
            if (conns[current] >= 0)
                do_close(conns[current], NULL);
    }
    freeaddrinfo(ai);
    for (int i = 0; i < steps; i++)
        free(script[i].copy);
    free(conns);
    free(script);
    return EXIT_SUCCESS;
}
