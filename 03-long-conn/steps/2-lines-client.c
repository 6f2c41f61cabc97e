/* What is new: it sends a line with its newline, and reads until the newline of the reply.
 * Run: ./2-lines-client    beside ./2-lines-server
 * What breaks it: one line at a time; a server that sends no newline makes it wait for ever. */
#define _GNU_SOURCE 1 /* for getline, which is not in C11 */
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

/* Reads a line from stdin, newline included. Returns its length; 0 at `exit` or the end of input.
 * */
static size_t read_line(char **line, size_t *capacity) {
    printf("> ");
    fflush(stdout);
    ssize_t length = getline(line, capacity, stdin);
    if (length <= 0 || strcmp(*line, "exit\n") == 0)
        return 0;
    return (size_t)length;
}

/* Sends all of data, in as many calls as it takes. */
static void send_all(int fd, const char *data, size_t size) {
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        sent += (size_t)n;
    }
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

/* Prints what arrives until a newline ends the reply. */
static void print_reply(int fd) {
    char piece[1024];
    size_t n;
    do {
        n = receive(fd, piece, sizeof piece);
        fwrite(piece, 1, n, stdout);
    } while (piece[n - 1] != '\n');
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    size_t size;
    int fd = connect_to();
    while ((size = read_line(&line, &capacity)) > 0) {
        send_all(fd, line, size);
        print_reply(fd);
    }
    free(line);
    close(fd);
    return 0;
}
