/* 04-threadpool/server.c: the line service with a pool of threads.
 *
 * Teaches: an acceptor, a bounded queue (queue.h), workers; back-pressure: while the queue is full
 *   no client is accepted, so the kernel's backlog fills, and then the clients feel it; races; how
 *   a program with threads takes a signal and stops cleanly.
 * New since 03: N clients at a time; the code that serves one client blocks as before.
 * Run: ./server -v -w 4    and ./client -c 100 hello
 * Try to break it: ./server -w 2, and two clients that say nothing; kill it under load.
 * Still wrong: N silent clients occupy N workers until the idle timeout (see 05, 06).
 */
#include "../util.h"
#include "lines.h"
#include "log.h"
#include "queue.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>

enum {
    PAUSE_MS = 100,   /* how long the acceptor waits for descriptors or memory */
    WAKE_MS = 20,     /* how often threads that may be waiting are woken up to stop */
    STOP_MS = 1500,   /* how long stopping may take */
    OTHER_FILES = 64, /* descriptors that are not clients */
    WORKERS_MAX = 10000,
    CAPACITY_MAX = 1000000 /* clients that may be in the queue */
};

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-w WORKERS] [-q CLIENTS] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9004)\n"
    "  -w WORKERS  threads, each of which serves one client at a time (8)\n"
    "  -q CLIENTS  this many may wait for a worker; then no more are accepted (16)\n"
    "  -i SECONDS  close a connection that is idle for this long, or on which a line is not\n"
    "              complete this long after its first byte (60)\n"
    "  -v          log on stderr who connects and who leaves\n";
static const char *address = "127.0.0.1";
static const char *port = "9004";
static long workers = 8;
static long capacity = 16;
static int idle_ms = 60000;
static int verbose;

static int listener;
static struct queue clients; /* accepted, and waiting for a worker */
static _Atomic int running;  /* threads that have not ended */

/* Each client's address, by descriptor; a sockaddr_in fits too. The acceptor writes it before it
 * queues the descriptor; a worker reads it before it closes the descriptor. */
static struct sockaddr_in6 *peers;

/* Only the main thread changes it; the others look at it before they wait. */
static _Atomic enum {
    SERVING,
    DRAINING, /* answer what has arrived, also from clients in the queue; accept no more */
    TIME_UP   /* close at once what cannot be finished without waiting */
} phase;

/* What a worker needs in order to serve a client. It serves one at a time, so each worker has one
 * of these, and no other thread uses it. */
struct conn {
    int fd;
    size_t in_size;
    long long line_deadline; /* on now_ms's clock: for the partial line in `in`, if any */
    char in[LINES_LIMIT];
    char out[LINES_REPLIES];
};

/* What a function below decides about its connection. */
enum verdict {
    KEEP,
    CLOSE, /* and let the last reply arrive */
    BROKEN /* close at once: nothing can be sent any more */
};

/* ---- a connection: code of the workers ---- */

static void log_peer(const struct conn *c, const char *what) {
    char text[ADDRESS_TEXT];
    if (verbose)
        log_line("%s %s", address_text(&peers[c->fd], sizeof *peers, text), what);
}

/* Logs why the connection ends. Returns the verdict, for the caller to return. */
static enum verdict conn_end(const struct conn *c, enum verdict verdict, const char *reason) {
    log_peer(c, reason);
    return verdict;
}

/* Sends data, in spite of signals, until time is up. Returns 0, or -1 with errno; EAGAIN: the
 * client has taken nothing for wait_ms. */
static int conn_send(const struct conn *c, const char *data, size_t size, int wait_ms) {
    size_t sent = 0;
    while (send_all(c->fd, data, size, &sent, wait_ms) < 0) {
        if (errno != EINTR || phase == TIME_UP)
            return -1;
    }
    return 0;
}

/* A line has to be complete within the idle time of its first byte: otherwise one byte now and then
 * would keep the connection for ever. Waits for more of the line. Returns as poll(2) does: 0 if the
 * deadline has passed. */
static int await_rest_of_line(const struct conn *c) {
    struct pollfd input = {.fd = c->fd, .events = POLLIN};
    long long left = c->line_deadline - now_ms();
    if (left <= 0)
        return 0;
    return poll(&input, 1, (int)left);
}

/* Waits for bytes and receives them into c->in. Returns how many came; 0 at the client's end; or -1
 * with errno; EAGAIN: the client is too late. */
static ssize_t receive_next(struct conn *c) {
    if (c->in_size > 0) {
        int ready = await_rest_of_line(c);
        if (ready == 0)
            errno = EAGAIN;
        if (ready <= 0)
            return -1;
    }
    return recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, 0);
}

/* Receives into c->in what has arrived, without waiting. Returns how many bytes came; 0 if there
 * are none, for whatever reason; or -1 with EINTR. */
static ssize_t receive_arrived(struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_size, LINES_LIMIT - c->in_size, MSG_DONTWAIT);
    if (n < 0 && errno != EINTR)
        return 0;
    return n;
}

/* Receives in spite of signals. Returns as receive_next does; when the server stops, 0 also means
 * that nothing more has arrived. It tries at least once: a client that comes from the queue when
 * time is up has sent something, too. */
static ssize_t conn_receive(struct conn *c) {
    do {
        ssize_t n;
        if (phase == SERVING)
            n = receive_next(c);
        else
            n = receive_arrived(c);
        if (n >= 0 || errno != EINTR)
            return n;
    } while (phase != TIME_UP);
    return 0;
}

/* Answers the complete lines in c->in, of which the last `received` bytes are new, in one send;
 * keeps a partial line. */
static enum verdict conn_answer(struct conn *c, size_t received) {
    const int is_new_line = c->in_size == 0;
    size_t replies_size;
    c->in_size += received;
    ssize_t used = lines_answer(c->in, c->in_size, c->out, &replies_size);
    if (conn_send(c, c->out, replies_size, idle_ms) < 0)
        return conn_end(c, BROKEN, strerror(errno));
    if (used < 0)
        return conn_end(c, CLOSE, "line too long");
    if (is_new_line || used > 0) /* more bytes of the same line do not extend its deadline */
        c->line_deadline = now_ms() + idle_ms;
    c->in_size -= (size_t)used;
    memmove(c->in, c->in + used, c->in_size);
    return KEEP;
}

/* Tells the client that it is too late. */
static enum verdict conn_refuse_late(const struct conn *c) {
    const char *refusal = "-idle for too long\n";
    const char *reason = "idle for too long";
    enum verdict verdict = CLOSE;
    if (c->in_size > 0) {
        refusal = "-line not complete in time\n";
        reason = "line not complete in time";
    }
    if (conn_send(c, refusal, strlen(refusal), LINGER_MS) < 0)
        verdict = BROKEN;
    return conn_end(c, verdict, reason);
}

/* Receives once, and answers. */
static enum verdict conn_exchange(struct conn *c) {
    ssize_t n = conn_receive(c);
    if (n < 0 && errno == EAGAIN)
        return conn_refuse_late(c);
    if (n < 0)
        return conn_end(c, BROKEN, strerror(errno));
    if (n == 0)
        return conn_end(c, CLOSE, "closed");
    return conn_answer(c, (size_t)n);
}

/* Takes over a socket. c may still hold what its last client has left in it. */
static void conn_open(struct conn *c, int fd) {
    const struct timeval limit = {.tv_sec = idle_ms / 1000};
    const int on = 1;
    c->fd = fd;
    c->in_size = 0;
    log_peer(c, "connected");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit); /* recv fails with EAGAIN */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void conn_close(const struct conn *c, enum verdict verdict) {
    if (verdict == BROKEN || phase == TIME_UP)
        close(c->fd);
    else
        linger_close(c->fd);
}

/* Serves one client to its end. An error of this connection ends this connection, nothing else. */
static void serve_client(struct conn *c, int fd) {
    enum verdict verdict;
    conn_open(c, fd);
    do
        verdict = conn_exchange(c);
    while (verdict == KEEP && phase != TIME_UP);
    if (verdict == KEEP)
        log_peer(c, "closed");
    conn_close(c, verdict);
}

/* ---- threads ---- */

/* A worker: serves one client after the other. Frees conn at its end. */
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
    struct sockaddr_in6 peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
    if (fd >= 0) {
        peers[fd] = peer;        /* after a reset, getpeername no longer knows the address */
        queue_put(&clients, fd); /* waits while the queue is full: back-pressure */
    } else if (errno != EINTR && errno != ECONNABORTED) {
        poll(NULL, 0, PAUSE_MS);
    }
}

/* The acceptor. No other thread puts anything into the queue, so this one closes it. */
static void *accept_clients(void *unused) {
    while (phase == SERVING)
        accept_client();
    queue_close(&clients);
    running--;
    return unused;
}

/* Starts a thread. Returns 0, or an error number; EAGAIN at a limit of the system or of the user
 * (pthread_create(3)). */
static int start_thread(pthread_t *thread, void *(*body)(void *), void *argument) {
    running++; /* before the thread can end */
    int error = pthread_create(thread, NULL, body, argument);
    if (error)
        running--;
    return error;
}

/* Starts one worker, with a conn of its own. Returns 0, or an error number. */
static int start_worker(pthread_t *thread) {
    struct conn *c = malloc(sizeof *c);
    if (!c)
        return ENOMEM;
    int error = start_thread(thread, work, c);
    if (error)
        free(c);
    return error;
}

/* Starts as many workers as the system allows, at least one. Returns how many. */
static long start_workers(pthread_t *threads) {
    long n = 0;
    int error = 0;
    while (n < workers && !error) {
        error = start_worker(&threads[n]);
        if (!error)
            n++;
    }
    if (n == 0)
        die("cannot start a worker", error);
    if (error)
        log_line("server: only %ld of %ld workers: %s", n, workers, strerror(error));
    return n;
}

/* Starts the acceptor and the workers. Returns how many threads that are. */
static long start_threads(pthread_t *threads) {
    /* The acceptor first: the workers may use up all threads that the system allows. */
    int error = start_thread(&threads[0], accept_clients, NULL);
    if (error)
        die("cannot start the acceptor", error);
    return 1 + start_workers(threads + 1);
}

/* Stops all threads: they answer what has arrived and serve the queued clients, but accept no new
 * one. A signal interrupts a thread that waits in accept, recv or poll. It is sent again and again,
 * because the thread may have begun to wait just after the last one. */
static void stop_threads(const pthread_t *threads, long count) {
    const long long deadline = now_ms() + STOP_MS;
    phase = DRAINING;
    while (running > 0) {
        for (long i = 0; i < count; i++)
            pthread_kill(threads[i], SIGUSR1);
        poll(NULL, 0, WAKE_MS);
        if (now_ms() >= deadline)
            phase = TIME_UP;
    }
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* ---- signals ---- */

static void on_wake_signal(int signal_number) {
    (void)signal_number; /* the interruption is all that it is for */
}

static void catch_wake_signal(void) {
    const struct sigaction action = {.sa_handler = on_wake_signal}; /* no SA_RESTART: see 01 */
    sigaction(SIGUSR1, &action, NULL);
}

/* A stop signal is for one thread, which waits for it with sigwait(3) and does nothing else: a
 * handler could run in any thread, in the middle of anything, and may not even lock a mutex. Blocks
 * the stop signals in this thread, and so in all that it starts from now on. Returns the set of
 * these signals. */
static sigset_t block_stop_signals(void) {
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaddset(&stop_signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    return stop_signals;
}

/* Serves until a stop signal comes. */
static void serve_until_signal(void) {
    pthread_t *threads = calloc((size_t)workers + 1, sizeof *threads);
    const sigset_t stop_signals = block_stop_signals();
    int signal_number;
    if (!threads)
        die("no memory for the threads", 0);
    catch_wake_signal();
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the server */
    long count = start_threads(threads);
    announce(listener);
    sigwait(&stop_signals, &signal_number);
    stop_threads(threads, count);
    free(threads);
}

/* ---- the start ---- */

/* Allows as many descriptors as can be in use (getrlimit(2)), and no more, so that each has its
 * place in peers. */
static void limit_descriptors(void) {
    const rlim_t max = (rlim_t)(workers + capacity + OTHER_FILES);
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < max ? files.rlim_max : max;
    peers = calloc((size_t)max, sizeof *peers);
    if (!peers || setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("cannot make room for the clients", errno);
}

/* Returns the exit status for -h (0) and for wrong options (2); or -1: serve. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:w:q:i:vh")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 0, 65535);
            port = optarg;
            break;
        case 'w': workers = number_arg(usage, 'w', optarg, 1, WORKERS_MAX); break;
        case 'q': capacity = number_arg(usage, 'q', optarg, 1, CAPACITY_MAX); break;
        case 'i': idle_ms = 1000 * (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    reset_inherited();
    log_open();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    if (queue_init(&clients, (size_t)capacity) < 0)
        die("no memory for the queue", errno);
    limit_descriptors();
    listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    serve_until_signal();
    queue_destroy(&clients);
    free(peers);
    close(listener);
    return 0;
}
