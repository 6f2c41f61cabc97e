/* udprelay.c: imitates a bad network for UDP, between a client and a server on this machine.
 *
 *   udprelay [-d MS] [-j MS] [-s N] [-x N] [-D N] [-L MS:N] [-f] SERVERPORT
 *
 * It listens on a free port of 127.0.0.1, prints `listening on …`, and carries datagrams to the
 * server and back, through a socket of its own for each client, until SIGTERM.
 *   -d MS    delay every datagram by MS
 *   -j MS    delay each by up to MS more, so that neighbors overtake each other
 *   -s N     swap every Nth with the one after it
 *   -x N     drop every Nth
 *   -D N     deliver every Nth twice
 *   -L MS:N  delay every Nth by MS
 *   -f       before the server sees a request, send the client a forged reply from another port:
 *            the request itself with its last byte changed to '!'
 * Datagrams are counted for each client and direction, and nothing is random, so that a failure
 * can be repeated. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS = 64,   /* datagrams of further clients are dropped */
    PENDING = 1024, /* datagrams in flight; further ones are dropped, as in a real network */
    DATAGRAM = 65536,
    SWAP_MS = 100 /* a held datagram leaves after that long if no other follows it */
};

/* One direction of one client: the socket and address to which its datagrams go. */
struct path {
    int fd;
    struct sockaddr_in to;
    unsigned count;
    struct packet *held; /* waits for the next one to overtake it; or NULL */
};

struct client {
    struct path there;
    struct path back;
};

struct packet {
    struct path *path; /* NULL: this slot is free */
    int64_t due;
    uint64_t number; /* of two that are due, the older goes first */
    size_t size;
    char *data;
};

static const char usage[] =
    "usage: udprelay [-d MS] [-j MS] [-s N] [-x N] [-D N] [-L MS:N] [-f] SERVERPORT\n";
static unsigned delay_ms;
static unsigned jitter_ms;
static unsigned swap_every;
static unsigned drop_every;
static unsigned duplicate_every;
static unsigned late_ms;
static unsigned late_every;
static int forge;

static struct sockaddr_in server;
static struct client clients[CLIENTS];
static struct pollfd fds[CLIENTS + 1]; /* [0] faces the clients; [i + 1] is client i's */
static nfds_t fds_count = 1;
static struct packet packets[PENDING];
static int forger; /* a socket with a port to which no client has ever sent */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void check(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

/* Returns a socket on a free port of 127.0.0.1, and its address in *name. */
static int new_socket(struct sockaddr_in *name) {
    socklen_t size = sizeof *name;
    *name = (struct sockaddr_in){.sin_family = AF_INET};
    name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    check(fd >= 0, "socket");
    check(bind(fd, (struct sockaddr *)name, sizeof *name) == 0, "bind");
    check(getsockname(fd, (struct sockaddr *)name, &size) == 0, "getsockname");
    return fd;
}

/* ---- the datagrams in flight ---- */

/* Whether number count is one of every n; none is if n is 0. */
static int is_nth(unsigned n, unsigned count) {
    return n != 0 && count % n == 0;
}

static void transmit(int fd, const char *data, size_t size, const struct sockaddr_in *to) {
    /* An error would be about an earlier datagram (nobody listens there): not ours to report. */
    (void)sendto(fd, data, size, 0, (const struct sockaddr *)to, sizeof *to);
}

/* Keeps a copy of a datagram until it is due. Returns it; or NULL, and drops it, if all slots are
 * taken. */
static struct packet *enqueue(struct path *path, const char *data, size_t size, int64_t due) {
    static uint64_t number;
    struct packet *p = packets;
    while (p < packets + PENDING && p->path)
        p++;
    if (p == packets + PENDING)
        return NULL;
    *p = (struct packet){path, due, number, size, malloc(size + 1)};
    check(p->data != NULL, "malloc");
    memcpy(p->data, data, size);
    number++;
    return p;
}

/* Lets the held datagram of this path leave after the one that has overtaken it. */
static void release_held(struct path *path, int64_t due) {
    if (!path->held)
        return;
    path->held->due = due;
    path->held->number = UINT64_MAX;
    path->held = NULL;
}

/* Does to one datagram what the options say. */
static void carry(struct path *path, const char *data, size_t size) {
    path->count++;
    const unsigned n = path->count;
    int64_t due = now_ms() + delay_ms;
    if (is_nth(drop_every, n))
        return;
    if (jitter_ms > 0)
        due += (n * 2654435761U >> 16) % (jitter_ms + 1); /* a hash, so the same each time */
    if (is_nth(late_every, n))
        due += late_ms;
    const int hold = is_nth(swap_every, n) && !path->held;
    struct packet *p = enqueue(path, data, size, due);
    if (hold && p)
        p->due += SWAP_MS;
    if (is_nth(duplicate_every, n))
        enqueue(path, data, size, due);
    release_held(path, due);
    if (hold)
        path->held = p;
}

/* Whether p is due at this time, and before other (NULL: there is no other). */
static int is_due_before(const struct packet *p, const struct packet *other, int64_t now) {
    if (!p->path || p->due > now)
        return 0;
    if (!other || p->due < other->due)
        return 1;
    return p->due == other->due && p->number < other->number;
}

/* Sends the oldest datagram that is due. Returns 1; or 0 if none is. */
static int deliver(void) {
    const int64_t now = now_ms();
    struct packet *first = NULL;
    for (size_t i = 0; i < PENDING; i++) {
        if (is_due_before(&packets[i], first, now))
            first = &packets[i];
    }
    if (!first)
        return 0;
    transmit(first->path->fd, first->data, first->size, &first->path->to);
    if (first->path->held == first)
        first->path->held = NULL;
    free(first->data);
    first->path = NULL;
    return 1;
}

/* Returns how many milliseconds poll may wait until the next datagram is due; -1: for ever. */
static int next_timeout(void) {
    const int64_t now = now_ms();
    int64_t next = -1;
    for (size_t i = 0; i < PENDING; i++) {
        if (packets[i].path && (next < 0 || packets[i].due < next))
            next = packets[i].due;
    }
    if (next < 0)
        return -1;
    return next > now ? (int)(next - now) : 0;
}

/* ---- clients ---- */

/* Returns the client with this port, a new one if need be; or NULL if there are too many. */
static struct client *client_of(const struct sockaddr_in *from) {
    struct sockaddr_in unused;
    struct client *c = clients;
    while (c < clients + fds_count - 1) {
        if (c->back.to.sin_port == from->sin_port)
            return c;
        c++;
    }
    if (fds_count > CLIENTS)
        return NULL;
    c->there = (struct path){.fd = new_socket(&unused), .to = server};
    c->back = (struct path){.fd = fds[0].fd, .to = *from};
    fds[fds_count] = (struct pollfd){.fd = c->there.fd, .events = POLLIN};
    fds_count++;
    return c;
}

/* A request from a client. With -f, the client gets a forged reply at once. */
static void receive_request(void) {
    static char data[DATAGRAM];
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    ssize_t n = recvfrom(fds[0].fd, data, sizeof data, 0, (struct sockaddr *)&from, &from_size);
    if (n < 0)
        return;
    struct client *c = client_of(&from);
    if (!c)
        return;
    carry(&c->there, data, (size_t)n);
    if (forge && n > 0) {
        data[n - 1] = '!';
        transmit(forger, data, (size_t)n, &from);
    }
}

/* A reply from the server to this client. */
static void receive_reply(struct client *c) {
    static char data[DATAGRAM];
    ssize_t n = recv(c->there.fd, data, sizeof data, 0);
    if (n >= 0)
        carry(&c->back, data, (size_t)n);
}

/* Carries all that can be received, then sends all that is due. */
static void relay_step(void) {
    const nfds_t count = fds_count;
    if (poll(fds, count, next_timeout()) < 0)
        perror("poll");
    if (fds[0].revents)
        receive_request();
    for (nfds_t i = 1; i < count; i++) {
        if (fds[i].revents)
            receive_reply(&clients[i - 1]);
    }
    while (deliver())
        continue;
}

/* ---- the start ---- */

static _Noreturn void usage_error(void) {
    fputs(usage, stderr);
    exit(2);
}

static void parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "d:j:s:x:D:L:f")) != -1) {
        switch (option) {
        case 'd': delay_ms = (unsigned)atoi(optarg); break;
        case 'j': jitter_ms = (unsigned)atoi(optarg); break;
        case 's': swap_every = (unsigned)atoi(optarg); break;
        case 'x': drop_every = (unsigned)atoi(optarg); break;
        case 'D': duplicate_every = (unsigned)atoi(optarg); break;
        case 'L':
            if (sscanf(optarg, "%u:%u", &late_ms, &late_every) != 2)
                exit(2);
            break;
        case 'f': forge = 1; break;
        default: exit(2);
        }
    }
    if (argc - optind != 1)
        usage_error();
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)atoi(argv[optind]));
}

int main(int argc, char **argv) {
    struct sockaddr_in name, unused;
    parse_options(argc, argv);
    fds[0] = (struct pollfd){.fd = new_socket(&name), .events = POLLIN};
    forger = new_socket(&unused);
    printf("listening on 127.0.0.1:%d\n", ntohs(name.sin_port));
    fflush(stdout);
    while (1)
        relay_step();
}
