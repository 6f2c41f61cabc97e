/* What is new: five threads serve all clients, which wait in a queue; Ctrl-C ends the server.
 * Run: ./2-pool    and in another terminal: ../../build/helpers/peer -n 7 9004 line
 * What breaks it: more clients than descriptors, because the queue takes everybody in. */
#define _GNU_SOURCE 1 /* for sigaction */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 5 };

struct item {
    int fd;
    struct item *next;
};

/* Clients that wait for a worker: a list without a bound. */
static struct queue {
    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t not_empty;
    struct item *first, *last;
    int closed;
} clients = {.mutex = PTHREAD_MUTEX_INITIALIZER, .not_empty = PTHREAD_COND_INITIALIZER};

static volatile sig_atomic_t stopping; /* set by SIGINT (Ctrl-C) or SIGTERM */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:9004. */
static int listen_on(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9004)};
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
    printf("listening on 127.0.0.1:9004\n");
    fflush(stdout);
    return fd;
}

/* ---- the queue ---- */

static void queue_put(struct queue *q, int fd) {
    struct item *item = malloc(sizeof *item);
    if (!item)
        die("malloc");
    *item = (struct item){.fd = fd};
    pthread_mutex_lock(&q->mutex);
    if (q->first)
        q->last->next = item;
    else
        q->first = item;
    q->last = item;
    pthread_cond_signal(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

/* Waits while the queue is empty. Returns -1 if it is closed and empty. */
static int queue_take(struct queue *q) {
    int fd = -1;
    pthread_mutex_lock(&q->mutex);
    while (!q->first && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    struct item *item = q->first;
    if (item) {
        fd = item->fd;
        q->first = item->next;
    }
    pthread_mutex_unlock(&q->mutex);
    free(item);
    return fd;
}

static void queue_close(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

/* ---- threads ---- */

static void serve_client(int fd) {
    const char *greeting = "欢迎访问服务器!\n"; /* "Welcome to the server!" */
    send(fd, greeting, strlen(greeting), MSG_NOSIGNAL);
    close(fd);
}

/* A worker: serves one client after the other. */
static void *work(void *unused) {
    int fd;
    while ((fd = queue_take(&clients)) >= 0)
        serve_client(fd);
    return unused;
}

static void accept_client(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0)
        queue_put(&clients, fd);
    else if (errno != EINTR)
        die("accept");
}

static void start_workers(pthread_t *threads) {
    for (int i = 0; i < WORKERS; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) {
            fprintf(stderr, "cannot start worker %d\n", i + 1);
            exit(1);
        }
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
    catch_stop_signal(threads);
    int listener = listen_on();
    while (!stopping)
        accept_client(listener);
    close(listener);
    queue_close(&clients); /* the workers greet everybody in the queue, and end */
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
