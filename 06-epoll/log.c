/* log.c: see log.h. Asks poll first, then writes at most PIPE_BUF bytes in one call (pipe(7)). */
#include "../util.h"
#include "log.h"
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

/* Guards the variables below, and the step from poll to write: without it, two threads could both
 * find the same room in a pipe. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = STDERR_FILENO;
static long lost;   /* lines dropped since the last one that was written */
static int partial; /* the last write took only a part of its line */

/* Between poll and write, another process may fill the same pipe; and poll calls a terminal ready
 * when it has room for less than a line. Then only O_NONBLOCK keeps write from waiting. But that
 * flag belongs to the open file description (open(2)): set on stderr, it would reach every process
 * that shares stderr, the user's shell too. So a pipe or a terminal is opened once more, which
 * makes a description of our own. Where that is not allowed, we use stderr itself: if a write waits
 * there, a stop signal interrupts it. A file is never opened again, because its position is
 * shared on purpose. */
void log_open(void) {
    struct stat kind;
    if (fstat(STDERR_FILENO, &kind) < 0)
        return;
    if (!S_ISFIFO(kind.st_mode) && !isatty(STDERR_FILENO))
        return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        log_fd = fd;
}

/* Writes text, if that needs no waiting. Returns 0, or -1 if not all of it was written. */
static int write_now(const char *text, size_t size) {
    struct pollfd room = {.fd = log_fd, .events = POLLOUT};
    int ready;
    do
        ready = poll(&room, 1, 0);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0 || !(room.revents & POLLOUT))
        return -1;
    ssize_t written = write(log_fd, text, size);
    if (written > 0)
        partial = (size_t)written < size;
    if (written != (ssize_t)size)
        return -1;
    return 0;
}

/* Writes how many lines are lost, if any. Returns 0, or -1 if there was no room for that either. */
static int report_lost(void) {
    char text[WHY_TEXT];
    const char *line_end = "";
    if (lost == 0)
        return 0;
    if (partial)
        line_end = "\n";
    int size = snprintf(text, sizeof text, "%s%s: %ld log lines lost\n", line_end,
                        program_invocation_short_name, lost);
    if (write_now(text, (size_t)size) < 0)
        return -1;
    lost = 0;
    return 0;
}

void log_line(const char *format, ...) {
    char text[PIPE_BUF];
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t length = strlen(text);
    text[length] = '\n'; /* replaces the '\0' */
    pthread_mutex_lock(&mutex);
    if (report_lost() < 0 || write_now(text, length + 1) < 0)
        lost++;
    pthread_mutex_unlock(&mutex);
    errno = saved;
}
