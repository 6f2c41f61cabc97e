/* What is new: a message is a line; the server keeps a partial line until its newline arrives.
 * Run: ./2-lines-server    and in another terminal ./2-lines-client
 * What breaks it: a line longer than its buffer ends the conversation without a reason. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT = 9003,
    LINE_LIMIT = 65536,           /* bytes of a line, its newline included */
    OUT_CAPACITY = 2 * LINE_LIMIT /* the worst case: 65,536 empty lines */
};

struct conn {
    int fd;
    char in[LINE_LIMIT]; /* what has arrived and is not answered: at most one partial line */
    size_t in_size;
    char out[OUT_CAPACITY]; /* the replies to one read */
    size_t out_size;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:PORT. */
static int listen_on(void) {
    const int on = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&own, sizeof own) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

/* Moves each complete line from c->in to c->out as its reply; keeps the rest at the front of
 * c->in. */
static void answer_lines(struct conn *c) {
    const char *line = c->in;
    size_t remaining = c->in_size;
    const char *newline;
    while ((newline = memchr(line, '\n', remaining)) != NULL) {
        const size_t length = (size_t)(newline - line) + 1;
        c->out[c->out_size] = '+';
        memcpy(c->out + c->out_size + 1, line, length);
        c->out_size += 1 + length;
        line += length;
        remaining -= length;
    }
    memmove(c->in, line, remaining);
    c->in_size = remaining;
}

/* Sends c->out, in as many calls as it takes. Returns 0, or -1 with errno. */
static int send_replies(struct conn *c) {
    size_t sent = 0;
    while (sent < c->out_size) {
        ssize_t n = send(c->fd, c->out + sent, c->out_size - sent, MSG_NOSIGNAL);
        if (n < 0)
            return -1;
        sent += (size_t)n;
    }
    c->out_size = 0;
    return 0;
}

static void serve_client(int fd) {
    static struct conn c; /* too large for the stack */
    ssize_t n;
    c.fd = fd;
    c.in_size = 0;
    while ((n = recv(fd, c.in + c.in_size, sizeof c.in - c.in_size, 0)) > 0) {
        c.in_size += (size_t)n;
        answer_lines(&c);
        if (send_replies(&c) < 0)
            break;
    }
    close(fd);
}

int main(void) {
    int listener = listen_on();
    printf("listening on 127.0.0.1:%d\n", PORT);
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        serve_client(fd);
    }
}
