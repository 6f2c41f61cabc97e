/* 02-udp/client.c: sends messages as datagrams, and does what it takes to get every answer.
 *
 * Teaches: over UDP a client needs a number for each request, a time limit, a retry, patience that
 *   grows (doubling), and must drop what is late, double or forged; network byte order.
 * New since 01: connect sends nothing here: it fixes the peer, so that the kernel drops datagrams
 *   of others, and reports "nobody listens there" (ICMP) as ECONNREFUSED.
 * Run: ./client one two three    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: ./server -x 40 -d 20; stop the server; answer from another port.
 * Still wrong: one message at a time; nothing slows it down when the network is full (TCP does).
 */
#include "../util.h"
#include <arpa/inet.h>

enum { DATAGRAM = 65536, LONGEST_WAIT_MS = 10000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-t MS] [-r TRIES] [MESSAGE ...]\n"
    "  -a ADDR   name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT   1 to 65535 (9002)\n"
    "  -t MS     wait this long for an answer, twice as long after each retry (250)\n"
    "  -r TRIES  send a message at most this many times (6)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static long first_wait = 250, tries = 6;

/* In front of each text, in network byte order; the server sends it back with the rest. */
static struct header {
    uint32_t run;    /* random: tells the late replies to an earlier client from ours */
    uint32_t number; /* of the message: tells a late reply to the last from one to this */
} header;

static struct {
    long sent, received, retried, lost, timed;
    double min_ms, sum_ms, max_ms; /* round trips of the messages that were timed */
} count;

static double clock_ms(void) { /* now_ms is too coarse for a round trip */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void add_round_trip(double ms) {
    count.min_ms = count.timed == 0 || ms < count.min_ms ? ms : count.min_ms;
    count.max_ms = ms > count.max_ms ? ms : count.max_ms;
    count.sum_ms += ms;
    count.timed++;
}

/* On stderr: stdout holds the replies and nothing else. */
static void summary(void) {
    fprintf(stderr, "%ld sent, %ld received, %ld retried, %ld lost", count.sent, count.received,
            count.retried, count.lost);
    if (count.timed)
        fprintf(stderr, "; round trip min/avg/max %.3f/%.3f/%.3f ms", count.min_ms,
                count.sum_ms / (double)count.timed, count.max_ms);
    fputc('\n', stderr);
}

/* Waits for the reply to packet until wait_ms are over; what is not that reply is dropped: a late
 * one, a double, a cut one. Returns 1, 0 when time is up, -1 with errno. */
static int await_reply(int fd, const char *packet, size_t n, long wait_ms) {
    static char reply[DATAGRAM];
    double left, end = clock_ms() + (double)wait_ms;
    while ((left = end - clock_ms()) > 0) {
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)left + 1);
        ssize_t got = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
        if (stopping || (got < 0 && errno != EINTR && errno != EAGAIN))
            return -1; /* ECONNREFUSED: an ICMP message came back, nobody listens there */
        if (got == (ssize_t)n && memcmp(reply, packet, n) == 0)
            return 1;
    }
    return 0;
}

/* Sends packet and waits, up to `tries` times. Returns as await_reply does. */
static int exchange(int fd, const char *packet, size_t n) {
    long wait = first_wait;
    for (long try = 0; try < tries; try++) {
        double start = clock_ms();
        count.retried += try > 0;
        if (send(fd, packet, n, 0) < 0 && errno != EINTR && errno != ENOBUFS) /* as if lost */
            return -1;
        int result = await_reply(fd, packet, n, wait);
        if (result > 0 && try == 0) /* of one sent twice, which was answered? (RFC 6298, 3) */
            add_round_trip(clock_ms() - start);
        if (result != 0)
            return result;
        wait = wait * 2 < LONGEST_WAIT_MS ? wait * 2 : LONGEST_WAIT_MS;
    }
    return 0;
}

/* The server's addresses, and the socket that is connected to the one before next. */
static struct {
    int fd;
    const struct addrinfo *next;
    char name[ADDRESS_TEXT];
} server = {.fd = -1};

/* connect sends nothing: whether somebody listens shows when a datagram is answered, or refused. */
static void connect_next(void) {
    const struct addrinfo *ai = server.next;
    server.next = ai->ai_next;
    address_text(ai->ai_addr, ai->ai_addrlen, server.name);
    if (server.fd >= 0)
        close(server.fd);
    server.fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, ai->ai_protocol);
    if ((server.fd < 0 || connect(server.fd, ai->ai_addr, ai->ai_addrlen) < 0) && !server.next)
        die(server.name, errno);
}

/* Numbers a text, sends it, prints the reply's text. Ends the program when the server refuses. */
static void send_message(const char *text, size_t n) {
    static char packet[DATAGRAM];
    const size_t room = sizeof packet - sizeof header;
    n = n < room ? n : room; /* cut, it is still longer than a datagram: send says EMSGSIZE */
    header.number = htonl((uint32_t)++count.sent);
    memcpy(packet, &header, sizeof header);
    memcpy(packet + sizeof header, text, n);
    int result;
    while ((result = exchange(server.fd, packet, sizeof header + n)) < 0 && server.next &&
           !stopping && !count.received)
        connect_next(); /* "localhost" may mean ::1 to us, and 127.0.0.1 to the server */
    result > 0 ? count.received++ : count.lost++;
    if (result > 0 && (fwrite(text, 1, n, stdout) < n || putchar('\n') < 0 || fflush(stdout)))
        die("stdout", errno);
    int error = errno;
    if (result < 0)
        summary(), die(stopping ? "interrupted" : server.name, stopping ? 0 : error);
}

static void send_lines(void) {
    char *line = NULL;
    size_t room = 0;
    for (;;) {
        if (isatty(STDIN_FILENO))
            printf("> "), fflush(stdout);
        ssize_t n = getline(&line, &room, stdin);
        if (n < 0 && !feof(stdin) && !stopping) /* a read error, or no memory for a line */
            die("stdin", errno);
        n -= n > 0 && line[n - 1] == '\n';
        if (n < 0 || (n == 4 && !memcmp(line, "exit", 4)) || (n == 1 && *line == 'q'))
            break;
        send_message(line, (size_t)n);
    }
    free(line);
}

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *list;
    const char *address = "127.0.0.1", *port = "9002";
    char what[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:t:r:h")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 't': first_wait = number_arg(usage, 't', optarg, 1, LONGEST_WAIT_MS); break;
        case 'r': tries = number_arg(usage, 'r', optarg, 1, 1000); break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    int unknown = getaddrinfo(address, port, &hints, &list);
    snprintf(what, sizeof what, "resolve %s: %s", address, gai_strerror(unknown));
    if (unknown)
        die(what, 0);
    if (getentropy(&header.run, sizeof header.run) < 0)
        die("getentropy", errno);
    stop_on_signals();
    server.next = list;
    connect_next();
    if (optind == argc)
        send_lines();
    for (int i = optind; i < argc; i++)
        send_message(argv[i], strlen(argv[i]));
    freeaddrinfo(list);
    close(server.fd);
    summary();
    return count.lost || stopping;
}
