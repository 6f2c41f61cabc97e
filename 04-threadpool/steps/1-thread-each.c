/* What is new: each client has a thread of its own, so no client waits for another one to finish.
 * Run: ./1-thread-each    and in another terminal: ../client -c 7 hello
 * What breaks it: a counter that all threads change; as many threads as there are clients. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int clients; /* how many are connected; every thread changes it */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:9004. */
static int listen_on(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9004)};
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 127.0.0.1 */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9004\n");
    fflush(stdout);
    return fd;
}

/* A thread: answers one client, until that client has gone. */
static void *serve_client(void *descriptor) {
    int fd = (int)(intptr_t)descriptor;
    char message[1024] = "+";
    ssize_t n;
    clients++;
    while ((n = recv(fd, message + 1, sizeof message - 1, 0)) > 0)
        send(fd, message, (size_t)n + 1, MSG_NOSIGNAL);
    clients--;
    close(fd);
    return NULL;
}

/* Waits for a client and starts its thread. The thread is detached: nobody will join it. */
static void accept_client(int listener) {
    pthread_t thread;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    if (pthread_create(&thread, NULL, serve_client, (void *)(intptr_t)fd) != 0) {
        fprintf(stderr, "cannot start a thread; %d clients are connected\n", clients);
        exit(1);
    }
    pthread_detach(thread);
}

int main(void) {
    int listener = listen_on();
    for (;;)
        accept_client(listener);
}
