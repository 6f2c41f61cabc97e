/* peer_thread.c: the line service with a thread for each connection, for the bench.
 *
 * It is what stood before the pool of chapter 04: as simple as can be, and the clients decide how
 * many threads there are. From chapter 04 it has the lines (lines.h), the idle timeout, which has
 * its price in each recv, and the memory: 192 KiB of buffers, of which the pages in use are
 * resident. */
/* parts: 04-threadpool/lines.c */
#include "../../util.h"
#include "../../04-threadpool/lines.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>

enum { STACK = 64 * 1024 };

struct client {
    int fd;
    size_t in_size;
    char in[LINES_LIMIT];
    char out[LINES_REPLIES];
};

/* Sends size bytes of c->out, in spite of signals. Returns 0, or -1 with errno. */
static int send_replies(const struct client *c, size_t size) {
    size_t sent = 0;
    while (send_all(c->fd, c->out, size, &sent, -1) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return 0;
}

/* Receives once, and answers. Returns 0, or -1 at the end. */
static int exchange(struct client *c) {
    size_t replies_size;
    ssize_t n = recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, 0);
    if (n <= 0)
        return -1;
    c->in_size += (size_t)n;
    ssize_t used = lines_answer(c->in, c->in_size, c->out, &replies_size);
    if (send_replies(c, replies_size) < 0 || used < 0)
        return -1;
    c->in_size -= (size_t)used;
    memmove(c->in, c->in + used, c->in_size);
    return 0;
}

static void *serve(void *client) {
    struct client *c = client;
    while (exchange(c) == 0)
        ;
    close(c->fd);
    free(c);
    return NULL;
}

/* Starts a thread for the client at fd; closes fd if that fails. */
static void start(int fd, const pthread_attr_t *attributes) {
    struct client *c = malloc(sizeof *c);
    const struct timeval limit = {.tv_sec = 60};
    const int on = 1;
    pthread_t thread;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c) {
        c->fd = fd;
        c->in_size = 0;
    }
    if (!c || pthread_create(&thread, attributes, serve, c) != 0) {
        close(fd);
        free(c);
    }
}

static void raise_descriptor_limit(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv) {
    const char *port = "0";
    pthread_attr_t attributes;
    char why[WHY_TEXT];
    if (argc == 3) /* -p PORT */
        port = argv[2];
    int listener = listen_on("127.0.0.1", port, why);
    if (listener < 0)
        die(why, errno);
    raise_descriptor_limit();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    announce(listener);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start(fd, &attributes);
    }
}
