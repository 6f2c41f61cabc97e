/* 02-udp/server.c: echoes every datagram to its sender.
 *
 * Teaches: recvfrom and sendto; one call, one datagram, boundaries kept; the empty datagram is no
 *   end; nothing is promised: with -x and -d this server loses and doubles on purpose.
 * New since 01: no listen, no accept, no connection: one socket talks with everybody.
 * Run: ./server -v -x 30    and in another terminal ./client one two three
 * Try to break it: nc -u 127.0.0.1 9002; an empty datagram; one of 65,507 bytes.
 * Still wrong: no order, no flow control; the client has to do all that TCP did (see 03). Two such
 *   servers on different ports can be set on each other. Bound to 0.0.0.0 on a machine of many
 *   addresses, it may answer from another one than was asked.
 */
#include "../util.h"
#include <ctype.h>

/* The length field of UDP has 16 bits and counts its 8-byte header (RFC 768): nothing is larger. */
enum { DATAGRAM = 65536, SHOWN = 60, PAUSE_MS = 100 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-x PERCENT] [-d PERCENT] [-s SEED] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9002)\n"
    "  -x PERCENT  lose this share of the datagrams that arrive, and of the replies\n"
    "  -d PERCENT  send this share of the replies twice\n"
    "  -s SEED     of the dice for -x and -d (1)\n"
    "  -v          show each datagram on stderr\n";
static int lose, twice, verbose;

struct datagram {
    size_t size;
    struct sockaddr_storage from;
    socklen_t from_size;
    char data[DATAGRAM];
};

/* True in percent of 100 cases. The same seed throws the same dice, so a run can be repeated. */
static int dice(int percent) {
    return random() % 100 < percent;
}

/* Bytes from the network may be terminal commands (ESC …): only printable ASCII is shown. */
static void show(const char *what, const struct datagram *d) {
    char text[SHOWN + 1], from[ADDRESS_TEXT];
    size_t n = d->size < SHOWN ? d->size : SHOWN;
    if (!verbose)
        return;
    for (size_t i = 0; i < n; i++)
        text[i] = isprint((unsigned char)d->data[i]) ? d->data[i] : '.';
    text[n] = '\0';
    fprintf(stderr, "%s %s, %zu bytes: %s%s\n", what, address_text(&d->from, d->from_size, from),
            d->size, text, n < d->size ? " ..." : "");
}

/* The port, in network byte order, as it stands in the address. */
static in_port_t port_of(const struct sockaddr_storage *a) {
    return a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                    : ((const struct sockaddr_in *)a)->sin_port;
}

/* Nothing is sent again: if the kernel has no room for it now (ENOBUFS), or the way is closed
 * (EPERM, ENETUNREACH), this datagram is lost like any other on its way. */
static void reply(int fd, const struct datagram *d) {
    if (dice(lose)) {
        show("lost on its way to", d);
        return;
    }
    while (sendto(fd, d->data, d->size, 0, (const void *)&d->from, d->from_size) < 0)
        if (errno != EINTR || stopping > 1) {
            show(strerror(errno), d);
            return;
        }
}

/* Receives one datagram and answers it. The source address is only what its sender claims. Our own
 * port number there means another echo server, or somebody who wants us to talk with ourselves for
 * ever: that is not answered. Returns 0 when there was nothing to receive. */
static int serve_one(int fd, in_port_t own_port, struct datagram *d) {
    d->from_size = sizeof d->from;
    ssize_t n = recvfrom(fd, d->data, sizeof d->data, stopping ? MSG_DONTWAIT : 0,
                         (struct sockaddr *)&d->from, &d->from_size);
    if (n < 0) {
        if (errno != EINTR && !stopping)
            poll(NULL, 0, PAUSE_MS); /* no memory, say: later, then; never spin, never exit */
        return errno == EINTR;
    }
    d->size = (size_t)n; /* 0 is a datagram without data: answered like any other, and no end */
    if (port_of(&d->from) == own_port) {
        show("ignored: from a port like ours,", d);
    } else if (dice(lose)) {
        show("lost on its way from", d);
    } else {
        show("from", d);
        for (int copies = 1 + dice(twice); copies > 0; copies--)
            reply(fd, d);
    }
    return 1;
}

/* One bound socket is all a UDP server needs. SO_REUSEADDR would do harm here: Linux would let a
 * second server take the same port. */
static int open_bound(const char *address, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *list;
    char what[WHY_TEXT], text[ADDRESS_TEXT];
    const int off = 0;
    int fd = -1, unknown = getaddrinfo(address, port, &hints, &list);
    snprintf(what, sizeof what, "resolve %s: %s", address, gai_strerror(unknown));
    if (unknown)
        die(what, 0);
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, ai->ai_protocol);
        if (fd >= 0 && ai->ai_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        if (fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
            break;
        snprintf(what, sizeof what, "bind %s", address_text(ai->ai_addr, ai->ai_addrlen, text));
        if (errno == EADDRINUSE || !ai->ai_next)
            die(what, errno);
        close(fd);
    }
    freeaddrinfo(list);
    return fd;
}

int main(int argc, char **argv) {
    static struct datagram d; /* 64 KiB: not on the stack */
    const char *address = "127.0.0.1", *port = "9002";
    unsigned seed = 1;
    for (int option; (option = getopt(argc, argv, "+a:p:x:d:s:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'x': lose = (int)number_arg(usage, 'x', optarg, 0, 100); break;
        case 'd': twice = (int)number_arg(usage, 'd', optarg, 0, 100); break;
        case 's': seed = (unsigned)number_arg(usage, 's', optarg, 0, 0x7fffffff); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    srandom(seed);
    stop_on_signals();
    int fd = open_bound(address, port);
    announce(fd);
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    getsockname(fd, (struct sockaddr *)&own, &size);
    while (!stopping)
        serve_one(fd, port_of(&own), &d);
    while (stopping < 2 && serve_one(fd, port_of(&own), &d)) /* what had come by then */
        continue;
    close(fd);
    return 0;
}
