/* 01-basic-tcp/server.c: an echo server, one client at a time.
 *
 * Teaches: socket, bind, listen, accept, recv, send, shutdown, close, all in the open; the byte
 *   stream; short writes; half-close; which error may end the server, and which only a connection.
 * Run: ./server -v    and in another terminal ./client hello, or nc 127.0.0.1 9001
 * Try to break it: kill the client in mid-line; reset it; send 64 MiB and read slowly.
 * Still wrong: the second client waits for the first (04 to 06 lift that), even when the first has
 *   vanished without a word, and a stream has no messages (both in 03).
 */
#include "../util.h"

enum { CHUNK = 16384, PAUSE_MS = 100 };

static const char usage[] = "usage: server [-a ADDR] [-p PORT] [-v]\n"
                            "  -a ADDR  name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
                            "  -p PORT  0 to 65535; 0 takes a free one (9001)\n"
                            "  -v       say on stderr who comes and goes\n";
static int verbose;

/* 0: serve. 1: a signal asked to stop. And one more for every second since. */
static volatile sig_atomic_t stop_count;

/* Does next to nothing, for it may interrupt anything (signal-safety(7)). The kernel does the rest:
 * the blocking call that was interrupted returns -1 with EINTR. A signal just before such a call
 * would not interrupt it, so an alarm does it again, each second. */
static void on_signal(int signal_number) {
    if (signal_number == SIGALRM || stop_count == 0)
        stop_count = stop_count + 1;
    alarm(1);
}

/* No SA_RESTART in sa_flags: with it, the kernel would resume the blocking call by itself. */
static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more is no reason to die */
}

/* "127.0.0.1:9001" or "[::1]:9001", without asking a name server. */
static const char *in_numbers(const void *address, socklen_t size) {
    static char text[ADDRESS_TEXT];
    char host[ADDRESS_TEXT - 10] = "?", port[8] = "?";
    getnameinfo(address, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return text;
}

/* Returns a listening socket, or -1 with errno and *call, the call that failed. */
static int listen_at(const struct addrinfo *ai, const char **call) {
    const int on = 1, off = 0;
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    /* Connections of the last run rest in TIME_WAIT; without this, bind fails while they do. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) /* "::" takes IPv4 clients too, as ::ffff:127.0.0.1 */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    *call = "bind";
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
        *call = "listen"; /* from here on the kernel answers handshakes, up to the backlog */
        if (listen(fd, SOMAXCONN) == 0)
            return fd;
    }
    int error = errno; /* close may change it */
    close(fd);
    errno = error;
    return -1;
}

/* Tries the addresses that a name stands for; ends the program when none will do. */
static int open_listener(const char *address, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    char what[WHY_TEXT];
    const char *call;
    int fd = -1, unknown = getaddrinfo(address, port, &hints, &list);
    snprintf(what, sizeof what, "resolve %s: %s", address, gai_strerror(unknown));
    if (unknown)
        die(what, 0);
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = listen_at(ai, &call);
        snprintf(what, sizeof what, "%s %s", call, in_numbers(ai->ai_addr, ai->ai_addrlen));
        if (fd < 0 && (errno == EADDRINUSE || !ai->ai_next))
            die(what, errno);
    }
    freeaddrinfo(list);
    return fd;
}

/* send(2) may take only a part: a short write. The rest must be sent again. Returns 0, or -1. */
static int send_everything(int client, const char *data, size_t n) {
    while (n > 0) {
        ssize_t sent = send(client, data, n, MSG_NOSIGNAL); /* EPIPE, not a deadly SIGPIPE */
        data += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
        if ((sent < 0 && errno != EINTR) || (n > 0 && stop_count > 1))
            return -1;
    }
    return 0;
}

/* Echoes to the client's end of file; after a signal, what has come by then, for a second at most.
 * Returns 0, or -1 with errno. */
static int echo(int client, long long *total) {
    char chunk[CHUNK]; /* all the memory a client takes: while we cannot send, we do not read */
    while (stop_count < 2) {
        ssize_t n = recv(client, chunk, sizeof chunk, stop_count ? MSG_DONTWAIT : 0);
        if (n == 0) /* its FIN: it closed, or half-closed and still waits for its echo */
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN && stop_count ? 0 : -1; /* all that had come is echoed */
        if (send_everything(client, chunk, (size_t)n) < 0)
            return -1;
        *total += n;
    }
    return 0;
}

/* close(2) with input still unread sends a reset, which destroys an echo on its way. So: send FIN,
 * and read until the client's own, or 300 ms. */
static void say_goodbye(int client) {
    char ignored[CHUNK];
    const struct timeval limit = {.tv_usec = LINGER_MS * 1000};
    const long long end = now_ms() + LINGER_MS;
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    shutdown(client, SHUT_WR);
    for (ssize_t n = 1; now_ms() < end && (n > 0 || (n < 0 && errno == EINTR));)
        n = recv(client, ignored, sizeof ignored, 0);
}

/* One client from its arrival to its end. Its errors end this connection and nothing else. */
static void serve(int client, const char *name) {
    long long total = 0;
    if (verbose)
        fprintf(stderr, "%s connected\n", name);
    int failed = echo(client, &total);
    const char *how = failed ? strerror(errno) : "closed";
    if (!failed)
        say_goodbye(client);
    close(client);
    if (verbose)
        fprintf(stderr, "%s %s, %lld bytes echoed\n", name, how, total);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9001";
    struct sockaddr_storage own, peer; /* room for an address of any family */
    socklen_t size = sizeof own;
    for (int option; (option = getopt(argc, argv, "+a:p:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    catch_signals();
    int listener = open_listener(address, port);
    getsockname(listener, (struct sockaddr *)&own, &size); /* the port that stands for 0 */
    printf("listening on %s\n", in_numbers(&own, size));
    fflush(stdout); /* a pipe or a file would keep it in stdio's buffer */
    while (!stop_count) {
        size = sizeof peer;
        int client = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (client >= 0)
            serve(client, in_numbers(&peer, size));
        else if (errno != EINTR && errno != ECONNABORTED) /* no descriptors, no memory */
            poll(NULL, 0, PAUSE_MS);                      /* later, then; never spin, never exit */
    }
    close(listener);
    return 0;
}
