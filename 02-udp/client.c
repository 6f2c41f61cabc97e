/* 02-udp/client.c: sends messages as datagrams, and does what it takes to get every reply.
 *
 * Teaches: over UDP a client needs a number for each request, a time limit, retries with waits that
 *   double, and must drop replies that are late, duplicated or forged; network byte order.
 * New since 01: connect sends nothing here. It tells the kernel who the peer is, so that the kernel
 *   drops datagrams from others, and reports "nobody listens there" (ICMP) as ECONNREFUSED.
 * Run: ./client one two three    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: ./server -x 40 -d 20; stop the server; reply from another port.
 * Still wrong: one message at a time; it does not slow down in a congested network, as TCP does.
 */
#include "../util.h"
#include <arpa/inet.h>

enum {
    DATAGRAM = 65536, /* longer than any datagram, see server.c */
    LONGEST_WAIT_MS = 10000
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-t MS] [-r TRIES] [MESSAGE ...]\n"
    "  -a ADDR   name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT   1 to 65535 (9002)\n"
    "  -t MS     wait this long for a reply, twice as long after each retry (250)\n"
    "  -r TRIES  send a message at most this many times (6)\n"
    "If the first message gets no reply, it is sent to the next address of the name.\n"
    "Without a MESSAGE, it sends the lines of standard input until `exit` or `q`.\n";
static const char *address = "127.0.0.1";
static const char *port = "9002";
static long first_wait_ms = 250;
static long tries = 6;

/* 0: go on. 1: a signal has asked us to stop; one more for each second since then. Built in 01. */
static volatile sig_atomic_t stop_count;

/* In front of each text, in network byte order; the server sends it back with the rest. */
static struct header {
    uint32_t run;    /* random: a late reply to an earlier client has a different one */
    uint32_t number; /* of the message: a late reply to another message has a different one */
} header;

/* The server's addresses, and the socket that is connected to one of them. */
static struct {
    int fd;
    const struct addrinfo *next; /* the address to try after that one, or NULL */
    char name[ADDRESS_TEXT];
} server = {.fd = -1};

/* Why no reply has come: see note_failure. */
static struct {
    int error;
    char name[ADDRESS_TEXT]; /* of the address */
} failure;

/* ---- the summary ---- */

static struct {
    long sent, received, retried, lost, timed;
    double min_ms, sum_ms, max_ms; /* round trips of the messages that were timed */
} count;

/* Milliseconds, and fractions of one: now_ms is too coarse for a round trip. */
static double clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void add_round_trip(double ms) {
    if (count.timed == 0 || ms < count.min_ms)
        count.min_ms = ms;
    if (ms > count.max_ms)
        count.max_ms = ms;
    count.sum_ms += ms;
    count.timed++;
}

/* Prints to stderr: stdout gets only the replies. */
static void print_summary(void) {
    fprintf(stderr, "%ld sent, %ld received, %ld retried, %ld lost", count.sent, count.received,
            count.retried, count.lost);
    if (count.timed > 0)
        fprintf(stderr, "; round trip min/avg/max %.3f/%.3f/%.3f ms", count.min_ms,
                count.sum_ms / (double)count.timed, count.max_ms);
    fputc('\n', stderr);
}

/* ---- one message ---- */

/* Waits at most wait_ms for the reply to packet, and drops any other datagram: a reply that is
 * late, duplicated or truncated. Returns 1; 0 if no reply came; or -1 with errno. ECONNREFUSED
 * means that an ICMP message said that nobody listens there. EMSGSIZE comes from an ICMP message,
 * too: the packet was too long for a link on its way (ip(7), IP_MTU_DISCOVER), and is lost. The
 * kernel has noted the size, and sends the next packet in fragments. */
static int await_reply(const char *packet, size_t size, long wait_ms) {
    static char reply[DATAGRAM];
    struct pollfd input = {.fd = server.fd, .events = POLLIN};
    const double end = clock_ms() + (double)wait_ms;
    double left = (double)wait_ms;
    while (left > 0) {
        poll(&input, 1, (int)left + 1);
        ssize_t n = recv(server.fd, reply, sizeof reply, MSG_DONTWAIT);
        if (stop_count)
            return -1;
        if (n < 0 && errno == EMSGSIZE)
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -1;
        if (n == (ssize_t)size && memcmp(reply, packet, size) == 0)
            return 1;
        left = end - clock_ms();
    }
    return 0;
}

/* Sends packet. Returns 0, or -1 with errno. A packet that fails with EINTR or ENOBUFS counts as
 * sent and lost. EMSGSIZE may be about an earlier datagram, see await_reply; then it comes only
 * once. */
static int send_packet(const char *packet, size_t size) {
    ssize_t sent = send(server.fd, packet, size, 0);
    if (sent < 0 && errno == EMSGSIZE)
        sent = send(server.fd, packet, size, 0);
    if (sent < 0 && errno != EINTR && errno != ENOBUFS)
        return -1;
    return 0;
}

/* Sends packet and waits for its reply, up to `tries` times. After a retry we cannot know which
 * copy was answered, so only a reply to the first is timed (RFC 6298, 3). Returns as await_reply
 * does. */
static int exchange(const char *packet, size_t size) {
    long wait_ms = first_wait_ms;
    for (long retries = 0; retries < tries; retries++) {
        const double start = clock_ms();
        if (retries > 0)
            count.retried++;
        if (send_packet(packet, size) < 0)
            return -1;
        int result = await_reply(packet, size, wait_ms);
        if (result > 0 && retries == 0)
            add_round_trip(clock_ms() - start);
        if (result != 0)
            return result;
        wait_ms *= 2;
        if (wait_ms > LONGEST_WAIT_MS)
            wait_ms = LONGEST_WAIT_MS;
    }
    return 0;
}

/* ---- the server's addresses ---- */

/* Returns a socket connected to this address, or -1 with errno. connect sends nothing: only a
 * reply or a refusal shows whether a server is there. If none is, the kernel may give us the very
 * port that we send to, and we would take our own datagrams for replies; then we fail with
 * ECONNREFUSED. */
static int open_server(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return close_failed(fd);
    if (connected_to_itself(fd)) {
        errno = ECONNREFUSED;
        return close_failed(fd);
    }
    return fd;
}

/* Notes that this address has failed, for the reason in errno. Until a reply has come, keeps an
 * earlier failure, unless that was only that this machine has no such address (keep_failure of 01
 * does the same). */
static void note_failure(const char *name) {
    const int says_little = failure.error == EAFNOSUPPORT || failure.error == EADDRNOTAVAIL;
    if (failure.error != 0 && !says_little && count.received == 0)
        return;
    failure.error = errno;
    strcpy(failure.name, name);
}

/* Connects to the next address for which a socket can be had. Returns 0; or -1 if there is none:
 * then all stays as it was. */
static int connect_next(void) {
    char name[ADDRESS_TEXT];
    while (server.next) {
        const struct addrinfo *ai = server.next;
        server.next = ai->ai_next;
        address_text(ai->ai_addr, ai->ai_addrlen, name);
        int fd = open_server(ai);
        if (fd < 0) {
            note_failure(name);
            continue;
        }
        if (server.fd >= 0)
            close(server.fd);
        server.fd = fd;
        strcpy(server.name, name);
        return 0;
    }
    return -1;
}

/* As exchange, and notes a failure. */
static int try_address(const char *packet, size_t size) {
    int result = exchange(packet, size);
    if (result < 0)
        note_failure(server.name);
    return result;
}

/* Until a first reply has arrived, tries the addresses one after the other: "localhost" may mean
 * ::1 to us and 127.0.0.1 to the server. Returns as await_reply does. */
static int exchange_with_any(const char *packet, size_t size) {
    int result = try_address(packet, size);
    while (result <= 0 && !stop_count && count.received == 0) {
        if (connect_next() < 0)
            break;
        result = try_address(packet, size);
    }
    return result;
}

/* ---- all messages ---- */

/* Ends the program, because a signal has asked for it or a call has failed. */
static _Noreturn void give_up(void) {
    print_summary();
    if (stop_count)
        die("interrupted", 0);
    die(failure.name, failure.error);
}

/* Numbers a text, sends it, and prints the text of the reply. Ends the program on an error. */
static void send_message(const char *text, size_t size) {
    static char packet[DATAGRAM];
    const size_t capacity = sizeof packet - sizeof header;
    if (size > capacity)
        size = capacity; /* still too long for a datagram: send fails with EMSGSIZE */
    count.sent++;
    header.number = htonl((uint32_t)count.sent);
    memcpy(packet, &header, sizeof header);
    memcpy(packet + sizeof header, text, size);
    int result = exchange_with_any(packet, sizeof header + size);
    if (result <= 0)
        count.lost++;
    if (result < 0)
        give_up();
    if (result == 0)
        return;
    count.received++;
    if (fwrite(text, 1, size, stdout) < size || putchar('\n') < 0 || fflush(stdout) != 0)
        die("stdout", errno);
}

/* Returns whether a line, without its newline, ends the input: `exit` or `q`. */
static int is_command(const char *line, size_t size) {
    if (size == 1)
        return line[0] == 'q';
    return size == 4 && memcmp(line, "exit", 4) == 0;
}

/* Sends the lines of stdin. If that is a terminal, shows a prompt before each. */
static void send_lines(void) {
    const int terminal = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t capacity = 0;
    for (;;) {
        if (terminal) {
            printf("> ");
            fflush(stdout);
        }
        ssize_t size = getline(&line, &capacity, stdin);
        if (size < 0 && !feof(stdin) && !stop_count) /* a read error, or no memory for the line */
            die("stdin", errno);
        if (size > 0 && line[size - 1] == '\n')
            size--;
        if (size < 0 || is_command(line, (size_t)size))
            break;
        send_message(line, (size_t)size);
    }
    free(line);
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
    signal(SIGPIPE, SIG_IGN); /* if nobody reads our stdout any more, we report EPIPE */
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: continue. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:t:r:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 't': first_wait_ms = number_arg(usage, 't', optarg, 1, LONGEST_WAIT_MS); break;
        case 'r': tries = number_arg(usage, 'r', optarg, 1, 1000); break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    reset_inherited();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    struct addrinfo *list = resolve(address, port, SOCK_DGRAM, why);
    if (!list)
        die(why, 0);
    if (getentropy(&header.run, sizeof header.run) < 0)
        die("getentropy", errno);
    catch_signals();
    server.next = list;
    if (connect_next() < 0)
        die(failure.name, failure.error);
    if (optind == argc)
        send_lines();
    for (int i = optind; i < argc; i++)
        send_message(argv[i], strlen(argv[i]));
    freeaddrinfo(list);
    close(server.fd);
    print_summary();
    return count.lost > 0 || stop_count > 0;
}
