/* shimcheck.c: makes one call several times and prints each result, so that tests/tools/shim.bats
 * can see what the fault shim does to it.
 *
 *   shimcheck KIND CALL COUNT
 *
 * KIND is tcp, unix, udp, pipe, file or listener; CALL is a name from the list below.
 * Line 1 has the results: ok, the letter read, the number of bytes taken, or the error's name.
 * Line 2, for calls that write, has what arrived at the other end. The last line has the time that
 * all calls took. */
#define _GNU_SOURCE 1
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

enum { CAPACITY = 16, THREADS = 4, POLLS = 50000, MAX_COUNT = 64 };

static char text[] = "abcdefghijklmnopqrst";
enum { TEXT_SIZE = sizeof text - 1 };
static int out = -1;
static int in = -1; /* what is written to out can be read here */
static int listener;
static int epfd;
static struct sockaddr_in address; /* the listener's */
static struct timespec no_time;
static struct timeval no_time_tv;
static struct epoll_event event = {.events = EPOLLIN};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakeup = PTHREAD_COND_INITIALIZER;

/* volatile: where the compiler knows the size of a buffer but not how much is asked for, it calls
 * __recv_chk in place of recv (with -D_FORTIFY_SOURCE). */
static char buffer[CAPACITY];
static char *volatile p = buffer;
static volatile size_t one = 1;
static volatile size_t too_much = CAPACITY + 1;
static volatile nfds_t none;
static void *volatile nowhere; /* realloc(NULL, n) would be compiled as malloc(n) */

static _Noreturn void die(const char *what) {
    perror(what);
    exit(3);
}

/* ---- calls that need more than one line ---- */

/* Returns the letter that a call has read, if it has returned n = 1; else n. */
static long letter(ssize_t n, const char *from) {
    if (n == 1)
        return *from;
    return n;
}

/* Returns what a call that returns its error would return if it set errno. */
static long result_of(int error) {
    errno = error;
    if (error)
        return -1;
    return 0;
}

/* One of the pieces is empty. A short write may end inside a piece or between two. */
static struct iovec pieces[] = {{text, 3}, {text, 0}, {text + 3, 4}, {text + 7, TEXT_SIZE - 7}};
static struct msghdr letter_out = {.msg_iov = pieces, .msg_iovlen = 4};
static struct iovec one_letter[] = {{buffer, 1}};
static struct msghdr letter_in = {.msg_iov = one_letter, .msg_iovlen = 1};

static int connected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static long accepted(void) {
    if (connected() == -1)
        return -1;
    return accept(listener, NULL, NULL);
}

static long accepted4(void) {
    if (connected() == -1)
        return -1;
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static long closed(void) {
    int fd = dup(out);
    int result = close(fd);
    int error = errno;
    if (fcntl(fd, F_GETFD) != -1)
        die("close left the descriptor open");
    errno = error;
    return result;
}

static long allocated(void *volatile memory) { /* volatile, or the compiler drops the call */
    int error = errno;
    free(memory);
    errno = error;
    return memory ? 0 : -1;
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

/* This ends only if wait and signal are of the same kind: glibc has two. */
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
    for (int i = 0; i < POLLS; i++) {
        if (poll(NULL, 0, 0) == -1)
            failed++;
    }
    return arg;
}

/* Returns how many polls of THREADS concurrent threads have failed. */
static long threads_failed(void) {
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&t[i], NULL, poll_often, NULL))
            die("pthread_create");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return failed;
}

/* ---- the calls: name, kind of result, the call itself ---- */

enum show { OK, LETTER, TAKEN, NUMBER };
/* clang-format off */
#define CALLS(X) \
    X(recv, LETTER, letter(recv(in, p, 1, 0), p)) \
    X(recvfrom, LETTER, letter(recvfrom(in, p, 1, 0, NULL, NULL), p)) \
    X(recvmsg, LETTER, letter(recvmsg(in, &letter_in, 0), buffer)) \
    X(read, LETTER, letter(read(in, p, 1), p)) \
    X(readv, LETTER, letter(readv(in, one_letter, 1), buffer)) \
    X(recv_chk, LETTER, letter(recv(in, buffer, one, 0), buffer)) \
    X(recvfrom_chk, LETTER, letter(recvfrom(in, buffer, one, 0, NULL, NULL), buffer)) \
    X(read_chk, LETTER, letter(read(in, buffer, one), buffer)) \
    X(recv_too_much, NUMBER, recv(in, buffer, too_much, 0)) \
    X(recv_all, NUMBER, recv(in, p, CAPACITY, 0)) \
    X(send, TAKEN, send(out, text, TEXT_SIZE, 0)) \
    X(sendto, TAKEN, sendto(out, text, TEXT_SIZE, 0, NULL, 0)) \
    X(sendmsg, TAKEN, sendmsg(out, &letter_out, 0)) \
    X(write, TAKEN, write(out, text, TEXT_SIZE)) \
    X(writev, TAKEN, writev(out, pieces, 4)) \
    X(socket, OK, socket(AF_INET, SOCK_STREAM, 0)) \
    X(connect, OK, connected()) \
    X(accept, OK, accepted()) \
    X(accept4, OK, accepted4()) \
    X(close, OK, closed()) \
    X(poll, OK, poll(NULL, 0, 0)) \
    X(ppoll, OK, ppoll(NULL, 0, &no_time, NULL)) \
    X(poll_chk, OK, poll(one_poll, none, 0)) \
    X(ppoll_chk, OK, ppoll(one_poll, none, &no_time, NULL)) \
    X(select, OK, select(0, NULL, NULL, NULL, &no_time_tv)) \
    X(pselect, OK, pselect(0, NULL, NULL, NULL, &no_time, NULL)) \
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
/* clang-format on */

/* ---- what is around the calls ---- */

static void open_inet(int type) {
    socklen_t size = sizeof address;
    struct sockaddr *a = (struct sockaddr *)&address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, type, 0);
    in = listener;
    out = socket(AF_INET, type, 0);
    if (bind(listener, a, size) == -1 || getsockname(listener, a, &size) == -1)
        die("bind");
    if (type == SOCK_STREAM && listen(listener, SOMAXCONN) == -1)
        die("listen");
}

static void connect_out(void) {
    if (connect(out, (struct sockaddr *)&address, sizeof address) == -1)
        die("connect");
}

static void open_pair(const char *kind) {
    int fd[2] = {-1, -1};
    if (strcmp(kind, "unix") == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == -1)
        die("socketpair");
    if (strcmp(kind, "pipe") == 0 && pipe(fd) == -1)
        die("pipe");
    in = fd[0];
    out = fd[1];
}

static void open_file(void) {
    char name[64];
    out = memfd_create("shimcheck", 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", out);
    in = open(name, O_RDONLY);
}

/* Opens in and out. "listener" is tcp without a connection: the test is of the first accept or
 * connect. */
static void open_kind(const char *kind) {
    open_pair(kind);
    if (strcmp(kind, "file") == 0)
        open_file();
    if (strcmp(kind, "listener") == 0)
        open_inet(SOCK_STREAM);
    if (strcmp(kind, "udp") == 0) {
        open_inet(SOCK_DGRAM);
        connect_out();
    }
    if (strcmp(kind, "tcp") == 0) {
        open_inet(SOCK_STREAM);
        connect_out();
        in = accept(listener, NULL, NULL);
    }
    if (in == -1 || out == -1)
        die(kind);
}

/* Prints the name of an error, or its number if it is not in the list. */
static void show_error(int error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].value == error) {
            printf("%s ", errors[i].name);
            return;
        }
    }
    printf("E%d ", error);
}

static void show(const struct call *call, long result, int error) {
    if (result == -1)
        show_error(error);
    else if (call->show == LETTER)
        printf("%c ", (int)result);
    else if (call->show == OK)
        printf("ok ");
    else
        printf("%ld ", result);
}

/* Prints what has arrived: as many bytes as the calls have taken, and then any others. */
static void show_arrived(long taken) {
    char data[256];
    ssize_t n = 1;
    printf("\narrived ");
    while (taken > 0 && n > 0) {
        n = read(in, data, sizeof data);
        if (n > 0) {
            printf("%.*s", (int)n, data);
            taken -= n;
        }
    }
    fcntl(in, F_SETFL, O_NONBLOCK);
    while ((n = read(in, data, sizeof data)) > 0)
        printf("%.*s", (int)n, data);
}

/* Makes the calls, and only then prints: printing allocates, and would be counted. */
static void make_calls(const struct call *call, int count) {
    struct timespec start, end;
    long results[MAX_COUNT];
    int error[MAX_COUNT];
    long taken = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++) {
        results[i] = call->once();
        error[i] = errno;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (int i = 0; i < count; i++) {
        show(call, results[i], error[i]);
        if (results[i] > 0)
            taken += results[i];
    }
    if (call->show == TAKEN)
        show_arrived(taken);
    printf("\nelapsed_us %ld\n",
           (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000);
}

static const struct call *call_named(const char *name) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    }
    return NULL;
}

/* Writes what the calls will read, one letter at a time: the shim may shorten these writes, too. */
static void write_letters(void) {
    for (char c = 'a'; c <= 'z'; c++) {
        if (write(out, &c, 1) != 1)
            die("write");
    }
}

int main(int argc, char *argv[]) {
    int count = 0;
    if (argc == 4)
        count = atoi(argv[3]);
    if (count < 1 || count > MAX_COUNT) {
        fprintf(stderr, "usage: shimcheck KIND CALL COUNT(1 to 64)\n");
        return 2;
    }
    epfd = epoll_create1(0);
    const struct call *call = call_named(argv[2]);
    if (!call) {
        fprintf(stderr, "shimcheck: unknown call %s\n", argv[2]);
        return 2;
    }
    open_kind(argv[1]);
    if (call->show == LETTER || call->show == NUMBER)
        write_letters();
    make_calls(call, count);
    return 0;
}
