/* What is new: the client waits for a reply to each message, and prints it.
 * Run: ./2-echo-client one two three    beside ./2-echo-server
 * What breaks it: a lost datagram makes it wait for ever; any datagram counts as the reply. */
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

/* Sends a message, waits for a datagram, and prints that. */
static void send_message(int fd, const struct sockaddr_in *server, const char *message) {
    static char reply[DATAGRAM];
    size_t size = strlen(message);
    if (sendto(fd, message, size, 0, (const struct sockaddr *)server, sizeof *server) < 0)
        die("sendto");
    ssize_t n = recvfrom(fd, reply, sizeof reply, 0, NULL, NULL);
    if (n < 0)
        die("recvfrom");
    fwrite(reply, 1, (size_t)n, stdout);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        die("socket");
    for (int i = 1; i < argc; i++)
        send_message(fd, &server, argv[i]);
    close(fd);
    return 0;
}
