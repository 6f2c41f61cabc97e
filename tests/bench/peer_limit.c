/* peer_limit.c: the least that a server can do: a bare epoll loop, as the bench's lower limit.
 *
 * One recv, and one send for all that it brought; one buffer for all connections; one byte for each
 * connection, for a line that comes in pieces. It is no server to use: it has no timeouts, no limit
 * on a line's length, and no memory for what the kernel does not take (that connection is closed).
 * Every error closes its connection, and is not reported. */
#include "../../util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { CAPACITY = 65536, BATCH = 256, FILES = 1 << 16 };

static char data[CAPACITY];
static char replies[2 * CAPACITY];
static char in_line[FILES]; /* for each descriptor: a line has begun and not ended */

/* Puts "+" before each line. Returns the size of the replies. */
static size_t answer(int fd, size_t n) {
    char *to = replies;
    for (const char *from = data, *end = data + n; from < end;) {
        const char *newline = memchr(from, '\n', (size_t)(end - from));
        size_t size = (size_t)(end - from);
        if (newline)
            size = (size_t)(newline + 1 - from);
        if (!in_line[fd])
            *to++ = '+';
        memcpy(to, from, size);
        to += size;
        from += size;
        in_line[fd] = !newline;
    }
    return (size_t)(to - replies);
}

static void on_readable(int fd) {
    ssize_t n = recv(fd, data, CAPACITY, 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    size_t size = answer(fd, (size_t)n);
    if (send(fd, replies, size, MSG_NOSIGNAL) < (ssize_t)size)
        close(fd);
}

static void on_acceptable(int epoll, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (fd >= FILES || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        close(fd);
    else
        in_line[fd] = 0;
}

int main(int argc, char **argv) {
    struct rlimit files;
    char why[WHY_TEXT];
    const char *port = "0";
    if (argc == 3) /* -p PORT */
        port = argv[2];
    int listener = listen_on("127.0.0.1", port, why);
    if (listener < 0)
        die(why, errno);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    set_nonblocking(listener);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[BATCH] = {{.events = EPOLLIN, .data.fd = listener}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events);
    announce(listener);
    for (;;) {
        int n = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                on_acceptable(epoll, listener);
            else
                on_readable(events[i].data.fd);
        }
    }
}
