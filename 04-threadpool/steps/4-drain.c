/* What is new: at SIGINT or SIGTERM it answers the lines that have arrived, and all threads end.
 * Run: ./4-drain    and in another terminal: ../client -c 7 hello
 * What breaks it: five silent clients take the five workers for as long as they like. */
#include "../../util.h"
#include <pthread.h>

enum {
    WORKERS = 5,
    THREADS = 1 + WORKERS, /* the acceptor, and the workers */
    CAPACITY = 16,         /* clients in the queue */
    LINES_LIMIT = 65536,
    PAUSE_MS = 100, /* how long the acceptor waits for descriptors or memory */
    WAKE_MS = 20,   /* how often threads that may be waiting are woken up to stop */
    STOP_MS = 1500  /* how long stopping may take */
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

static int listener;
static _Atomic int running; /* threads that have not ended */

/* Only the main thread changes it; the others look at it before they wait. */
static _Atomic enum {
    SERVING,
    DRAINING, /* answer what has arrived, also from clients in the queue; accept no more */
    TIME_UP   /* close at once what cannot be finished without waiting */
} phase;

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

/* Sends in spite of signals, until time is up. Returns 0, or -1 with errno. */
static int conn_send(const struct conn *c, const char *data, size_t size) {
    size_t sent = 0;
    while (send_all(c->fd, data, size, &sent, -1) < 0) {
        if (errno != EINTR || phase == TIME_UP)
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

/* Waits for bytes; while the server stops, only takes what has arrived. Returns as recv does. */
static ssize_t conn_receive(struct conn *c) {
    ssize_t n;
    do {
        int flags = 0;
        if (phase != SERVING)
            flags = MSG_DONTWAIT;
        n = recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, flags);
    } while (n < 0 && errno == EINTR && phase != TIME_UP);
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
    linger_close(fd);
}

/* ---- threads ---- */

/* A worker: serves one client after the other. */
static void *work(void *conn) {
    int fd;
    while ((fd = queue_take(&clients)) >= 0)
        serve_client(conn, fd);
    free(conn);
    running--;
    return NULL;
}

/* Waits for a client and queues it; or, without descriptors or memory for one, waits for a while:
 * new clients remain in the backlog. */
static void accept_client(void) {
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0)
        queue_put(&clients, fd);
    else if (errno != EINTR && errno != ECONNABORTED)
        poll(NULL, 0, PAUSE_MS);
}

/* The acceptor. No other thread puts anything into the queue, so this one closes it. */
static void *accept_clients(void *unused) {
    while (phase == SERVING)
        accept_client();
    queue_close(&clients);
    running--;
    return unused;
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *argument) {
    running++; /* before the thread can end */
    int error = pthread_create(thread, NULL, body, argument);
    if (error)
        die("cannot start a thread", error);
}

/* Starts the acceptor and the workers. */
static void start_threads(pthread_t *threads) {
    start_thread(&threads[0], accept_clients, NULL);
    for (int i = 1; i < THREADS; i++) {
        struct conn *c = malloc(sizeof *c);
        if (!c)
            die("no memory for a worker", errno);
        start_thread(&threads[i], work, c);
    }
}

/* Stops all threads. A signal interrupts a thread that waits in accept, recv or poll. It is sent
 * again and again, because the thread may have begun to wait just after the last one. */
static void stop_threads(const pthread_t *threads) {
    const long long deadline = now_ms() + STOP_MS;
    phase = DRAINING;
    while (running > 0) {
        for (int i = 0; i < THREADS; i++)
            pthread_kill(threads[i], SIGUSR1);
        poll(NULL, 0, WAKE_MS);
        if (now_ms() >= deadline)
            phase = TIME_UP;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- signals ---- */

static void on_wake_signal(int signal_number) {
    (void)signal_number; /* the interruption is all that it is for */
}

static void catch_wake_signal(void) {
    const struct sigaction action = {.sa_handler = on_wake_signal}; /* no SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
}

/* Blocks the stop signals in this thread, and so in all that it starts from now on. Returns the set
 * of these signals, for sigwait. */
static sigset_t block_stop_signals(void) {
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    return stop_signals;
}

int main(void) {
    pthread_t threads[THREADS];
    char why[WHY_TEXT];
    int signal_number;
    reset_inherited();
    const sigset_t stop_signals = block_stop_signals();
    catch_wake_signal();
    listener = listen_on("127.0.0.1", "9004", why);
    if (listener < 0)
        die(why, errno);
    start_threads(threads);
    announce(listener);
    sigwait(&stop_signals, &signal_number);
    stop_threads(threads);
    close(listener);
    return 0;
}
