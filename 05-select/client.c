/* 05-select/client.c: waits for the keyboard and the server at once.
 *
 * Teaches: select with two descriptors. What the server says is shown when it arrives, also while
 *   the user types; more input is read only when all that was read before has been sent.
 * New since 03: select instead of poll; no second try: if the server closes, the client says so.
 * Run: ./client    and type; `exit`, `q` or Ctrl-D ends it. Or ./client hello, or ./client < FILE
 * Try to break it: stop the server while the client waits for the keyboard.
 * Still wrong: one connection (06 has a load generator with ten thousand).
 */
#include "../util.h"
#include <sys/select.h>

#ifndef __GLIBC__ /* musl's FD_SET computes with unsigned numbers: the compiler would warn of it */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

enum {
    PIECE = 16384,            /* bytes read at a time */
    LONGEST_COMMAND = 4,      /* "exit" */
    OUT_CAPACITY = PIECE + 16 /* a piece, what may be a command before it, a newline after it */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9005)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1";
static const char *port = "9005";

static int server_fd;
static int server_ended; /* its FIN has come: nothing more to receive */
static int half_closed;  /* all is sent, and our FIN, too */

/* What has been read, or given as messages, and is not sent yet. */
static char input_buffer[OUT_CAPACITY];
static char *out = input_buffer;
static size_t out_size, out_sent;
static size_t partial_size; /* bytes of the line at the end that is not complete yet */
static int input_ended;     /* nothing more to read */

static long unanswered;       /* lines that have no reply yet */
static char last_byte = '\n'; /* of the replies so far: '\n' between two of them */
static int refused;           /* a reply began with "-": it is the last */
static int prompted;          /* "> " is shown */

/* ---- input ---- */

static long count_newlines(const char *text) {
    long count = 0;
    for (const char *byte = text; *byte; byte++) {
        if (*byte == '\n')
            count++;
    }
    return count;
}

/* Makes the messages the input: each of them is a line, or more if it has newlines. */
static void take_messages(char **messages) {
    size_t capacity = 1; /* for a '\0' */
    for (char **message = messages; *message; message++)
        capacity += strlen(*message) + 1;
    out = malloc(capacity);
    if (!out)
        die("no memory for the messages", 0);
    for (char **message = messages; *message; message++) {
        out_size += (size_t)sprintf(out + out_size, "%s\n", *message);
        unanswered += count_newlines(*message) + 1;
    }
    input_ended = 1;
}

/* Returns whether a line, its newline included, is `exit` or `q`. */
static int is_command(const char *line, size_t size) {
    if (size == strlen("exit\n"))
        return memcmp(line, "exit\n", size) == 0;
    return size == strlen("q\n") && memcmp(line, "q\n", size) == 0;
}

/* Counts the lines that size bytes, added to out, have completed. A command ends the input and is
 * not sent. */
static void count_lines(size_t size) {
    const char *next = out + out_size;
    const char *end = next + size;
    out_size += size;
    while (!input_ended) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        if (!newline) {
            partial_size += (size_t)(end - next);
            return;
        }
        partial_size += (size_t)(newline + 1 - next);
        next = newline + 1;
        if (partial_size <= sizeof "exit" && is_command(next - partial_size, partial_size)) {
            out_size = (size_t)(next - out) - partial_size;
            input_ended = 1;
        } else {
            unanswered++;
        }
        partial_size = 0;
    }
}

/* Called only when all that can be sent has been sent, so nothing piles up. */
static void on_input(void) {
    ssize_t n = read(STDIN_FILENO, out + out_size, PIECE);
    prompted = 0;
    if (n < 0) {
        if (errno != EINTR && errno != EAGAIN)
            die("stdin", errno);
        return;
    }
    if (n > 0) {
        count_lines((size_t)n);
        return;
    }
    if (partial_size > 0) { /* the last line has no newline */
        out[out_size] = '\n';
        count_lines(1);
    }
    input_ended = 1;
}

/* ---- the server ---- */

/* Returns how many bytes of out may be sent: not a short line that may yet become a command. */
static size_t sendable(void) {
    if (partial_size <= LONGEST_COMMAND && !input_ended)
        return out_size - partial_size;
    return out_size;
}

/* Shows replies on stdout, and a refusal on stderr. */
static void show(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (last_byte == '\n' && bytes[i] == '-')
            refused = 1;
        last_byte = bytes[i];
        if (last_byte == '\n' && !refused)
            unanswered--;
        putc(last_byte, refused ? stderr : stdout);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        die("stdout", errno);
}

/* Nothing can be sent any more. A reply that says why may have arrived before the reset. */
static void on_send_error(int error) {
    char piece[PIECE];
    ssize_t n;
    while ((n = recv(server_fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
        show(piece, (size_t)n);
    if (refused)
        die("the server refused that", 0);
    die("the server is gone: send", error);
}

static void on_writable(void) {
    ssize_t n = send(server_fd, out + out_sent, sendable() - out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            on_send_error(errno);
        return;
    }
    out_sent += (size_t)n;
    if (out_sent == sendable()) { /* only what may become a command is left */
        memmove(out, out + out_sent, out_size - out_sent);
        out_size -= out_sent;
        out_sent = 0;
    }
}

/* The connection is broken. That ends the client well only if all lines have been answered. */
static void on_reset(int error) {
    if (!half_closed || unanswered > 0)
        die("the server is gone: recv", error);
    fprintf(stderr, "client: all is answered, but the connection ended badly: %s (%s)\n",
            strerror(error), errno_name(error));
    server_ended = 1;
}

static void on_readable(void) {
    char piece[PIECE];
    ssize_t n = recv(server_fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n > 0)
        show(piece, (size_t)n);
    else if (n == 0)
        server_ended = 1;
    else if (errno != EAGAIN && errno != EINTR)
        on_reset(errno);
}

/* ---- both at once ---- */

static void show_prompt(void) {
    if (prompted || input_ended || unanswered > 0 || !isatty(STDIN_FILENO))
        return;
    fputs("> ", stdout);
    fflush(stdout);
    prompted = 1;
}

/* Puts into the sets what can happen next: the server may always say something. */
static void fill_sets(fd_set *readable, fd_set *writable) {
    FD_ZERO(readable);
    FD_ZERO(writable);
    FD_SET(server_fd, readable);
    if (out_sent < sendable())
        FD_SET(server_fd, writable);
    else if (!input_ended)
        FD_SET(STDIN_FILENO, readable);
}

/* Sends and shows until the server has ended. */
static void converse(void) {
    while (!server_ended) {
        fd_set readable, writable;
        if (input_ended && out_sent == out_size && !half_closed) {
            shutdown(server_fd, SHUT_WR);
            half_closed = 1;
        }
        show_prompt();
        fill_sets(&readable, &writable);
        if (select(server_fd + 1, &readable, &writable, NULL, NULL) < 0)
            continue; /* EINTR: the sets say nothing */
        if (FD_ISSET(server_fd, &writable))
            on_writable();
        if (FD_ISSET(server_fd, &readable))
            on_readable();
        if (FD_ISSET(STDIN_FILENO, &readable))
            on_input();
    }
}

/* Returns -1: go on; or the exit status: 0 after -h, 2 after a wrong option. */
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

static void connect_to_server(void) {
    char why[WHY_TEXT];
    server_fd = connect_to(address, port, why);
    if (server_fd < 0)
        die(why, errno);
    if (server_fd >= FD_SETSIZE) /* FD_SET would write past the end of the set */
        die("the socket does not fit an fd_set", EMFILE);
}

int main(int argc, char **argv) {
    reset_inherited();
    signal(SIGPIPE, SIG_IGN); /* if nobody reads our stdout any more, we say so */
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    if (optind < argc)
        take_messages(argv + optind);
    connect_to_server();
    converse();
    close(server_fd);
    if (out != input_buffer)
        free(out);
    if (refused)
        die("the server refused that", 0);
    if (!input_ended || unanswered > 0)
        die("the server closed the connection before all was answered", 0);
    return 0;
}
