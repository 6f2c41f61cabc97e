/* crowd.c: many members of a chat room at once, which check what they hear.
 *
 * It opens its connections, gives the names m0, m1 …, plays a scenario and checks every line that
 * arrives: the line must be complete, from the member that it names, the next one of its sender,
 * and heard once. It exits with 0 if every line arrived and nothing else did. `peer` plays single
 * members, from a script.
 *
 * Members say lines of a known pattern: see make_line. A chat server drops a member that reads too
 * slowly, and is right to do so: therefore the talkers wait for the slowest listener (-w). */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
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
    "  -w BYTES    say at most that much that has not been heard yet (262144; 0: no limit)\n"
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
    "                      \"go\" when it begins, and how long it took before they leave\n"
    "  stay N              N join one after another and stay until stdin ends; prints \"go\" when\n"
    "                      all have joined\n";

enum { CAPACITY = 65536, MAX_MEMBERS = 5000, TEXT_SIZE = 90, MAX_TEXT_SIZE = 2001, EXIT_LATE = 3 };
enum { MUTE, FLOODER, READER, ANN, BOB, FLOOD_ROLES }; /* the members of flood */

struct member {
    int fd;
    char *in;       /* a partial line, capacity CAPACITY */
    size_t in_size; /* bytes in it */
    char *out;      /* all that it is going to say */
    size_t out_size;
    size_t out_sent;
    long heard;      /* lines, since it was welcomed */
    long *next;      /* the number of the next line of each member; -1: any may be the first */
    uint16_t *order; /* the senders of the lines that it has heard; NULL: not kept */
};

static struct member *members;
static int count;
static int port;
static int epoll_fd;
static long line_size = TEXT_SIZE;
static long window = 262144;
static long seconds = 20;
static int plain;      /* -x */
static int one_by_one; /* members join one after another */
static const char *scenario = "start";
static int64_t time_limit = INT64_MAX;
static int64_t connected_at;

/* How a scenario hears a line, and how many lines (or other things) it still waits for. */
static void (*on_line)(struct member *m, const char *line, size_t size);
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

static _Noreturn void unexpected(const struct member *m, const char *line, size_t size) {
    const size_t shown = size < 300 ? size : 300;
    quit(EXIT_FAILURE, "m%d did not expect, after %ld lines: %.*s", number_of(m), m->heard,
         (int)shown, line);
}

/* Returns n zeroed objects of this size. */
static void *allocate(size_t n, size_t size) {
    if (n == 0)
        n = 1;
    void *memory = calloc(n, size);
    if (!memory)
        fail_errno("calloc");
    return memory;
}

/* ---- hearing ---- */

/* What was said before a member joined may still arrive when all others are there. */
static int is_earlier(const char *line, size_t size) {
    return size >= 10 && memcmp(line, "(earlier) ", 10) == 0;
}

/* Calls hear for each complete line, and keeps a partial one. n bytes have been received. */
static void hear_lines(struct member *m, size_t n,
                       void (*hear)(struct member *m, const char *line, size_t size)) {
    const char *end = m->in + m->in_size + n;
    char *line = m->in;
    char *newline = memchr(line, '\n', (size_t)(end - line));
    while (newline) {
        hear(m, line, (size_t)(newline - line));
        line = newline + 1;
        newline = memchr(line, '\n', (size_t)(end - line));
    }
    m->in_size = (size_t)(end - line);
    memmove(m->in, line, m->in_size);
}

static void hear_line(struct member *m, const char *line, size_t size) {
    if (is_earlier(line, size))
        return;
    on_line(m, line, size);
    m->heard++;
}

static void hear_from(struct member *m) {
    const char *reason = "end of file";
    ssize_t n = recv(m->fd, m->in + m->in_size, CAPACITY - m->in_size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        reason = strerror(errno);
    if (n <= 0)
        quit(EXIT_FAILURE, "m%d was cut off after %ld lines: %s", number_of(m), m->heard, reason);
    hear_lines(m, (size_t)n, hear_line);
    if (m->in_size == CAPACITY)
        quit(EXIT_FAILURE, "m%d hears a line without end", number_of(m));
}

/* Waits at most that many milliseconds for lines, and hears what has arrived. */
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

/* Whether the line is this text. */
static int is(const char *line, size_t size, const char *format, ...) {
    char text[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return (size_t)n == size && memcmp(line, text, size) == 0;
}

/* ---- what is said ---- */

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

/* Makes a line of line_size bytes: 4 digits, its sender; 8 digits, its number; letters; a newline.
 * The pattern shows whether a line was lost, duplicated, truncated or mixed with another. */
static void make_line(char *to, int sender, long number) {
    char head[32];
    int n = snprintf(head, sizeof head, "%04d %08ld ", sender, number);
    memcpy(to, head, (size_t)n);
    for (long i = n; i < line_size - 1; i++)
        to[i] = letters[(sender + number + i) % 26];
    to[line_size - 1] = '\n';
}

/* Gives a member that many lines to say. */
static void give_lines(struct member *m, long lines) {
    m->out_size = (size_t)(lines * line_size);
    m->out = allocate(m->out_size, 1);
    for (long i = 0; i < lines; i++)
        make_line(m->out + i * line_size, number_of(m), i);
}

/* Says at most max bytes of m->out, as many as the kernel takes. Returns how many. */
static size_t say(struct member *m, size_t max) {
    size_t size = m->out_size - m->out_sent;
    if (size > max)
        size = max;
    if (size == 0)
        return 0;
    ssize_t n = send(m->fd, m->out + m->out_sent, size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        quit(EXIT_FAILURE, "m%d cannot speak: %s", number_of(m), strerror(errno));
    if (n < 0)
        return 0;
    m->out_sent += (size_t)n;
    return (size_t)n;
}

static void say_lines(struct member *m, long lines) {
    size_t until = m->out_sent + (size_t)(lines * line_size);
    while (m->out_sent < until)
        say(m, until - m->out_sent);
}

static void say_words(struct member *m, const char *words) {
    const size_t size = strlen(words);
    if (send(m->fd, words, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail_errno("send");
}

/* Whether the server has said this line, and no member. */
static int is_notice(const char *line, size_t size) {
    return size == 0 || strchr("*+-(", line[0]) != NULL;
}

/* Quits unless every byte of the line is as this member must have said it. */
static void check_line(const struct member *m, int sender, long number, const char *line,
                       size_t size) {
    static char expected[CAPACITY];
    const size_t text_size = (size_t)line_size - 1;
    size_t prefix_size = size - text_size;
    if (plain)
        memcpy(expected, line, prefix_size);
    else
        prefix_size = (size_t)snprintf(expected, sizeof expected, "m%d: ", sender);
    make_line(expected + prefix_size, sender, number);
    if (size != prefix_size + text_size || memcmp(line, expected, size) != 0)
        unexpected(m, line, size);
}

/* Quits unless it is the next line of this sender. */
static void check_number(struct member *m, int sender, long number) {
    if (m->next[sender] >= 0 && number != m->next[sender])
        quit(EXIT_FAILURE, "m%d hears line %ld of m%d, and not %ld", number_of(m), number, sender,
             m->next[sender]);
    m->next[sender] = number + 1;
}

/* Checks a line. Returns its sender; or -1 if no member has said it. */
static int line_sender(struct member *m, const char *line, size_t size) {
    const size_t text_size = (size_t)line_size - 1;
    int sender = -1;
    long number = -1;
    if (!plain && is_notice(line, size))
        return -1;
    if (size >= text_size)
        sscanf(line + size - text_size, "%4d %8ld ", &sender, &number);
    if (plain && (sender < 0 || number < 0))
        return -1;
    if (sender < 0 || sender >= count || number < 0)
        unexpected(m, line, size);
    check_line(m, sender, number, line, size);
    check_number(m, sender, number);
    return sender;
}

/* ---- joining and leaving ---- */

static void start_connect(struct member *m) {
    const int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m->fd < 0)
        fail_errno("socket");
    setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(m->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail_errno("connect");
}

static void finish_connect(struct member *m) {
    struct pollfd p = {.fd = m->fd, .events = POLLOUT};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
    int error = 0;
    socklen_t size = sizeof error;
    poll(&p, 1, (int)seconds * 1000);
    getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    if (error != 0 || !(p.revents & POLLOUT))
        fail_errno("connect");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, m->fd, &event);
}

/* Begins all connections, then waits for each. A chat of another kind may have a backlog of 10, and
 * make the others wait for a retransmission: so it gets one connection every 5 ms. */
static void connect_all(void) {
    for (int i = 0; i < count; i++) {
        start_connect(&members[i]);
        const int64_t until = now_us() + 5000;
        while (plain && now_us() < until)
            poll(NULL, 0, 1);
    }
    for (int i = 0; i < count; i++)
        finish_connect(&members[i]);
}

/* Whether the line is "+welcome …", with the member's name at its end. */
static int is_welcome(const struct member *m, const char *line, size_t size) {
    char name[16];
    const size_t name_size = (size_t)snprintf(name, sizeof name, " m%d", number_of(m));
    return size > name_size && memcmp(line, "+welcome", 8) == 0 &&
           memcmp(line + size - name_size, name, name_size) == 0;
}

static int is_joined(const char *line, size_t size) {
    return size >= 10 && memcmp(line, "* m", 3) == 0 && memcmp(line + size - 7, " joined", 7) == 0;
}

/* A member hears its own welcome, and that later ones join. */
static void on_line_joining(struct member *m, const char *line, size_t size) {
    if (!is_welcome(m, line, size) && !is_joined(line, size))
        unexpected(m, line, size);
    due--;
}

static void give_names(void) {
    const long all = (long)count * (count + 1) / 2; /* a welcome for each, and later arrivals */
    char name[16];
    on_line = on_line_joining;
    due = all;
    for (int i = 0; i < count; i++) {
        const long due_after = all - (i + 1L) * (i + 2) / 2;
        snprintf(name, sizeof name, "m%d\n", i);
        say_words(&members[i], name);
        listen_for(0);
        while (one_by_one && due > due_after)
            listen_for(100);
    }
    listen_until_done();
    for (int i = 0; i < count; i++)
        members[i].heard = 0;
}

/* Makes a member that will hear at most that many lines, if their order is kept. */
static void prepare(struct member *m, long lines) {
    m->in = malloc(CAPACITY); /* and not calloc: most members use a page of it */
    if (!m->in)
        fail_errno("malloc");
    m->next = allocate((size_t)count, sizeof *m->next);
    if (lines)
        m->order = allocate((size_t)lines, sizeof *m->order);
    for (int i = 0; i < count; i++)
        m->next[i] = plain ? -1 : 0;
}

/* Brings n members into the room. Each keeps the order of so many lines; 0: of none. */
static void gather(int n, long lines) {
    if (n < 1 || n > MAX_MEMBERS)
        quit(2, "1 to %d members, not %d", MAX_MEMBERS, n);
    count = n;
    members = allocate((size_t)n, sizeof *members);
    for (int i = 0; i < n; i++)
        prepare(&members[i], lines);
    connect_all();
    connected_at = now_us();
    if (!plain)
        give_names();
}

/* Discards what arrives, until the server's end. */
static void drain(const struct member *m) {
    char ignored[CAPACITY];
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    ssize_t n = 1;
    while (n > 0 && poll(&p, 1, 1000) > 0)
        n = recv(m->fd, ignored, sizeof ignored, 0);
}

/* All members leave, and wait until the server knows it: the next crowd will use the same names. */
static void leave(void) {
    for (int i = 0; i < count; i++) {
        if (members[i].fd >= 0)
            shutdown(members[i].fd, SHUT_WR);
    }
    for (int i = 0; i < count; i++) {
        if (members[i].fd >= 0)
            drain(&members[i]);
    }
}

/* ---- talk ---- */

static void on_line_talk(struct member *m, const char *line, size_t size) {
    int sender = line_sender(m, line, size);
    if (sender < 0)
        unexpected(m, line, size);
    m->order[m->heard] = (uint16_t)sender;
    due--;
}

static void on_line_after_talk(struct member *m, const char *line, size_t size) {
    if (!is(line, size, "m%d: that was all", count - 1))
        unexpected(m, line, size);
    due--;
}

/* Each member hears what the silent one hears, except its own lines. */
static void check_order(const struct member *m, long lines) {
    const struct member *silent = &members[count - 1];
    long heard = 0;
    for (long i = 0; i < lines; i++) {
        if (silent->order[i] == number_of(m))
            continue;
        if (m->order[heard] != silent->order[i])
            quit(EXIT_FAILURE, "m%d hears another order than m%d", number_of(m), count - 1);
        heard++;
    }
}

/* Each of n members says a piece of its lines. Returns how many bytes they have said. */
static long say_pieces(int n) {
    enum { PIECE = 700 };
    long said = 0;
    for (int i = 0; i < n; i++) {
        said += (long)say(&members[i], PIECE);
        listen_for(0);
    }
    return said;
}

static void talk(long n, long lines, long size) {
    const long all = n * lines * size;
    long sent = 0;
    line_size = size;
    gather((int)n + 1, n * lines);
    const struct member *silent = &members[n];
    for (int i = 0; i < n; i++)
        give_lines(&members[i], lines);
    on_line = on_line_talk;
    due = n * n * lines;
    while (due > 0) {
        if (sent < all && (!window || sent - silent->heard * size < window)) {
            sent += say_pieces((int)n);
            listen_for(0);
        } else {
            listen_for(1);
        }
    }
    for (int i = 0; i < n; i++)
        check_order(&members[i], n * lines);
    on_line = on_line_after_talk;
    due = n;
    say_words(&members[n], "that was all\n");
    listen_until_done();
    printf("%ld lines were heard\n", n * n * lines);
}

/* ---- flood ---- */

static int64_t asked_at; /* when ANN said the line that BOB has not heard yet; 0: there is none */
static int64_t slowest;
static long exchanged;

static void on_line_flood(struct member *m, const char *line, size_t size) {
    int sender = line_sender(m, line, size);
    if (sender < 0 && !is(line, size, "* m%d left (too slow)", MUTE))
        unexpected(m, line, size);
    due--;
    if (sender != ANN || m != &members[BOB])
        return;
    const int64_t took = now_us() - asked_at;
    if (took > slowest)
        slowest = took;
    asked_at = 0;
    exchanged++;
}

static void hear_mute_line(struct member *m, const char *line, size_t size) {
    if (line_sender(m, line, size) < 0 && line[0] != '-')
        unexpected(m, line, size);
}

/* Lets the mute member read: it must have missed nothing before it was dropped. Returns how many
 * lines were on the way to it. */
static long read_mute(struct member *m) {
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    const long before = m->next[FLOODER];
    ssize_t n = 1;
    while (n > 0) {
        poll(&p, 1, 5000);
        n = recv(m->fd, m->in + m->in_size, CAPACITY - m->in_size, 0);
        if (n > 0)
            hear_lines(m, (size_t)n, hear_mute_line);
    }
    if (n < 0 && errno != ECONNRESET)
        fail_errno("the one who does not read is still there");
    return m->next[FLOODER] - before;
}

/* ANN says a line every ten milliseconds, unless BOB has not heard the last one yet. */
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
    struct member *flooder = &members[FLOODER];
    const struct member *reader = &members[READER];
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, members[MUTE].fd, NULL);
    give_lines(flooder, lines);
    give_lines(&members[ANN], seconds * 100);
    on_line = on_line_flood;
    due = 3 * lines + FLOOD_ROLES - 1; /* the rest: the mute member is dropped */
    const int64_t start = now_us();
    int64_t next = start;
    while (due > 0) {
        const long ahead = (long)flooder->out_sent - reader->next[FLOODER] * line_size;
        size_t said = 0;
        if (!window || ahead < window)
            said = say(flooder, PIECE);
        if (reader->next[FLOODER] < lines)
            exchange(&next);
        listen_for(said > 0 ? 0 : 1);
    }
    printf("%ld lines in %.1f ms; %ld exchanged meanwhile, the slowest in %.1f ms\n", lines,
           (double)(now_us() - start) / 1e3, exchanged, (double)slowest / 1e3);
    printf("the member that never read was cut off with %ld lines on the way\n",
           read_mute(&members[MUTE]));
}

/* ---- reset ---- */

static void on_line_left(struct member *m, const char *line, size_t size) {
    int leaver = -1;
    sscanf(line, "* m%d", &leaver);
    if (leaver < 0 || leaver >= count - 1 || m->next[leaver] != 0)
        unexpected(m, line, size);
    if (!is(line, size, "* m%d left (connection lost)", leaver))
        unexpected(m, line, size);
    m->next[leaver] = 1;
    due--;
}

static void on_line_alone(struct member *m, const char *line, size_t size) {
    if (!is(line, size, "+here: m%d", count - 1))
        unexpected(m, line, size);
    due--;
}

static void reset(int n) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    gather(n + 1, 0);
    on_line = on_line_left;
    due = n;
    for (int i = 0; i < n; i++)
        setsockopt(members[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    for (int i = 0; i < n; i++) {
        close(members[i].fd);
        members[i].fd = -1;
    }
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

static void on_line_count(struct member *m, const char *line, size_t size) {
    if (line_sender(m, line, size) == 0)
        due--;
    else if (!plain)
        unexpected(m, line, size);
}

static int compare(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    if (x == y)
        return 0;
    return x < y ? -1 : 1;
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

/* Returns how many members have not heard a line yet. */
static int deaf_members(void) {
    int deaf = 0;
    for (int i = 1; i < count; i++) {
        if (members[i].next[0] < 0)
            deaf++;
    }
    return deaf;
}

/* Without a welcome nobody knows when all members have joined: so the first one says lines until
 * each of the others hears some, and waits until all have heard the last one. */
static void say_until_all_hear(void) {
    long said = 0;
    while (deaf_members() > 0) {
        say_lines(&members[0], 1);
        said++;
        const int64_t until = now_us() + 50000;
        while (now_us() < until)
            listen_for(10);
    }
    for (int i = 1; i < count; i++) {
        while (members[i].next[0] < said)
            listen_for(10);
    }
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
    fflush(stdout); /* before they leave: that is work for the server, too */
}

static void on_line_any(struct member *m, const char *line, size_t size) {
    (void)m;
    (void)line;
    (void)size;
}

static void stay(int n) {
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    one_by_one = 1;
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

static void play_talk(const long *n) {
    talk(n[0], n[1], n[2]);
}

static void play_flood(const long *n) {
    flood(n[0]);
}

static void play_reset(const long *n) {
    reset((int)n[0]);
}

static void play_join(const long *n) {
    join((int)n[0]);
}

static void play_broadcast(const long *n) {
    broadcast((int)n[0], n[1]);
}

static void play_load(const long *n) {
    load((int)n[0], n[1], n[2]);
}

static void play_stay(const long *n) {
    stay((int)n[0]);
}

static const struct scenario {
    const char *name;
    int numbers; /* how many it takes */
    void (*play)(const long *numbers);
} scenarios[] = {
    {"talk", 3, play_talk}, {"flood", 1, play_flood},         {"reset", 1, play_reset},
    {"join", 1, play_join}, {"broadcast", 2, play_broadcast}, {"load", 3, play_load},
    {"stay", 1, play_stay},
};

/* Whether a scenario can be played with these numbers. */
static int are_valid(const struct scenario *s, const long *n) {
    if (s->play == play_talk)
        return n[2] >= 16 && n[2] <= MAX_TEXT_SIZE;
    if (s->play == play_broadcast)
        return n[1] > 0;
    if (s->play == play_load)
        return n[2] > 0 && n[1] % n[2] == 0;
    return 1;
}

/* Plays the scenario that the words name, the first its name and the others its numbers. */
static void play(char **words, int words_count) {
    long numbers[3] = {0};
    scenario = words[0];
    for (int i = 1; i < words_count && i <= 3; i++)
        numbers[i - 1] = number(words[i]);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        const struct scenario *s = &scenarios[i];
        if (strcmp(scenario, s->name) == 0 && words_count == s->numbers + 1 &&
            are_valid(s, numbers)) {
            s->play(numbers);
            return;
        }
    }
    quit(2, "no such scenario, or other numbers (crowd -h lists them)");
}

static void free_members(void) {
    for (int i = 0; i < count; i++) {
        free(members[i].in);
        free(members[i].out);
        free(members[i].next);
        free(members[i].order);
    }
    free(members);
}

/* Each connection takes a descriptor: allows as many as the user may have (getrlimit(2)). */
static void raise_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Returns -1: play; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+t:w:xh")) != -1) {
        switch (option) {
        case 't': seconds = number(optarg); break;
        case 'w': window = number(optarg); break;
        case 'x': plain = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return 2; /* getopt has said what is wrong */
        }
    }
    if (argc - optind < 3) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

int main(int argc, char **argv) {
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    raise_limit();
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
    free_members();
    return EXIT_SUCCESS;
}
