/*
 * crowd: many members of a chat room at once, who judge what they hear.
 *
 * It opens its connections, gives the names m0, m1 …, plays a scenario and checks every line that
 * comes: it has to be whole, from who it says, the next one of its sender, and heard once. It exits
 * with 0 if all came and nothing else did. `peer` plays single members, to a script.
 *
 * What a member says are lines of a known pattern, see make_line. Who is slower than the talk is
 * cut off by a chat server, rightly: so the talkers wait for the slowest listener (-w).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
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
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: crowd [-t SECONDS] [-w BYTES] [-x] PORT SCENARIO NUMBER...\n"
    "  -t SECONDS  give up after that long (20; PATIENCE=N in the environment: N times\n"
    "              that) and exit 3\n"
    "  -w BYTES    say at most so much that has not been heard yet (262144; 0: no limit)\n"
    "  -x          a chat of another kind: no names, anything may stand before a text (load)\n"
    "Scenarios:\n"
    "  talk N LINES LEN    N members say LINES lines of LEN bytes each (16 or more), in pieces;\n"
    "                      all hear all of them, in the same order, and so does a silent one\n"
    "  flood LINES         one never reads, one says LINES lines, three hear all of them; two of\n"
    "                      these exchange lines meanwhile: prints how long the slowest one took\n"
    "  reset N             N leave at the same instant by a reset, and one hears of each\n"
    "  join N              prints how long it takes until N are connected, and welcomed\n"
    "  broadcast N ROUNDS  prints how long it takes until N - 1 have heard a line\n"
    "  load N LINES BATCH  one says LINES lines of 90 bytes, BATCH at a time, to N others; prints\n"
    "                      \"go\" when it begins\n"
    "  stay N              N come in turn and are there until stdin ends; prints \"go\" when they "
    "are\n";

enum { ROOM = 65536, MAX_MEMBERS = 5000, TEXT_LEN = 90, EXIT_LATE = 3 };
enum { MUTE, FLOODER, READER, ANN, BOB, FLOOD_ROLES }; /* the members of flood */

struct member {
    int fd;
    size_t have; /* bytes in in: the begin of a line */
    char *in;    /* room for ROOM bytes */
    char *out;   /* all that it is going to say */
    size_t out_size, out_sent;
    long heard;      /* lines, since it was welcomed */
    long *next;      /* the number of the next line of each member; -1: any may be the first */
    uint16_t *order; /* who said what it has heard; NULL: not kept */
};

static struct member *members;
static int count, port, epoll_fd;
static long line_len = TEXT_LEN, window = 262144, seconds = 20;
static bool plain, in_turn;
static const char *scenario = "start";
static int64_t time_limit = INT64_MAX, connected_at;

/* How a scenario hears a line, and how many lines (or other things) it still waits for. */
static void (*on_line)(struct member *m, const char *line, size_t len);
static long due;

/* ---- failing ---- */

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int number_of(const struct member *m) {
    return (int)(m - members);
}

static _Noreturn void quit(int status, const char *format, ...) {
    va_list args;
    fflush(stdout);
    fprintf(stderr, "crowd: %s: ", scenario);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static _Noreturn void fail_errno(const char *what) {
    quit(EXIT_FAILURE, "%s: %s", what, strerror(errno));
}

static _Noreturn void unexpected(const struct member *m, const char *line, size_t len) {
    quit(EXIT_FAILURE, "m%d did not expect, after %ld lines: %.*s", number_of(m), m->heard,
         (int)(len < 300 ? len : 300), line);
}

static void *allocate(size_t n, size_t size) {
    void *room = calloc(n ? n : 1, size);
    if (room == NULL)
        fail_errno("calloc");
    return room;
}

/* ---- hearing ---- */

static void hear_from(struct member *m) {
    ssize_t n = recv(m->fd, m->in + m->have, ROOM - m->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        quit(EXIT_FAILURE, "m%d was cut off after %ld lines: %s", number_of(m), m->heard,
             n < 0 ? strerror(errno) : "end of file");
    char *line = m->in, *end = m->in + m->have + n, *newline;
    while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        /* What was said before it came may still be on its way when all others are there. */
        if (newline - line < 10 || memcmp(line, "(earlier) ", 10) != 0) {
            on_line(m, line, (size_t)(newline - line));
            m->heard++;
        }
        line = newline + 1;
    }
    m->have = (size_t)(end - line);
    memmove(m->in, line, m->have);
    if (m->have == ROOM)
        quit(EXIT_FAILURE, "m%d hears a line without end", number_of(m));
}

/* Hears what has come, after at most so many milliseconds. */
static void listen_for(int ms) {
    struct epoll_event events[256];
    int n = epoll_wait(epoll_fd, events, 256, ms);
    for (int i = 0; i < n; i++)
        hear_from(events[i].data.ptr);
    if (now_us() > time_limit)
        quit(EXIT_LATE, "not done after %ld s: %ld still due", seconds, due);
}

static void listen_until_done(void) {
    while (due > 0)
        listen_for(100);
}

static bool is(const char *line, size_t len, const char *format, ...) {
    char text[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return (size_t)n == len && memcmp(line, text, len) == 0;
}

/* ---- what is said ---- */

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

/* Line `number` of a member: 4 digits, who; 8 digits, the number; then letters, to line_len bytes
   with the newline. What was lost, doubled, cut or mixed shows. */
static void make_line(char *to, int who, long number) {
    char head[32];
    int n = snprintf(head, sizeof head, "%04d %08ld ", who, number);
    memcpy(to, head, (size_t)n);
    for (long i = n; i < line_len - 1; i++)
        to[i] = letters[(who + number + i) % 26];
    to[line_len - 1] = '\n';
}

/* Gives it so many lines to say. */
static void give_lines(struct member *m, long lines) {
    m->out_size = (size_t)(lines * line_len);
    m->out = allocate(m->out_size, 1);
    for (long i = 0; i < lines; i++)
        make_line(m->out + i * line_len, number_of(m), i);
}

/* Says at most so many bytes of it, as far as there is room. */
static bool say(struct member *m, size_t most) {
    size_t left = m->out_size - m->out_sent;
    ssize_t n =
        left ? send(m->fd, m->out + m->out_sent, left < most ? left : most, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        quit(EXIT_FAILURE, "m%d cannot speak: %s", number_of(m), strerror(errno));
    if (n > 0)
        m->out_sent += (size_t)n;
    return n > 0;
}

static void say_lines(struct member *m, long lines) {
    size_t until = m->out_sent + (size_t)(lines * line_len);
    while (m->out_sent < until)
        say(m, until - m->out_sent);
}

static void say_words(struct member *m, const char *words) {
    size_t len = strlen(words);
    if (send(m->fd, words, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail_errno("send");
}

/* Who said this line: it is checked in every byte. -1: it is not one of ours. */
static int spoken_by(struct member *m, const char *line, size_t len) {
    static char expected[ROOM];
    size_t text = (size_t)line_len - 1;
    int who = -1;
    long number = -1;
    if (!plain && (len == 0 || strchr("*+-(", line[0]) != NULL))
        return -1;
    if (len >= text)
        sscanf(line + len - text, "%4d %8ld ", &who, &number);
    if (plain && (who < 0 || number < 0))
        return -1;
    if (who < 0 || who >= count || number < 0)
        unexpected(m, line, len);
    int n = plain ? (int)(len - text) : snprintf(expected, sizeof expected, "m%d: ", who);
    if (plain)
        memcpy(expected, line, (size_t)n);
    make_line(expected + n, who, number);
    if (len != (size_t)n + text || memcmp(line, expected, len) != 0)
        unexpected(m, line, len);
    if (m->next[who] >= 0 && number != m->next[who])
        quit(EXIT_FAILURE, "m%d hears line %ld of m%d, and not %ld", number_of(m), number, who,
             m->next[who]);
    m->next[who] = number + 1;
    return who;
}

/* ---- coming ---- */

static void start_connect(struct member *m) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m->fd < 0)
        fail_errno("socket");
    setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(m->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail_errno("connect");
}

static void finish_connect(struct member *m) {
    struct pollfd p = {.fd = m->fd, .events = POLLOUT};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
    int error = 0;
    poll(&p, 1, (int)seconds * 1000);
    getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if ((errno = error) != 0 || !(p.revents & POLLOUT))
        fail_errno("connect");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, m->fd, &event);
}

/* All handshakes run at the same time. A chat of another kind may have a backlog of 10, and leave
   the others waiting for a retransmission: so it gets them one by one. */
static void connect_all(void) {
    for (struct member *m = members; m < members + count; m++) {
        start_connect(m);
        for (int64_t until = now_us() + 5000; plain && now_us() < until;)
            poll(NULL, 0, 1);
    }
    for (struct member *m = members; m < members + count; m++)
        finish_connect(m);
}

/* Of two members, the one who came first hears that the other one comes. */
static void on_line_joining(struct member *m, const char *line, size_t len) {
    char name[16];
    size_t size = (size_t)snprintf(name, sizeof name, " m%d", number_of(m));
    bool welcome = len > size && memcmp(line, "+welcome", 8) == 0;
    if (welcome ? memcmp(line + len - size, name, size) != 0
                : len < 10 || memcmp(line, "* m", 3) != 0 || memcmp(line + len - 7, " joined", 7))
        unexpected(m, line, len);
    due--;
}

static void give_names(void) {
    char name[16];
    long all = (long)count * (count + 1) / 2; /* a welcome for each, and who came after it */
    on_line = on_line_joining;
    due = all;
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "m%d\n", i);
        say_words(&members[i], name);
        do
            listen_for(in_turn ? 100 : 0);
        while (in_turn && due > all - (i + 1L) * (i + 2) / 2);
    }
    listen_until_done();
    for (struct member *m = members; m < members + count; m++)
        m->heard = 0;
}

/* n members in the room, who will hear `lines` lines each at most, if their order is kept. */
static void gather(int n, long lines) {
    if (n < 1 || n > MAX_MEMBERS)
        quit(2, "1 to %d members, not %d", MAX_MEMBERS, n);
    count = n;
    members = allocate((size_t)n, sizeof *members);
    for (struct member *m = members; m < members + n; m++) {
        m->in = malloc(ROOM); /* and not calloc: most members use a page of it */
        m->next = allocate((size_t)n, sizeof *m->next);
        m->order = lines ? allocate((size_t)lines, sizeof *m->order) : NULL;
        for (int i = 0; plain && i < n; i++)
            m->next[i] = -1;
        if (m->in == NULL)
            fail_errno("malloc");
    }
    connect_all();
    connected_at = now_us();
    if (!plain)
        give_names();
}

/* All leave, and have seen that the server knows it: so the names are free for the next crowd. */
static void leave(void) {
    char byte[ROOM];
    for (struct member *m = members; m < members + count; m++)
        if (m->fd >= 0)
            shutdown(m->fd, SHUT_WR);
    for (struct member *m = members; m < members + count; m++) {
        struct pollfd p = {.fd = m->fd, .events = POLLIN};
        while (m->fd >= 0 && poll(&p, 1, 1000) > 0 && recv(m->fd, byte, sizeof byte, 0) > 0)
            continue;
    }
}

/* ---- talk ---- */

static void on_line_talk(struct member *m, const char *line, size_t len) {
    int who = spoken_by(m, line, len);
    if (who < 0)
        unexpected(m, line, len);
    m->order[m->heard] = (uint16_t)who;
    due--;
}

static void on_line_after_talk(struct member *m, const char *line, size_t len) {
    if (!is(line, len, "m%d: that was all", count - 1))
        unexpected(m, line, len);
    due--;
}

/* Everybody hears what the silent one hears, but for their own lines. */
static void check_order(long lines) {
    const struct member *silent = &members[count - 1];
    for (const struct member *m = members; m < silent; m++) {
        const uint16_t *heard = m->order;
        for (long i = 0; i < lines; i++)
            if (silent->order[i] != number_of(m) && *heard++ != silent->order[i])
                quit(EXIT_FAILURE, "m%d hears another order than m%d", number_of(m), count - 1);
    }
}

static void talk(long n, long lines, long len) {
    enum { PIECE = 700 };
    line_len = len;
    gather((int)n + 1, n * lines);
    const struct member *silent = &members[n];
    for (int i = 0; i < n; i++)
        give_lines(&members[i], lines);
    on_line = on_line_talk;
    due = n * n * lines;
    for (long sent = 0, all = n * lines * len; due > 0;) {
        bool may = sent < all && (!window || sent - silent->heard * len < window);
        for (int i = 0; may && i < n; i++) {
            sent -= (long)members[i].out_sent;
            say(&members[i], PIECE);
            sent += (long)members[i].out_sent;
            listen_for(0);
        }
        listen_for(may ? 0 : 1);
    }
    check_order(n * lines);
    on_line = on_line_after_talk;
    due = n;
    say_words(&members[n], "that was all\n");
    listen_until_done();
    printf("%ld lines were heard\n", n * n * lines);
}

/* ---- flood ---- */

static int64_t asked_at, slowest; /* the line on its way from ANN to BOB; 0: none */
static long exchanged;

static void on_line_flood(struct member *m, const char *line, size_t len) {
    int who = spoken_by(m, line, len);
    if (who < 0 && !is(line, len, "* m%d left (too slow)", MUTE))
        unexpected(m, line, len);
    due--;
    if (who != ANN || m != &members[BOB])
        return;
    int64_t took = now_us() - asked_at;
    slowest = took > slowest ? took : slowest;
    asked_at = 0;
    exchanged++;
}

/* Now it reads: up to where it was cut off it has missed nothing. */
static long see_mute(struct member *m) {
    ssize_t n;
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    long before = m->next[FLOODER];
    do {
        poll(&p, 1, 5000);
        n = recv(m->fd, m->in + m->have, ROOM - m->have, 0);
        char *line = m->in, *end = m->in + m->have + (n > 0 ? n : 0), *newline;
        while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
            if (spoken_by(m, line, (size_t)(newline - line)) < 0 && line[0] != '-')
                unexpected(m, line, (size_t)(newline - line));
            line = newline + 1;
        }
        m->have = (size_t)(end - line);
        memmove(m->in, line, m->have);
    } while (n > 0);
    if (n < 0 && errno != ECONNRESET)
        fail_errno("the one who does not read is still there");
    return m->next[FLOODER] - before;
}

/* A line every ten milliseconds, unless the last one is still on its way. */
static void exchange(int64_t *next) {
    if (asked_at || now_us() < *next)
        return;
    asked_at = now_us();
    *next = asked_at + 10000;
    due += FLOOD_ROLES - 2;
    say_lines(&members[ANN], 1);
}

static void flood(long lines) {
    enum { PIECE = 16384 };
    gather(FLOOD_ROLES, 0);
    struct member *flooder = &members[FLOODER], *reader = &members[READER];
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, members[MUTE].fd, NULL);
    give_lines(flooder, lines);
    give_lines(&members[ANN], seconds * 100);
    on_line = on_line_flood;
    due = 3 * lines + FLOOD_ROLES - 1; /* the rest: who does not read is cut off */
    int64_t start = now_us(), next = start;
    while (due > 0) {
        long ahead = (long)flooder->out_sent - reader->next[FLOODER] * line_len;
        bool said = (!window || ahead < window) && say(flooder, PIECE);
        if (reader->next[FLOODER] < lines)
            exchange(&next);
        listen_for(said ? 0 : 1);
    }
    printf("%ld lines in %.1f ms; %ld exchanged meanwhile, the slowest in %.1f ms\n", lines,
           (double)(now_us() - start) / 1e3, exchanged, (double)slowest / 1e3);
    printf("who never read was cut off with %ld lines on the way\n", see_mute(&members[MUTE]));
}

/* ---- reset ---- */

static void on_line_left(struct member *m, const char *line, size_t len) {
    int who = -1;
    sscanf(line, "* m%d", &who);
    if (who < 0 || who >= count - 1 || m->next[who]++ != 0 ||
        !is(line, len, "* m%d left (connection lost)", who))
        unexpected(m, line, len);
    due--;
}

static void on_line_alone(struct member *m, const char *line, size_t len) {
    if (!is(line, len, "+here: m%d", count - 1))
        unexpected(m, line, len);
    due--;
}

static void reset(int n) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    gather(n + 1, 0);
    on_line = on_line_left;
    due = n;
    for (int i = 0; i < n; i++)
        setsockopt(members[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    for (int i = 0; i < n; i++)
        close(members[i].fd), members[i].fd = -1;
    listen_until_done();
    on_line = on_line_alone;
    due = 1;
    say_words(&members[n], "/who\n");
    listen_until_done();
}

/* ---- how long it takes ---- */

static void join(int n) {
    int64_t start = now_us();
    gather(n, 0);
    printf("%d connected in %.1f ms, welcomed in %.1f ms\n", n,
           (double)(connected_at - start) / 1e3, (double)(now_us() - start) / 1e3);
}

static void on_line_count(struct member *m, const char *line, size_t len) {
    if (spoken_by(m, line, len) == 0)
        due--;
    else if (!plain)
        unexpected(m, line, len);
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void broadcast(int n, long rounds) {
    int64_t *took = allocate((size_t)rounds, sizeof *took);
    gather(n, 0);
    give_lines(&members[0], rounds);
    on_line = on_line_count;
    for (long i = 0; i < rounds; i++) {
        int64_t start = now_us();
        due = n - 1;
        say_lines(&members[0], 1);
        listen_until_done();
        took[i] = now_us() - start;
    }
    qsort(took, (size_t)rounds, sizeof *took, compare);
    printf("%ld lines heard by %d: the fastest in %.2f ms, half in %.2f ms, all in %.2f ms\n",
           rounds, n - 1, (double)took[0] / 1e3, (double)took[rounds / 2] / 1e3,
           (double)took[rounds - 1] / 1e3);
}

/* ---- load ---- */

/* Without a welcome nobody knows when all are in: so lines are said until each one hears some, and
   the last one is heard by all. */
static long say_until_all_hear(void) {
    long deaf = count - 1, said = 0;
    for (; deaf > 0; said++) {
        say_lines(&members[0], 1);
        for (int64_t until = now_us() + 50000; now_us() < until;)
            listen_for(10);
        deaf = 0;
        for (int i = 1; i < count; i++)
            deaf += members[i].next[0] < 0;
    }
    for (int i = 1; i < count; i++)
        while (members[i].next[0] < said)
            listen_for(10);
    return said;
}

static void load(int n, long lines, long batch) {
    enum { SYNC = 1000 };
    gather(n + 1, 0);
    give_lines(&members[0], lines + SYNC);
    on_line = on_line_count;
    if (plain)
        say_until_all_hear();
    printf("go\n");
    fflush(stdout);
    int64_t start = now_us();
    for (long i = 0; i < lines; i += batch) {
        due = batch * n;
        say_lines(&members[0], batch);
        listen_until_done();
    }
    printf("%ld lines were heard in %.3f s\n", lines * n, (double)(now_us() - start) / 1e6);
}

static void on_line_any(struct member *m, const char *line, size_t len) {
    (void)m, (void)line, (void)len;
}

static void stay(int n) {
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    in_turn = true;
    gather(n, 0);
    on_line = on_line_any;
    printf("go\n");
    fflush(stdout);
    while (poll(&p, 1, 0) == 0 || read(STDIN_FILENO, &byte, 1) > 0)
        listen_for(10);
}

/* ---- the start ---- */

static long number(const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 0 || n > INT_MAX)
        quit(2, "not a number: %s (crowd -h lists the scenarios)", text);
    return n;
}

static void play(char **words, int n) {
    long of[3] = {0};
    scenario = words[0];
    for (int i = 1; i < n && i <= 3; i++)
        of[i - 1] = number(words[i]);
    if (strcmp(scenario, "talk") == 0 && n == 4 && of[2] >= 16 && of[2] <= 2001)
        talk(of[0], of[1], of[2]);
    else if (strcmp(scenario, "flood") == 0 && n == 2)
        flood(of[0]);
    else if (strcmp(scenario, "reset") == 0 && n == 2)
        reset((int)of[0]);
    else if (strcmp(scenario, "join") == 0 && n == 2)
        join((int)of[0]);
    else if (strcmp(scenario, "broadcast") == 0 && n == 3 && of[1] > 0)
        broadcast((int)of[0], of[1]);
    else if (strcmp(scenario, "load") == 0 && n == 4 && of[2] > 0 && of[1] % of[2] == 0)
        load((int)of[0], of[1], of[2]);
    else if (strcmp(scenario, "stay") == 0 && n == 2)
        stay((int)of[0]);
    else
        quit(2, "no such scenario, or other numbers (crowd -h lists them)");
}

int main(int argc, char **argv) {
    struct rlimit files;
    for (int o; (o = getopt(argc, argv, "+t:w:xh")) != -1;)
        switch (o) {
        case 't': seconds = number(optarg); break;
        case 'w': window = number(optarg); break;
        case 'x': plain = true; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return 2; /* getopt has said why */
        }
    if (argc - optind < 3)
        return fputs(usage, stderr), 2;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (getenv("PATIENCE"))
        seconds *= number(getenv("PATIENCE"));
    port = (int)number(argv[optind]);
    time_limit = now_us() + 1000000 * seconds;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail_errno("epoll_create1");
    play(argv + optind + 1, argc - optind - 1);
    if (!plain)
        leave();
    for (struct member *m = members; m < members + count; m++) {
        free(m->in);
        free(m->out);
        free(m->next);
        free(m->order);
    }
    free(members);
    return EXIT_SUCCESS;
}
