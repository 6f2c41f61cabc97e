/* 04-threadpool/server.c: the line service with a pool of threads.
 *
 * Teaches: an acceptor, a bounded queue (queue.h), workers; back-pressure: while the queue is full
 *   nobody is accepted, so the kernel's backlog fills, and then the clients feel it; races, and how
 *   a program with threads takes a signal and ends in order.
 * New since 03: N clients at a time; the code that serves one is as blocking as before.
 * Run: ./server -v -w 4    and ./client -c 100 hello
 * Try to break it: ./server -w 2, and two clients that say nothing; kill it under load.
 * Still wrong: N silent clients take N workers until they have been idle for too long (05, 06).
 */
#include "lines.h"
#include "queue.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum { OTHER_FILES = 64, PAUSE_MS = 100, KICK_MS = 20, STOP_MS = 1200, MOST_WORKERS = 10000 };

static const char usage[] =
    "usage: server [-a ADDR] [-p PORT] [-w WORKERS] [-q ROOM] [-i SECONDS] [-v]\n"
    "  -a ADDR     name, IPv4 or IPv6 address to listen on (127.0.0.1)\n"
    "  -p PORT     0 to 65535; 0 takes a free one (9004)\n"
    "  -w WORKERS  threads, each of which serves one client at a time (8)\n"
    "  -q ROOM     clients that may wait for a worker, before no more are accepted (16)\n"
    "  -i SECONDS  close a connection on which nothing happened for that long (60)\n"
    "  -v          say on stderr who comes and goes\n";
static int listener, idle_seconds = 60, verbose;
static struct queue clients;       /* accepted, and waiting for a worker */
static struct sockaddr_in6 *peers; /* by descriptor: who that is; or the shorter sockaddr_in */
static _Atomic int running;        /* threads that have not ended */

/* All that one client takes, and a worker has one client at a time: so this is a worker's, too. */
struct conn {
    int fd;
    size_t in_size;
    char in[LINE_LIMIT], out[REPLY_ROOM];
};

/* Waits for bytes. Returns how many came; 0 at the end: the client's, or ours when we are to stop
 * and nothing more has arrived, or time is over; -1 with errno (EAGAIN: idle for too long). */
static ssize_t receive(struct conn *c) {
    do { /* once at least: who comes from the queue when time is over has sent something, too */
        ssize_t n =
            recv(c->fd, c->in + c->in_size, sizeof c->in - c->in_size, stopping ? MSG_DONTWAIT : 0);
        if (n >= 0 || (errno != EINTR && !stopping))
            return n;
        if (errno != EINTR)
            return 0;
    } while (stopping < 2);
    return 0;
}

/* Serves one client to its end. Returns how that came; *broken: nothing can be sent any more. */
static const char *serve(struct conn *c, int *broken) {
    static const char idle[] = "-idle for too long\n";
    *broken = 0;
    c->in_size = 0;
    do {
        size_t replies;
        ssize_t n = receive(c);
        if (n < 0 && errno == EAGAIN) {
            *broken = send_all(c->fd, idle, sizeof idle - 1, LINGER_MS) < 0;
            return "idle for too long";
        }
        *broken = n < 0;
        if (n <= 0)
            return n < 0 ? strerror(errno) : "closed";
        c->in_size += (size_t)n;
        ssize_t used = answer_lines(c->in, c->in_size, c->out, &replies);
        *broken = send_all(c->fd, c->out, replies, 1000 * idle_seconds) < 0;
        if (*broken || used < 0)
            return *broken ? strerror(errno) : "line too long";
        c->in_size -= (size_t)used;
        memmove(c->in, c->in + used, c->in_size);
    } while (stopping < 2); /* time is over, and what one recv has brought is answered */
    return "closed";
}

/* From the queue to close. Errors of this connection end this connection, and nothing else. */
static void serve_client(struct conn *c) {
    const struct timeval limit = {.tv_sec = idle_seconds};
    char name[ADDRESS_TEXT];
    int broken;
    address_text(&peers[c->fd], sizeof *peers, name);
    if (verbose)
        fprintf(stderr, "%s connected\n", name);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    const char *how = serve(c, &broken);
    if (verbose)
        fprintf(stderr, "%s %s\n", name, how);
    if (broken || stopping > 1) /* no time for a last word */
        close(c->fd);
    else
        linger_close(c->fd);
}

static void *work(void *conn) {
    struct conn *c = conn;
    while ((c->fd = queue_take(&clients)) >= 0)
        serve_client(c);
    free(c);
    running--;
    return NULL;
}

/* The only thread that accepts, and the only one that puts: so it is the one to close the queue. */
static void *accept_clients(void *unused) {
    while (!stopping) {
        struct sockaddr_in6 peer;
        socklen_t size = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (fd >= 0) {
            peers[fd] = peer;        /* after a reset, getpeername no longer knows */
            queue_put(&clients, fd); /* waits while the queue is full: back-pressure */
        } else if (errno != EINTR && errno != ECONNABORTED) {
            poll(NULL, 0, PAUSE_MS); /* no descriptors or no memory: try again later */
        }
    }
    queue_close(&clients);
    running--;
    return unused;
}

/* Starts one thread. Returns 0, or an error number: EAGAIN at a limit of the system or the user. */
static int start(pthread_t *thread, void *(*body)(void *), void *argument) {
    running++;
    int error = pthread_create(thread, NULL, body, argument);
    running -= error != 0;
    return error;
}

/* Starts as many workers as the system allows, at least one. Returns how many. */
static long start_workers(pthread_t *threads, long wanted) {
    long n = 0;
    int error = 0;
    for (; n < wanted && !error; n += !error) {
        struct conn *c = malloc(sizeof *c);
        error = c ? start(&threads[n], work, c) : ENOMEM;
        if (error)
            free(c);
    }
    if (n == 0)
        die("cannot start a worker", error);
    if (error)
        fprintf(stderr, "server: only %ld of %ld workers: %s\n", n, wanted, strerror(error));
    return n;
}

static void on_kick(int signal_number) {
    (void)signal_number; /* all it has to do is to interrupt */
}

/* What has arrived is answered, queued clients are served, nothing new is accepted. A thread that
 * waits in recv or accept is interrupted, and again, as it may have begun to wait just after. */
static void stop_threads(const pthread_t *threads, long n) {
    const long long end = now_ms() + STOP_MS;
    for (stopping = 1; running > 0; stopping = now_ms() < end ? 1 : 2) {
        for (long i = 0; i < n; i++)
            pthread_kill(threads[i], SIGUSR1);
        poll(NULL, 0, KICK_MS);
    }
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* As many descriptors as can be served or wait, if we may have them (getrlimit(2)), and no more: so
 * that each has its place in peers. */
static void limit_descriptors(rlim_t most) {
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < most ? files.rlim_max : most;
    peers = calloc(most, sizeof *peers);
    if (!peers || setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("cannot make room for the clients", errno);
}

/* Signals are for one thread, which waits for them (sigwait(3)) and does nothing else: a handler
 * could run in any thread, in the middle of anything, and may not even lock a mutex. */
static void serve_until_signal(long workers) {
    pthread_t *threads = calloc((size_t)workers + 1, sizeof *threads);
    const struct sigaction kick = {.sa_handler = on_kick}; /* no SA_RESTART: see 01 */
    sigset_t stop;
    int signal_number, error;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); /* the threads inherit it */
    sigaction(SIGUSR1, &kick, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!threads)
        die("no memory for the threads", 0);
    error = start(&threads[0], accept_clients, NULL); /* first: workers may take all there are */
    if (error)
        die("cannot start the acceptor", error);
    long n = start_workers(threads + 1, workers);
    announce(listener);
    sigwait(&stop, &signal_number);
    stop_threads(threads, n + 1);
    free(threads);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9004";
    char why[WHY_TEXT];
    long workers = 8, room = 16;
    for (int option; (option = getopt(argc, argv, "+a:p:w:q:i:vh")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 0, 65535), port = optarg; break;
        case 'w': workers = number_arg(usage, 'w', optarg, 1, MOST_WORKERS); break;
        case 'q': room = number_arg(usage, 'q', optarg, 1, 1000000); break;
        case 'i': idle_seconds = (int)number_arg(usage, 'i', optarg, 1, 86400); break;
        case 'v': verbose = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    if (optind < argc)
        usage_error(usage, "the server takes no arguments but options");
    if (queue_init(&clients, (size_t)room) < 0)
        die("no memory for the queue", errno);
    limit_descriptors((rlim_t)(workers + room + OTHER_FILES));
    listener = listen_on(address, port, why);
    if (listener < 0)
        die(why, errno);
    serve_until_signal(workers);
    queue_destroy(&clients);
    free(peers);
    close(listener);
    return 0;
}
