/* What is new: the queue has a bound, so clients wait in the kernel; a worker answers lines.
 * Run: ./3-bounded    and in another terminal: ../client -c 7 hello
 * What breaks it: five silent clients take the five workers, and then Ctrl-C does not end it. */
#include "../../util.h"
#include <pthread.h>

enum {
    WORKERS = 5,
    CAPACITY = 16, /* clients in the queue */
    LINES_LIMIT = 65536,
    PAUSE_MS = 100 /* how long the acceptor waits for descriptors or memory */
};

/* Clients that wait for a worker: a ring of CAPACITY descriptors. */
static struct queue {
    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t not_full, not_empty;
    int items[CAPACITY];
    size_t first, count;
    int closed;
} clients = {.mutex = PTHREAD_MUTEX_INITIALIZER,
             .not_full = PTHREAD_COND_INITIALIZER,
             .not_empty = PTHREAD_COND_INITIALIZER};

static volatile sig_atomic_t stopping; /* set by SIGINT (Ctrl-C) or SIGTERM */

/* What a worker needs in order to serve a client. */
struct conn {
    int fd;
    size_t in_size;
    char in[LINES_LIMIT];
    char out[2 * LINES_LIMIT];
};

/* ---- the queue ---- */

/* Waits while the queue is full. */
static void queue_put(struct queue *q, int item) {
    pthread_mutex_lock(&q->mutex);
    while (q->count == CAPACITY)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->items[(q->first + q->count) % CAPACITY] = item;
    q->count++;
    pthread_cond_signal(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

/* Waits while the queue is empty. Returns -1 if it is closed and empty. */
static int queue_take(struct queue *q) {
    int item = -1;
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    if (q->count > 0) {
        item = q->items[q->first];
        q->first = (q->first + 1) % CAPACITY;
        q->count--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->mutex);
    return item;
}

static void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

/* ---- a connection: code of the workers ---- */

/* Returns 0, or -1 with errno. */
static int conn_send(const struct conn *c, const char *data, size_t size) {
    size_t sent = 0;
    while (send_all(c->fd, data, size, &sent, -1) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return 0;
}

/* Answers the complete lines in c->in; keeps a partial line. Returns 0; or -1 if a line is too long
 * or the client is gone. */
static int conn_answer(struct conn *c) {
    size_t used = 0;
    size_t replies_size = 0;
    ssize_t length;
    while ((length = line_length(c->in + used, c->in_size - used, LINES_LIMIT)) > 0) {
        c->out[replies_size] = '+';
        memcpy(c->out + replies_size + 1, c->in + used, (size_t)length);
        replies_size += (size_t)length + 1;
        used += (size_t)length;
    }
    c->in_size -= used;
    memmove(c->in, c->in + used, c->in_size);
    if (conn_send(c, c->out, replies_size) < 0 || length < 0)
        return -1;
    return 0;
}

/* Returns as recv does. */
static ssize_t conn_receive(struct conn *c) {
    ssize_t n;
    do
        n = recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

static void serve_client(struct conn *c, int fd) {
    ssize_t n;
    c->fd = fd;
    c->in_size = 0;
    while ((n = conn_receive(c)) > 0) {
        c->in_size += (size_t)n;
        if (conn_answer(c) < 0)
            break;
    }
    close(fd);
}

/* ---- threads ---- */

/* A worker: serves one client after the other. */
static void *work(void *conn) {
    int fd;
    while ((fd = queue_take(&clients)) >= 0)
        serve_client(conn, fd);
    free(conn);
    return NULL;
}

/* Waits for a client and queues it; or, without descriptors or memory for one, waits for a while:
 * new clients remain in the backlog. */
static void accept_client(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0)
        queue_put(&clients, fd);
    else if (errno != EINTR && errno != ECONNABORTED)
        poll(NULL, 0, PAUSE_MS);
}

static void start_workers(pthread_t *threads) {
    for (int i = 0; i < WORKERS; i++) {
        struct conn *c = malloc(sizeof *c);
        if (!c)
            die("no memory for a worker", errno);
        int error = pthread_create(&threads[i], NULL, work, c);
        if (error)
            die("cannot start a worker", error);
    }
}

/* ---- signals ---- */

static void on_stop_signal(int signal_number) {
    stopping = signal_number;
}

/* Without SA_RESTART, a signal makes accept fail with EINTR. It has to reach the thread that is in
 * accept. So it is blocked while the workers are started: each inherits that. */
static void catch_stop_signal(pthread_t *threads) {
    const struct sigaction action = {.sa_handler = on_stop_signal};
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    start_workers(threads);
    pthread_sigmask(SIG_UNBLOCK, &stop_signals, NULL);
}

int main(void) {
    pthread_t threads[WORKERS];
    char why[WHY_TEXT];
    reset_inherited();
    catch_stop_signal(threads);
    int listener = listen_on("127.0.0.1", "9004", why);
    if (listener < 0)
        die(why, errno);
    announce(listener);
    while (!stopping)
        accept_client(listener);
    close(listener);
    queue_close(&clients);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
