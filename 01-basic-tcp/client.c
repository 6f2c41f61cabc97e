/* 01-basic-tcp/client.c: sends its messages to the echo server, prints what comes back.
 *
 * Teaches: connect, one address after the other; a stream keeps no boundaries, so a client has to
 *   know how much is to come back; end of file before that is an error; half-close as "I am done".
 * Run: ./client hello world    or ./client, and type; `exit`, `q` or Ctrl-D ends it
 * Try to break it: stop the server in mid-conversation; send it a file: ./client < /bin/ls
 * Still wrong: it sends one piece and waits for its echo before it sends the next, which is slow
 *   over a long line (03 sends and reads at the same time).
 */
#include "../util.h"

enum { CHUNK = 16384 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9001)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";

/* Tries every address of the name; returns a connected socket, or ends the program. */
static int open_connection(const char *address, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    char what[WHY_TEXT], text[ADDRESS_TEXT];
    int fd = -1, unknown = getaddrinfo(address, port, &hints, &list);
    snprintf(what, sizeof what, "resolve %s: %s", address, gai_strerror(unknown));
    if (unknown)
        die(what, 0);
    for (struct addrinfo *ai = list; ai && fd < 0;) {
        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
        if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
            break; /* the handshake is done: the server's kernel has us, its program perhaps not */
        int error = errno;
        if (fd >= 0)
            close(fd); /* after a failed connect a socket is good for nothing (connect(2)) */
        fd = -1;
        if (error == EINTR)
            continue; /* the same address again, with a new socket */
        snprintf(what, sizeof what, "connect %s", address_text(ai->ai_addr, ai->ai_addrlen, text));
        ai = ai->ai_next;
        if (!ai)
            die(what, error);
    }
    freeaddrinfo(list);
    return fd;
}

/* Sends all n bytes, however few the kernel takes at a time. */
static void send_everything(int fd, const char *data, size_t n) {
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            die("the server is gone: send", errno);
        data += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
}

/* Sends n bytes (at most CHUNK) and prints their echo. One recv may bring a part of it only. It
 * never sends more than the socket buffers hold before it reads: so both cannot wait at once. */
static void exchange(int fd, const char *data, size_t n) {
    char echo[CHUNK];
    send_everything(fd, data, n);
    for (size_t back = 0; back < n;) {
        ssize_t got = recv(fd, echo, n - back, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            die("the server is gone: recv", errno);
        if (got == 0)
            die("the server closed the connection before the whole echo had come", 0);
        if (memcmp(data + back, echo, (size_t)got) != 0)
            die("what came back is not what was sent", 0);
        fwrite(echo, 1, (size_t)got, stdout);
        back += (size_t)got;
    }
    if (fflush(stdout) != 0)
        die("stdout", errno);
}

/* A message of any length, in pieces. */
static void exchange_all(int fd, const char *data, size_t n) {
    for (size_t done = 0; done < n; done += CHUNK)
        exchange(fd, data + done, n - done < CHUNK ? n - done : CHUNK);
}

static void talk_from_stdin(int fd) {
    int terminal = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t room = 0;
    for (;;) {
        if (terminal)
            printf("> "), fflush(stdout);
        ssize_t n = getline(&line, &room, stdin);
        if (n < 0 && !feof(stdin)) /* a read error, or no memory for a line */
            die("stdin", errno);
        ssize_t text = n - (n > 0 && line[n - 1] == '\n');
        if (n < 0 || (text == 4 && !memcmp(line, "exit", 4)) || (text == 1 && *line == 'q'))
            break;
        exchange_all(fd, line, (size_t)n);
    }
    free(line);
}

/* Half-close: our FIN says that no more will come, and we can still read. The server answers with
 * its own, which recv reports as 0: nothing was lost on either side. */
static void say_goodbye(int fd) {
    char extra;
    ssize_t n;
    shutdown(fd, SHUT_WR);
    while ((n = recv(fd, &extra, 1, 0)) < 0 && errno == EINTR)
        continue;
    if (n != 0)
        die("the server did not close as agreed", n < 0 ? errno : 0);
    close(fd);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9001";
    for (int option; (option = getopt(argc, argv, "+a:p:h")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    int fd = open_connection(address, port);
    if (optind == argc)
        talk_from_stdin(fd);
    for (int i = optind; i < argc; i++) {
        exchange_all(fd, argv[i], strlen(argv[i]));
        exchange_all(fd, "\n", 1);
    }
    say_goodbye(fd);
    return 0;
}
