/* What is new: a bounded queue for each member, sent after the batch; slow readers are dropped.
 * Run: ./4-queues    and in two other terminals: nc 127.0.0.1 9007, a name first, then lines
 * What breaks it: a flood drops quick readers, too; SIGTERM ends it, and nobody is told. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEMBERS_MAX = 1000, NAME_LIMIT = 32, LINE_LIMIT = 2000 };
enum { QUEUE_LIMIT = 256 * 1024 }; /* bytes: a member that falls further behind is dropped */
enum { MESSAGE_SIZE = NAME_LIMIT + LINE_LIMIT + 64 };

struct member {
    const char *drop_reason; /* why it is closed after the batch; or NULL */
    size_t queue_size;
    char *queue; /* what it is owed, in order; or NULL */
    size_t input_size;
    int fd;
    char name[NAME_LIMIT + 1];  /* "": it has not said it yet */
    char input[LINE_LIMIT + 1]; /* a partial line */
};

static struct member members[MEMBERS_MAX];
static size_t members_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* ---- the room ---- */

/* Queues a message for one member. */
static void room_tell(struct member *m, const char *message) {
    const size_t size = strlen(message);
    if (m->drop_reason)
        return;
    if (!m->queue)
        m->queue = malloc(QUEUE_LIMIT);
    if (!m->queue) {
        m->drop_reason = "out of memory";
    } else if (m->queue_size + size > QUEUE_LIMIT) {
        m->drop_reason = "too slow";
    } else {
        memcpy(m->queue + m->queue_size, message, size);
        m->queue_size += size;
    }
}

/* Queues a message to every member that has a name, but one. */
static void room_say(const struct member *but, const char *message) {
    for (size_t i = 0; i < members_count; i++) {
        if (&members[i] != but && members[i].name[0])
            room_tell(&members[i], message);
    }
}

/* Returns why a name cannot be had; NULL if it can. */
static const char *name_problem(const char *name) {
    if (strlen(name) > NAME_LIMIT)
        return "longer than 32 bytes";
    if (name[0] == '\0' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return "not made of a to z, 0 to 9 and -";
    for (size_t i = 0; i < members_count; i++) {
        if (strcmp(members[i].name, name) == 0)
            return "taken";
    }
    return NULL;
}

static void member_join(struct member *m, const char *name) {
    char message[MESSAGE_SIZE];
    const char *problem = name_problem(name);
    if (problem) {
        snprintf(message, sizeof message, "-name: %s\n", problem);
        room_tell(m, message);
        return;
    }
    snprintf(message, sizeof message, "* %s joined\n", name);
    room_say(m, message);
    strcpy(m->name, name);
    snprintf(message, sizeof message, "+welcome %s\n", name);
    room_tell(m, message);
}

/* The first line is the name. */
static void on_line(struct member *m, const char *line) {
    char message[MESSAGE_SIZE];
    if (m->name[0] == '\0') {
        member_join(m, line);
        return;
    }
    snprintf(message, sizeof message, "%s: %s\n", m->name, line);
    room_say(m, message);
}

/* ---- connections ---- */

/* Handles all complete lines of the input, and keeps a partial one. */
static void hear_input(struct member *m) {
    char *line = m->input;
    char *newline;
    while ((newline = memchr(line, '\n', m->input_size)) != NULL) {
        *newline = '\0';
        on_line(m, line);
        m->input_size -= (size_t)(newline + 1 - line);
        line = newline + 1;
    }
    memmove(m->input, line, m->input_size);
    if (m->input_size == sizeof m->input) {
        room_tell(m, "-line of more than 2000 bytes\n");
        m->drop_reason = "line too long";
    }
}

static void on_readable(struct member *m) {
    ssize_t n = recv(m->fd, m->input + m->input_size, sizeof m->input - m->input_size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        m->drop_reason = n == 0 ? "closed" : "connection lost";
        return;
    }
    m->input_size += (size_t)n;
    hear_input(m);
}

/* Sends what the kernel takes of the queue. */
static void on_writable(struct member *m) {
    ssize_t n = send(m->fd, m->queue, m->queue_size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        m->drop_reason = "connection lost";
    if (n <= 0)
        return;
    m->queue_size -= (size_t)n;
    memmove(m->queue, m->queue + n, m->queue_size);
    if (m->queue_size == 0) {
        free(m->queue);
        m->queue = NULL;
    }
}

/* The only place where a connection is closed. The last member takes its place. */
static void conn_close(struct member *m) {
    char message[MESSAGE_SIZE];
    const int is_named = m->name[0] != '\0';
    snprintf(message, sizeof message, "* %s left (%s)\n", m->name, m->drop_reason);
    close(m->fd);
    free(m->queue);
    members_count--;
    *m = members[members_count];
    if (is_named)
        room_say(NULL, message);
}

/* Sends what the batch has brought. */
static void send_pending(void) {
    for (size_t i = 0; i < members_count; i++) {
        if (members[i].queue_size > 0)
            on_writable(&members[i]);
    }
}

/* Closes the members that are marked. The notices of that may mark others. */
static void close_dropped(void) {
    size_t i = 0;
    while (i < members_count) {
        if (members[i].drop_reason) {
            conn_close(&members[i]);
            i = 0;
        } else {
            i++;
        }
    }
}

static void conn_open(int fd) {
    if (members_count == MEMBERS_MAX || fd >= FD_SETSIZE) {
        close(fd);
        return;
    }
    members[members_count] = (struct member){.fd = fd};
    members_count++;
}

static void on_acceptable(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        conn_open(fd);
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

/* Waits until a socket can be read, or has room for what is queued; handles all of those. */
static void loop_step(int listener) {
    fd_set readable;
    fd_set writable;
    const size_t count = members_count;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(listener, &readable);
    for (size_t i = 0; i < count; i++) {
        FD_SET(members[i].fd, &readable);
        if (members[i].queue_size > 0)
            FD_SET(members[i].fd, &writable);
    }
    if (select(FD_SETSIZE, &readable, &writable, NULL, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (FD_ISSET(members[i].fd, &readable))
            on_readable(&members[i]);
    }
    if (FD_ISSET(listener, &readable))
        on_acceptable(listener);
    send_pending();
    close_dropped();
}

int main(void) {
    int listener = listen_on(9007);
    printf("listening on 127.0.0.1:9007\n");
    fflush(stdout);
    for (;;)
        loop_step(listener);
}
