/* inherit.c: starts a program as a careless parent would.
 *
 * inherit WORD... -- PROGRAM ARGUMENT...
 *   block:N    signal N is blocked          ignore:N   signal N is ignored
 *   close:N    descriptor N is closed       alarm:N    SIGALRM comes in N seconds
 *   raise:N    signal N comes now, or, if it is blocked, as soon as it is unblocked
 * All of these outlive execve(2). */
#define _GNU_SOURCE 1
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static const struct word {
    const char *name;
    int (*obey)(int number);
} words[] = {
    {"block", block_signal}, {"ignore", ignore_signal}, {"close", close},
    {"raise", raise},        {"alarm", set_alarm},
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
