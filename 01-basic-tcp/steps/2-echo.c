/* What is new: recv: it sends back what its client sends, until that client is done.
 * Run: ./2-echo    and in another terminal: nc 127.0.0.1 9001, some lines, Ctrl-D
 * What breaks it: the second client; a short write; a client that resets or does not read. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 1024 }; /* bytes of one recv */

static void die(const char *call) {
    perror(call);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:9001. */
static int listen_on(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9001)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 127.0.0.1 */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, 5) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9001\n");
    fflush(stdout);
    return fd;
}

/* Echoes what one client sends. */
static void echo(int client) {
    char chunk[CHUNK];
    ssize_t n;
    while ((n = recv(client, chunk, sizeof chunk, 0)) > 0) {
        if (send(client, chunk, (size_t)n, 0) < 0)
            die("send");
    }
    if (n < 0)
        die("recv");
}

int main(void) {
    int listener = listen_on();
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        die("accept");
    echo(client);
    close(client);
    close(listener);
    return 0;
}
