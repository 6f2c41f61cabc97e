/* What is new: a message goes to all others, as "name: text"; the first recv is the name.
 * Run: ./1-select    and in two other terminals: nc 127.0.0.1 9007, a name first, then lines
 * What breaks it: a newcomer that says nothing; a member that does not read: the room waits. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEMBERS_MAX = 1000, NAME_LIMIT = 32, TEXT_LIMIT = 2000 };

struct member {
    int fd;
    char name[NAME_LIMIT + 1];
};

static struct member members[MEMBERS_MAX];
static size_t members_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Sends a text to every member but one. */
static void room_say(const struct member *but, const char *text) {
    for (size_t i = 0; i < members_count; i++) {
        if (&members[i] == but)
            continue;
        if (send(members[i].fd, text, strlen(text), 0) < 0)
            perror("send");
    }
}

/* The first recv is the name. */
static void on_acceptable(int listener) {
    struct member *m = &members[members_count];
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    ssize_t n = 0;
    if (members_count < MEMBERS_MAX && fd < FD_SETSIZE)
        n = recv(fd, m->name, NAME_LIMIT, 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    if (m->name[n - 1] == '\n')
        n--;
    m->name[n] = '\0';
    m->fd = fd;
    members_count++;
}

/* Removes a member: the last one takes its place. */
static void conn_close(struct member *m) {
    close(m->fd);
    members_count--;
    *m = members[members_count];
}

static void on_readable(struct member *m) {
    char text[TEXT_LIMIT + 1];
    char line[NAME_LIMIT + 2 + sizeof text];
    ssize_t n = recv(m->fd, text, TEXT_LIMIT, 0);
    if (n <= 0) {
        snprintf(line, sizeof line, "* %s left\n", m->name);
        room_say(m, line);
        conn_close(m);
        return;
    }
    text[n] = '\0';
    snprintf(line, sizeof line, "%s: %s", m->name, text);
    room_say(m, line);
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

/* Waits until a socket can be read, and handles all of those. */
static void loop_step(int listener) {
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(listener, &readable);
    for (size_t i = 0; i < members_count; i++)
        FD_SET(members[i].fd, &readable);
    if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 0)
        die("select");
    for (size_t i = members_count; i > 0; i--) {
        if (FD_ISSET(members[i - 1].fd, &readable))
            on_readable(&members[i - 1]);
    }
    if (FD_ISSET(listener, &readable))
        on_acceptable(listener);
}

int main(void) {
    int listener = listen_on(9007);
    printf("listening on 127.0.0.1:9007\n");
    fflush(stdout);
    for (;;)
        loop_step(listener);
}
