/* What is new: every result is checked: what goes wrong on a connection ends only that one.
 * Run: ./2-verify-server    and in another terminal ./2-verify-client
 * What breaks it: a client that stays silent: all others wait for its handshake. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Prints what failed and OpenSSL's reasons, then ends the program. */
static _Noreturn void fail(const char *what) {
    fprintf(stderr, "server: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Returns the settings for all connections: the server's certificate and its private key, and no
 * version of TLS that is too old. */
static SSL_CTX *load_settings(void) {
    SSL_CTX *settings = SSL_CTX_new(TLS_server_method());
    if (!settings || SSL_CTX_set_min_proto_version(settings, TLS1_2_VERSION) != 1)
        fail("settings");
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
    if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 ||
        listen(listener, SOMAXCONN) < 0) {
        perror("server: bind or listen");
        exit(1);
    }
    return listener;
}

/* Returns an SSL object that is to shake hands on fd; NULL: no memory. */
static SSL *new_tls(SSL_CTX *settings, int fd) {
    SSL *tls = SSL_new(settings);
    if (tls && SSL_set_fd(tls, fd) == 1)
        return tls;
    SSL_free(tls);
    return NULL;
}

/* Logs what has ended a connection. Errors stay in OpenSSL's queue until the program removes them,
 * and SSL_get_error would take those of this connection for errors of the next one. */
static void log_errors(const char *during) {
    fprintf(stderr, "server: %s\n", during);
    ERR_print_errors_fp(stderr); /* empties the queue */
}

/* Shakes hands, then sends back whatever comes, until the client has no more to say. */
static void serve(SSL *tls) {
    char data[1024];
    int n;
    if (SSL_accept(tls) != 1) {
        log_errors("handshake");
        return;
    }
    while ((n = SSL_read(tls, data, sizeof data)) > 0) {
        n = SSL_write(tls, data, n);
        if (n <= 0)
            break;
    }
    if (SSL_get_error(tls, n) == SSL_ERROR_ZERO_RETURN)
        SSL_shutdown(tls); /* the client has said close_notify: so do we */
    else
        log_errors("connection");
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* OpenSSL sends without MSG_NOSIGNAL */
    SSL_CTX *settings = load_settings();
    int listener = listen_on(9008);
    puts("listening on 127.0.0.1:9008");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        SSL *tls = new_tls(settings, client);
        if (tls)
            serve(tls);
        SSL_free(tls);
        close(client);
    }
}
