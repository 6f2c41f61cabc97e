/* What is new: a time limit for the reply, after which the message is sent again.
 * Run: ./4-retry-client one two three    beside ./4-retry-server
 * What breaks it: a reply that comes twice, or late, is taken for the reply to the next message. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT = 9002,
    DATAGRAM = 65536,
    FIRST_WAIT_MS = 250, /* for a reply; twice as long after each retry */
    TRIES = 5
};

static void die(const char *what) {
    perror(what);
    exit(1);
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

/* Sends a message and waits for a datagram, up to TRIES times. Returns the size of the reply, or -1
 * if none came. */
static ssize_t exchange(int fd, const char *message, char *reply) {
    struct pollfd input = {.fd = fd, .events = POLLIN};
    int wait_ms = FIRST_WAIT_MS;
    for (int retries = 0; retries < TRIES; retries++) {
        if (send(fd, message, strlen(message), 0) < 0)
            die("send");
        if (poll(&input, 1, wait_ms) > 0)
            return recv(fd, reply, DATAGRAM, 0);
        wait_ms *= 2;
    }
    errno = ETIMEDOUT;
    return -1;
}

/* Sends a message and prints the reply. */
static void send_message(int fd, const char *message) {
    static char reply[DATAGRAM];
    ssize_t n = exchange(fd, message, reply);
    if (n < 0)
        die(message);
    fwrite(reply, 1, (size_t)n, stdout);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    int fd = open_server();
    for (int i = 1; i < argc; i++)
        send_message(fd, argv[i]);
    close(fd);
    return 0;
}
