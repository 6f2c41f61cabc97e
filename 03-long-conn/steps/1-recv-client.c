/* What is new: it sends what is typed and prints the answer, until the word is `exit`.
 * Run: ./1-recv-client    beside ./1-recv-server
 * What breaks it: it takes one recv for one reply, whatever that brings. */
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

/* Returns a socket connected to the server. */
static int connect_to(void) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (const struct sockaddr *)&server, sizeof server) < 0)
        die("connect");
    return fd;
}

/* Reads a message from stdin, without its newline. Returns 0 at `exit` or the end of input. */
static int read_message(char *message, int capacity) {
    printf("> ");
    fflush(stdout);
    if (!fgets(message, capacity, stdin))
        return 0;
    message[strcspn(message, "\n")] = '\0';
    return strcmp(message, "exit") != 0;
}

/* Returns how many bytes one recv has brought. */
static size_t receive(int fd, char *data, size_t size) {
    ssize_t n = recv(fd, data, size, 0);
    if (n < 0)
        die("recv");
    if (n == 0) {
        fprintf(stderr, "the server has closed the connection\n");
        exit(1);
    }
    return (size_t)n;
}

int main(void) {
    char message[1024];
    char reply[1024];
    int fd = connect_to();
    while (read_message(message, sizeof message)) {
        send(fd, message, strlen(message), MSG_NOSIGNAL);
        size_t n = receive(fd, reply, sizeof reply);
        fwrite(reply, 1, n, stdout);
        printf("\n");
    }
    close(fd);
    return 0;
}
