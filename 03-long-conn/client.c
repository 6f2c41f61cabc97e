/* 03-long-conn/client.c: sends lines, checks that each is answered, and prints the replies.
 *
 * Teaches: sending and reading at the same time (pipelining), so that the two sides never wait for
 *   each other, whatever the size of the file; keeping lines until they are answered, and sending
 *   them again over a new connection, after waits that grow and vary.
 * New since 01: poll; a window of unanswered bytes that slows the input down.
 * Run: ./client hello    or ./client < FILE    or ./client, and type; `exit`, `q`, Ctrl-D ends it
 * Try to break it: stop the server and start it again; send it a line of 70,000 bytes.
 * Still wrong: a line that is sent again may reach the server twice. That is harmless here.
 */
#include "../util.h"

enum {
    LINE_LIMIT = 65536,      /* bytes of a line, its newline included */
    WINDOW = 4 * LINE_LIMIT, /* bytes that may be unanswered */
    FIRST_WAIT_MS = 100,     /* before the first retry; it doubles with each further one … */
    LONGEST_WAIT_MS = 2000   /* … up to this */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-r TRIES] [MESSAGE ...]\n"
    "  -a ADDR   name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT   1 to 65535 (9003)\n"
    "  -r TRIES  after a lost connection, connect again at most this many times (8)\n"
    "Without a MESSAGE, it sends the lines of standard input until `exit` or `q`.\n";
static const char *address = "127.0.0.1";
static const char *port = "9003";
static long tries = 8;

static int server_fd;
static long tries_left; /* back to tries after each reply */

static int input_fd;
static int input_ended; /* there is nothing more to read */
static int prompted;    /* the prompt "> " is on the screen */

/* The input. The indexes divide it:
 *
 *   data:  answered | sent, no reply yet | complete lines | a partial line | free
 *          0        answered             sent             complete_end     end    WINDOW */
static struct {
    char data[WINDOW];
    size_t answered, sent, complete_end, end;
} out;

/* What the server has sent. Complete replies are taken out at once; a partial one stays. */
static struct {
    char data[LINE_LIMIT + 1]; /* "+" and a line */
    size_t size;
} in;

/* ---- the connection ---- */

/* Returns how many milliseconds to wait before the next try: 100, 200, 400 and so on, less a
 * random part (jitter). Without it, all clients of a restarted server would connect at the same
 * moments. */
static int retry_wait(long tries_made) {
    long wait_ms = LONGEST_WAIT_MS;
    if (tries_made < 5)
        wait_ms = FIRST_WAIT_MS << tries_made;
    return (int)(wait_ms - random() % (wait_ms / 2));
}

/* Replaces a connection that was lost for this reason. Lines without a complete reply will be sent
 * again. Ends the program if no tries are left. */
static void connect_again(const char *reason, int error) {
    char why[WHY_TEXT];
    close(server_fd);
    server_fd = -1;
    while (server_fd < 0) {
        if (tries_left == 0)
            die(reason, error);
        int wait_ms = retry_wait(tries - tries_left);
        tries_left--;
        fprintf(stderr, "client: %s; connecting again in %d ms\n", reason, wait_ms);
        poll(NULL, 0, wait_ms);
        server_fd = connect_to(address, port, why);
        reason = why;
        error = errno;
    }
    out.sent = out.answered;
    in.size = 0;
}

/* ---- input ---- */

/* Returns whether this complete line of stdin ends the program. A MESSAGE never does. */
static int is_command(const char *line, size_t size) {
    if (input_fd != STDIN_FILENO)
        return 0;
    if (size == 2)
        return memcmp(line, "q\n", 2) == 0;
    return size == 5 && memcmp(line, "exit\n", 5) == 0;
}

/* Finds where the last complete line ends. A line that is too long is sent as it is, for the server
 * to refuse. A command ends the input and is not sent. */
static void find_lines(void) {
    ssize_t length;
    const char *line = out.data + out.complete_end;
    while ((length = line_length(line, out.end - out.complete_end, LINE_LIMIT)) > 0) {
        if (is_command(line, (size_t)length)) {
            input_ended = 1;
            out.end = out.complete_end;
            return;
        }
        out.complete_end += (size_t)length;
        line += length;
    }
    if (length < 0)
        out.complete_end = out.end;
}

/* Reads input. Call it only if out.data has room. */
static void on_input(void) {
    ssize_t n = read(input_fd, out.data + out.end, WINDOW - 1 - out.end);
    if (n < 0) {
        if (errno != EINTR && errno != EAGAIN)
            die("stdin", errno);
        return;
    }
    out.end += (size_t)n;
    if (n == 0)
        input_ended = 1;
    if (n == 0 && out.end > out.complete_end) { /* the last line has no newline */
        out.data[out.end] = '\n';               /* a byte is reserved for it */
        out.end++;
    }
    find_lines();
    prompted = 0;
}

/* ---- replies ---- */

/* Prints a reply, which must be "+" and the first unanswered line. Anything else ends the program.
 * */
static void take_reply(const char *reply, size_t size) {
    const size_t line_size = size - 1;
    char what[WHY_TEXT];
    if (reply[0] == '-') {
        snprintf(what, sizeof what, "the server refuses: %.*s", (int)size - 2, reply + 1);
        die(what, 0);
    }
    if (reply[0] != '+' || out.sent - out.answered < line_size ||
        memcmp(reply + 1, out.data + out.answered, line_size) != 0)
        die("the reply does not fit the line sent", 0);
    if (fwrite(reply, 1, size, stdout) < size)
        die("stdout", errno);
    out.answered += line_size;
    tries_left = tries;
}

/* Takes the complete replies out of in.data, and keeps a partial one at its front. */
static void take_replies(void) {
    const char *reply = in.data;
    size_t remaining = in.size;
    ssize_t length;
    while ((length = line_length(reply, remaining, sizeof in.data)) > 0) {
        take_reply(reply, (size_t)length);
        reply += length;
        remaining -= (size_t)length;
    }
    if (length < 0)
        die("the reply is longer than any line may be", 0);
    memmove(in.data, reply, remaining);
    in.size = remaining;
    if (fflush(stdout) != 0)
        die("stdout", errno);
}

static void on_readable(void) {
    ssize_t n = recv(server_fd, in.data + in.size, sizeof in.data - in.size, MSG_DONTWAIT);
    if (n > 0) {
        in.size += (size_t)n;
        take_replies();
    } else if (n == 0) {
        connect_again("the server closed the connection", 0);
    } else if (errno != EINTR && errno != EAGAIN) {
        connect_again("recv", errno);
    }
}

/* Nothing can be sent any more. Replies or a refusal may have arrived before the reset. */
static void on_send_error(int error) {
    ssize_t n;
    while ((n = recv(server_fd, in.data + in.size, sizeof in.data - in.size, MSG_DONTWAIT)) > 0) {
        in.size += (size_t)n;
        take_replies();
    }
    connect_again("send", error);
}

/* Sends what the kernel takes now, and never waits. */
static void on_writable(void) {
    ssize_t n = send(server_fd, out.data + out.sent, out.complete_end - out.sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0)
        out.sent += (size_t)n;
    else if (errno != EINTR && errno != EAGAIN)
        on_send_error(errno);
}

/* ---- all at once ---- */

/* Shows a prompt if input is a terminal and everything typed so far is answered. */
static void show_prompt(void) {
    if (prompted || input_ended || out.answered < out.end || !isatty(input_fd))
        return;
    printf("> ");
    fflush(stdout);
    prompted = 1;
}

/* Makes room at the end of out.data when it is full, or when nothing has to be moved. */
static void make_room(void) {
    if (out.end < WINDOW - 1 && out.answered < out.end)
        return;
    memmove(out.data, out.data + out.answered, out.end - out.answered);
    out.sent -= out.answered;
    out.complete_end -= out.answered;
    out.end -= out.answered;
    out.answered = 0;
}

/* Waits for input, for room to send and for replies at the same time, and does what is possible. */
static void converse(void) {
    enum { INPUT, SERVER };
    while (!input_ended || out.answered < out.end) {
        show_prompt();
        make_room();
        struct pollfd ready[] = {
            [INPUT] = {.fd = -1, .events = POLLIN}, /* -1: poll ignores it */
            [SERVER] = {.fd = server_fd, .events = POLLIN},
        };
        if (!input_ended && out.end < WINDOW - 1)
            ready[INPUT].fd = input_fd;
        if (out.sent < out.complete_end)
            ready[SERVER].events = POLLIN | POLLOUT;
        poll(ready, 2, -1);
        if (ready[SERVER].revents & ~POLLOUT)
            on_readable(); /* also after an error or a hang-up: recv says which */
        else if (ready[SERVER].revents)
            on_writable();
        if (ready[INPUT].revents)
            on_input();
    }
}

/* ---- main ---- */

/* Returns a file with a line for each message, so that messages are read as stdin is. */
static FILE *open_messages(char **messages) {
    FILE *file = tmpfile();
    if (!file)
        die("tmpfile", errno);
    for (char **message = messages; *message; message++)
        fprintf(file, "%s\n", *message);
    if (ferror(file) || fseek(file, 0, SEEK_SET) < 0) /* a full disk? */
        die("tmpfile", errno);
    return file;
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: continue. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:r:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'r': tries = number_arg(usage, 'r', optarg, 0, 1000); break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    return -1;
}

int main(int argc, char **argv) {
    FILE *input = stdin;
    char why[WHY_TEXT];
    reset_inherited();
    signal(SIGPIPE, SIG_IGN); /* if nobody reads our stdout any more, we report EPIPE */
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    if (optind < argc)
        input = open_messages(argv + optind);
    input_fd = fileno(input);
    tries_left = tries;
    srandom((unsigned)getpid());
    server_fd = connect_to(address, port, why);
    if (server_fd < 0)
        die(why, errno);
    converse();
    close(server_fd);
    fclose(input);
    return 0;
}
