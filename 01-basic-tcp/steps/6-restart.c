/* What is new: SO_REUSEADDR; getaddrinfo, so that the address may be a name, of IPv4 or IPv6.
 * Run: ./6-restart, or ./6-restart ::    and in another terminal: nc ::1 9001
 * What breaks it: SIGTERM and Ctrl-C, which end it in the middle of an answer. */
#define _GNU_SOURCE 1 /* for getaddrinfo, which is not in C11 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK = 16384,    /* bytes of one recv */
    PAUSE_MS = 100,   /* before the next accept, when descriptors or memory have run out */
    ADDRESS_TEXT = 80 /* bytes of an address as text */
};

static void die(const char *call) {
    perror(call);
    exit(1);
}

/* Returns a socket that listens at this address; or -1 with errno. */
static int listen_at(const struct addrinfo *ai) {
    const int on = 1;
    const int off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM, ai->ai_protocol);
    if (fd < 0)
        return -1;
    /* While connections of the last run are in TIME_WAIT, bind would fail without this option. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) /* "::" takes IPv4 clients too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Tries every address of a name. Returns a listening socket. */
static int listen_on(const char *address, const char *port) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    int fd = -1;
    int error = getaddrinfo(address, port, &hints, &list);
    if (error) {
        fprintf(stderr, "%s: %s\n", address, gai_strerror(error));
        exit(1);
    }
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
        fd = listen_at(ai);
    if (fd < 0)
        die("bind");
    freeaddrinfo(list);
    return fd;
}

/* Prints at once where fd is bound: "listening on 127.0.0.1:9001", "listening on [::]:9001". */
static void announce(int fd) {
    struct sockaddr_storage own; /* has space for an address of any family */
    socklen_t size = sizeof own;
    char host[ADDRESS_TEXT];
    char port[8];
    getsockname(fd, (struct sockaddr *)&own, &size);
    getnameinfo((struct sockaddr *)&own, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    if (strchr(host, ':'))
        printf("listening on [%s]:%s\n", host, port);
    else
        printf("listening on %s:%s\n", host, port);
    fflush(stdout);
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

int main(int argc, char **argv) {
    const char *address = "127.0.0.1";
    if (argc > 1)
        address = argv[1];
    int listener = listen_on(address, "9001");
    announce(listener);
    serve_clients(listener);
}
