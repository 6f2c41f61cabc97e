/* What is new: a thread for each client, in a room without names; no thread waits for another.
 * Run: ./2-threads    and in two other terminals: nc 127.0.0.1 9007
 * What breaks it: a client that closes: its thread spins; the list has no lock. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEMBERS_MAX = 1000, TEXT_LIMIT = 2000 };

static int members[MEMBERS_MAX]; /* their sockets */
static size_t members_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Closes a socket, and takes it out of the list: the last one takes its place. */
static void conn_close(int fd) {
    for (size_t i = 0; i < members_count; i++) {
        if (members[i] != fd)
            continue;
        close(fd);
        members_count--;
        members[i] = members[members_count];
        return;
    }
}

/* Sends a text to every member but one; a member to which nothing can be sent is removed. */
static void room_say(int but, const char *text, size_t size) {
    for (size_t i = 0; i < members_count; i++) {
        if (members[i] != but && send(members[i], text, size, 0) < 0)
            conn_close(members[i]);
    }
}

/* The thread of one client. */
static void *serve(void *argument) {
    const int fd = (int)(intptr_t)argument;
    char text[TEXT_LIMIT];
    for (;;) {
        ssize_t n = recv(fd, text, sizeof text, 0);
        if (n < 0)
            break; /* but 0, the end, is taken for an empty message */
        room_say(fd, text, (size_t)n);
    }
    conn_close(fd);
    return NULL;
}

static void on_acceptable(int listener) {
    pthread_t thread;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    if (members_count == MEMBERS_MAX) {
        close(fd);
        return;
    }
    members[members_count] = fd;
    members_count++;
    errno = pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
    if (errno != 0)
        die("pthread_create");
    pthread_detach(thread);
}

static int listen_on(uint16_t port) {
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

int main(void) {
    int listener = listen_on(9007);
    printf("listening on 127.0.0.1:9007\n");
    fflush(stdout);
    for (;;)
        on_acceptable(listener);
}
