/* shimcheck.c: makes one call again and again and says how each went, so that
 * tests/tools/shim.bats can see what the fault shim does to it.
 *
 *   shimcheck KIND CALL COUNT     KIND: tcp unix udp pipe file; CALL: a name from the list below
 *
 * Line 1: the results: ok, the letter read, the number of bytes taken, or the error's name.
 * Line 2, for calls that write: what arrived at the other end. Last line: how long it all took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 16, THREADS = 4, POLLS = 50000 };

static char text[] = "abcdefghijklmnopqrst";
enum { LENGTH = sizeof text - 1 };
static int out = -1, in = -1; /* what is written to out can be read from in */
static int listener, epfd;
static struct sockaddr_in address; /* the listener's */
static struct timespec at_once;
static struct timeval at_once_too;
static struct epoll_event event = {.events = EPOLLIN};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakeup = PTHREAD_COND_INITIALIZER;
/* volatile: where the compiler sees how large a buffer is but not how much is asked for, it calls
   __recv_chk in place of recv (with -D_FORTIFY_SOURCE). */
static char heap[ROOM], *volatile p = heap;
static volatile size_t one = 1, too_much = ROOM + 1;
static volatile nfds_t none;
static void *volatile nowhere; /* realloc(NULL, n) would be compiled as malloc(n) */

static void die(const char *what) {
    perror(what);
    exit(3);
}

/* ---- calls that need more than one line ---- */

static long letter(ssize_t n, const char *from) {
    return n == 1 ? *from : n;
}

static long result_of(int error) {
    errno = error;
    return error ? -1 : 0;
}

/* Pieces, one of them empty: a cut may fall inside one or between two. */
static struct iovec pieces[] = {{text, 3}, {text, 0}, {text + 3, 4}, {text + 7, LENGTH - 7}};
static struct msghdr letter_out = {.msg_iov = pieces, .msg_iovlen = 4};
static struct iovec one_letter[] = {{heap, 1}};
static struct msghdr letter_in = {.msg_iov = one_letter, .msg_iovlen = 1};

static int connected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static long closed(void) {
    int fd = dup(out), result = close(fd), error = errno;
    if (fcntl(fd, F_GETFD) != -1)
        die("close left the descriptor open");
    return result == -1 ? result_of(error) : 0;
}

static long allocated(void *volatile memory) { /* volatile, or the compiler drops the call */
    int error = errno;
    free(memory);
    return memory ? 0 : result_of(error);
}

static void *nothing(void *arg) {
    return arg;
}

static long thread_made(void) {
    pthread_t t;
    int error = pthread_create(&t, NULL, nothing, NULL);
    if (!error)
        pthread_join(t, NULL);
    return result_of(error);
}

static long locked(void) {
    int error = pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    return result_of(error);
}

static int turn;

static void *give_turn(void *arg) {
    pthread_mutex_lock(&lock);
    turn = 1;
    pthread_cond_signal(&wakeup);
    pthread_mutex_unlock(&lock);
    return arg;
}

/* Ends only when wait and signal are of the same kind: glibc has two. */
static long waited(void) {
    pthread_t t;
    int error;
    pthread_mutex_lock(&lock);
    turn = 0;
    if (pthread_create(&t, NULL, give_turn, NULL))
        die("pthread_create");
    do
        error = pthread_cond_wait(&wakeup, &lock);
    while (!error && !turn);
    pthread_mutex_unlock(&lock);
    pthread_join(t, NULL);
    return result_of(error);
}

static atomic_long failed;

static void *poll_often(void *arg) {
    for (int i = 0; i < POLLS; i++)
        if (poll(NULL, 0, 0) == -1)
            failed++;
    return arg;
}

/* How many polls failed, of those of THREADS threads at the same time. */
static long threads_failed(void) {
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, poll_often, NULL))
            die("pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return failed;
}

/* ---- the calls: name, kind of result, the call itself ---- */

enum show { OK, LETTER, TAKEN, NUMBER };
// clang-format off
#define CALLS(X) \
    X(recv, LETTER, letter(recv(in, p, 1, 0), p)) \
    X(recvfrom, LETTER, letter(recvfrom(in, p, 1, 0, NULL, NULL), p)) \
    X(recvmsg, LETTER, letter(recvmsg(in, &letter_in, 0), heap)) \
    X(read, LETTER, letter(read(in, p, 1), p)) \
    X(readv, LETTER, letter(readv(in, one_letter, 1), heap)) \
    X(recv_chk, LETTER, letter(recv(in, heap, one, 0), heap)) \
    X(recvfrom_chk, LETTER, letter(recvfrom(in, heap, one, 0, NULL, NULL), heap)) \
    X(read_chk, LETTER, letter(read(in, heap, one), heap)) \
    X(recv_too_much, NUMBER, recv(in, heap, too_much, 0)) \
    X(recv_all, NUMBER, recv(in, p, ROOM, 0)) \
    X(send, TAKEN, send(out, text, LENGTH, 0)) \
    X(sendto, TAKEN, sendto(out, text, LENGTH, 0, NULL, 0)) \
    X(sendmsg, TAKEN, sendmsg(out, &letter_out, 0)) \
    X(write, TAKEN, write(out, text, LENGTH)) \
    X(writev, TAKEN, writev(out, pieces, 4)) \
    X(socket, OK, socket(AF_INET, SOCK_STREAM, 0)) \
    X(connect, OK, connected()) \
    X(accept, OK, connected() == -1 ? -1 : accept(listener, NULL, NULL)) \
    X(accept4, OK, connected() == -1 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC)) \
    X(close, OK, closed()) \
    X(poll, OK, poll(NULL, 0, 0)) \
    X(ppoll, OK, ppoll(NULL, 0, &at_once, NULL)) \
    X(poll_chk, OK, poll(one_poll, none, 0)) \
    X(ppoll_chk, OK, ppoll(one_poll, none, &at_once, NULL)) \
    X(select, OK, select(0, NULL, NULL, NULL, &at_once_too)) \
    X(pselect, OK, pselect(0, NULL, NULL, NULL, &at_once, NULL)) \
    X(epoll_wait, OK, epoll_wait(epfd, &event, 1, 0)) \
    X(epoll_pwait, OK, epoll_pwait(epfd, &event, 1, 0, NULL)) \
    X(epoll_ctl, OK, epoll_ctl(epfd, EPOLL_CTL_ADD, dup(out), &event)) \
    X(malloc, OK, allocated(malloc(100))) \
    X(calloc, OK, allocated(calloc(10, 10))) \
    X(realloc, OK, allocated(realloc(nowhere, 100))) \
    X(pthread_create, OK, thread_made()) \
    X(pthread_mutex_lock, OK, locked()) \
    X(pthread_cond_wait, OK, waited()) \
    X(pthread_cond_signal, OK, result_of(pthread_cond_signal(&wakeup))) \
    X(threads, NUMBER, threads_failed()) \
    X(next_fd, NUMBER, dup(0))

static struct pollfd one_poll[1];
#define FUNCTION(name, show, expression) static long do_##name(void) { return expression; }
CALLS(FUNCTION)
#define ROW(name, show, expression) {#name, show, do_##name},
static const struct call { const char *name; enum show show; long (*once)(void); } calls[] = {
    CALLS(ROW)
};

#define E(name) {#name, name}
static const struct { const char *name; int value; } errors[] = {
    E(EINTR), E(EAGAIN), E(ECONNABORTED), E(EMFILE), E(ENFILE), E(ENOMEM), E(ENOBUFS), E(EPIPE),
    E(ENETDOWN), E(ECONNRESET), E(EIO), E(ECONNREFUSED), E(ETIMEDOUT),
};
// clang-format on

/* ---- what is around the calls ---- */

static void open_inet(int type) {
    socklen_t length = sizeof address;
    struct sockaddr *a = (struct sockaddr *)&address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in = listener = socket(AF_INET, type, 0);
    out = socket(AF_INET, type, 0);
    if (bind(listener, a, length) == -1 || getsockname(listener, a, &length) == -1)
        die("bind");
    if (type == SOCK_STREAM && listen(listener, SOMAXCONN) == -1)
        die("listen");
}

/* Opens a pair of this kind. "listener" is tcp without the pair: accept and connect are not called
   before they are under test. */
static void open_kind(const char *kind) {
    int fd[2] = {-1, -1};
    char name[64];
    if (strcmp(kind, "unix") == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == -1)
        die("socketpair");
    if (strcmp(kind, "pipe") == 0 && pipe(fd) == -1)
        die("pipe");
    in = fd[0];
    out = fd[1];
    if (strcmp(kind, "file") == 0) {
        out = memfd_create("shimcheck", 0);
        snprintf(name, sizeof name, "/proc/self/fd/%d", out);
        in = open(name, O_RDONLY);
    } else if (strcmp(kind, "listener") == 0) {
        open_inet(SOCK_STREAM);
    } else if (strcmp(kind, "tcp") == 0 || strcmp(kind, "udp") == 0) {
        open_inet(*kind == 't' ? SOCK_STREAM : SOCK_DGRAM);
        if (connect(out, (struct sockaddr *)&address, sizeof address) == -1)
            die("connect");
        if (*kind == 't')
            in = accept(listener, NULL, NULL);
    }
    if (in == -1 || out == -1)
        die(kind);
}

static void show(const struct call *call, long result) {
    const char *name = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].value == errno)
            name = errors[i].name;
    if (result == -1 && name)
        printf("%s ", name);
    else if (result == -1)
        printf("E%d ", errno);
    else if (call->show == LETTER)
        printf("%c ", (int)result);
    else if (call->show == OK)
        printf("ok ");
    else
        printf("%ld ", result);
}

/* Prints what arrived: at least the bytes that were said to be taken, and whatever came besides. */
static void show_arrived(long taken) {
    char buf[256];
    ssize_t n;
    printf("\narrived ");
    while (taken > 0 && (n = read(in, buf, sizeof buf)) > 0) {
        printf("%.*s", (int)n, buf);
        taken -= n;
    }
    fcntl(in, F_SETFL, O_NONBLOCK);
    while ((n = read(in, buf, sizeof buf)) > 0)
        printf("%.*s", (int)n, buf);
}

static void make_calls(const struct call *call, int count) {
    struct timespec from, to;
    long results[64], taken = 0;
    int errnos[64];
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < count; i++) {
        results[i] = call->once();
        errnos[i] = errno;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    /* Only now: printing allocates, and would be counted. */
    for (int i = 0; i < count; i++) {
        errno = errnos[i];
        show(call, results[i]);
        taken += results[i] > 0 ? results[i] : 0;
    }
    if (call->show == TAKEN)
        show_arrived(taken);
    printf("\nelapsed_us %ld\n",
           (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
}

int main(int argc, char *argv[]) {
    int count = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1 || count > 64) {
        fprintf(stderr, "usage: shimcheck KIND CALL COUNT(1 to 64)\n");
        return 2;
    }
    epfd = epoll_create1(0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, argv[2]) != 0)
            continue;
        open_kind(argv[1]);
        int reads = calls[i].show == LETTER || calls[i].show == NUMBER;
        for (char c = 'a'; reads && c <= 'z'; c++) /* one by one: these writes may be cut, too */
            if (write(out, &c, 1) != 1)
                die("write");
        make_calls(&calls[i], count);
        return 0;
    }
    fprintf(stderr, "shimcheck: unknown call %s\n", argv[2]);
    return 2;
}
