/* What is new: an error of a connection ends that connection, and nothing else.
 * Run: ./5-outlive    and in another terminal: nc 127.0.0.1 9001
 * What breaks it: a restart while a client is connected; and it has no IPv6. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK = 16384, /* bytes of one recv */
    PAUSE_MS = 100 /* before the next accept, when descriptors or memory have run out */
};

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

/* Sends all of data: one send may take only a part of it. Returns 0; or -1 with errno: EPIPE or
 * ECONNRESET (the client is gone; without MSG_NOSIGNAL, SIGPIPE would end the program). */
static int send_all(int client, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(client, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue; /* a signal arrived first, and nothing was sent */
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Waits for bytes. Returns how many arrived; 0 at the client's end of file; or -1 with errno:
 * ECONNRESET (the client has reset the connection). */
static ssize_t receive(int client, char *chunk) {
    ssize_t n;
    do
        n = recv(client, chunk, CHUNK, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Echoes until the client's end of file. Returns 0, or -1 with errno. */
static int echo(int client) {
    char chunk[CHUNK];
    ssize_t n;
    while ((n = receive(client, chunk)) > 0) {
        if (send_all(client, chunk, (size_t)n) < 0)
            return -1;
    }
    return (int)n;
}

/* Serves one client from accept to close. An error ends this connection and nothing else. */
static void serve(int client) {
    if (echo(client) < 0)
        perror("connection closed");
    close(client);
}

/* Serves one client after the other. */
static void serve_clients(int listener) {
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0)
            serve(client);
        else if (errno != EINTR && errno != ECONNABORTED) /* no descriptors, no memory */
            poll(NULL, 0, PAUSE_MS);                      /* try again later */
    }
}

int main(void) {
    int listener = listen_on();
    serve_clients(listener);
}
