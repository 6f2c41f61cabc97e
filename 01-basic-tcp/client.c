/* 01-basic-tcp/client.c: sends its messages to the echo server, prints what comes back.
 *
 * Teaches: connect, one address after the other; a stream keeps no boundaries, so a client has to
 *   know how much is to come back; end of file before that is an error; half-close as "I am done".
 * Run: ./client hello world    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: stop the server in mid-conversation; send it a file: ./client < /bin/ls
 * Still wrong: it sends one piece and waits for its echo before it sends the next, which is slow
 *   over a long line (03 sends and reads at the same time).
 */
#define UTIL_WITHOUT_CONNECT /* connect_to is built here; what server.c builds is in util.h, too */
#include "../util.h"

enum { CHUNK = 16384 }; /* bytes that are sent before their echo is read */

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9001)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";

/* ---- the connection ---- */

/* Returns whether fd is connected to itself. Where nobody listens, the kernel may give a client the
 * very port that it connects to, and both ends are then one (RFC 9293, 3.5: simultaneous open). */
static int connected_to_itself(int fd) {
    struct sockaddr_storage own = {0};
    struct sockaddr_storage peer = {0};
    socklen_t own_size = sizeof own;
    socklen_t peer_size = sizeof peer;
    if (getsockname(fd, (struct sockaddr *)&own, &own_size) < 0)
        return 0;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
        return 0;
    return memcmp(&own, &peer, sizeof own) == 0;
}

/* Returns a socket connected to this address; or -1 with errno, and in *call the call that failed.
 * Where nobody answers, connect waits as long as the kernel does: about two minutes. */
static int connect_at(const struct addrinfo *ai, const char **call) {
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    *call = "connect"; /* if it returns 0, the server's kernel has accepted us; accept may not */
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return close_failed(fd); /* a socket is good for one connect only (connect(2)) */
    if (connected_to_itself(fd)) {
        errno = ECONNREFUSED; /* nobody listens there */
        return close_failed(fd);
    }
    return fd;
}

/* Tries every address of a name. Returns a connected socket; or -1, with what failed in why
 * (WHY_TEXT bytes), "connect [::1]:80", and its errno (0 where why says it all): for
 * die(why, errno). */
static int connect_to(const char *address, const char *port, char *why) {
    struct addrinfo *list = resolve(address, port, SOCK_STREAM, why);
    const struct addrinfo *ai = list;
    const char *call;
    int error = 0;
    int fd = -1;
    if (!list)
        return -1;
    while (ai && fd < 0) {
        fd = connect_at(ai, &call);
        if (fd < 0 && errno == EINTR)
            continue; /* a signal came: the same address again, with a new socket */
        if (fd < 0)
            keep_failure(ai, call, &error, why);
        ai = ai->ai_next;
    }
    freeaddrinfo(list);
    errno = error;
    return fd;
}

/* ---- the conversation ---- */

/* Sends all of data. Ends the program if the server is gone. */
static void send_message(int fd, const char *data, size_t size) {
    size_t sent = 0;
    while (send_all(fd, data, size, &sent, -1) < 0) {
        if (errno != EINTR)
            die("the server is gone: send", errno);
    }
}

/* Receives at most size bytes of the echo, at least one. Ends the program if none come. */
static size_t receive(int fd, char *echo, size_t size) {
    ssize_t n;
    do
        n = recv(fd, echo, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        die("the server is gone: recv", errno);
    if (n == 0)
        die("the server closed the connection before the whole echo had arrived", 0);
    return (size_t)n;
}

/* Sends size bytes, at most CHUNK, and prints their echo, of which one recv may bring only a part.
 * The socket buffers hold more than CHUNK, so the two sides never wait for each other. */
static void exchange(int fd, const char *data, size_t size) {
    char echo[CHUNK];
    size_t received = 0;
    send_message(fd, data, size);
    while (received < size) {
        size_t n = receive(fd, echo, size - received);
        if (memcmp(data + received, echo, n) != 0)
            die("what came back is not what was sent", 0);
        fwrite(echo, 1, n, stdout);
        received += n;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        die("stdout", errno);
}

/* Exchanges a message of any length, in pieces. */
static void exchange_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        size_t piece = size < CHUNK ? size : CHUNK;
        exchange(fd, data, piece);
        data += piece;
        size -= piece;
    }
}

/* Returns whether a line, with or without its newline, ends the conversation: `exit` or `q`. */
static int ends_conversation(const char *line, size_t size) {
    if (size > 0 && line[size - 1] == '\n')
        size--;
    if (size == 1)
        return line[0] == 'q';
    return size == 4 && memcmp(line, "exit", 4) == 0;
}

/* Exchanges the lines of stdin, with a prompt if that is a terminal. */
static void talk_from_stdin(int fd) {
    const int terminal = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t capacity = 0;
    for (;;) {
        if (terminal) {
            printf("> ");
            fflush(stdout);
        }
        ssize_t size = getline(&line, &capacity, stdin);
        if (size < 0 && !feof(stdin)) /* a read error, or no memory for a line */
            die("stdin", errno);
        if (size < 0 || ends_conversation(line, (size_t)size))
            break;
        exchange_all(fd, line, (size_t)size);
    }
    free(line);
}

/* Half-close: our FIN says that no more will come, and we can still read. The server answers with
 * its own, which recv reports as 0: nothing was lost on either side. A reset instead is only
 * reported, and is no failure: every echo has come. */
static void end_conversation(int fd) {
    char extra;
    ssize_t n;
    shutdown(fd, SHUT_WR);
    do
        n = recv(fd, &extra, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        die("the server sent more than was expected", 0);
    if (n < 0)
        fprintf(stderr, "client: all is echoed, but the connection ended badly: %s (%s)\n",
                strerror(errno), errno_name(errno));
    close(fd);
}

/* ---- main ---- */

static const char *address = "127.0.0.1";
static const char *port = "9001";

/* Returns the exit status for -h (0) and for wrong options (2); or -1: go on. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    reset_inherited();
    signal(SIGPIPE, SIG_IGN); /* if nobody reads our stdout any more, we say so */
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    int fd = connect_to(address, port, why);
    if (fd < 0)
        die(why, errno);
    if (optind == argc)
        talk_from_stdin(fd);
    for (int i = optind; i < argc; i++) {
        exchange_all(fd, argv[i], strlen(argv[i]));
        exchange_all(fd, "\n", 1);
    }
    end_conversation(fd);
    return 0;
}
