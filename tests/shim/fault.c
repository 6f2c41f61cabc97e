/* fault.c: a preload library that makes rare failures common.
 *
 *   LD_PRELOAD=build/fault.so FAULT_SHORT=7 FAULT_FAIL=recv:EINTR:5 01-basic-tcp/server
 *
 * FAULT_SHORT=N      A write to a stream socket takes at most N bytes. Reads are never cut: a
 *                    reader that slow would hide the missing write loop of its peer.
 * FAULT_FAIL=call:ERRNO:N[:MAX],...
 *                    Every Nth call fails with ERRNO and does nothing; at most MAX times if given.
 *                    call:ERRNO:@K fails the Kth call only. ERRNO is a name or a number. A call may
 *                    be named more than once. send:EPIPE raises no SIGPIPE.
 * FAULT_DELAY=call:MICROSECONDS,...        Sleep before every such call.
 * FAULT_REPORT=FILE  At exit, append a line for each call: "recv calls=120 failed=24 shortened=0".
 *                    A process that ends by _exit or by a signal writes none.
 *
 * call            covers (in brackets: only when the descriptor is a socket)
 * accept          accept accept4
 * recv            recv recvfrom recvmsg [read readv], and what -D_FORTIFY_SOURCE makes of them
 * send            send sendto sendmsg [write writev]
 * poll            poll ppoll, and what -D_FORTIFY_SOURCE makes of them
 * select          select pselect
 * epoll_wait      epoll_wait epoll_pwait
 * close           [close]; a close that fails has closed, as on Linux
 * malloc          malloc calloc realloc; only ENOMEM
 * connect socket epoll_ctl pthread_create                     themselves
 * pthread_mutex_lock pthread_cond_wait pthread_cond_signal    themselves, FAULT_DELAY only
 *
 * Calls are counted for each process and name, over all threads; a forked child counts on from
 * its parent. Files, pipes and terminals are left alone, so a shell around the program may be
 * preloaded too; but poll, select, malloc and pthread_create have no descriptor: they hit it too.
 * A variable that cannot be understood ends the program at its start: a message, exit status 2.
 * Not seen: calls inside libc, such as stdio writing to a socket, and direct system calls.
 * AddressSanitizer wants ASAN_OPTIONS=verify_asan_link_order=0. A program that carries its
 * sanitizer inside (clang's way) has a malloc of its own too, which cannot fail from here, and
 * ThreadSanitizer's own thread may be the first pthread_create.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its inline recv, read … would stand in the way of ours */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RULES = 32, MAX_FIELDS = 5, MAX_TEXT = 1024, MAX_IOV = 1024, MAX_ERRNO = 4095 };

// clang-format off
#define CALLS(X) \
    X(ACCEPT, "accept") X(CONNECT, "connect") X(RECV, "recv") X(SEND, "send") X(POLL, "poll") \
    X(SELECT, "select") X(EPOLL_WAIT, "epoll_wait") X(EPOLL_CTL, "epoll_ctl") X(CLOSE, "close") \
    X(SOCKET, "socket") X(THREAD, "pthread_create") X(MALLOC, "malloc") \
    /* these can be delayed, not fail: */ \
    X(LOCK, "pthread_mutex_lock") X(WAIT, "pthread_cond_wait") X(SIGNAL, "pthread_cond_signal")

/* The malloc family first: finding the others may allocate. */
#define FUNCTIONS(X) \
    X(malloc) X(calloc) X(realloc) X(accept) X(accept4) X(connect) X(socket) X(close) \
    X(recv) X(recvfrom) X(recvmsg) X(read) X(readv) X(send) X(sendto) X(sendmsg) X(write) \
    X(writev) X(poll) X(ppoll) X(select) X(pselect) X(epoll_wait) X(epoll_pwait) X(epoll_ctl) \
    X(pthread_create) X(pthread_mutex_lock) X(pthread_cond_wait) X(pthread_cond_signal)

#define E(name) {#name, name}
static const struct {
    const char *name;
    int value;
} errors[] = {
    E(EACCES), E(EADDRINUSE), E(EADDRNOTAVAIL), E(EAGAIN), E(EBADF), E(ECONNABORTED),
    E(ECONNREFUSED), E(ECONNRESET), E(EHOSTUNREACH), E(EINPROGRESS), E(EINTR), E(EINVAL), E(EIO),
    E(EMFILE), E(EMSGSIZE), E(ENETDOWN), E(ENETUNREACH), E(ENFILE), E(ENOBUFS), E(ENOMEM),
    E(ENOSPC), E(ENOTCONN), E(EPERM), E(EPIPE), E(EPROTO), E(ETIMEDOUT),
};
// clang-format on

#define ENUM(call, text) call,
enum call { CALLS(ENUM) NCALLS };

#define NAMED(call, text) {.name = text},
static struct counter {
    const char *name;
    long delay_us;
    atomic_long calls, failed, shortened;
} counters[] = {CALLS(NAMED)};

static struct rule {
    enum call call;
    int error;
    long n;    /* every nth call, or */
    bool once; /* the nth only */
    long max;  /* 0: no limit */
    atomic_long done;
} rules[MAX_RULES];
static int nrules;
static size_t short_limit; /* 0: writes are left whole */
static atomic_bool ready;  /* false: count nothing (start and end of the process) */

/* ---- the real functions ---- */

#define FIELD(fn) __typeof__(fn) *fn;
static struct { FUNCTIONS(FIELD) } real;

static void *next_symbol(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
#ifdef __GLIBC__
    /* Some machines' glibc has two incompatible sets of condition variables, and before 2.36
       (sourceware bug 14932) dlsym finds the old one. A sanitizer's own comes before both. */
    Dl_info here, there;
    void *newer =
        strncmp(name, "pthread_cond_", 13) == 0 ? dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2") : NULL;
    if (newer && dladdr(found, &here) && dladdr(newer, &there) && here.dli_fbase == there.dli_fbase)
        found = newer;
#endif
    return found;
}

/* This thread is in dlsym or an allocation: what is allocated there is not the program's call.
   volatile: glibc tells gcc that dlsym never calls back into this file; our malloc is in it. */
static _Thread_local __attribute__((tls_model("initial-exec"))) volatile bool busy;

/* Called at load, or earlier when another library's constructor comes first. Should dlsym allocate
   before malloc is found, it gets NULL, which both libcs are ready for. */
static void resolve(void) {
    void *found;
    if (busy)
        return;
    busy = true;
#define RESOLVE(fn)                                                                                \
    found = next_symbol(#fn);                                                                      \
    memcpy(&real.fn, &found, sizeof found); /* ISO C has no cast from void * to a function */
    FUNCTIONS(RESOLVE)
    busy = false;
}
#define REAL(fn) (real.fn ? real.fn : (resolve(), real.fn))

/* ---- the variables ---- */

static _Noreturn void refuse(const char *variable, const char *why, const char *what) {
    dprintf(STDERR_FILENO, "fault: %s=%s: %s '%s'\n", variable, getenv(variable), why, what);
    _exit(2);
}

static long number(const char *variable, const char *text) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < 1)
        refuse(variable, "want a whole number from 1, not", text);
    return value;
}

static enum call call_named(const char *variable, const char *name) {
    for (int i = 0; i < NCALLS; i++)
        if (strcmp(counters[i].name, name) == 0)
            return (enum call)i;
    refuse(variable, "unknown call", name);
}

static int error_named(const char *variable, const char *name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].value;
    long value = *name >= '0' && *name <= '9' ? number(variable, name) : MAX_ERRNO + 1;
    if (value > MAX_ERRNO)
        refuse(variable, "unknown error", name);
    return (int)value;
}

static void add_rule(const char *variable, char *field[], int n) {
    bool once = n > 2 && field[2][0] == '@';
    if (n < 3 || n > (once ? 3 : 4))
        refuse(variable, "want call:ERRNO:N, call:ERRNO:N:MAX or call:ERRNO:@K at", field[0]);
    if (nrules == MAX_RULES)
        refuse(variable, "too many entries at", field[0]);
    struct rule *r = &rules[nrules++];
    r->call = call_named(variable, field[0]);
    r->error = error_named(variable, field[1]);
    r->once = once;
    r->n = number(variable, field[2] + once);
    r->max = n == 4 ? number(variable, field[3]) : 0;
    if (r->call >= LOCK)
        refuse(variable, "can be delayed but cannot fail:", field[0]);
    if (r->call == MALLOC && r->error != ENOMEM)
        refuse(variable, "malloc fails with ENOMEM, not", field[1]);
}

static void add_delay(const char *variable, char *field[], int n) {
    if (n != 2)
        refuse(variable, "want call:MICROSECONDS at", field[0]);
    struct counter *c = &counters[call_named(variable, field[0])];
    if (c->delay_us)
        refuse(variable, "given twice:", field[0]);
    c->delay_us = number(variable, field[1]);
}

/* Splits a:b,c:d and hands each entry's fields to add. strsep keeps empty fields, so that they are
   refused, not skipped. */
static void each_entry(const char *variable, void (*add)(const char *, char **, int)) {
    const char *value = getenv(variable);
    char text[MAX_TEXT], *rest = value ? text : NULL, *entry;
    if (value && strlen(value) >= sizeof text)
        refuse(variable, "too long", "");
    if (value)
        strcpy(text, value);
    while ((entry = strsep(&rest, ","))) {
        char *field[MAX_FIELDS];
        int n = 0;
        while (entry && n < MAX_FIELDS)
            field[n++] = strsep(&entry, ":");
        add(variable, field, n);
    }
}

/* Opened for each use, not kept: one descriptor more would disturb tests that count them. */
static int open_report(void) {
    const char *path = getenv("FAULT_REPORT");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (path && fd == -1)
        refuse("FAULT_REPORT", "cannot open the file:", strerror(errno));
    return fd;
}

__attribute__((constructor)) static void load(void) {
    resolve();
    if (getenv("FAULT_SHORT"))
        short_limit = (size_t)number("FAULT_SHORT", getenv("FAULT_SHORT"));
    each_entry("FAULT_FAIL", add_rule);
    each_entry("FAULT_DELAY", add_delay);
    int fd = open_report();
    if (fd != -1)
        close(fd);
    ready = true;
}

__attribute__((destructor)) static void report(void) {
    ready = false;
    int fd = open_report();
    for (struct counter *c = counters; fd != -1 && c < counters + NCALLS; c++)
        dprintf(fd, "%s calls=%ld failed=%ld shortened=%ld\n", c->name, c->calls, c->failed,
                c->shortened);
    if (fd != -1)
        close(fd);
}

/* ---- the faults ---- */

static bool hits(struct rule *r, long k) {
    if (r->once ? k != r->n : k % r->n)
        return false;
    return r->max == 0 || atomic_fetch_add(&r->done, 1) < r->max;
}

/* Counts one call. Returns 0 with errno untouched, or the error it must fail with, in errno too. */
static int fault(enum call call) {
    struct counter *c = &counters[call];
    int saved = errno;
    if (!ready)
        return 0;
    long k = atomic_fetch_add(&c->calls, 1) + 1;
    struct timespec left = {c->delay_us / 1000000, c->delay_us % 1000000 * 1000};
    while (c->delay_us && nanosleep(&left, &left) == -1 && errno == EINTR)
        ; /* a signal does not shorten the delay */
    errno = saved;
    for (struct rule *r = rules; r < rules + nrules; r++)
        if (r->call == call && hits(r, k)) {
            atomic_fetch_add(&c->failed, 1);
            return errno = r->error;
        }
    return 0;
}

/* Asked each time: a number remembered here could be another file's by now. 0: no socket. */
static int socket_type(int fd) {
    int type, saved = errno;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type}) == -1)
        type = 0;
    errno = saved;
    return type;
}

static size_t cap(int fd, size_t n) {
    if (!ready || !short_limit || n <= short_limit || socket_type(fd) != SOCK_STREAM)
        return n;
    atomic_fetch_add(&counters[SEND].shortened, 1);
    return short_limit;
}

/* The part of iov that cap allows, as a list in cut. Returns its length, or 0: take iov itself. */
static size_t cap_iov(int fd, const struct iovec *iov, size_t count, struct iovec cut[MAX_IOV]) {
    size_t total = 0, i;
    for (i = 0; i < count && count <= MAX_IOV; i++)
        total += iov[i].iov_len;
    size_t left = cap(fd, total);
    if (left == total)
        return 0;
    for (i = 0; left > 0; i++) {
        cut[i] = iov[i];
        if (cut[i].iov_len > left)
            cut[i].iov_len = left;
        left -= cut[i].iov_len;
    }
    return i;
}

/* ---- the calls ---- */

#ifdef __GLIBC__ /* whose prototypes take any kind of address */
#define FROM __SOCKADDR_ARG
#define TO   __CONST_SOCKADDR_ARG
#else
#define FROM struct sockaddr *restrict
#define TO   const struct sockaddr *
#endif
typedef const struct timespec *timeout; /* short names, to keep one call on one line */
typedef const sigset_t *mask;

// clang-format off
#define WRAP(type, fn, params, args, call) \
    type fn params { return fault(call) ? -1 : REAL(fn) args; }
#define WRAP_IF_SOCKET(type, fn, params, args, call) \
    type fn params { return socket_type(fd) && fault(call) ? -1 : REAL(fn) args; }
#define WRAP_PTHREAD(fn, params, args, call) /* these return their error */ \
    int fn params { int error = fault(call); return error ? error : REAL(fn) args; }
#define WRAP_ALLOC(fn, params, args) /* musl's calloc calls malloc: that is one call, not two */ \
    void *fn params { \
        bool nested = busy; \
        if (!REAL(fn) || (!nested && fault(MALLOC))) \
            return NULL; \
        busy = true; \
        void *memory = real.fn args; \
        busy = nested; \
        return memory; \
    }
// clang-format on

WRAP(int, accept, (int fd, FROM a, socklen_t *len), (fd, a, len), ACCEPT)
WRAP(int, accept4, (int fd, FROM a, socklen_t *len, int flags), (fd, a, len, flags), ACCEPT)
WRAP(int, connect, (int fd, TO a, socklen_t len), (fd, a, len), CONNECT)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), SOCKET)

WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), RECV)
WRAP(ssize_t, recvfrom, (int fd, void *p, size_t n, int flags, FROM a, socklen_t *len),
     (fd, p, n, flags, a, len), RECV)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), RECV)
WRAP_IF_SOCKET(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), RECV)
WRAP_IF_SOCKET(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), RECV)

WRAP(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, cap(fd, n), flags), SEND)
WRAP(ssize_t, sendto, (int fd, const void *p, size_t n, int flags, TO a, socklen_t len),
     (fd, p, cap(fd, n), flags, a, len), SEND)
WRAP_IF_SOCKET(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, cap(fd, n)), SEND)

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct iovec cut[MAX_IOV];
    struct msghdr m = *message;
    if (fault(SEND))
        return -1;
    size_t n = cap_iov(fd, m.msg_iov, (size_t)m.msg_iovlen, cut);
    if (n) {
        m.msg_iov = cut;
        m.msg_iovlen = (__typeof__(m.msg_iovlen))n; /* int in musl, size_t in glibc */
    }
    return REAL(sendmsg)(fd, &m, flags);
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
    struct iovec cut[MAX_IOV];
    if (socket_type(fd) && fault(SEND))
        return -1;
    size_t n = cap_iov(fd, iov, (size_t)count, cut);
    return n ? REAL(writev)(fd, cut, (int)n) : REAL(writev)(fd, iov, count);
}

int close(int fd) {
    int error = socket_type(fd) ? fault(CLOSE) : 0;
    int result = REAL(close)(fd);
    if (error)
        errno = error;
    return error ? -1 : result;
}

WRAP(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms), POLL)
WRAP(int, ppoll, (struct pollfd * p, nfds_t n, timeout t, mask m), (p, n, t, m), POLL)
WRAP(int, select, (int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *t), (n, r, w, x, t),
     SELECT)
WRAP(int, pselect, (int n, fd_set *r, fd_set *w, fd_set *x, timeout t, mask m), (n, r, w, x, t, m),
     SELECT)
WRAP(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms), EPOLL_WAIT)
WRAP(int, epoll_pwait, (int fd, struct epoll_event *e, int n, int ms, mask m), (fd, e, n, ms, m),
     EPOLL_WAIT)
WRAP(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *e), (epfd, op, fd, e),
     EPOLL_CTL)

WRAP_PTHREAD(pthread_create,
             (pthread_t * t, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
             (t, attr, start, arg), THREAD)
WRAP_PTHREAD(pthread_mutex_lock, (pthread_mutex_t * m), (m), LOCK)
WRAP_PTHREAD(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t *m), (c, m), WAIT)
WRAP_PTHREAD(pthread_cond_signal, (pthread_cond_t * c), (c), SIGNAL)

WRAP_ALLOC(malloc, (size_t n), (n))
WRAP_ALLOC(calloc, (size_t n, size_t size), (n, size))
WRAP_ALLOC(realloc, (void *p, size_t n), (p, n))

/* With -D_FORTIFY_SOURCE, glibc's headers turn recv into __recv_chk where the size of the buffer
   is known, and so on. musl has none of these; to define them there does no harm. */
static void check(bool fits) {
    if (fits)
        return;
    dprintf(STDERR_FILENO, "*** buffer overflow detected ***: terminated\n");
    abort();
}

// clang-format off
#define FORTIFIED(type, fn, params, fits, call) \
    type fn params; /* no header declares it without -D_FORTIFY_SOURCE */ \
    type fn params { check(fits); return call; }
// clang-format on

FORTIFIED(ssize_t, __read_chk, (int fd, void *p, size_t n, size_t room), n <= room, read(fd, p, n))
FORTIFIED(ssize_t, __recv_chk, (int fd, void *p, size_t n, size_t room, int flags), n <= room,
          recv(fd, p, n, flags))
FORTIFIED(ssize_t, __recvfrom_chk,
          (int fd, void *p, size_t n, size_t room, int flags, FROM a, socklen_t *len), n <= room,
          recvfrom(fd, p, n, flags, a, len))
FORTIFIED(int, __poll_chk, (struct pollfd * p, nfds_t n, int ms, size_t room),
          n <= room / sizeof *p, poll(p, n, ms))
FORTIFIED(int, __ppoll_chk, (struct pollfd * p, nfds_t n, timeout t, mask m, size_t room),
          n <= room / sizeof *p, ppoll(p, n, t, m))
