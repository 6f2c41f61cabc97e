/* 05-select/client.c: watches the keyboard and the server at once.
 *
 * Teaches: select with two descriptors. What the server says is shown when it comes, also while one
 *   is typing; input is read only when what was read before has been sent.
 * New since 03: select instead of poll, and no second try: when the server goes, it says so.
 * Run: ./client    and type; `exit`, `q` or Ctrl-D ends it. Or ./client hello, or ./client < FILE
 * Try to break it: stop the server while the client waits for the keyboard.
 * Still wrong: one connection (06 has a client with ten thousand).
 */
#include "lines.h"
#include <sys/select.h>

enum { PIECE = 16384, ROOM = PIECE + 8 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9005)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";

static struct {
    int fd, input;                /* the server; stdin, or a file that holds the messages */
    int input_ended, half_closed; /* nothing more to read; all is sent, and our FIN too */
    int prompted, refused;        /* "> " is shown; a reply began with "-" */
    long unanswered;              /* lines */
    size_t begun;                 /* bytes at the end of out that are no complete line */
    size_t size, sent;            /* of out */
    char out[ROOM];
    char last; /* the byte of a reply that came last: '\n' between two replies */
} c = {.last = '\n'};

/* Finds the lines in n bytes that were added to out, and the one that ends them. */
static void count_lines(size_t n) {
    for (const char *p = c.out + c.size - n; n > 0 && !c.input_ended; n--, p++) {
        c.begun++;
        if (*p != '\n')
            continue;
        int word = (c.begun == 5 && !memcmp(p - 4, "exit", 4)) || (c.begun == 2 && p[-1] == 'q');
        if (word && c.input == STDIN_FILENO) {
            c.size = (size_t)(p + 1 - c.out) - c.begun;
            c.input_ended = 1;
        } else {
            c.unanswered++;
        }
        c.begun = 0;
    }
}

/* Only when out is empty but for a short line begun, which may become "exit": nothing piles up. */
static void on_input(void) {
    ssize_t n = read(c.input, c.out + c.size, PIECE);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        die("stdin", errno);
    if (n > 0) {
        c.size += (size_t)n;
        count_lines((size_t)n);
    } else if (n == 0) {
        if (c.begun > 0) { /* the last line has no newline */
            c.out[c.size++] = '\n';
            count_lines(1);
        }
        c.input_ended = 1;
    }
    c.prompted = 0;
}

/* How many bytes of out may be sent: all, unless the line begun could still be "exit" or "q". */
static size_t sendable(void) {
    return c.size - (c.begun <= 4 && !c.input_ended ? c.begun : 0);
}

static void on_writable(void) {
    ssize_t n = send(c.fd, c.out + c.sent, sendable() - c.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("the server is gone: send", errno);
    c.sent += n > 0 ? (size_t)n : 0;
    if (c.sent == sendable()) { /* what is left is a short line begun */
        memmove(c.out, c.out + c.sent, c.size - c.sent);
        c.size -= c.sent;
        c.sent = 0;
    }
}

/* Shows what came: replies on stdout, the refusal on stderr. Returns 0 at the server's end. */
static int on_readable(void) {
    char piece[PIECE];
    ssize_t n = recv(c.fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 1;
    if (n < 0)
        die("the server is gone: recv", errno);
    for (ssize_t i = 0; i < n; i++) {
        c.refused = c.refused || (c.last == '\n' && piece[i] == '-');
        c.last = piece[i];
        c.unanswered -= c.last == '\n' && !c.refused;
        putc(c.last, c.refused ? stderr : stdout);
    }
    if (fflush(stdout) != 0)
        die("stdout", errno);
    return n > 0;
}

/* Waits for both, until the server has ended. */
static void converse(void) {
    for (int open = 1; open;) {
        fd_set reading, writing;
        FD_ZERO(&reading);
        FD_ZERO(&writing);
        FD_SET(c.fd, &reading);
        if (c.sent < sendable())
            FD_SET(c.fd, &writing);
        else if (!c.input_ended)
            FD_SET(c.input, &reading);
        else if (!c.half_closed)
            c.half_closed = shutdown(c.fd, SHUT_WR) == 0;
        if (!c.prompted && !c.input_ended && c.unanswered == 0 && isatty(c.input)) {
            printf("> ");
            c.prompted = fflush(stdout) == 0;
        }
        if (select((c.fd > c.input ? c.fd : c.input) + 1, &reading, &writing, NULL, NULL) < 0)
            continue; /* EINTR: the sets say nothing */
        if (FD_ISSET(c.fd, &writing))
            on_writable();
        if (FD_ISSET(c.fd, &reading))
            open = on_readable();
        if (FD_ISSET(c.input, &reading))
            on_input();
    }
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9005";
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:h")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    FILE *messages = optind < argc ? tmpfile() : stdin; /* so they are read as stdin is */
    if (!messages)
        die("tmpfile", errno);
    for (int i = optind; i < argc; i++)
        fprintf(messages, "%s\n", argv[i]);
    if (optind < argc && (ferror(messages) || fseek(messages, 0, SEEK_SET) < 0)) /* disk full? */
        die("tmpfile", errno);
    c.input = fileno(messages);
    c.fd = connect_to(address, port, why);
    if (c.fd < 0)
        die(why, errno);
    converse();
    close(c.fd);
    fclose(messages);
    if (c.refused)
        die("the server refused that", 0);
    if (!c.input_ended || c.unanswered > 0)
        die("the server closed the connection before all was answered", 0);
    return 0;
}
