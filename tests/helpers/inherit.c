/* inherit.c: starts a program as a careless parent would.
 *
 * inherit WORD... -- PROGRAM ARGUMENT...
 *   block:N    signal N is blocked          ignore:N   signal N is ignored
 *   close:N    descriptor N is closed       alarm:N    SIGALRM comes in N seconds
 *   raise:N    signal N comes now, or, if it is blocked, as soon as it is unblocked
 *   deny:N     system call N fails with EPERM, as in a container that forbids it (seccomp(2))
 * All of these outlive execve(2). */
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int block_signal(int number) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    return sigprocmask(SIG_BLOCK, &one, NULL);
}

static int ignore_signal(int number) {
    if (signal(number, SIG_IGN) == SIG_ERR)
        return -1;
    return 0;
}

static int set_alarm(int seconds) {
    alarm((unsigned)seconds);
    return 0;
}

static int deny_call(int number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const struct word {
    const char *name;
    int (*obey)(int number);
} words[] = {
    {"block", block_signal}, {"ignore", ignore_signal}, {"close", close},
    {"raise", raise},        {"alarm", set_alarm},      {"deny", deny_call},
};

/* Does what one word says. Returns 0; or -1 if that fails, or if there is no such word. */
static int obey(const char *word) {
    const char *colon = strchr(word, ':');
    if (!colon)
        return -1;
    const size_t size = (size_t)(colon - word);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].name) == size && strncmp(word, words[i].name, size) == 0)
            return words[i].obey(atoi(colon + 1));
    }
    return -1;
}

int main(int argc, char **argv) {
    int i = 1;
    while (i < argc && strcmp(argv[i], "--") != 0) {
        if (obey(argv[i]) < 0) {
            fprintf(stderr, "inherit: %s\n", argv[i]);
            return 2;
        }
        i++;
    }
    if (i + 1 >= argc) {
        fprintf(stderr, "usage: inherit WORD... -- PROGRAM ARGUMENT...\n");
        return 2;
    }
    execvp(argv[i + 1], argv + i + 1);
    perror(argv[i + 1]);
    return 127;
}
