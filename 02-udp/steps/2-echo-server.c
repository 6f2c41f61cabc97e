/* What is new: each datagram goes back to its sender; the buffer holds the largest there is.
 * Run: ./2-echo-server    and in another terminal ./2-echo-client one two three
 * What breaks it: one reply that cannot be sent ends it; it obeys a forged address. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    PORT = 9002,
    DATAGRAM = 65536 /* UDP's length field has 16 bits, so every datagram fits (RFC 768) */
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

static void show(const struct datagram *d) {
    printf("from %s:%d: ", inet_ntoa(d->from.sin_addr), ntohs(d->from.sin_port));
    fwrite(d->data, 1, d->size, stdout);
    printf("\n");
    fflush(stdout);
}

static void receive(int fd, struct datagram *d) {
    d->from_size = sizeof d->from;
    ssize_t n =
        recvfrom(fd, d->data, sizeof d->data, 0, (struct sockaddr *)&d->from, &d->from_size);
    if (n < 0)
        die("recvfrom");
    d->size = (size_t)n;
}

/* Sends the datagram back to where it came from. */
static void reply(int fd, const struct datagram *d) {
    if (sendto(fd, d->data, d->size, 0, (const struct sockaddr *)&d->from, d->from_size) < 0)
        die("sendto");
}

int main(void) {
    static struct datagram d; /* large, so not on the stack */
    int fd = bind_on();
    printf("listening on 127.0.0.1:%d\n", PORT);
    fflush(stdout);
    for (;;) {
        receive(fd, &d);
        show(&d);
        reply(fd, &d);
    }
}
