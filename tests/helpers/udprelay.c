/*
 * udprelay: a bad network for UDP, between a client and a server on this machine.
 *
 *   udprelay [-d MS] [-j MS] [-s N] [-x N] [-D N] [-L MS:N] [-f] SERVERPORT
 *
 * It listens on a free port of 127.0.0.1, prints `listening on …`, and carries datagrams to the
 * server and back, through a socket of its own for each client, until SIGTERM.
 *   -d MS    every datagram comes MS late
 *   -j MS    and up to MS later still, so that neighbours overtake each other
 *   -s N     every Nth changes places with the one after it
 *   -x N     every Nth is dropped
 *   -D N     every Nth comes twice
 *   -L MS:N  every Nth comes MS late
 *   -f       before the server sees a request, the client gets a forged reply from another port:
 *            the request itself with its last byte changed to '!'
 * Every count is kept for each client and direction, and nothing is random: a failure comes again.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS = 64,   /* more than that are not heard */
    WAITING = 1024, /* datagrams on their way; more are lost, as in a real network */
    DATAGRAM = 65536,
    SWAP_MS = 100 /* a held datagram goes after that long if no other follows it */
};

/* One direction of one client: where its datagrams go out, and to whom. */
struct path {
    int fd;
    struct sockaddr_in to;
    unsigned count;
    struct packet *held; /* waits for the next one to pass it */
};

struct client {
    struct path there, back;
};

struct packet {
    struct path *path; /* NULL: this place is free */
    int64_t due;
    uint64_t number; /* of two that are due, the older goes first */
    size_t len;
    char *data;
};

static unsigned delay, jitter, swap_every, drop_every, double_every, late, late_every;
static bool forge;
static struct sockaddr_in server;
static struct client clients[CLIENTS];
static struct pollfd fds[CLIENTS + 1]; /* [0] faces the clients; [i + 1] is client i's */
static nfds_t used = 1;
static struct packet packets[WAITING];
static int forger; /* a socket with a port that no client has ever sent to */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void check(bool ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

/* A socket on a free port of 127.0.0.1. */
static int new_socket(struct sockaddr_in *name) {
    socklen_t len = sizeof *name;
    *name = (struct sockaddr_in){.sin_family = AF_INET};
    name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    check(fd >= 0, "socket");
    check(bind(fd, (struct sockaddr *)name, sizeof *name) == 0, "bind");
    check(getsockname(fd, (struct sockaddr *)name, &len) == 0, "getsockname");
    return fd;
}

static bool every(unsigned n, unsigned count) {
    return n != 0 && count % n == 0;
}

static void transmit(int fd, const char *data, size_t len, const struct sockaddr_in *to) {
    /* A port without a listener is an error of the datagram before: not ours to report. */
    (void)sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof *to);
}

static struct packet *put(struct path *path, const char *data, size_t len, int64_t due) {
    static uint64_t number;
    struct packet *p = packets;
    while (p < packets + WAITING && p->path != NULL)
        p++;
    if (p == packets + WAITING)
        return NULL;
    *p = (struct packet){path, due, number++, len, malloc(len + 1)};
    check(p->data != NULL, "malloc");
    memcpy(p->data, data, len);
    return p;
}

/* What the bad network does to one datagram. */
static void carry(struct path *path, const char *data, size_t len) {
    unsigned n = ++path->count;
    int64_t now = now_ms(), due = now + delay;
    if (every(drop_every, n))
        return;
    if (jitter > 0)
        due += (n * 2654435761U >> 16) % (jitter + 1); /* a hash, so the same each time */
    if (every(late_every, n))
        due += late;
    bool hold = every(swap_every, n) && path->held == NULL;
    struct packet *p = put(path, data, len, hold ? due + SWAP_MS : due);
    if (every(double_every, n))
        put(path, data, len, due);
    if (path->held != NULL) { /* this one has passed it */
        path->held->due = due;
        path->held->number = UINT64_MAX;
        path->held = NULL;
    }
    if (hold)
        path->held = p;
}

/* Sends the oldest datagram that is due; false when none is. */
static bool deliver(void) {
    int64_t now = now_ms();
    struct packet *first = NULL;
    for (struct packet *p = packets; p < packets + WAITING; p++)
        if (p->path != NULL && p->due <= now &&
            (first == NULL || p->due < first->due ||
             (p->due == first->due && p->number < first->number)))
            first = p;
    if (first == NULL)
        return false;
    transmit(first->path->fd, first->data, first->len, &first->path->to);
    if (first->path->held == first)
        first->path->held = NULL;
    free(first->data);
    first->path = NULL;
    return true;
}

/* How long poll may wait: to the first datagram that is due, or for ever. */
static int patience(void) {
    int64_t left = -1, now = now_ms();
    for (struct packet *p = packets; p < packets + WAITING; p++)
        if (p->path != NULL && (left < 0 || p->due - now < left))
            left = p->due > now ? p->due - now : 0;
    return (int)left;
}

static struct client *client_of(const struct sockaddr_in *from) {
    struct sockaddr_in unused;
    struct client *c = clients;
    for (; c < clients + used - 1; c++)
        if (c->back.to.sin_port == from->sin_port)
            return c;
    if (used > CLIENTS)
        return NULL;
    c->there = (struct path){.fd = new_socket(&unused), .to = server};
    c->back = (struct path){.fd = fds[0].fd, .to = *from};
    fds[used++] = (struct pollfd){.fd = c->there.fd, .events = POLLIN};
    return c;
}

static void receive(nfds_t i) {
    static char data[DATAGRAM];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(fds[i].fd, data, sizeof data, 0, (struct sockaddr *)&from, &from_len);
    struct client *c = n < 0 ? NULL : i > 0 ? &clients[i - 1] : client_of(&from);
    if (c == NULL)
        return;
    carry(i > 0 ? &c->back : &c->there, data, (size_t)n);
    if (i == 0 && forge && n > 0) {
        data[n - 1] = '!';
        transmit(forger, data, (size_t)n, &from);
    }
}

static void parse_options(int argc, char **argv) {
    for (int o; (o = getopt(argc, argv, "d:j:s:x:D:L:f")) != -1;) {
        unsigned n = optarg ? (unsigned)atoi(optarg) : 0;
        switch (o) {
        case 'd': delay = n; break;
        case 'j': jitter = n; break;
        case 's': swap_every = n; break;
        case 'x': drop_every = n; break;
        case 'D': double_every = n; break;
        case 'L':
            if (sscanf(optarg, "%u:%u", &late, &late_every) != 2)
                exit(2);
            break;
        case 'f': forge = true; break;
        default: exit(2);
        }
    }
    if (argc - optind != 1) {
        fputs("usage: udprelay [-d MS] [-j MS] [-s N] [-x N] [-D N] [-L MS:N] [-f] SERVERPORT\n",
              stderr);
        exit(2);
    }
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
    for (;;) {
        if (poll(fds, used, patience()) < 0)
            perror("poll");
        for (nfds_t i = 0, n = used; i < n; i++)
            if (fds[i].revents)
                receive(i);
        while (deliver())
            ;
    }
}
