/* What is new: a line has to be complete within a time limit from its first byte.
 * Run: ./5-deadline    and in another terminal ./2-lines-client, or nc 127.0.0.1 9003
 * What breaks it: SIGTERM ends it in the middle of a reply, and the second client still waits. */
#include "../../util.h"

enum {
    LINE_LIMIT = 65536,                  /* bytes of a line, its newline included */
    PAUSE_MS = 100,                      /* before the next accept, when descriptors are used up */
    OUT_CAPACITY = 2 * LINE_LIMIT + 128, /* the worst case: 65,536 empty lines, and a refusal */
    IDLE_SECONDS = 2                     /* short, so that you can watch it; server.c has 60 */
};

struct conn {
    int fd;
    char in[LINE_LIMIT]; /* what has arrived and is not answered: at most one partial line */
    size_t in_size;
    long long line_deadline; /* of the partial line, on now_ms's clock */
    char out[OUT_CAPACITY];  /* the replies to one read */
    size_t out_size;
    const char *end; /* how the conversation ended; NULL: it goes on */
};

/* Moves each complete line from c->in to c->out as its reply; keeps the rest at the front of c->in.
 * Returns 0, or -1 if the line that begins there is too long. */
static int answer_lines(struct conn *c) {
    const char *line = c->in;
    size_t remaining = c->in_size;
    ssize_t length;
    while ((length = line_length(line, remaining, LINE_LIMIT)) > 0) {
        c->out[c->out_size] = '+';
        memcpy(c->out + c->out_size + 1, line, (size_t)length);
        c->out_size += 1 + (size_t)length;
        line += length;
        remaining -= (size_t)length;
    }
    memmove(c->in, line, remaining);
    c->in_size = remaining;
    return length < 0 ? -1 : 0;
}

/* Adds the last reply, "-" and the reason, with which the conversation ends. */
static void refuse(struct conn *c, const char *reason) {
    int n = snprintf(c->out + c->out_size, OUT_CAPACITY - c->out_size, "-%s\n", reason);
    c->out_size += (size_t)n;
    c->end = reason;
}

/* Answers what is new: the last n bytes of c->in. */
static void on_received(struct conn *c, size_t n) {
    const int was_partial = c->in_size > 0;
    c->in_size += n;
    if (answer_lines(c) < 0)
        refuse(c, "line of more than 65536 bytes");
    else if (!was_partial || c->out_size > 0) /* the partial line, if any, has just begun */
        c->line_deadline = now_ms() + 1000LL * IDLE_SECONDS;
}

static void on_timeout(struct conn *c) {
    if (c->in_size > 0)
        refuse(c, "line not complete in time");
    else
        refuse(c, "idle for too long");
}

/* Makes recv fail with EAGAIN when nothing has come for that long. */
static void set_options(int fd) {
    const struct timeval idle = {.tv_sec = IDLE_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
}

/* Waits for more of a partial line until its deadline. Returns 0; or -1 with errno, EAGAIN: too
 * late. */
static int await_rest_of_line(const struct conn *c) {
    struct pollfd more = {.fd = c->fd, .events = POLLIN};
    long long remaining_ms = c->line_deadline - now_ms();
    int ready = 0;
    if (remaining_ms > 0)
        ready = poll(&more, 1, (int)remaining_ms);
    if (ready > 0)
        return 0;
    if (ready == 0)
        errno = EAGAIN;
    return -1;
}

/* Waits for bytes. Returns how many came, 0 at the client's end; or -1 with errno, EAGAIN: too
 * late. */
static ssize_t receive_in_time(struct conn *c) {
    if (c->in_size > 0 && await_rest_of_line(c) < 0)
        return -1;
    return recv(c->fd, c->in + c->in_size, sizeof c->in - c->in_size, 0);
}

/* Sends c->out, in one call if the kernel has room for it. Returns 0, or -1 with errno. */
static int send_replies(struct conn *c) {
    size_t sent = 0;
    while (send_all(c->fd, c->out, c->out_size, &sent, 1000 * IDLE_SECONDS) < 0) {
        if (errno != EINTR)
            return -1;
    }
    c->out_size = 0;
    return 0;
}

/* Serves one client to its end. Returns 0; or -1 with errno if the connection has failed. */
static int serve(struct conn *c) {
    while (!c->end) {
        ssize_t n = receive_in_time(c);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0)
            on_timeout(c);
        else if (n == 0)
            c->end = "closed";
        else
            on_received(c, (size_t)n);
        if (send_replies(c) < 0)
            return -1;
    }
    return 0;
}

static void serve_client(int fd) {
    static struct conn c; /* too large for the stack */
    c.fd = fd;
    c.in_size = 0;
    c.out_size = 0;
    c.end = NULL;
    set_options(fd);
    if (serve(&c) < 0)
        close(fd);
    else
        linger_close(fd);
}

int main(void) {
    char why[WHY_TEXT];
    int listener = listen_on("127.0.0.1", "9003", why);
    if (listener < 0)
        die(why, errno);
    announce(listener);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            serve_client(fd);
        else
            poll(NULL, 0, PAUSE_MS); /* no descriptors or no memory: try again later */
    }
}
