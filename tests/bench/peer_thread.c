/* peer_thread.c: the line service with a thread for each connection, for the bench.
 *
 * What stood before the pool of chapter 04: as simple as can be, and a client decides how many
 * threads there are. The lines are those of chapter 04 (lines.h), so are the idle timeout, which
 * has its price in each recv, and the memory: 192 KiB of buffers; pages in use are resident. */
#include "../../04-threadpool/lines.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>

enum { STACK = 64 * 1024 };

struct client {
    int fd;
    char in[LINE_LIMIT], out[REPLY_ROOM];
};

static void *serve(void *client) {
    struct client *c = client;
    size_t size = 0, replies;
    ssize_t n, used = 0;
    while (used >= 0 && (n = recv(c->fd, c->in + size, sizeof c->in - size, 0)) > 0) {
        size += (size_t)n;
        used = answer_lines(c->in, size, c->out, &replies);
        if (send_all(c->fd, c->out, replies, -1) < 0)
            break;
        size -= used < 0 ? size : (size_t)used;
        memmove(c->in, c->in + (used < 0 ? 0 : used), size);
    }
    close(c->fd);
    free(c);
    return NULL;
}

static void begin(int fd, const pthread_attr_t *attributes) {
    struct client *c = malloc(sizeof *c);
    const struct timeval limit = {.tv_sec = 60};
    pthread_t thread;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (c)
        c->fd = fd;
    if (!c || pthread_create(&thread, attributes, serve, c) != 0) {
        close(fd);
        free(c);
    }
}

int main(int argc, char **argv) {
    pthread_attr_t attributes;
    struct rlimit files;
    char why[WHY_TEXT];
    int listener = listen_on("127.0.0.1", argc == 3 ? argv[2] : "0", why); /* -p PORT */
    if (listener < 0)
        die(why, errno);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    announce(listener);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            begin(fd, &attributes);
    }
}
