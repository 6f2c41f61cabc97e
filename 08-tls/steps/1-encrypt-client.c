/* What is new: the article's client, call by call: connect, shake hands, send, receive.
 * Run: ./1-encrypt-client    after ./1-encrypt-server in another terminal
 * What breaks it: any other server on that port: the client sends its secret to anyone. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Prints what failed and OpenSSL's reasons, then ends the program. */
static _Noreturn void fail(const char *what) {
    fprintf(stderr, "client: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int connect_to(uint16_t port) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
        perror("client: connect");
        exit(1);
    }
    return fd;
}

int main(void) {
    const char message[] = "my password is rabbit\n";
    char reply[1024];
    SSL_CTX *settings = SSL_CTX_new(TLS_client_method());
    int fd = connect_to(9008);
    SSL *tls = SSL_new(settings);
    SSL_set_fd(tls, fd);
    if (SSL_connect(tls) != 1)
        fail("handshake");
    SSL_write(tls, message, sizeof message - 1);
    int n = SSL_read(tls, reply, sizeof reply - 1);
    if (n <= 0)
        fail("no reply");
    printf("%.*s", n, reply);
    SSL_shutdown(tls);
    SSL_free(tls);
    SSL_CTX_free(settings);
    close(fd);
    return 0;
}
