/* util.h: what the chapters share. Socket helpers name the chapter that builds them in the open.
 *
 * Rules:
 * - A helper that fails returns -1 (or NULL) and leaves the reason in errno, or in the text that it
 *   was given. A helper that a signal interrupts returns -1 with EINTR, and the caller decides;
 *   only connect_to, announce and linger_close, which have a time limit, go on.
 * - Only die, and helpers that call it or usage_error, end a program: at its start, or a client.
 *   Nothing that a peer does can make a server call them.
 * - No helper keeps anything between two calls. */
#pragma once
#define _GNU_SOURCE 1 /* for accept4 and others of Linux; before any system header, as -D does */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ADDRESS_TEXT = 80, /* bytes of an address as text */
    WHY_TEXT = 256,    /* bytes of a reason */
    LINGER_MS = 300,   /* how long a close waits for the peer's end */
    CONNECT_MS = 5000, /* how long connect waits for an address that does not answer */
    ANNOUNCE_MS = 500  /* how long the first line waits for room on stdout */
};

/* ---- messages, numbers, time ---- */

/* Returns the name of an errno value (errno(3)), "EACCES"; "errno" if it is not in this list. */
static inline const char *errno_name(int error) {
    switch (error) {
    case EACCES: return "EACCES";
    case EADDRINUSE: return "EADDRINUSE";
    case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case ECONNABORTED: return "ECONNABORTED";
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case EFBIG: return "EFBIG";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case EINTR: return "EINTR";
    case EINVAL: return "EINVAL";
    case EIO: return "EIO";
    case EISDIR: return "EISDIR";
    case EMFILE: return "EMFILE";
    case EMSGSIZE: return "EMSGSIZE";
    case ENETDOWN: return "ENETDOWN";
    case ENETUNREACH: return "ENETUNREACH";
    case ENFILE: return "ENFILE";
    case ENOBUFS: return "ENOBUFS";
    case ENOENT: return "ENOENT";
    case ENOMEM: return "ENOMEM";
    case ENOSPC: return "ENOSPC";
    case ENOTCONN: return "ENOTCONN";
    case EPERM: return "EPERM";
    case EPIPE: return "EPIPE";
    case EPROTO: return "EPROTO";
    case ETIMEDOUT: return "ETIMEDOUT";
    default: return "errno";
    }
}

/* Ends the program with status 1 after one line on stderr: "server: ", what and, unless error is 0,
 * the reason: ": Permission denied (EACCES)". */
static inline _Noreturn void die(const char *what, int error) {
    fprintf(stderr, "%s: %s", program_invocation_short_name, what);
    if (error)
        fprintf(stderr, ": %s (%s)", strerror(error), errno_name(error));
    fputc('\n', stderr);
    exit(1);
}

/* Ends the program with status 2 after one line on what is wrong, and the usage, on stderr. */
static inline _Noreturn void usage_error(const char *usage, const char *problem) {
    fprintf(stderr, "%s: %s\n%s", program_invocation_short_name, problem, usage);
    exit(2);
}

/* Prints the usage on stdout. Returns 0, the exit status of -h. Ends the program if that fails, as
 * on a full disk: stdio may find out only when it is flushed (fflush(3)). */
static inline int print_usage(const char *usage) {
    if (fputs(usage, stdout) < 0 || fflush(stdout) != 0)
        die("stdout", errno);
    return 0;
}

/* Returns the decimal number that is all of text, from min (at least 0) to max; -1 for anything
 * else: "", "0x50", "-1", "80x", " 80". */
static inline long parse_number(const char *text, long min, long max) {
    long value = 0;
    if (*text == '\0')
        return -1;
    for (; *text; text++) {
        const int digit = *text - '0';
        if (digit < 0 || digit > 9)
            return -1;
        if (digit > max || value > (max - digit) / 10)
            return -1; /* more than max; a long may be too small for it */
        value = value * 10 + digit;
    }
    if (value < min)
        return -1;
    return value;
}

/* Returns the number given to an option, from min to max; anything else is a usage error. */
static inline long number_arg(const char *usage, int option, const char *arg, long min, long max) {
    char problem[WHY_TEXT];
    long value = parse_number(arg, min, max);
    if (value < 0) {
        snprintf(problem, sizeof problem, "-%c \"%s\": not a number from %ld to %ld", option, arg,
                 min, max);
        usage_error(usage, problem);
    }
    return value;
}

/* Milliseconds of a clock that never jumps (clock_gettime(2), CLOCK_MONOTONIC). */
static inline long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* ---- at the start ---- */

/* 01's server builds in the open what follows here: it defines UTIL_WITHOUT_SOCKETS. Its client
 * defines UTIL_WITHOUT_CONNECT, and builds connect_to. */
#ifndef UTIL_WITHOUT_SOCKETS

/* Corrects what a program may inherit (execve(2)): main calls it first. If descriptor 0, 1 or 2 is
 * closed, the next socket gets its number, and the peer receives what is printed. So /dev/null
 * takes its place, opened the wrong way round, and reading or writing there still fails. A signal
 * that is blocked or ignored would never arrive, so each is set back. SIGHUP stays as it is:
 * nohup(1) ignores it on purpose. Built in 01. */
static inline void reset_inherited(void) {
    const int signals[] = {SIGINT, SIGTERM, SIGALRM, SIGUSR1};
    sigset_t none;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            die("cannot open /dev/null", errno);
    }
    alarm(0);                 /* cancels one that the program before us has set */
    signal(SIGALRM, SIG_IGN); /* discards a pending one: unblocked, it would end us */
    signal(SIGUSR1, SIG_IGN);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); /* at a file's size limit (ulimit -f), write fails with EFBIG */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Returns whether the program was started with this signal ignored, as nohup(1) does with SIGHUP.
 * Built in 01. */
static inline int signal_ignored(int signal_number) {
    struct sigaction inherited;
    sigaction(signal_number, NULL, &inherited);
    return inherited.sa_handler == SIG_IGN;
}

/* Ends the program if no descriptor is left for a client: the server would listen and never serve
 * (dup(2), getrlimit(2)). Built in 01. */
static inline void require_descriptor(int listener) {
    int spare = dup(listener);
    if (spare < 0)
        die("no descriptor is left for a client", errno);
    close(spare);
}

/* ---- addresses ---- */

/* Writes an address in numbers, never asking a name server, to text (ADDRESS_TEXT bytes), and
 * returns text: "127.0.0.1:9001", "[::1]:9001" (RFC 3986, 3.2.2); "?" for an unknown family.
 * Built in 01. */
static inline const char *address_text(const void *address, socklen_t size, char *text) {
    char host[ADDRESS_TEXT - 10];
    char port[8];
    int error = getnameinfo(address, size, host, sizeof host, port, sizeof port,
                            NI_NUMERICHOST | NI_NUMERICSERV);
    if (error)
        strcpy(text, "?");
    else if (strchr(host, ':'))
        snprintf(text, ADDRESS_TEXT, "[%s]:%s", host, port);
    else
        snprintf(text, ADDRESS_TEXT, "%s:%s", host, port);
    return text;
}

/* Returns the addresses that a name stands for (getaddrinfo(3)), for sockets of this type and for
 * freeaddrinfo; or NULL, with the reason in why (WHY_TEXT bytes) and errno 0. Built in 01. */
static inline struct addrinfo *resolve(const char *address, const char *port, int type, char *why) {
    const struct addrinfo hints = {.ai_socktype = type, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    int error = getaddrinfo(address, port, &hints, &list);
    if (error == 0)
        return list;
    snprintf(why, WHY_TEXT, "resolve %s: %s", address, gai_strerror(error));
    errno = 0;
    return NULL;
}

/* Closes fd and leaves errno as it is. Returns -1. Built in 01. */
static inline int close_failed(int fd) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Records why this address failed: errno in *error, and "bind [::1]:80" in why (WHY_TEXT bytes).
 * Keeps an earlier failure, unless that was only that this machine has no such address. Built in
 * 01. */
static inline void keep_failure(const struct addrinfo *ai, const char *call, int *error,
                                char *why) {
    char text[ADDRESS_TEXT];
    if (*error != 0 && *error != EAFNOSUPPORT && *error != EADDRNOTAVAIL)
        return;
    *error = errno;
    snprintf(why, WHY_TEXT, "%s %s", call, address_text(ai->ai_addr, ai->ai_addrlen, text));
}

/* ---- a listening socket ---- */

/* Returns a socket that listens at this address; or -1 with errno, and in *call the call that
 * failed. Built in 01. */
static inline int listen_at(const struct addrinfo *ai, const char **call) {
    const int on = 1;
    const int off = 0;
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    /* While connections of the last run are in TIME_WAIT, bind would fail without this option. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) /* "::" takes IPv4 clients too, as ::ffff:127.0.0.1 */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    *call = "bind";
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return close_failed(fd);
    *call = "listen"; /* from here on the kernel answers handshakes, up to the backlog */
    if (listen(fd, SOMAXCONN) < 0)
        return close_failed(fd);
    return fd;
}

/* Tries every address of a name. Returns a listening socket; or -1, with what failed in why
 * (WHY_TEXT bytes), "bind [::1]:80", and its errno (0 where why says it all): for die(why, errno).
 * Built in 01. */
static inline int listen_on(const char *address, const char *port, char *why) {
    struct addrinfo *list = resolve(address, port, SOCK_STREAM, why);
    const char *call;
    int error = 0;
    int fd = -1;
    if (!list)
        return -1;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        fd = listen_at(ai, &call);
        if (fd >= 0)
            break;
        keep_failure(ai, call, &error, why);
        if (error == EADDRINUSE)
            break; /* a second server, on the next address, would get no clients */
    }
    freeaddrinfo(list);
    errno = error;
    return fd;
}

/* Says on stdout, at once, where fd is bound: "listening on 127.0.0.1:9001". Built in 01. Here it
 * also requires a descriptor for a client, unless fd is a UDP socket, which serves all clients
 * itself. If stdout (a full pipe, a stopped terminal) has no room for ANNOUNCE_MS, it drops the
 * line; if poll fails, we know nothing about stdout, and write. */
static inline void announce(int fd) {
    struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof own;
    char text[ADDRESS_TEXT];
    int listens = 0;
    socklen_t listens_size = sizeof listens;
    int ready;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size);
    if (listens)
        require_descriptor(fd);
    getsockname(fd, (struct sockaddr *)&own, &size);
    address_text(&own, size, text);
    do
        ready = poll(&room, 1, ANNOUNCE_MS);
    while (ready < 0 && errno == EINTR);
    if (ready != 0) /* dprintf keeps nothing back that would have to be written at exit */
        dprintf(STDOUT_FILENO, "listening on %s\n", text);
}

/* ---- a connected socket ---- */

/* Makes calls on fd return EAGAIN instead of waiting (fcntl(2)). Returns 0, or -1 with errno.
 * Built in 05. */
static inline int set_nonblocking(int fd) {
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

#ifndef UTIL_WITHOUT_CONNECT
/* Returns whether fd is connected to itself. Where nobody listens, the kernel may give a client the
 * very port that it connects to, and both ends are then one (RFC 9293, 3.5: simultaneous open).
 * Built in 01. */
static inline int connected_to_itself(int fd) {
    struct sockaddr_storage own = {0};
    struct sockaddr_storage peer = {0};
    socklen_t own_size = sizeof own;
    socklen_t peer_size = sizeof peer;
    if (getsockname(fd, (struct sockaddr *)&own, &own_size) < 0)
        return 0;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
        return 0;
    return memcmp(&own, &peer, sizeof own) == 0;
}

/* Returns how a connect that has begun has ended (connect(2), EINPROGRESS): 0, or -1 with errno. */
static inline int connect_result(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0 && connected_to_itself(fd))
        error = ECONNREFUSED; /* nobody listens there */
    errno = error;
    return error ? -1 : 0;
}

/* Waits for a connect that has begun, however many signals come. Returns 0, or -1 with errno:
 * ETIMEDOUT if there was no answer for CONNECT_MS. */
static inline int finish_connect(int fd) {
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    const long long end = now_ms() + CONNECT_MS;
    long long left = CONNECT_MS;
    while (left > 0) {
        int ready = poll(&connected, 1, (int)left);
        if (ready > 0)
            return connect_result(fd);
        if (ready < 0 && errno != EINTR)
            return -1;
        left = end - now_ms();
    }
    errno = ETIMEDOUT;
    return -1;
}

/* Returns a blocking socket connected to this address; or -1 with errno, and in *call the call that
 * failed. Built in 01. Here it also gives the address up after CONNECT_MS. */
static inline int connect_at(const struct addrinfo *ai, const char **call) {
    *call = "socket";
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    *call = "connect";
    const int flags = fcntl(fd, F_GETFL);
    set_nonblocking(fd); /* a blocking connect may wait for two minutes (tcp(7), tcp_syn_retries) */
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
        return close_failed(fd);
    if (finish_connect(fd) < 0)
        return close_failed(fd);
    fcntl(fd, F_SETFL, flags);
    return fd;
}

/* Tries every address of a name, each for at most CONNECT_MS. Returns a connected socket; or -1,
 * with what failed in why (WHY_TEXT bytes) and its errno, as listen_on does. Signals neither end
 * the wait nor make it longer. Built in 01, where connect may wait for minutes. */
static inline int connect_to(const char *address, const char *port, char *why) {
    struct addrinfo *list = resolve(address, port, SOCK_STREAM, why);
    const struct addrinfo *ai = list;
    const char *call;
    int error = 0;
    int fd = -1;
    if (!list)
        return -1;
    while (ai && fd < 0) {
        fd = connect_at(ai, &call);
        if (fd < 0 && errno == EINTR)
            continue; /* a signal came: the same address again, with a new socket */
        if (fd < 0)
            keep_failure(ai, call, &error, why);
        ai = ai->ai_next;
    }
    freeaddrinfo(list);
    errno = error;
    return fd;
}
#endif

/* Waits until fd has room for output, at most wait_ms (-1: no limit). Returns 0; or -1 with errno:
 * EAGAIN (there was no room in that time), EINTR (a signal came). poll(2). Built in 01. */
static inline int wait_for_room(int fd, int wait_ms) {
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    int ready = poll(&room, 1, wait_ms);
    if (ready > 0)
        return 0;
    if (ready == 0)
        errno = EAGAIN;
    return -1;
}

/* Sends data from byte *sent on, up to size bytes, and adds to *sent what the kernel has taken.
 * Returns 0 when all is sent; or -1 with errno: EINTR (a part is sent, or a signal came: call it
 * again to go on, or stop), EAGAIN (there was no room for wait_ms; -1: no limit), EPIPE or
 * ECONNRESET (the peer is gone). send(2). Built in 01. */
static inline int send_all(int fd, const char *data, size_t size, size_t *sent, int wait_ms) {
    while (*sent < size) {
        ssize_t n = send(fd, data + *sent, size - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            n = wait_for_room(fd, wait_ms);
        if (n < 0)
            return -1;
        *sent += (size_t)n;
        if (n > 0 && *sent < size) { /* a short write: the caller may want to stop */
            errno = EINTR;
            return -1;
        }
    }
    return 0;
}

/* Returns the length of the first line of data, its newline included; 0 if no newline has come yet;
 * -1 if the line is longer than limit. Built in 03. */
static inline ssize_t line_length(const char *data, size_t size, size_t limit) {
    const char *newline = memchr(data, '\n', size < limit ? size : limit);
    if (newline)
        return newline - data + 1;
    if (size >= limit)
        return -1;
    return 0;
}

/* Closes fd so that the last reply arrives. With unread input, close(2) would send a reset (RFC
 * 2525, 2.17): what has not been sent yet is thrown away, and a peer whose next send fails may
 * never read what has arrived. So: half-close, discard until the peer's end or LINGER_MS, close.
 * Built in 01. */
static inline void linger_close(int fd) {
    struct pollfd input = {.fd = fd, .events = POLLIN};
    const long long end = now_ms() + LINGER_MS;
    char ignored[4096];
    shutdown(fd, SHUT_WR);
    for (long long left = LINGER_MS; left > 0; left = end - now_ms()) {
        poll(&input, 1, (int)left);
        ssize_t n = recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
        if (n == 0)
            break; /* the peer's end */
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    close(fd);
}
#endif
