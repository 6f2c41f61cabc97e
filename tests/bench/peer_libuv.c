/* peer_libuv.c: the line service on libuv (https://docs.libuv.org), for the bench.
 *
 * What a careful user of the library writes: one buffer for all reads, uv_try_write first, and a
 * queued uv_write for what the kernel does not take. The lines are those of chapter 06 (lines.h).
 * -w LOOPS: so many threads, each with a loop and a listening socket of its own (SO_REUSEPORT).
 * Less than 06: no idle timeout, no limit of what is queued for a client that does not read. */
/* parts: 06-epoll/lines.c 06-epoll/buffer.c */
#include "../../util.h"
#include "../../06-epoll/buffer.h"
#include "../../06-epoll/lines.h"
#include <sys/resource.h>
#include <uv.h>

enum { MAX_LOOPS = 64 };

struct client {
    uv_tcp_t tcp;
    char *in; /* a partial line, or NULL */
    size_t in_size;
};
/* What the kernel did not take. */
struct reply {
    uv_write_t request;
    char data[];
};
static _Thread_local char line_buffer[LINES_LIMIT];
static _Thread_local char reply_buffer[LINES_REPLIES];

static void on_close(uv_handle_t *handle) {
    struct client *c = (struct client *)handle;
    free(c->in);
    free(c);
}

static void client_close(struct client *c) {
    if (!uv_is_closing((uv_handle_t *)c))
        uv_close((uv_handle_t *)c, on_close);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
    (void)status;
    client_close((struct client *)request->handle);
    free(request);
}

static void on_write(uv_write_t *request, int status) {
    if (status < 0)
        client_close((struct client *)request->handle);
    free(request); /* the first member of struct reply */
}

/* Queues what the kernel did not take. Returns 0, or an error. */
static int client_queue(struct client *c, const char *data, size_t size) {
    struct reply *r = malloc(sizeof *r + size);
    if (!r)
        return UV_ENOMEM;
    memcpy(r->data, data, size);
    uv_buf_t buffer = uv_buf_init(r->data, (unsigned)size);
    int error = uv_write(&r->request, (uv_stream_t *)c, &buffer, 1, on_write);
    if (error)
        free(r);
    return error;
}

static int client_send(struct client *c, char *data, size_t size) {
    uv_buf_t buffer = uv_buf_init(data, (unsigned)size);
    size_t sent = 0;
    if (size == 0)
        return 0;
    int n = uv_try_write((uv_stream_t *)c, &buffer, 1);
    if (n < 0 && n != UV_EAGAIN)
        return n;
    if (n > 0)
        sent = (size_t)n;
    if (sent == size)
        return 0;
    return client_queue(c, data + sent, size - sent);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct client *c = (struct client *)handle;
    char *line = line_buffer;
    if (c->in)
        line = c->in;
    (void)suggested;
    *buffer = uv_buf_init(line + c->in_size, (unsigned)(LINES_LIMIT - c->in_size));
}

/* After the last replies: those that are queued too. */
static void client_end(struct client *c) {
    uv_shutdown_t *request = malloc(sizeof *request);
    uv_read_stop((uv_stream_t *)c);
    if (!request || uv_shutdown(request, (uv_stream_t *)c, on_shutdown) < 0) {
        free(request);
        client_close(c);
    }
}

/* Answers the complete lines of data, and keeps a partial line. */
static void client_answer(struct client *c, const char *data, size_t size) {
    size_t replies_size;
    ssize_t used = lines_answer(data, size, reply_buffer, &replies_size);
    c->in_size = 0;
    if (used >= 0)
        c->in_size = size - (size_t)used;
    if (buffer_keep(&c->in, LINES_LIMIT, data + size - c->in_size, c->in_size) < 0 ||
        client_send(c, reply_buffer, replies_size) < 0)
        client_close(c);
    else if (used < 0)
        client_end(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    struct client *c = (struct client *)stream;
    if (n > 0)
        client_answer(c, buffer->base - c->in_size, c->in_size + (size_t)n);
    else if (n == UV_EOF)
        client_end(c);
    else if (n < 0)
        client_close(c);
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0)
        return;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return;
    uv_tcp_init(listener->loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)c) < 0) {
        client_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)c, on_alloc, on_read);
}

/* Returns a socket that listens on this port, beside others of ours. */
static int listen_shared(int port) {
    const int on = 1;
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    uv_ip4_addr("127.0.0.1", port, &address);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0)
        die("listen", errno);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

/* One loop: the function of a thread. */
static void serve(void *fd) {
    uv_loop_t loop;
    uv_tcp_t listener;
    int error = uv_loop_init(&loop);
    if (!error)
        error = uv_tcp_init(&loop, &listener);
    if (!error)
        error = uv_tcp_open(&listener, *(const int *)fd);
    if (!error)
        error = uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection);
    if (error)
        die(uv_strerror(error), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
    struct rlimit files;
    uv_thread_t thread;
    int fds[MAX_LOOPS];
    int loops = 1;
    int port = 0;
    int option;
    while ((option = getopt(argc, argv, "p:w:")) != -1) {
        if (option == 'p')
            port = atoi(optarg);
        else
            loops = atoi(optarg);
    }
    if (loops < 1 || loops > MAX_LOOPS)
        die("-w: not a number of loops", 0);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    fds[0] = listen_shared(port);
    for (int i = 1; i < loops; i++)
        fds[i] = listen_shared(port_of(fds[0]));
    announce(fds[0]);
    for (int i = 1; i < loops; i++)
        uv_thread_create(&thread, serve, &fds[i]);
    serve(&fds[0]);
    return 0;
}
