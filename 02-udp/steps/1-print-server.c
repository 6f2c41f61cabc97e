/* What is new: a UDP socket. One recvfrom brings one datagram, and the address it came from.
 * Run: ./1-print-server    and in another terminal ./1-print-client
 * What breaks it: a datagram of more than 1,024 bytes is cut, and nobody notices a lost one. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { PORT = 9002 };

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

int main(void) {
    int fd = bind_on();
    printf("listening on 127.0.0.1:%d\n", PORT);
    fflush(stdout);
    for (;;) {
        char data[1024];
        struct sockaddr_in from;
        socklen_t from_size = sizeof from;
        ssize_t n = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &from_size);
        if (n < 0)
            die("recvfrom");
        printf("from %s:%d: ", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
        fwrite(data, 1, (size_t)n, stdout);
        printf("\n");
        fflush(stdout);
    }
}
