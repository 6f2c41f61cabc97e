/* 06-epoll/client.c: a conversation on the event loop: the keyboard and the server are its events.
 *
 * Teaches: the loop from the client's side: two watchers. Handlers record what has happened; what
 *   to wait for next follows from that. Each reply must be the one to the line that was sent.
 * New since 05: loop.h instead of select; one line at a time. Ten thousand connections: load.c.
 * Run: ./client    and type; `exit`, `q` or Ctrl-D ends it. Or ./client hello, or ./client < FILE
 * Try to break it: stop the server while the client waits for the keyboard; ./client < /dev/zero
 * Still wrong: each line waits for the reply to the one before. With a distant server that is slow.
 */
#include "../util.h"
#include "lines.h"
#include "loop.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

enum {
    SENT_LIMIT = LINES_LIMIT + 1,    /* of a longer line: enough for the server to refuse it */
    REPLY_CAPACITY = LINES_LIMIT + 2 /* "+" and the longest line, and one byte too many */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9006)\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1";
static const char *port = "9006";

/* What has been read, or given as messages, and has no reply yet. */
static char input_buffer[SENT_LIMIT + 1]; /* one more, for a newline at the end of the input */
static char *input = input_buffer;
static size_t input_start, input_end;
static int input_ended; /* nothing more to read */
static int prompted;    /* "> " is shown */

/* The line in flight: it begins at input_start. */
static size_t line_size; /* 0: no line is in flight */
static size_t line_sent;
static int send_error; /* errno of a send that failed: the server may still have said why */

static char reply[REPLY_CAPACITY]; /* as much of it as has come */
static size_t reply_size;

static struct loop_watcher server;
static struct loop_watcher keyboard;
static int server_fd;

/* ---- the server ---- */

static void on_writable(void) {
    const char *rest = input + input_start + line_sent;
    ssize_t n = send(server_fd, rest, line_size - line_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        line_sent += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        send_error = errno; /* recv follows, and finds the last reply or the end */
}

/* Returns whether the first size bytes of reply are the reply to the line in flight. */
static int reply_fits(size_t size) {
    if (line_size == 0 || size != 1 + line_size || reply[0] != '+')
        return 0;
    return memcmp(reply + 1, input + input_start, line_size) == 0;
}

/* Shows a reply, which ends with newline. Any but that to the line in flight ends the client. */
static void take_reply(char *newline) {
    const size_t size = (size_t)(newline + 1 - reply);
    if (reply[0] == '-') { /* a refusal may come unasked, too */
        *newline = '\0';
        die(reply, 0);
    }
    if (!reply_fits(size))
        die("the reply does not fit the line sent", 0);
    if (fwrite(reply, 1, size, stdout) < size || fflush(stdout) != 0)
        die("stdout", errno);
    reply_size -= size;
    memmove(reply, newline + 1, reply_size);
    input_start += line_size;
    line_size = 0;
}

/* The connection has ended, with an error or without (0), before the input has. */
static void on_server_end(int error) {
    if (line_size > 0)
        die("the server gives no reply", error);
    die("the server closed the connection", error);
}

static void on_readable(void) {
    ssize_t n = recv(server_fd, reply + reply_size, REPLY_CAPACITY - reply_size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        on_server_end(errno);
    if (n == 0)
        on_server_end(send_error);
    reply_size += (size_t)n;
    char *newline = memchr(reply, '\n', reply_size);
    while (newline) {
        take_reply(newline);
        newline = memchr(reply, '\n', reply_size);
    }
    if (reply_size == REPLY_CAPACITY)
        die("the reply does not fit the line sent", 0);
}

/* Receives first: a server that does not take the line may have said why. */
static void on_server_event(struct loop_watcher *w, uint32_t events) {
    (void)w;
    if (events == EPOLLOUT)
        on_writable();
    else
        on_readable();
}

/* ---- the keyboard ---- */

/* Makes the messages the input: each of them is a line. */
static void take_messages(char **messages) {
    size_t capacity = 1; /* for a '\0' */
    for (char **message = messages; *message; message++)
        capacity += strlen(*message) + 1;
    input = malloc(capacity);
    if (!input)
        die("no memory for the messages", 0);
    for (char **message = messages; *message; message++)
        input_end += (size_t)sprintf(input + input_end, "%s\n", *message);
    input_ended = 1;
}

/* Reads once. Called only while the input holds no complete line, so nothing piles up. */
static void read_input(void) {
    input_end -= input_start;
    memmove(input, input + input_start, input_end);
    input_start = 0;
    ssize_t n = read(STDIN_FILENO, input + input_end, SENT_LIMIT - input_end);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        die("stdin", errno);
    if (n > 0)
        input_end += (size_t)n;
    if (n == 0 && input_end > 0) { /* the last line has no newline */
        input[input_end] = '\n';
        input_end++;
    }
    if (n == 0)
        input_ended = 1;
}

static void on_keyboard_event(struct loop_watcher *w, uint32_t events) {
    (void)w;
    (void)events;
    read_input();
}

static void show_prompt(void) {
    if (prompted || !isatty(STDIN_FILENO))
        return;
    fputs("> ", stdout);
    fflush(stdout);
    prompted = 1;
}

/* Returns whether a line, its newline included, is `exit` or `q`. */
static int is_command(const char *line, size_t size) {
    if (size == strlen("exit\n"))
        return memcmp(line, "exit\n", size) == 0;
    return size == strlen("q\n") && memcmp(line, "q\n", size) == 0;
}

/* ---- the conversation ---- */

/* Puts the next line in flight, if a complete one has been read. */
static void begin_line(void) {
    const char *line = input + input_start;
    ssize_t size = line_length(line, input_end - input_start, SENT_LIMIT);
    if (size < 0)
        size = SENT_LIMIT; /* the rest of it would be refused, too */
    if (size == 0)
        return;
    prompted = 0;
    if (input == input_buffer && is_command(line, (size_t)size)) {
        input_end = input_start;
        input_ended = 1;
        return;
    }
    line_size = (size_t)size;
    line_sent = 0;
}

/* Waits for room for the rest of the line, and always for what the server says. */
static void watch_server(void) {
    uint32_t interest = EPOLLIN;
    if (line_sent < line_size && !send_error)
        interest |= EPOLLOUT;
    if (loop_watch(&server, server_fd, interest) < 0)
        die("epoll_ctl", errno);
}

/* Waits for input only if it is wanted, or loop_step would return at once, again and again. Returns
 * 0; or -1: the input is a file, or /dev/null. These are always readable, and epoll refuses them
 * (epoll_ctl(2), EPERM). */
static int watch_keyboard(void) {
    const uint32_t interest = line_size == 0 ? EPOLLIN : 0;
    if (interest)
        show_prompt();
    if (loop_watch(&keyboard, STDIN_FILENO, interest) == 0)
        return 0;
    if (errno != EPERM)
        die("epoll_ctl", errno);
    return -1;
}

/* Sends each line and shows its reply, until the input has ended and all of it is answered. */
static void converse(void) {
    for (;;) {
        if (line_size == 0)
            begin_line();
        if (line_size == 0 && input_ended)
            return;
        watch_server();
        if (watch_keyboard() == 0)
            loop_step();
        else
            read_input();
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

int main(int argc, char **argv) {
    const int on = 1;
    char why[WHY_TEXT];
    reset_inherited();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    if (optind < argc)
        take_messages(argv + optind);
    server_fd = connect_to(address, port, why);
    if (server_fd < 0)
        die(why, errno);
    /* A line may be sent in two pieces: the second must not wait for the ACK of the first (03). */
    setsockopt(server_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (loop_open() < 0)
        die("event loop", errno);
    server.on_event = on_server_event;
    keyboard.on_event = on_keyboard_event;
    converse();
    loop_close(&server, server_fd);
    loop_end();
    if (input != input_buffer)
        free(input);
    return 0;
}
