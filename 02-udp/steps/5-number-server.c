/* What is new: a datagram from a port like its own gets no reply: it may be from such a server.
 * Run: ./5-number-server    and in another terminal ./5-number-client one two three
 * What breaks it: SIGTERM ends it with datagrams unanswered; it knows IPv4 and one port only. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PORT = 9002,
    DATAGRAM = 65536, /* UDP's length field has 16 bits, so every datagram fits (RFC 768) */
    PAUSE_MS = 100    /* before the next try, if nothing can be received */
};

struct datagram {
    size_t size;
    struct sockaddr_in from;
    socklen_t from_size;
    char data[DATAGRAM];
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a UDP socket bound to 127.0.0.1:PORT. UDP needs neither listen nor accept. */
static int bind_on(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        die("socket");
    if (bind(fd, (const struct sockaddr *)&own, sizeof own) < 0)
        die("bind");
    return fd;
}

/* Prints what has happened to a datagram. Its bytes may be commands to the terminal, so only
 * printable ones are shown. */
static void show(const char *what, const struct datagram *d) {
    printf("%s %s:%d: ", what, inet_ntoa(d->from.sin_addr), ntohs(d->from.sin_port));
    for (size_t i = 0; i < d->size; i++) {
        char shown = '.';
        if (isprint((unsigned char)d->data[i]))
            shown = d->data[i];
        putchar(shown);
    }
    putchar('\n');
    fflush(stdout);
}

/* Waits for one datagram. Returns 0, or -1 with errno. */
static int receive(int fd, struct datagram *d) {
    d->from_size = sizeof d->from;
    ssize_t n =
        recvfrom(fd, d->data, sizeof d->data, 0, (struct sockaddr *)&d->from, &d->from_size);
    if (n < 0)
        return -1;
    d->size = (size_t)n;
    return 0;
}

/* Sends the datagram back. If that fails, the reply is lost, as any datagram may be. */
static void reply(int fd, const struct datagram *d) {
    if (sendto(fd, d->data, d->size, 0, (const struct sockaddr *)&d->from, d->from_size) < 0)
        show(strerror(errno), d);
}

/* The source address is only what the sender claims. If it has our own port number, the sender is
 * another echo server, or somebody who wants us to talk to ourselves for ever: no reply. */
static void answer(int fd, in_port_t own_port, const struct datagram *d) {
    if (d->from.sin_port == own_port) {
        show("ignored: from a port like ours,", d);
        return;
    }
    show("from", d);
    reply(fd, d);
}

static void serve(int fd) {
    static struct datagram d; /* large, so not on the stack */
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    getsockname(fd, (struct sockaddr *)&own, &size);
    for (;;) {
        if (receive(fd, &d) == 0)
            answer(fd, own.sin_port, &d);
        else
            poll(NULL, 0, PAUSE_MS); /* no memory, perhaps: wait, then try again; never exit */
    }
}

int main(void) {
    int fd = bind_on();
    printf("listening on 127.0.0.1:%d\n", PORT);
    fflush(stdout);
    serve(fd);
}
