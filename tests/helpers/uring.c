/* uring.c: says why no program can use io_uring here as exercise 6-10 does; if one can, says
 * nothing. Needs no library.
 *
 * Exit status 1: it is forbidden, or Linux is older than 6.1. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425 /* on all processors but Alpha */
#endif

enum {
    FLAGS = 2,       /* the index of struct io_uring_params' flags */
    PARAMETERS = 30, /* its size in words: io_uring_setup(2) */
    USED = 3 << 12   /* IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_DEFER_TASKRUN: Linux 6.1 */
};

int main(void) {
    unsigned parameters[PARAMETERS] = {0};
    parameters[FLAGS] = USED;
    if (syscall(SYS_io_uring_setup, 8, parameters) >= 0)
        return 0;
    if (errno == EINVAL)
        puts("this Linux is too old for io_uring as it is used here: 6.1 is needed");
    else if (errno == ENOSYS)
        puts("this kernel has no io_uring");
    else if (errno == EPERM)
        puts("io_uring is forbidden here: by kernel.io_uring_disabled, or by the container");
    else
        printf("io_uring_setup: %s\n", strerror(errno));
    return 1;
}
