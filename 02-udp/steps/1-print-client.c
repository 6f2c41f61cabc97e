/* What is new: a client without connect: sendto sends one datagram to the address it is given.
 * Run: ./1-print-client    beside ./1-print-server
 * What breaks it: it cannot know whether the datagram arrived, or whether a server is there. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 9002 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    const char *message = "Hello, Server!";
    if (argc > 1)
        message = argv[1];
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct sockaddr *to = (const struct sockaddr *)&server;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        die("socket");
    if (sendto(fd, message, strlen(message), 0, to, sizeof server) < 0)
        die("sendto");
    close(fd);
    return 0;
}
