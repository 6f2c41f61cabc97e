/* What is new: both loops: all that a client sends is echoed, in as many calls as it takes.
 * Run: ./4-all    and in another terminal: nc 127.0.0.1 9001
 * What breaks it: a client that resets, or leaves without reading; too few descriptors. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 16384 }; /* bytes of one recv */

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
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9001\n");
    fflush(stdout);
    return fd;
}

/* Sends all of data: one send may take only a part of it. */
static void send_all(int client, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(client, data, size, 0);
        if (n < 0 && errno == EINTR)
            continue; /* a signal arrived first, and nothing was sent */
        if (n < 0)
            die("send");
        data += n;
        size -= (size_t)n;
    }
}

/* Waits for bytes. Returns how many arrived; 0 at the client's end of file. */
static size_t receive(int client, char *chunk) {
    ssize_t n;
    do
        n = recv(client, chunk, CHUNK, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        die("recv");
    return (size_t)n;
}

/* Echoes until the client's end of file. */
static void echo(int client) {
    char chunk[CHUNK];
    size_t n;
    while ((n = receive(client, chunk)) > 0)
        send_all(client, chunk, n);
}

/* Serves one client from accept to close. */
static void serve(int client) {
    echo(client);
    close(client);
}

/* Serves one client after the other. */
static void serve_clients(int listener) {
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0 && errno == EINTR)
            continue;
        if (client < 0)
            die("accept");
        serve(client);
    }
}

int main(void) {
    int listener = listen_on();
    serve_clients(listener);
}
