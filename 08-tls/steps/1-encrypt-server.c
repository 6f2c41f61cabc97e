/* What is new: the article's server, call by call: a certificate, its key, a handshake, an echo.
 * Run: ./1-encrypt-server    and in another terminal ./1-encrypt-client
 * What breaks it: bytes that are not TLS; a client that leaves early; a client that is silent. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Prints what failed and OpenSSL's reasons, then ends the program. */
static _Noreturn void fail(const char *what) {
    fprintf(stderr, "server: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Returns the settings for all connections: the server's certificate and its private key. */
static SSL_CTX *load_settings(void) {
    SSL_CTX *settings = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(settings, "../certs/server.pem") != 1)
        fail("certificate");
    if (SSL_CTX_use_PrivateKey_file(settings, "../certs/server.key", SSL_FILETYPE_PEM) != 1)
        fail("key");
    return settings;
}

static int listen_on(uint16_t port) {
    const int on = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 || listen(listener, 5) < 0) {
        perror("server: bind or listen");
        exit(1);
    }
    return listener;
}

/* Shakes hands, then sends back whatever comes, until the client has no more to say. */
static void serve(SSL *tls) {
    char data[1024];
    int n;
    if (SSL_accept(tls) != 1)
        fail("handshake");
    while ((n = SSL_read(tls, data, sizeof data)) > 0)
        SSL_write(tls, data, n);
}

int main(void) {
    SSL_CTX *settings = load_settings();
    int listener = listen_on(9008);
    puts("listening on 127.0.0.1:9008");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        SSL *tls = SSL_new(settings);
        SSL_set_fd(tls, client);
        serve(tls);
        SSL_free(tls);
        close(client);
    }
}
