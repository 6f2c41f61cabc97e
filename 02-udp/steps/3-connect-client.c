/* What is new: connect tells the kernel the peer: others are dropped, "nobody there" is reported.
 * Run: ./3-connect-client one two three    beside ./3-connect-server
 * What breaks it: one datagram that is lost on its way makes it wait for ever. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 9002, DATAGRAM = 65536 };

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

/* Sends a message, waits for a datagram of the server, and prints that. */
static void send_message(int fd, const char *message) {
    static char reply[DATAGRAM];
    if (send(fd, message, strlen(message), 0) < 0)
        die("send");
    ssize_t n = recv(fd, reply, sizeof reply, 0);
    if (n < 0)
        die("recv");
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
