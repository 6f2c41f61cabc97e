/* util.h: what the chapters share. Each helper names the chapter that writes it out in full.
 * Rules: a helper returns -1 and leaves the reason in errno, or in the text it was given. Only
 * die, usage_error and number_arg end a program: at its start, or a client. No peer can do so. */
#pragma once
#define _GNU_SOURCE /* accept4 and others of Linux; must come before any system header */
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

enum { ADDRESS_TEXT = 80, WHY_TEXT = 256, LINGER_MS = 300 };

/* The name of an errno value (errno(3)): "EACCES"; "errno" if it is not one of these. Pure. */
static inline const char *errno_name(int error) {
#define IS(name) error == name ? #name:
    /* clang-format off */
    return IS(EACCES) IS(EADDRINUSE) IS(EADDRNOTAVAIL) IS(EAFNOSUPPORT) IS(EAGAIN) IS(EBADF)
        IS(ECONNABORTED) IS(ECONNREFUSED) IS(ECONNRESET) IS(EFBIG) IS(EHOSTUNREACH) IS(EINTR)
        IS(EINVAL) IS(EIO) IS(EISDIR) IS(EMFILE) IS(EMSGSIZE) IS(ENETDOWN) IS(ENETUNREACH)
        IS(ENFILE) IS(ENOBUFS) IS(ENOENT) IS(ENOMEM) IS(ENOSPC) IS(ENOTCONN) IS(EPERM) IS(EPIPE)
        IS(EPROTO) IS(ETIMEDOUT) "errno";
    /* clang-format on */
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

/* The decimal number that is all of text, from min (>= 0) to max (at most LONG_MAX / 10 - 1);
 * -1 for anything else: "", "0x50", "-1", "80x", " 80". Pure. */
static inline long parse_number(const char *text, long min, long max) {
    long value = *text ? 0 : -1;
    for (; *text >= '0' && *text <= '9' && value <= max; text++)
        value = value * 10 + (*text - '0');
    return *text == '\0' && value >= min && value <= max ? value : -1;
}

/* The number given to an option, or a usage error that names the range. */
static inline long number_arg(const char *usage, int option, const char *arg, long min, long max) {
    char why[WHY_TEXT];
    long value = parse_number(arg, min, max);
    snprintf(why, sizeof why, "-%c \"%s\": not a number from %ld to %ld", option, arg, min, max);
    return value >= 0 ? value : (usage_error(usage, why), value);
}

/* Milliseconds of a clock that never jumps (clock_gettime(2), CLOCK_MONOTONIC). */
static inline long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* An address in numbers, never asking a name server: "127.0.0.1:9001", "[::1]:9001" (RFC 3986,
 * 3.2.2); "?" for another family. text has ADDRESS_TEXT bytes and is returned. Built in 01. */
static inline const char *address_text(const void *address, socklen_t size, char *text) {
    char host[ADDRESS_TEXT - 10], port[8];
    if (getnameinfo(address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return strcpy(text, "?");
    snprintf(text, ADDRESS_TEXT, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return text;
}

/* Connects fd, or makes it listen. Returns NULL, or the call that failed and its errno. */
static inline const char *try_address(int fd, const struct addrinfo *ai, int passive) {
    const int on = 1, off = 0;
    if (!passive)
        return connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 ? "connect" : NULL;
    /* "::" is to serve IPv4 too (RFC 3493, 5.3); an IPv4 socket has no such option. */
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return "setsockopt";
    return bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ? "bind"
           : listen(fd, SOMAXCONN) < 0               ? "listen"
                                                     : NULL;
}

/* Tries every address of a name (getaddrinfo(3)); of the failures it keeps the first that says more
 * than "not on this machine". */
static inline int open_socket(const char *address, const char *port, int passive, char *why) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    char text[ADDRESS_TEXT];
    int fd = -1, kept = 0, unknown = getaddrinfo(address, port, &hints, &list);
    snprintf(why, WHY_TEXT, "resolve %s: %s", address, gai_strerror(unknown));
    if (unknown)
        return errno = 0, -1;
    for (struct addrinfo *ai = list; ai && kept != EADDRINUSE;) {
        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, ai->ai_protocol);
        const char *call = fd < 0 ? "socket" : try_address(fd, ai, passive);
        int error = errno;
        if (!call)
            break;
        if (!kept || kept == EINTR || kept == EAFNOSUPPORT || kept == EADDRNOTAVAIL) {
            kept = error;
            snprintf(why, WHY_TEXT, "%s %s", call, address_text(ai->ai_addr, ai->ai_addrlen, text));
        }
        if (fd >= 0)
            close(fd);
        fd = -1;
        ai = error == EINTR ? ai : ai->ai_next; /* an interrupted connect begins anew */
    }
    freeaddrinfo(list);
    errno = kept;
    return fd;
}

/* A listening or connected TCP socket; or -1, in why (WHY_TEXT bytes) what failed, "bind [::1]:80",
 * and errno (0 where why says it all): for die(why, errno). Built in 01. */
static inline int listen_on(const char *address, const char *port, char *why) {
    return open_socket(address, port, 1, why);
}
static inline int connect_to(const char *address, const char *port, char *why) {
    return open_socket(address, port, 0, why);
}

/* Says on stdout, at once, where fd is bound: "listening on 127.0.0.1:9001". Built in 01. */
static inline void announce(int fd) {
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof own;
    char text[ADDRESS_TEXT];
    getsockname(fd, (struct sockaddr *)&own, &size);
    printf("listening on %s\n", address_text(&own, size, text));
    fflush(stdout);
}

/* 0: serve; 1: SIGINT or SIGTERM came; one more with each second since. Built in 01. */
static _Atomic int stopping; /* for handlers (C11, 7.14.1.1) and for threads alike */
static inline void on_stop_signal(int signal_number) {
    stopping += signal_number == SIGALRM || !stopping;
    alarm(1); /* interrupts again, in case a call began to wait just after the last signal */
}

/* Installs it. Without SA_RESTART, a blocking call then fails with EINTR (signal(7)). */
static inline void stop_on_signals(void) {
    struct sigaction action = {.sa_handler = on_stop_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end a server */
}

/* Makes calls on fd return EAGAIN rather than wait (fcntl(2)). Returns 0, or -1. Built in 05. */
static inline int set_nonblocking(int fd) {
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Sends all n bytes. Returns 0, or -1: EPIPE or ECONNRESET (the peer is gone), EAGAIN (it has taken
 * nothing for wait_ms; -1: no limit), or the time allowed for stopping is over. Built in 01. */
static inline int send_all(int fd, const void *data, size_t n, int wait_ms) {
    for (const char *next = data, *end = next + n; next < end;) {
        ssize_t sent = send(fd, next, (size_t)(end - next), MSG_NOSIGNAL | MSG_DONTWAIT);
        next += sent > 0 ? sent : 0;
        if (sent < 0 && errno == EAGAIN) /* 1: there is room; 0: still EAGAIN; -1: EINTR */
            sent = poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, wait_ms) - 1;
        if ((sent < 0 && errno != EINTR) || (next < end && stopping > 1))
            return -1;
    }
    return 0;
}

/* Length of the first line of data with its newline; 0 if it has not ended yet; -1 if it is longer
 * than limit. Pure. Built in 03. */
static inline ssize_t line_length(const char *data, size_t n, size_t limit) {
    const char *newline = memchr(data, '\n', n < limit ? n : limit);
    return newline ? newline - data + 1 : n < limit ? 0 : -1;
}

/* Closes so that the last reply arrives. With input unread, close(2) would send a reset, which
 * destroys it (RFC 2525, 2.17): half-close, discard until the peer's end or 300 ms. Built in 01. */
static inline void linger_close(int fd) {
    char sink[4096];
    long long left, end = now_ms() + LINGER_MS;
    shutdown(fd, SHUT_WR);
    while ((left = end - now_ms()) > 0) {
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)left);
        ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            break;
    }
    close(fd);
}
