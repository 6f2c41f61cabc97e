/* fault.c: a preload library that makes rare failures happen often.
 *
 *   LD_PRELOAD=build/fault.so FAULT_SHORT=7 FAULT_FAIL=recv:EINTR:5 01-basic-tcp/server
 *
 * FAULT_SHORT=N      A write to a stream socket takes at most N bytes. Reads are never shortened:
 *                    a slow reader would hide that its peer has no loop around its writes.
 * FAULT_FAIL=call:ERRNO:N[:MAX],...
 *                    Every Nth call fails with ERRNO and does nothing; at most MAX times if MAX is
 *                    given. call:ERRNO:@K fails the Kth call only. ERRNO is a name or a number. A
 *                    call may be named more than once. send:EPIPE raises no SIGPIPE.
 * FAULT_DELAY=call:MICROSECONDS,...        Sleeps before every such call.
 * FAULT_SIGNAL=call:SIGNAL:@K,...
 *                    Just before the Kth call, the thread that makes it sends itself the signal,
 *                    given by name (SIGTERM) or number. Then the call is made.
 * FAULT_HOST=NAME,ADDRESS,...
 *                    getaddrinfo finds these addresses (in numbers) under NAME, in this order.
 * FAULT_SELF=1       connect connects an IPv4 socket to itself.
 * FAULT_USER=1       SO_PEERCRED (unix(7)) reports a user that is not the peer's.
 * FAULT_PORT=N[,FILE]
 *                    bind to any port but 0 binds N instead (0: a free port), and writes to FILE
 *                    which port that is. Unless N is 0, connect and sendto to a chapter's own port
 *                    (9001 to 9008) go to N. What the program prints is its own matter.
 * FAULT_AFTER=listen Counts, fails, delays and signals nothing before the program calls listen. How
 *                    many calls a program makes before that depends on its libraries.
 * FAULT_REPORT=FILE  At exit, appends a line for each call: "recv calls=120 failed=24 shortened=0".
 *                    A process that ends by _exit or by a signal writes none.
 *
 * call            covers (in brackets: only when the descriptor is a socket)
 * accept          accept accept4
 * recv            recv recvfrom recvmsg [read readv], and their -D_FORTIFY_SOURCE forms
 * send            send sendto sendmsg [write writev]
 * poll            poll ppoll, and their -D_FORTIFY_SOURCE forms
 * select          select pselect
 * epoll_wait      epoll_wait epoll_pwait
 * close           [close]; a close that fails closes all the same, as on Linux
 * malloc          malloc calloc realloc; only ENOMEM
 * alarm           alarm; one that fails sets none, cancels none and returns 0
 * connect socket epoll_ctl pthread_create                     themselves
 * pthread_mutex_lock pthread_cond_wait pthread_cond_signal    themselves, FAULT_DELAY only
 *
 * Calls are counted for each process and name, over all threads; a forked child continues its
 * parent's counts. Calls on files, pipes and terminals are left alone, so the library may be
 * preloaded into a shell around the program, too; but poll, select, malloc and pthread_create have
 * no descriptor, so the shell's own calls fail as well.
 * A variable with a wrong value ends the program at its start, with a message and exit status 2.
 * The library does not see calls inside libc, such as stdio writing to a socket, nor direct system
 * calls. AddressSanitizer needs ASAN_OPTIONS=verify_asan_link_order=0. A program that a sanitizer
 * is linked into (as clang does) has its own malloc, too, which this library cannot make fail, and
 * ThreadSanitizer's own thread may be the first pthread_create. */
#define _GNU_SOURCE 1
#undef _FORTIFY_SOURCE /* it defines recv, read … inline, which this file defines itself */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_RULES = 32,
    MAX_SIGNALS = 8,
    MAX_FIELDS = 5,
    MAX_TEXT = 1024,
    MAX_IOV = 1024,
    MAX_ERRNO = 4095,
    MAX_HOST = 4,      /* addresses in FAULT_HOST */
    FIRST_PORT = 9001, /* the chapters' own ports */
    LAST_PORT = 9008,
    MAX_PORT = 65535
};

/* clang-format off */
#define CALLS(X) \
    X(ACCEPT, "accept") X(CONNECT, "connect") X(RECV, "recv") X(SEND, "send") X(POLL, "poll") \
    X(SELECT, "select") X(EPOLL_WAIT, "epoll_wait") X(EPOLL_CTL, "epoll_ctl") X(CLOSE, "close") \
    X(SOCKET, "socket") X(THREAD, "pthread_create") X(MALLOC, "malloc") X(ALARM, "alarm") \
    /* these can be delayed, not fail: */ \
    X(LOCK, "pthread_mutex_lock") X(WAIT, "pthread_cond_wait") X(SIGNAL, "pthread_cond_signal")

/* The malloc family first: finding the others may allocate. */
#define FUNCTIONS(X) \
    X(malloc) X(calloc) X(realloc) X(accept) X(accept4) X(connect) X(socket) X(listen) \
    X(bind) X(close) \
    X(recv) X(recvfrom) X(recvmsg) X(read) X(readv) X(send) X(sendto) X(sendmsg) X(write) \
    X(writev) X(poll) X(ppoll) X(select) X(pselect) X(epoll_wait) X(epoll_pwait) X(epoll_ctl) \
    X(getaddrinfo) X(freeaddrinfo) X(alarm) X(getsockopt) \
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

static const struct {
    const char *name;
    int value;
} signals[] = {
    E(SIGALRM), E(SIGCHLD), E(SIGCONT), E(SIGHUP),  E(SIGINT),  E(SIGKILL),
    E(SIGPIPE), E(SIGQUIT), E(SIGSTOP), E(SIGTERM), E(SIGUSR1), E(SIGUSR2),
};
/* clang-format on */

#define ENUM(call, text) call,
enum call { CALLS(ENUM) CALLS_COUNT };

#define NAMED(call, text) {.name = text},
static struct counter {
    const char *name;
    long delay_us;
    atomic_long calls, failed, shortened;
} counters[] = {CALLS(NAMED)};

static struct rule {
    enum call call;
    int error;
    long n;   /* every nth call fails; or, with once, */
    int once; /* the nth only */
    long max; /* 0: no limit */
    atomic_long done;
} rules[MAX_RULES];
static int rules_count;

static struct {
    enum call call;
    int number;
    long k; /* before the kth call */
} signals_to_send[MAX_SIGNALS];
static int signals_count;

static size_t short_limit; /* 0: writes are not shortened */
static int connect_to_self;
static int other_user;
static atomic_int ready; /* 0: nothing is counted (at the start and end of the process) */
static int from_listen;  /* ready becomes 1 when the program calls listen */

/* ---- the real functions ---- */

#define FIELD(fn) __typeof__(fn) *fn;
static struct functions { FUNCTIONS(FIELD) } found_functions;
static int all_found;

static void *next_symbol(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
#ifdef __GLIBC__
    /* Some machines' glibc has two incompatible sets of condition variables, and before 2.36
     * (sourceware bug 14932) dlsym finds the old one. A sanitizer's own comes before both. */
    Dl_info here, there;
    void *newer = NULL;
    if (strncmp(name, "pthread_cond_", 13) == 0)
        newer = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (newer && dladdr(found, &here) && dladdr(newer, &there) && here.dli_fbase == there.dli_fbase)
        found = newer;
#endif
    return found;
}

/* This thread is in dlsym or an allocation: what is allocated there is not the program's call.
 * volatile: glibc tells gcc that dlsym never calls back into this file; our malloc is in it. */
static _Thread_local __attribute__((tls_model("initial-exec"))) volatile int busy;

/* Called at load, or earlier if another library's constructor comes first. Should dlsym allocate
 * before malloc is found, it gets NULL, which both libcs are ready for. */
static void find_functions(void) {
    void *found;
    if (busy)
        return;
    busy = 1;
/* ISO C has no cast from void * to a function, so the pointer is copied. */
#define FIND(fn)                                                                                   \
    found = next_symbol(#fn);                                                                      \
    memcpy(&found_functions.fn, &found, sizeof found);
    FUNCTIONS(FIND)
    busy = 0;
    all_found = 1;
}

/* The real functions. While find_functions looks for them, some are still NULL. */
static const struct functions *real(void) {
    if (!all_found)
        find_functions();
    return &found_functions;
}

/* ---- the variables of the environment ---- */

static _Noreturn void refuse(const char *variable, const char *why, const char *what) {
    dprintf(STDERR_FILENO, "fault: %s=%s: %s '%s'\n", variable, getenv(variable), why, what);
    _exit(2);
}

/* Returns the number that is all of text; anything else ends the program. */
static long number(const char *variable, const char *text) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < 1)
        refuse(variable, "want a whole number from 1, not", text);
    return value;
}

static enum call call_named(const char *variable, const char *name) {
    for (int i = 0; i < CALLS_COUNT; i++) {
        if (strcmp(counters[i].name, name) == 0)
            return (enum call)i;
    }
    refuse(variable, "unknown call", name);
}

static int error_named(const char *variable, const char *name) {
    long value = MAX_ERRNO + 1;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].value;
    }
    if (*name >= '0' && *name <= '9')
        value = number(variable, name);
    if (value > MAX_ERRNO)
        refuse(variable, "unknown error", name);
    return (int)value;
}

/* Refuses a rule that the call cannot keep. */
static void check_rule(const char *variable, const struct rule *r, char *fields[]) {
    if (r->call >= LOCK)
        refuse(variable, "can be delayed but cannot fail:", fields[0]);
    if (r->call == MALLOC && r->error != ENOMEM)
        refuse(variable, "malloc fails with ENOMEM, not", fields[1]);
}

/* Takes the fields of call:ERRNO:N, call:ERRNO:N:MAX or call:ERRNO:@K. */
static void add_rule(const char *variable, char *fields[], int count) {
    const int once = count > 2 && fields[2][0] == '@';
    if (count < 3 || count > 4 || (once && count > 3))
        refuse(variable, "want call:ERRNO:N, call:ERRNO:N:MAX or call:ERRNO:@K at", fields[0]);
    if (rules_count == MAX_RULES)
        refuse(variable, "too many entries at", fields[0]);
    struct rule *r = &rules[rules_count];
    rules_count++;
    r->call = call_named(variable, fields[0]);
    r->error = error_named(variable, fields[1]);
    r->once = once;
    r->n = number(variable, fields[2] + once);
    if (count == 4)
        r->max = number(variable, fields[3]);
    check_rule(variable, r, fields);
}

/* Takes the fields of call:MICROSECONDS. */
static void add_delay(const char *variable, char *fields[], int count) {
    if (count != 2)
        refuse(variable, "want call:MICROSECONDS at", fields[0]);
    struct counter *c = &counters[call_named(variable, fields[0])];
    if (c->delay_us)
        refuse(variable, "given twice:", fields[0]);
    c->delay_us = number(variable, fields[1]);
}

static int signal_named(const char *variable, const char *name) {
    long value = NSIG;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].value;
    }
    if (*name >= '0' && *name <= '9')
        value = number(variable, name);
    if (value >= NSIG)
        refuse(variable, "unknown signal", name);
    return (int)value;
}

/* Takes the fields of call:SIGNAL:@K. */
static void add_signal(const char *variable, char *fields[], int count) {
    if (count != 3 || fields[2][0] != '@')
        refuse(variable, "want call:SIGNAL:@K at", fields[0]);
    if (signals_count == MAX_SIGNALS)
        refuse(variable, "too many entries at", fields[0]);
    signals_to_send[signals_count].call = call_named(variable, fields[0]);
    signals_to_send[signals_count].number = signal_named(variable, fields[1]);
    signals_to_send[signals_count].k = number(variable, fields[2] + 1);
    signals_count++;
}

/* Splits a:b,c:d and gives each entry's fields to add. strsep keeps empty fields, so that they are
 * refused, not skipped. */
static void each_entry(const char *variable, void (*add)(const char *, char **, int)) {
    const char *value = getenv(variable);
    char text[MAX_TEXT];
    char *rest = text;
    if (!value)
        return;
    if (strlen(value) >= sizeof text)
        refuse(variable, "too long", "");
    strcpy(text, value);
    while (rest) {
        char *entry = strsep(&rest, ",");
        char *fields[MAX_FIELDS];
        int count = 0;
        while (entry && count < MAX_FIELDS) {
            fields[count] = strsep(&entry, ":");
            count++;
        }
        add(variable, fields, count);
    }
}

/* FAULT_HOST=NAME,ADDRESS,...: what getaddrinfo is to find. */
static char host_text[MAX_TEXT];
static char *host_name;
static char *host_addresses[MAX_HOST];
static int host_count;

static void read_host(const char *value) {
    char *rest = host_text;
    if (!value)
        return;
    if (strlen(value) >= sizeof host_text)
        refuse("FAULT_HOST", "too long", "");
    strcpy(host_text, value);
    host_name = strsep(&rest, ",");
    while (rest && host_count < MAX_HOST) {
        host_addresses[host_count] = strsep(&rest, ",");
        host_count++;
    }
    if (rest || host_count == 0)
        refuse("FAULT_HOST", "want NAME and 1 to 4 addresses, not", value);
}

/* FAULT_PORT=N[,FILE]: where bind, connect and sendto are to go. */
static int other_port = -1; /* -1: nowhere else */
static const char *port_file;

static void read_port(const char *value) {
    char text[8];
    if (!value)
        return;
    const size_t size = strcspn(value, ",");
    if (size >= sizeof text)
        refuse("FAULT_PORT", "want N or N,FILE, not", value);
    snprintf(text, sizeof text, "%.*s", (int)size, value);
    other_port = 0;
    if (strcmp(text, "0") != 0)
        other_port = (int)number("FAULT_PORT", text);
    if (other_port > MAX_PORT)
        refuse("FAULT_PORT", "no such port:", text);
    if (value[size] == ',')
        port_file = value + size + 1;
}

/* Returns a descriptor of FAULT_REPORT's file, or -1 if there is none. It is opened for each use:
 * one more descriptor would disturb tests that count them. */
static int open_report(void) {
    const char *path = getenv("FAULT_REPORT");
    if (!path)
        return -1;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd == -1)
        refuse("FAULT_REPORT", "cannot open the file:", strerror(errno));
    return fd;
}

__attribute__((constructor)) static void load(void) {
    find_functions();
    if (getenv("FAULT_SHORT"))
        short_limit = (size_t)number("FAULT_SHORT", getenv("FAULT_SHORT"));
    each_entry("FAULT_FAIL", add_rule);
    each_entry("FAULT_DELAY", add_delay);
    each_entry("FAULT_SIGNAL", add_signal);
    read_host(getenv("FAULT_HOST"));
    read_port(getenv("FAULT_PORT"));
    connect_to_self = getenv("FAULT_SELF") != NULL;
    other_user = getenv("FAULT_USER") != NULL;
    const char *after = getenv("FAULT_AFTER");
    if (after && strcmp(after, "listen") != 0)
        refuse("FAULT_AFTER", "want listen, not", after);
    from_listen = after != NULL;
    int fd = open_report(); /* fails now, and not at the end */
    if (fd != -1)
        close(fd);
    ready = !from_listen;
}

__attribute__((destructor)) static void report(void) {
    ready = 0;
    int fd = open_report();
    if (fd == -1)
        return;
    for (int i = 0; i < CALLS_COUNT; i++) {
        struct counter *c = &counters[i];
        dprintf(fd, "%s calls=%ld failed=%ld shortened=%ld\n", c->name, c->calls, c->failed,
                c->shortened);
    }
    close(fd);
}

/* ---- the faults ---- */

/* Whether the rule makes call number k fail. */
static int rule_hits(struct rule *r, long k) {
    if (r->once && k != r->n)
        return 0;
    if (k % r->n != 0)
        return 0;
    return r->max == 0 || atomic_fetch_add(&r->done, 1) < r->max;
}

/* Sleeps for so long, however many signals come. */
static void delay(long us) {
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    int result;
    if (us == 0)
        return;
    do
        result = nanosleep(&left, &left);
    while (result == -1 && errno == EINTR);
}

/* Sends this thread the signals that are to come before call number k. */
static void send_signals(enum call call, long k) {
    for (int i = 0; i < signals_count; i++) {
        if (signals_to_send[i].call == call && signals_to_send[i].k == k)
            raise(signals_to_send[i].number);
    }
}

/* Counts one call, and delays it. Returns 0, with errno as it was; or the error with which the call
 * must fail, also in errno. */
static int fault(enum call call) {
    struct counter *c = &counters[call];
    const int saved = errno;
    if (!ready)
        return 0;
    const long k = atomic_fetch_add(&c->calls, 1) + 1;
    delay(c->delay_us);
    send_signals(call, k);
    errno = saved;
    for (int i = 0; i < rules_count; i++) {
        if (rules[i].call == call && rule_hits(&rules[i], k)) {
            atomic_fetch_add(&c->failed, 1);
            errno = rules[i].error;
            return rules[i].error;
        }
    }
    return 0;
}

/* Returns the socket's type; 0 if fd is not a socket. Nothing is remembered, because the program
 * may close fd and get the same number for another file. */
static int socket_type(int fd) {
    const int saved = errno;
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1)
        type = 0;
    errno = saved;
    return type;
}

/* As fault, for a call that counts only if fd is a socket. */
static int fault_if_socket(int fd, enum call call) {
    if (!socket_type(fd))
        return 0;
    return fault(call);
}

/* Returns how many of n bytes a write to fd may take. */
static size_t shorten(int fd, size_t n) {
    if (!ready || !short_limit || n <= short_limit || socket_type(fd) != SOCK_STREAM)
        return n;
    atomic_fetch_add(&counters[SEND].shortened, 1);
    return short_limit;
}

/* Copies to part the buffers of iov that a write to fd may take. Returns how many they are; or 0 if
 * it may take all of iov. */
static size_t shorten_iov(int fd, const struct iovec *iov, size_t count,
                          struct iovec part[MAX_IOV]) {
    size_t total = 0;
    size_t used = 0;
    if (count > MAX_IOV)
        return 0; /* the call will fail: writev(2) */
    for (size_t i = 0; i < count; i++)
        total += iov[i].iov_len;
    size_t left = shorten(fd, total);
    if (left == total)
        return 0;
    while (left > 0) {
        part[used] = iov[used];
        if (part[used].iov_len > left)
            part[used].iov_len = left;
        left -= part[used].iov_len;
        used++;
    }
    return used;
}

/* ---- the calls ---- */

#ifdef __GLIBC__ /* whose prototypes take any kind of address */
#define FROM       __SOCKADDR_ARG
#define TO         __CONST_SOCKADDR_ARG
#define ADDRESS(a) ((a).__sockaddr__)
#define GIVE(p)    ((TO){.__sockaddr__ = (p)})
#else
#define FROM       struct sockaddr *restrict
#define TO         const struct sockaddr *
#define ADDRESS(a) (a)
#define GIVE(p)    (p)
#endif
typedef const struct timespec *timeout; /* short names, to keep one call on one line */
typedef const sigset_t *mask;

/* clang-format off */
#define WRAP(type, fn, params, args, call) \
    type fn params { \
        if (fault(call)) \
            return -1; \
        return real()->fn args; \
    }
#define WRAP_IF_SOCKET(type, fn, params, args, call) \
    type fn params { \
        if (fault_if_socket(fd, call)) \
            return -1; \
        return real()->fn args; \
    }
#define WRAP_PTHREAD(fn, params, args, call) /* these return their error */ \
    int fn params { \
        int error = fault(call); \
        if (error) \
            return error; \
        return real()->fn args; \
    }
#define WRAP_ALLOC(fn, params, args) /* musl's calloc calls malloc: that is one call, not two */ \
    void *fn params { \
        const int nested = busy; \
        if (!real()->fn || (!nested && fault(MALLOC))) \
            return NULL; \
        busy = 1; \
        void *memory = real()->fn args; \
        busy = nested; \
        return memory; \
    }
/* clang-format on */

WRAP(int, accept, (int fd, FROM a, socklen_t *size), (fd, a, size), ACCEPT)
WRAP(int, accept4, (int fd, FROM a, socklen_t *size, int flags), (fd, a, size, flags), ACCEPT)

/* Returns where the port of an address stands, in network byte order; NULL if it has none. */
static in_port_t *port_of(struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET)
        return &((struct sockaddr_in *)address)->sin_port;
    if (address->ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)address)->sin6_port;
    return NULL;
}

/* Copies an address of the program, if it is one that FAULT_PORT may change. Returns its port, in
 * host byte order; or -1. */
static int copy_address(const void *a, socklen_t size, struct sockaddr_storage *copy) {
    if (other_port < 0 || !a || size > sizeof *copy)
        return -1;
    memset(copy, 0, sizeof *copy);
    memcpy(copy, a, size);
    in_port_t *port = port_of(copy);
    if (!port)
        return -1;
    return ntohs(*port);
}

/* Returns the address that connect or sendto is to use: a itself, or a copy with another port. */
static const void *send_address(const void *a, socklen_t size, struct sockaddr_storage *copy) {
    const int port = copy_address(a, size, copy);
    if (other_port == 0 || port < FIRST_PORT || port > LAST_PORT)
        return a;
    *port_of(copy) = htons((in_port_t)other_port);
    return copy;
}

/* Writes to FAULT_PORT's file the port that fd has got; a reader never sees half of it. */
static void tell_port(int fd) {
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof own;
    char path[MAX_TEXT];
    if (!port_file || getsockname(fd, (struct sockaddr *)&own, &size) < 0)
        return;
    snprintf(path, sizeof path, "%s.new", port_file);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        refuse("FAULT_PORT", "cannot write to the file:", strerror(errno));
    dprintf(file, "%d\n", ntohs(*port_of(&own)));
    real()->close(file);
    rename(path, port_file);
}

int bind(int fd, TO a, socklen_t size) {
    struct sockaddr_storage copy;
    if (copy_address(ADDRESS(a), size, &copy) <= 0)
        return real()->bind(fd, a, size);
    *port_of(&copy) = htons((in_port_t)other_port);
    if (real()->bind(fd, GIVE((struct sockaddr *)&copy), size) < 0)
        return -1;
    tell_port(fd);
    return 0;
}

/* Binds fd to the address that it is about to connect to. With SO_REUSEADDR: the connection will
 * are in TIME_WAIT, and a server must be able to bind this port then. */
static int bind_to_peer(int fd, const struct sockaddr *peer, socklen_t size) {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return real()->bind(fd, GIVE(peer), size);
}

int connect(int fd, TO a, socklen_t size) {
    struct sockaddr_storage copy;
    int family = 0;
    socklen_t family_size = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &family_size);
    if (fault(CONNECT))
        return -1;
    const struct sockaddr *to = send_address(ADDRESS(a), size, &copy);
    if (connect_to_self && family == AF_INET && bind_to_peer(fd, to, size) < 0)
        return -1;
    return real()->connect(fd, GIVE(to), size);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size) {
    const int result = real()->getsockopt(fd, level, name, value, size);
    if (other_user && result == 0 && level == SOL_SOCKET && name == SO_PEERCRED)
        ((struct ucred *)value)->uid++;
    return result;
}

/* The list that getaddrinfo returns for FAULT_HOST is never freed. It has each address once. */
static struct addrinfo host_list[MAX_HOST];
static struct sockaddr_storage host_storage[MAX_HOST];

/* Keeps a copy of address number i, which getaddrinfo has found. */
static void keep_address(int i, const struct addrinfo *found) {
    memcpy(&host_storage[i], found->ai_addr, found->ai_addrlen);
    host_list[i] = *found;
    host_list[i].ai_addr = (struct sockaddr *)&host_storage[i];
    host_list[i].ai_canonname = NULL;
    host_list[i].ai_next = NULL;
    if (i + 1 < host_count)
        host_list[i].ai_next = &host_list[i + 1];
}

static int find_host(const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    struct addrinfo numeric = {0};
    struct addrinfo *found = host_list;
    if (hints)
        numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    for (int i = 0; i < host_count; i++) {
        int error = real()->getaddrinfo(host_addresses[i], service, &numeric, &found);
        if (error)
            return error;
        keep_address(i, found);
        real()->freeaddrinfo(found);
    }
    *list = host_list;
    return 0;
}

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list) {
    if (ready && host_name && name && strcmp(name, host_name) == 0)
        return find_host(service, hints, list);
    return real()->getaddrinfo(name, service, hints, list);
}

void freeaddrinfo(struct addrinfo *list) {
    if (list != host_list)
        real()->freeaddrinfo(list);
}

WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), SOCKET)

int listen(int fd, int backlog) {
    int result = real()->listen(fd, backlog);
    if (from_listen)
        ready = 1;
    return result;
}

WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), RECV)
WRAP(ssize_t, recvfrom, (int fd, void *p, size_t n, int flags, FROM a, socklen_t *size),
     (fd, p, n, flags, a, size), RECV)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), RECV)
WRAP_IF_SOCKET(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), RECV)
WRAP_IF_SOCKET(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), RECV)

WRAP(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, shorten(fd, n), flags),
     SEND)

ssize_t sendto(int fd, const void *p, size_t n, int flags, TO a, socklen_t size) {
    struct sockaddr_storage copy;
    const struct sockaddr *to = send_address(ADDRESS(a), size, &copy);
    if (fault(SEND))
        return -1;
    return real()->sendto(fd, p, shorten(fd, n), flags, GIVE(to), size);
}

WRAP_IF_SOCKET(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, shorten(fd, n)), SEND)

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct iovec part[MAX_IOV];
    struct msghdr m = *message;
    if (fault(SEND))
        return -1;
    size_t n = shorten_iov(fd, m.msg_iov, (size_t)m.msg_iovlen, part);
    if (n) {
        m.msg_iov = part;
        m.msg_iovlen = (__typeof__(m.msg_iovlen))n; /* int in musl, size_t in glibc */
    }
    return real()->sendmsg(fd, &m, flags);
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
    struct iovec part[MAX_IOV];
    if (fault_if_socket(fd, SEND))
        return -1;
    size_t n = shorten_iov(fd, iov, (size_t)count, part);
    if (n)
        return real()->writev(fd, part, (int)n);
    return real()->writev(fd, iov, count);
}

int close(int fd) {
    const int error = fault_if_socket(fd, CLOSE);
    const int result = real()->close(fd);
    if (!error)
        return result;
    errno = error;
    return -1;
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

unsigned alarm(unsigned seconds) {
    if (fault(ALARM))
        return 0;
    return real()->alarm(seconds);
}

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

/* With -D_FORTIFY_SOURCE, glibc's headers turn recv into __recv_chk where the size of the buffer is
 * known, and likewise for others. musl has none of these; to define them there does no harm. */
static void check(int fits) {
    if (fits)
        return;
    dprintf(STDERR_FILENO, "*** buffer overflow detected ***: terminated\n");
    abort();
}

/* clang-format off */
#define FORTIFIED(type, fn, params, fits, call) \
    type fn params; /* no header declares it without -D_FORTIFY_SOURCE */ \
    type fn params { check(fits); return call; }
/* clang-format on */

FORTIFIED(ssize_t, __read_chk, (int fd, void *p, size_t n, size_t capacity), n <= capacity,
          read(fd, p, n))
FORTIFIED(ssize_t, __recv_chk, (int fd, void *p, size_t n, size_t capacity, int flags),
          n <= capacity, recv(fd, p, n, flags))
FORTIFIED(ssize_t, __recvfrom_chk,
          (int fd, void *p, size_t n, size_t capacity, int flags, FROM a, socklen_t *size),
          n <= capacity, recvfrom(fd, p, n, flags, a, size))
FORTIFIED(int, __poll_chk, (struct pollfd * p, nfds_t n, int ms, size_t capacity),
          n <= capacity / sizeof *p, poll(p, n, ms))
FORTIFIED(int, __ppoll_chk, (struct pollfd * p, nfds_t n, timeout t, mask m, size_t capacity),
          n <= capacity / sizeof *p, ppoll(p, n, t, m))
