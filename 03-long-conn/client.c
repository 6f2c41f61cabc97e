/* 03-long-conn/client.c: sends lines, checks that each is answered, prints the replies.
 *
 * Teaches: to send and to read at the same time (pipelining), so that a file of any size never ends
 *   with both sides waiting for the other to read; to keep what is not answered yet, and to send it
 *   again over a new connection, after waits that grow and vary.
 * New since 01: poll; a window of unanswered bytes that slows the input down.
 * Run: ./client hello    or ./client < FILE    or ./client, and type; `exit`, `q`, Ctrl-D ends it
 * Try to break it: stop the server and start it again; send it a line of 70,000 bytes.
 * Still wrong: a line sent again may have been seen twice by the server. An echo does not mind.
 */
#include "../util.h"

enum { LINE_LIMIT = 65536, WINDOW = 4 * LINE_LIMIT, FIRST_WAIT_MS = 100, LONGEST_WAIT_MS = 2000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-r TRIES] [MESSAGE ...]\n"
    "  -a ADDR   name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT   1 to 65535 (9003)\n"
    "  -r TRIES  after a lost connection, connect again at most this many times (8)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1", *port = "9003";
static long tries = 8, tries_left;

/* out:   answered | sent, no reply yet | complete lines | a line begun | free
 *        0        head                 sent            whole          tail   WINDOW */
static struct {
    int fd, input, input_ended, prompted;
    size_t head, sent, whole, tail, in_size;
    char out[WINDOW];
    char in[LINE_LIMIT + 1]; /* a reply that is not complete */
} c;

/* Waits 100 ms, 200, 400 and so on, less a random part: or all the clients of a server that comes
 * back would come in step. Then what has no reply is sent again, from its first line. */
static void connect_again(const char *reason, int error) {
    char why[WHY_TEXT];
    close(c.fd);
    for (c.fd = -1; c.fd < 0; tries_left--) {
        if (tries_left == 0)
            die(reason, error);
        long wait = FIRST_WAIT_MS << (tries - tries_left < 5 ? tries - tries_left : 5);
        wait = wait < LONGEST_WAIT_MS ? wait : LONGEST_WAIT_MS;
        wait -= random() % (wait / 2);
        fprintf(stderr, "client: %s; connecting again in %ld ms\n", reason, wait);
        poll(NULL, 0, (int)wait);
        c.fd = connect_to(address, port, why);
        reason = why;
        error = errno;
    }
    c.sent = c.head;
    c.in_size = 0;
}

/* Reads input while there is room for it, and finds where the last complete line ends. */
static void on_input(void) {
    ssize_t n = read(c.input, c.out + c.tail, WINDOW - 1 - c.tail);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        die("stdin", errno);
    c.tail += n > 0 ? (size_t)n : 0;
    c.input_ended = n == 0;
    if (c.input_ended && c.tail > c.whole)
        c.out[c.tail++] = '\n'; /* the last line had none; a byte was kept for it */
    for (ssize_t line; (line = line_length(c.out + c.whole, c.tail - c.whole, LINE_LIMIT)) != 0;) {
        const char *text = c.out + c.whole;
        if (c.input == STDIN_FILENO && (!strncmp(text, "exit\n", 5) || !strncmp(text, "q\n", 2))) {
            c.input_ended = 1;
            c.tail = c.whole;
            break;
        }
        c.whole = line < 0 ? c.tail : c.whole + (size_t)line; /* too long: the server will say so */
    }
    c.prompted = 0;
}

/* Sends what the kernel takes now, and never waits. */
static void on_writable(void) {
    ssize_t n = send(c.fd, c.out + c.sent, c.whole - c.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        c.sent += (size_t)n;
    else if (errno != EINTR && errno != EAGAIN)
        connect_again("send", errno);
}

/* One reply: "+" and the first line that had none, or the server's refusal. */
static void check_reply(const char *reply, size_t n) {
    char what[WHY_TEXT];
    snprintf(what, sizeof what, "the server refuses: %.*s", n > 1 ? (int)n - 2 : 0, reply + 1);
    if (reply[0] == '-')
        die(what, 0);
    if (reply[0] != '+' || c.sent - c.head < n - 1 || memcmp(reply + 1, c.out + c.head, n - 1) != 0)
        die("a reply that does not fit the line sent", 0);
    if (fwrite(reply, 1, n, stdout) < n)
        die("stdout", errno);
    c.head += n - 1;
    tries_left = tries;
}

static void on_readable(void) {
    ssize_t n = recv(c.fd, c.in + c.in_size, sizeof c.in - c.in_size, MSG_DONTWAIT), line;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        connect_again(n < 0 ? "recv" : "the server closed the connection", n < 0 ? errno : 0);
        return;
    }
    c.in_size += (size_t)n;
    const char *reply = c.in;
    size_t left = c.in_size;
    while ((line = line_length(reply, left, sizeof c.in)) > 0) {
        check_reply(reply, (size_t)line);
        reply += line;
        left -= (size_t)line;
    }
    if (line < 0)
        die("a reply without an end", 0);
    memmove(c.in, reply, left);
    c.in_size = left;
    if (fflush(stdout) != 0)
        die("stdout", errno);
}

/* Waits for input, for room to send and for replies, all at once, and does what is possible. */
static void converse(void) {
    while (!c.input_ended || c.head < c.tail) {
        if (!c.prompted && !c.input_ended && c.head == c.tail && isatty(c.input)) {
            printf("> ");
            c.prompted = !fflush(stdout);
        }
        if (c.tail == WINDOW - 1 || c.head == c.tail) { /* makes room at the end of out */
            memmove(c.out, c.out + c.head, c.tail - c.head);
            c.sent -= c.head;
            c.whole -= c.head;
            c.tail -= c.head;
            c.head = 0;
        }
        int reading = !c.input_ended && c.tail < WINDOW - 1;
        struct pollfd wait[2] = {
            {.fd = reading ? c.input : -1, .events = POLLIN}, /* -1: not now */
            {.fd = c.fd, .events = (short)(POLLIN | (c.sent < c.whole ? POLLOUT : 0))},
        };
        poll(wait, 2, -1);
        if (wait[1].revents & ~POLLOUT)
            on_readable();
        else if (wait[1].revents & POLLOUT)
            on_writable();
        if (wait[0].revents)
            on_input();
    }
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:r:h")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'r': tries = number_arg(usage, 'r', optarg, 0, 1000); break;
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
    tries_left = tries;
    c.fd = connect_to(address, port, why);
    if (c.fd < 0)
        die(why, errno);
    srandom((unsigned)getpid());
    converse();
    close(c.fd);
    fclose(messages);
    return 0;
}
