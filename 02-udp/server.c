/* 02-udp/server.c: echoes every datagram to its sender.
 *
 * Teaches: recvfrom and sendto; one call receives one datagram, and boundaries are kept; an empty
 *   datagram is not the end of anything; nothing is promised: with -x and -d this server loses and
 *   duplicates datagrams on purpose.
 * New since 01: no listen, no accept, no connection: one socket talks to all clients.
 * Run: ./server -v -x 30    and in another terminal ./client one two three
 * Try to break it: nc -u 127.0.0.1 9002; an empty datagram; one of 65,507 bytes.
 * Still wrong: no order, no flow control: the client has to do all that TCP did (03 returns to
 *   TCP). Two such servers on different ports can be made to talk to each other for ever. Bound to
 *   0.0.0.0 on a machine with several addresses, it may reply from another one than was asked.
 */
#include "../util.h"
#include <ctype.h>

enum {
    DATAGRAM = 65536,      /* more than UDP's largest: its length field has 16 bits (RFC 768) */
    SHOWN = 60,            /* bytes of a datagram that the log shows */
    LONGEST_CHARACTER = 4, /* bytes, in UTF-8 */
    PAUSE_MS = 100         /* before the next try, when recvfrom fails */
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-x PERCENT] [-d PERCENT] [-s SEED] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9002)\n"
    "  -x PERCENT  drop this percentage of the datagrams that arrive, and of the replies (0)\n"
    "  -d PERCENT  send this percentage of the replies twice (0)\n"
    "  -s SEED     seed of the random numbers for -x and -d (1)\n"
    "  -v          show each datagram on stderr\n";
static const char *address = "127.0.0.1";
static const char *port = "9002";
static int loss_percent;
static int duplicate_percent;
static unsigned seed = 1;
static int verbose;

/* 0: serve. 1: a signal has asked us to stop; one more for each second since then. Built in 01. */
static volatile sig_atomic_t stop_count;

struct datagram {
    size_t size;
    struct sockaddr_storage from;
    socklen_t from_size;
    char data[DATAGRAM];
};

/* ---- one datagram ---- */

/* Returns 1 with a probability of this percentage, else 0. The same seed gives the same sequence,
 * so that a run can be repeated. */
static int chance(int percent) {
    return random() % 100 < percent;
}

/* Returns whether a terminal only shows this code point. It would obey a C1 control (U+0080 to
 * U+009F) as it obeys ESC; U+2028 to U+202E and U+2066 to U+2069 end a line, or change the
 * direction of the text after them. Surrogates (U+D800 to U+DFFF) are not characters. */
static int is_printable(uint32_t c) {
    if (c < 0x80)
        return isprint((int)c);
    if (c < 0xA0 || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069))
        return 0;
    return c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF);
}

/* Returns how many bytes the first byte of a character promises; 0 if none begins with it. */
static size_t promised_length(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead < 0xC0)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0)
        return 3;
    if (lead < 0xF8)
        return 4;
    return 0; /* five or more bytes were once allowed; RFC 3629 ended that */
}

/* Returns the length of the printable UTF-8 character (RFC 3629) that text begins with; 0 if it
 * begins with anything else. The first byte says how many follow; each of those has six bits of the
 * code point. A longer form than necessary is not valid. */
static size_t printable_length(const char *text, size_t size) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* of each length */
    const unsigned char *bytes = (const unsigned char *)text;
    const size_t length = promised_length(bytes[0]);
    uint32_t c = bytes[0];
    if (length == 0 || length > size)
        return 0;
    if (length > 1)
        c &= 0x7Fu >> length; /* without the bits that say the length */
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (bytes[i] & 0x3F);
    }
    if (c < smallest[length] || !is_printable(c))
        return 0;
    return length;
}

/* Logs what has happened to a datagram. Bytes from the network may be commands to a terminal
 * (ESC …), so a dot takes the place of each byte that is not part of a printable character. */
static void show(const char *what, const struct datagram *d) {
    char from[ADDRESS_TEXT];
    char text[SHOWN + LONGEST_CHARACTER];
    const char *rest = "";
    size_t i = 0;
    if (!verbose)
        return;
    while (i < d->size && i < SHOWN) {
        size_t length = printable_length(d->data + i, d->size - i);
        if (length == 0) {
            text[i] = '.';
            length = 1;
        } else {
            memcpy(text + i, d->data + i, length);
        }
        i += length;
    }
    text[i] = '\0';
    if (i < d->size)
        rest = " ...";
    fprintf(stderr, "%s %s, %zu bytes: %s%s\n", what, address_text(&d->from, d->from_size, from),
            d->size, text, rest);
}

/* Returns the port of an IPv4 or IPv6 address, in network byte order. Both families have it in the
 * same place. */
static in_port_t port_of(const struct sockaddr_storage *a) {
    struct sockaddr_in start;
    memcpy(&start, a, sizeof start);
    return start.sin_port;
}

/* Receives one datagram. Waits for it, unless a signal has asked us to stop. Returns 0, or -1 with
 * errno. */
static int receive(int fd, struct datagram *d) {
    d->from_size = sizeof d->from;
    ssize_t n = recvfrom(fd, d->data, sizeof d->data, stop_count ? MSG_DONTWAIT : 0,
                         (struct sockaddr *)&d->from, &d->from_size);
    if (n < 0)
        return -1;
    d->size = (size_t)n; /* 0: an empty datagram, which gets its reply like any other */
    return 0;
}

/* Sends the datagram back. If the kernel has no room for it now (ENOBUFS), or a firewall or a
 * missing route stops it (EPERM, ENETUNREACH), it is lost, as any datagram may be, and is not sent
 * again. */
static void reply(int fd, const struct datagram *d) {
    ssize_t sent;
    if (chance(loss_percent)) {
        show("lost on its way to", d);
        return;
    }
    do
        sent = sendto(fd, d->data, d->size, 0, (const struct sockaddr *)&d->from, d->from_size);
    while (sent < 0 && errno == EINTR && stop_count < 2);
    if (sent < 0)
        show(strerror(errno), d);
}

/* The source address is only what the sender claims. If it has our own port number, the sender is
 * another echo server, or somebody who wants us to talk to ourselves for ever: no reply. */
static void answer(int fd, in_port_t own_port, const struct datagram *d) {
    if (port_of(&d->from) == own_port) {
        show("ignored: from a port like ours,", d);
        return;
    }
    if (chance(loss_percent)) {
        show("lost on its way from", d);
        return;
    }
    show("from", d);
    const int duplicated = chance(duplicate_percent);
    reply(fd, d);
    if (duplicated)
        reply(fd, d);
}

/* ---- all datagrams ---- */

/* Answers datagrams until a signal arrives; then those that have arrived by then, for at most a
 * second. */
static void serve(int fd) {
    static struct datagram d; /* too large for the stack */
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof own;
    getsockname(fd, (struct sockaddr *)&own, &size);
    const in_port_t own_port = port_of(&own);
    while (!stop_count) {
        if (receive(fd, &d) == 0)
            answer(fd, own_port, &d);
        else if (errno != EINTR)
            poll(NULL, 0, PAUSE_MS); /* no memory, perhaps: wait, then try again; never exit */
    }
    while (stop_count < 2) {
        if (receive(fd, &d) == 0)
            answer(fd, own_port, &d);
        else if (errno != EINTR)
            return;
    }
}

/* Returns a socket bound to this address; or -1 with errno, and in *call the call that failed. TCP
 * needs SO_REUSEADDR (see 01); with UDP it would let a second server take the same port. */
static int bind_at(const struct addrinfo *ai, const char **call) {
    const int off = 0;
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    *call = "bind";
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return close_failed(fd);
    return fd;
}

/* Does for UDP what listen_on does for TCP. One bound socket is all that a UDP server needs. */
static int bind_on(char *why) {
    struct addrinfo *list = resolve(address, port, SOCK_DGRAM, why);
    const char *call;
    int error = 0;
    int fd = -1;
    if (!list)
        return -1;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        fd = bind_at(ai, &call);
        if (fd >= 0)
            break;
        keep_failure(ai, call, &error, why);
        if (error == EADDRINUSE)
            break;
    }
    freeaddrinfo(list);
    errno = error;
    return fd;
}

/* ---- main ---- */

/* Built in 01. */
static void on_stop_signal(int signal_number) {
    if (signal_number == SIGALRM && stop_count == 0)
        return; /* nobody has asked to stop: this alarm is not ours */
    if (signal_number != SIGALRM && stop_count > 0)
        return; /* asked again: the alarm that is already set must not be delayed */
    stop_count = stop_count + 1;
    alarm(1);
}

static void catch_signals(void) {
    const struct sigaction action = {.sa_handler = on_stop_signal}; /* no SA_RESTART: see 01 */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the server */
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: serve. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:x:d:s:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'x': loss_percent = (int)number_arg(usage, 'x', optarg, 0, 100); break;
        case 'd': duplicate_percent = (int)number_arg(usage, 'd', optarg, 0, 100); break;
        case 's': seed = (unsigned)number_arg(usage, 's', optarg, 0, 0x7fffffff); break;
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
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    srandom(seed);
    catch_signals();
    int fd = bind_on(why);
    if (fd < 0)
        die(why, errno);
    announce(fd);
    serve(fd);
    close(fd);
    return 0;
}
