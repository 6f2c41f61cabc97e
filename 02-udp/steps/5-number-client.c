/* What is new: a number in front of each message, by which a reply is known; the rest is dropped.
 * Run: ./5-number-client one two three    beside ./5-number-server
 * What breaks it: nothing above, but it knows one address, and counts nothing (see client.c). */
#define _GNU_SOURCE 1 /* for clock_gettime and getentropy, which are not in C11 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT = 9002,
    DATAGRAM = 65536,
    FIRST_WAIT_MS = 250, /* for a reply; twice as long after each retry */
    TRIES = 5
};

/* In front of each text, in network byte order; the server sends it back with the rest. */
static struct header {
    uint32_t run;    /* random: a late reply to an earlier client has a different one */
    uint32_t number; /* of the message: a late reply to another message has a different one */
} header;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Milliseconds of a clock that never jumps. */
static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Returns a socket connected to the server. connect sends nothing: it tells the kernel who the peer
 * is. The kernel then drops what others send, and reports it if nobody has that port. */
static int open_server(void) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (const struct sockaddr *)&server, sizeof server) < 0)
        die("connect");
    return fd;
}

/* Waits at most wait_ms for the reply to packet, and drops any other datagram. Returns 1; 0 if
 * there is no reply; or -1 with errno. */
static int await_reply(int fd, const char *packet, size_t size, int wait_ms) {
    static char reply[DATAGRAM];
    struct pollfd input = {.fd = fd, .events = POLLIN};
    const long long end = now_ms() + wait_ms;
    for (long long left = wait_ms; left > 0; left = end - now_ms()) {
        poll(&input, 1, (int)left);
        ssize_t n = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n == (ssize_t)size && memcmp(reply, packet, size) == 0)
            return 1;
    }
    return 0;
}

/* Sends packet and waits for its reply, up to TRIES times. Returns 0, or -1 with errno. */
static int exchange(int fd, const char *packet, size_t size) {
    int wait_ms = FIRST_WAIT_MS;
    for (int retries = 0; retries < TRIES; retries++) {
        if (send(fd, packet, size, 0) < 0)
            return -1;
        int result = await_reply(fd, packet, size, wait_ms);
        if (result > 0)
            return 0;
        if (result < 0)
            return -1;
        wait_ms *= 2;
    }
    errno = ETIMEDOUT;
    return -1;
}

/* Numbers a message, sends it, and prints the text of the reply. */
static void send_message(int fd, const char *message) {
    static char packet[DATAGRAM];
    size_t size = strlen(message);
    if (size > sizeof packet - sizeof header)
        size = sizeof packet - sizeof header; /* longer than a datagram: send says EMSGSIZE */
    header.number = htonl(ntohl(header.number) + 1);
    memcpy(packet, &header, sizeof header);
    memcpy(packet + sizeof header, message, size);
    if (exchange(fd, packet, sizeof header + size) < 0)
        die(message);
    printf("%s\n", message);
    fflush(stdout);
}

int main(int argc, char **argv) {
    int fd = open_server();
    if (getentropy(&header.run, sizeof header.run) < 0)
        die("getentropy");
    for (int i = 1; i < argc; i++)
        send_message(fd, argv[i]);
    close(fd);
    return 0;
}
