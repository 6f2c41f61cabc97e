/* What is new: one thread serves all clients; select says which of them has something to read.
 * Run: ./1-select-echo    and in two other terminals: ../client
 * What breaks it: a client that resets; "not now" from a socket; a short write; descriptor 1024. */
#define _GNU_SOURCE 1 /* for O_NONBLOCK */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef __GLIBC__ /* musl's FD_SET computes with unsigned numbers: the compiler would warn of it */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

static fd_set inputs; /* the listening socket, and all clients */
static int top;       /* the highest descriptor in it */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:9005. */
static int listen_on(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9005)};
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 127.0.0.1 */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9005\n");
    fflush(stdout);
    return fd;
}

static void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void on_acceptable(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    set_nonblocking(fd);
    FD_SET(fd, &inputs);
    if (fd > top)
        top = fd;
}

static void conn_close(int fd) {
    FD_CLR(fd, &inputs);
    close(fd);
}

static void on_readable(int fd) {
    char data[1024];
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n < 0)
        die("recv");
    if (n == 0)
        conn_close(fd);
    else
        send(fd, data, (size_t)n, MSG_NOSIGNAL);
}

/* Waits until something can be read, and reads it. */
static void loop_step(int listener) {
    fd_set readable = inputs; /* select overwrites it with those that are ready */
    if (select(top + 1, &readable, NULL, NULL, NULL) < 0)
        die("select");
    for (int fd = 0; fd <= top; fd++) {
        if (!FD_ISSET(fd, &readable))
            continue;
        if (fd == listener)
            on_acceptable(listener);
        else
            on_readable(fd);
    }
}

int main(void) {
    int listener = listen_on();
    set_nonblocking(listener);
    FD_SET(listener, &inputs);
    top = listener;
    for (;;)
        loop_step(listener);
}
