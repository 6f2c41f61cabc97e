/* What is new: a loop around accept: each client is served, one after the other, but one recv each.
 * Run: ./3-next    and in another terminal, twice: nc 127.0.0.1 9001, a line
 * What breaks it: a message that arrives in two pieces; a short write; a client that resets. */
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

/* Echoes one message of one client: what the first recv brings. */
static void serve(int client) {
    char chunk[CHUNK];
    ssize_t n = recv(client, chunk, sizeof chunk, 0);
    if (n < 0)
        die("recv");
    if (send(client, chunk, (size_t)n, 0) < 0)
        die("send");
    close(client);
}

/* Serves one client after the other. */
static void serve_clients(int listener) {
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            die("accept");
        serve(client);
    }
}

int main(void) {
    int listener = listen_on();
    serve_clients(listener);
}
