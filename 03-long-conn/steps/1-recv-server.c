/* What is new: a conversation: the server answers one message after the other until the end.
 * Run: ./1-recv-server    and in another terminal ./1-recv-client
 * What breaks it: it takes one recv for one message: two may come at once, or one in pieces. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 9003 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Returns a socket that listens on 127.0.0.1:PORT. */
static int listen_on(void) {
    const int on = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&own, sizeof own) < 0)
        die("bind");
    if (listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

/* Answers each recv with "+" and what it brought. */
static void serve_client(int fd) {
    char message[1024];
    char reply[1 + sizeof message] = "+";
    ssize_t n;
    while ((n = recv(fd, message, sizeof message, 0)) > 0) {
        memcpy(reply + 1, message, (size_t)n);
        send(fd, reply, 1 + (size_t)n, MSG_NOSIGNAL);
    }
    close(fd);
}

int main(void) {
    int listener = listen_on();
    printf("listening on 127.0.0.1:%d\n", PORT);
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        serve_client(fd);
    }
}
