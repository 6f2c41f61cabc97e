/* 01-basic-tcp/server.c: an echo server, one client at a time.
 *
 * Teaches: socket, bind, listen, accept, recv, send, shutdown, close, all in the open; the byte
 *   stream; short writes; half-close; which error may end the server, and which only a connection.
 * Run: ./server -v    and in another terminal ./client hello, or nc 127.0.0.1 9001
 * Try to break it: kill the client in mid-line; reset it; send 64 MiB and read slowly.
 * Still wrong: the second client waits for the first (04 to 06 lift that), even when the first has
 *   vanished silently, and a stream has no messages (both in 03).
 */
#define UTIL_WITHOUT_SOCKETS /* what util.h has for the later chapters is built here, in the open */
#include "../util.h"

enum {
    CHUNK = 16384, /* bytes of one recv */
    PAUSE_MS = 100 /* before the next accept, when descriptors or memory are used up */
};

static const char usage[] = "usage: server [-a ADDR] [-p PORT] [-v]\n"
                            "  -a ADDR  name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
                            "  -p PORT  0 to 65535; 0 takes a free one (9001)\n"
                            "  -v       log on stderr who connects and who leaves\n";
static int verbose;

/* ---- at the start ---- */

/* A program inherits more than its arguments (execve(2)). If descriptor 0, 1 or 2 is closed, the
 * next socket gets its number, and the peer receives what is printed. So /dev/null takes its place,
 * opened the wrong way round, and reading or writing there still fails. A signal that is blocked or
 * ignored would never arrive, so each is set back. Only SIGHUP may stay ignored. */
static void reset_inherited(void) {
    const int signals[] = {SIGINT, SIGTERM, SIGALRM, SIGUSR1};
    sigset_t none;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            die("cannot open /dev/null", errno);
    }
    alarm(0);                 /* cancels one that the program before us has set */
    signal(SIGALRM, SIG_IGN); /* discards a pending one: unblocked, it would end us */
    signal(SIGUSR1, SIG_IGN);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); /* at a file's size limit (ulimit -f), write fails with EFBIG */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Returns whether the program was started with this signal ignored, as by nohup(1) with SIGHUP. */
static int signal_ignored(int signal_number) {
    struct sigaction inherited;
    sigaction(signal_number, NULL, &inherited);
    return inherited.sa_handler == SIG_IGN;
}

/* How far a stop has come. 0: serve. 1: a signal has asked to stop: answer what has arrived. 2 or
 * more: a second has passed, or more: stop now. */
static volatile sig_atomic_t stop_count;

/* Does next to nothing, since it may interrupt anything (signal-safety(7)). The kernel does the
 * rest: the blocking call that was interrupted returns -1 with EINTR. A signal that comes just
 * before such a call would not interrupt it, so an alarm does so again, each second. */
static void on_stop_signal(int signal_number) {
    if (signal_number == SIGALRM && stop_count == 0)
        return; /* nobody has asked to stop: this alarm is not ours */
    if (signal_number != SIGALRM && stop_count > 0)
        return; /* asked again: the alarm that is already set must not be delayed */
    stop_count = stop_count + 1;
    alarm(1);
}

/* sa_flags has no SA_RESTART: with it, the kernel would resume the blocking call by itself. */
static void catch_signals(void) {
    const struct sigaction action = {.sa_handler = on_stop_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the server */
}

/* ---- addresses ---- */

/* Writes an address in numbers, never asking a name server, to text (ADDRESS_TEXT bytes), and
 * returns text: "127.0.0.1:9001", "[::1]:9001" (RFC 3986, 3.2.2); "?" for an unknown family. */
static const char *address_text(const void *address, socklen_t size, char *text) {
    char host[ADDRESS_TEXT - 10];
    char port[8];
    int error = getnameinfo(address, size, host, sizeof host, port, sizeof port,
                            NI_NUMERICHOST | NI_NUMERICSERV);
    if (error)
        strcpy(text, "?");
    else if (strchr(host, ':'))
        snprintf(text, ADDRESS_TEXT, "[%s]:%s", host, port);
    else
        snprintf(text, ADDRESS_TEXT, "%s:%s", host, port);
    return text;
}

/* Returns the addresses that a name stands for (getaddrinfo(3)), for sockets of this type and for
 * freeaddrinfo; or NULL, with the reason in why (WHY_TEXT bytes) and errno 0. */
static struct addrinfo *resolve(const char *address, const char *port, int type, char *why) {
    const struct addrinfo hints = {.ai_socktype = type, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    int error = getaddrinfo(address, port, &hints, &list);
    if (error == 0)
        return list;
    snprintf(why, WHY_TEXT, "resolve %s: %s", address, gai_strerror(error));
    errno = 0;
    return NULL;
}

/* Closes fd and leaves errno as it is. Returns -1. */
static int close_failed(int fd) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Records why this address failed: errno in *error, and "bind [::1]:80" in why (WHY_TEXT bytes).
 * Keeps an earlier failure, unless that was only that this machine has no such address. */
static void keep_failure(const struct addrinfo *ai, const char *call, int *error, char *why) {
    char text[ADDRESS_TEXT];
    if (*error != 0 && *error != EAFNOSUPPORT && *error != EADDRNOTAVAIL)
        return;
    *error = errno;
    snprintf(why, WHY_TEXT, "%s %s", call, address_text(ai->ai_addr, ai->ai_addrlen, text));
}

/* ---- a listening socket ---- */

/* Returns a socket that listens at this address; or -1 with errno, and in *call the call that
 * failed. */
static int listen_at(const struct addrinfo *ai, const char **call) {
    const int on = 1;
    const int off = 0;
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    /* While connections of the last run are in TIME_WAIT, bind would fail without this option. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) /* "::" takes IPv4 clients too, as ::ffff:127.0.0.1 */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    *call = "bind";
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return close_failed(fd);
    *call = "listen"; /* from here on the kernel answers handshakes, up to the backlog */
    if (listen(fd, SOMAXCONN) < 0)
        return close_failed(fd);
    return fd;
}

/* Tries every address of a name. Returns a listening socket; or -1, with what failed in why
 * (WHY_TEXT bytes), "bind [::1]:80", and its errno (0 where why says it all): for die(why, errno).
 */
static int listen_on(const char *address, const char *port, char *why) {
    struct addrinfo *list = resolve(address, port, SOCK_STREAM, why);
    const char *call;
    int error = 0;
    int fd = -1;
    if (!list)
        return -1;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        fd = listen_at(ai, &call);
        if (fd >= 0)
            break;
        keep_failure(ai, call, &error, why);
        if (error == EADDRINUSE)
            break; /* a second server, on the next address, would get no clients */
    }
    freeaddrinfo(list);
    errno = error;
    return fd;
}

/* Ends the program if no descriptor is left for a client: the server would listen and never serve
 * (dup(2), getrlimit(2)). */
static void require_descriptor(int listener) {
    int spare = dup(listener);
    if (spare < 0)
        die("no descriptor is left for a client", errno);
    close(spare);
}

/* Says on stdout, at once, where fd is bound: "listening on 127.0.0.1:9001". */
static void announce(int fd) {
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC}; /* room for an address of any family */
    socklen_t size = sizeof own;
    char text[ADDRESS_TEXT];
    getsockname(fd, (struct sockaddr *)&own, &size); /* for -p 0: the port that it got */
    printf("listening on %s\n", address_text(&own, size, text));
    fflush(stdout); /* a pipe or a file would keep it in stdio's buffer */
}

/* ---- one client ---- */

/* Waits until fd has room for output, at most wait_ms (-1: no limit). Returns 0; or -1 with errno:
 * EAGAIN (there was no room in that time), EINTR (a signal came). poll(2). */
static int wait_for_room(int fd, int wait_ms) {
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    int ready = poll(&room, 1, wait_ms);
    if (ready > 0)
        return 0;
    if (ready == 0)
        errno = EAGAIN;
    return -1;
}

/* Sends data from byte *sent on, up to size bytes, and adds to *sent what the kernel has taken.
 * Returns 0 when all is sent; or -1 with errno: EINTR (a part is sent, or a signal came: call it
 * again to go on, or stop), EAGAIN (there was no room for wait_ms; -1: no limit), EPIPE or
 * ECONNRESET (the peer is gone; MSG_NOSIGNAL spares us a deadly SIGPIPE). send(2). */
static int send_all(int fd, const char *data, size_t size, size_t *sent, int wait_ms) {
    while (*sent < size) {
        ssize_t n = send(fd, data + *sent, size - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            n = wait_for_room(fd, wait_ms);
        if (n < 0)
            return -1;
        *sent += (size_t)n;
        if (n > 0 && *sent < size) { /* a short write: the caller may want to stop */
            errno = EINTR;
            return -1;
        }
    }
    return 0;
}

/* Sends one chunk, however long that takes; once a signal has come, for a second at most. Returns
 * 0, or -1 with errno. */
static int send_chunk(int client, const char *chunk, size_t size) {
    size_t sent = 0;
    while (send_all(client, chunk, size, &sent, -1) < 0) {
        if (errno != EINTR || stop_count > 1)
            return -1;
    }
    return 0;
}

/* Waits for bytes; once a signal has come, takes only what has arrived by then, for a second at
 * most. Returns how many bytes; 0 at the end, the client's or ours; or -1 with errno. */
static ssize_t receive(int client, char *chunk) {
    while (stop_count < 2) {
        ssize_t n = recv(client, chunk, CHUNK, stop_count ? MSG_DONTWAIT : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && stop_count)
            return 0; /* nothing more has arrived */
        return n;     /* 0: its FIN. It has closed, or half-closed and still waits for its echo */
    }
    return 0;
}

/* Echoes until the end. Returns 0, or -1 with errno. */
static int echo(int client, long long *total) {
    char chunk[CHUNK]; /* all the memory a client takes: while we cannot send, we do not read */
    ssize_t n;
    while ((n = receive(client, chunk)) > 0) {
        if (send_chunk(client, chunk, (size_t)n) < 0)
            return -1;
        *total += n;
    }
    return (int)n;
}

/* Closes fd so that the last echo arrives. With unread input, close(2) would send a reset (RFC
 * 2525, 2.17): what has not been sent yet is thrown away, and a peer whose next send fails may
 * never read what has arrived. So: half-close, discard until the peer's end or LINGER_MS, close. */
static void linger_close(int fd) {
    struct pollfd input = {.fd = fd, .events = POLLIN};
    const long long end = now_ms() + LINGER_MS;
    char ignored[4096];
    shutdown(fd, SHUT_WR);
    for (long long left = LINGER_MS; left > 0; left = end - now_ms()) {
        poll(&input, 1, (int)left);
        ssize_t n = recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
        if (n == 0)
            break; /* the peer's end */
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    close(fd);
}

/* Serves one client from accept to close. An error ends this connection and nothing else. */
static void serve(int client, const char *name) {
    const char *end = "closed";
    long long total = 0;
    if (verbose)
        fprintf(stderr, "%s connected\n", name);
    if (echo(client, &total) < 0) {
        end = strerror(errno);
        close(client);
    } else {
        linger_close(client);
    }
    if (verbose)
        fprintf(stderr, "%s %s, %lld bytes echoed\n", name, end, total);
}

/* ---- all clients ---- */

/* Serves one client after the other until a signal comes. */
static void serve_clients(int listener) {
    struct sockaddr_storage peer;
    char name[ADDRESS_TEXT];
    while (!stop_count) {
        socklen_t size = sizeof peer;
        int client = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (client >= 0)
            serve(client, address_text(&peer, size, name));
        else if (errno != EINTR && errno != ECONNABORTED) /* no descriptors, no memory */
            poll(NULL, 0, PAUSE_MS);                      /* wait, then try again; never exit */
    }
}

/* ---- main ---- */

static const char *address = "127.0.0.1";
static const char *port = "9001";

/* Returns the exit status for -h (0) and for wrong options (2); or -1: serve. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
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
    catch_signals();
    int listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    require_descriptor(listener);
    announce(listener);
    serve_clients(listener);
    close(listener);
    return 0;
}
