/* What is new: the client asks who the server is, before it says anything.
 * Run: ./2-verify-client    after ./2-verify-server in another terminal
 * What breaks it: a server that stops in mid-sentence: the part passes for the whole reply. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
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

/* Lets the handshake fail unless an authority in the file ca has signed the server's certificate,
 * or somebody whom that authority has allowed to sign. */
static void tls_trust(SSL_CTX *settings, const char *ca) {
    if (SSL_CTX_load_verify_file(settings, ca) != 1)
        fail(ca);
    SSL_CTX_set_verify(settings, SSL_VERIFY_PEER, NULL);
}

/* Lets the handshake fail unless the server's certificate is for this name. The name also goes to
 * the server (SNI), which may have certificates for several names. */
static void expect_name(SSL *tls, const char *name) {
    SSL_set_hostflags(tls,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (SSL_set1_host(tls, name) != 1 || SSL_set_tlsext_host_name(tls, name) != 1)
        fail(name);
}

/* Returns only if the server has proved to be the one that we want. */
static void shake_hands(SSL *tls) {
    if (SSL_connect(tls) == 1)
        return;
    long result = SSL_get_verify_result(tls);
    if (result != X509_V_OK)
        fail(X509_verify_cert_error_string(result));
    fail("handshake");
}

int main(void) {
    const char message[] = "my password is rabbit\n";
    char reply[1024];
    SSL_CTX *settings = SSL_CTX_new(TLS_client_method());
    tls_trust(settings, "../certs/ca.pem");
    int fd = connect_to(9008);
    SSL *tls = SSL_new(settings);
    SSL_set_fd(tls, fd);
    expect_name(tls, "localhost");
    shake_hands(tls);
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
